//! The API beside conversations.

use std::sync::Arc;

use axum::Router;

use crate::http::Server;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
}
