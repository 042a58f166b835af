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
use axum::http::StatusCode;
use axum::response::sse::Event;
use serde_json::Value;

use crate::http::Server;
use crate::refusal::Refusal;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .merge(chat::routes())
        .merge(client_secrets::routes())
        .merge(models::routes())
        .merge(speech::routes())
        .merge(transcriptions::routes())
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
