//! The API beside conversations: speech, transcriptions, chat, models, and ephemeral keys.

mod body;
mod chat;
mod client_secrets;
mod decode;
mod encode;
mod models;
mod speech;
mod transcriptions;

use std::sync::Arc;

use anchor_core::engine::EngineError;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::response::sse::Event;
use futures::StreamExt;
use serde_json::Value;

use crate::access::Caller;
use crate::http::Server;
use crate::refusal::Refusal;

pub(crate) fn routes(server: &Arc<Server>) -> Router<Arc<Server>> {
    let work = Router::new().merge(chat::routes()).merge(speech::routes()).merge(transcriptions::routes());
    work.route_layer(from_fn_with_state(server.clone(), admitted))
        .merge(client_secrets::routes())
        .merge(models::routes())
}

/// What engines work for takes one of the places for conversations, until its answer is sent.
async fn admitted(
    State(server): State<Arc<Server>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let admission = caller.admit(&server)?;
    let (head, body) = next.run(request).await.into_parts();
    let held = body.into_data_stream().inspect(move |_| {
        let _until_sent = &admission;
    });
    Ok(Response::from_parts(head, Body::from_stream(held)))
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let (status, code) = match error {
            EngineError::Unsupported { .. } => (StatusCode::BAD_REQUEST, "unsupported"),
            EngineError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "engine_unavailable"),
            EngineError::Failed { .. } | EngineError::Cancelled => (StatusCode::BAD_GATEWAY, "engine_failed"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// One event of a stream of them.
fn event(data: &Value) -> Event {
    Event::default().data(data.to_string())
}

/// How long a text is. The engines do not say how they count, so that usage is in words.
fn words(text: &str) -> usize {
    text.split_whitespace().count()
}
