//! What whoever runs the server asks it: does it live, is it ready, what happened. Answered without a key, because the
//! programs that ask have none; it holds nothing of what was said.

use std::sync::Arc;

use anchor_core::engine::{EngineState, EngineStatus};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::http::Server;
use crate::studio;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
}

async fn render_metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], server.metrics.render())
}

/// Whether the anchor can hold a conversation now: for each kind, an engine works. One that loads on first use does not
/// stand in the way.
async fn ready(State(server): State<Arc<Server>>) -> Response {
    let status = server.app.engine_status.borrow().clone();
    let works = |engine: &EngineStatus| !matches!(engine.state, EngineState::Loading | EngineState::Failed(_));
    let waiting: Vec<_> = status
        .iter()
        .filter(|engine| !status.iter().any(|other| other.kind == engine.kind && works(other)))
        .map(|engine| {
            let (state, problem) = studio::state_shown(&engine.state);
            json!({ "kind": engine.kind.name(), "name": engine.name, "state": state, "problem": problem })
        })
        .collect();
    let code = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": waiting.is_empty(), "not_ready": waiting }))).into_response()
}
