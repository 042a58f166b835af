//! `/v1/realtime`: from a request to a session over a WebSocket.

use std::sync::Arc;

use anchor_core::Conversation;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Deserialize;
use tracing::{Instrument, info, info_span};

use super::kind_of;
use super::websocket::{Handshake, MESSAGE_MAX, WebSocketTransport};
use super::wire::Kind;
use crate::access::{Admission, Caller};
use crate::http::Server;
use crate::refusal::Refusal;
use crate::{metrics, session};

pub(crate) fn routes() -> Router<Arc<Server>> {
    // The second is where clients of Azure's edition of the API look.
    Router::new().route("/v1/realtime", any(realtime)).route("/openai/v1/realtime", any(realtime))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    model: Option<String>,
    intent: Option<String>,
    studio: Option<String>,
}

async fn realtime(
    State(server): State<Arc<Server>>,
    Query(wanted): Query<Wanted>,
    caller: Result<Caller, Refusal>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(upgrade) = upgrade else {
        let message = "This is the address of a WebSocket. Connect to it with ws:// or wss://.";
        return Refusal::new(StatusCode::UPGRADE_REQUIRED, "websocket_required", message).into_response();
    };
    let transcription = match wanted.intent.as_deref() {
        None | Some("conversation") => kind_of(caller.session.as_ref()) == Kind::Transcription,
        Some("transcription") => true,
        Some(intent) => {
            let message = format!(
                "There are no sessions with the intent '{intent}'. Use 'transcription' for transcripts without answers, \
                 and leave it out for a conversation."
            );
            return Refusal::new(StatusCode::BAD_REQUEST, "invalid_value", message).param("intent").into_response();
        }
    };
    let admission = match caller.admit(&server) {
        Ok(admission) => admission,
        Err(refusal) => return refusal.into_response(),
    };
    let of_key = caller.session.as_ref().and_then(|session| session["model"].as_str()).map(str::to_owned);
    let handshake = Handshake {
        model: wanted.model.or(of_key),
        preset: caller.session,
        studio: wanted.studio.as_deref() == Some("true"),
        transcription,
    };
    upgrade
        // Answered only where it was offered: a client that offers nothing may refuse any answer.
        .protocols(["realtime"])
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| async move { converse(socket, handshake, &server, admission).await })
}

/// One session from its greeting to its end.
async fn converse(socket: axum::extract::ws::WebSocket, handshake: Handshake, server: &Server, _admission: Admission) {
    let _open = metrics::OpenSession::new();
    let key = session_key();
    let span = info_span!("session", %key, studio = handshake.studio);
    async {
        info!("opened");
        let app = &server.app;
        let config = handshake.session(&app.session);
        let transport = WebSocketTransport::open(socket, &key, handshake, app, server.closing.clone()).await;
        let ended = match transport {
            Ok(mut transport) => {
                let conversation = Conversation::new(&key, config);
                session::run(&app.engines, conversation, &mut transport).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!("closed"),
            Err(error) => info!(%error, "closed"),
        }
    }
    .instrument(span)
    .await;
}

/// A name for a session that no other has: half of a random UUID is enough for one server's lifetime.
pub(crate) fn session_key() -> String {
    let mut key = uuid::Uuid::new_v4().simple().to_string();
    key.truncate(16);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_keys_do_not_repeat() {
        assert_ne!(session_key(), session_key());
        assert_eq!(session_key().len(), 16);
    }
}
