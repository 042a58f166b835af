//! `/v1/models`: the engines of the anchor, under their names.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::http::Server;
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/models", get(list)).route("/v1/models/{id}", get(one))
}

async fn list(State(server): State<Arc<Server>>, _: Caller) -> Json<Value> {
    let models: Vec<_> = names(&server).iter().map(|name| model(name)).collect();
    Json(json!({ "object": "list", "data": models }))
}

async fn one(State(server): State<Arc<Server>>, _: Caller, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let names = names(&server);
    if names.contains(&id) {
        return Ok(Json(model(&id)));
    }
    let message = format!("There is no model '{id}'. There are: {}.", names.join(", "));
    Err(Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).param("model"))
}

fn names(server: &Server) -> Vec<String> {
    server.app.engine_status.borrow().iter().map(|engine| engine.name.clone()).collect()
}

/// When it was made is not known.
fn model(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "ai-anchor" })
}
