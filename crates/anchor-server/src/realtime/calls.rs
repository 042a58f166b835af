//! `POST /v1/realtime/calls`: sessions over WebRTC, begun by an offer (SDP) and ended by hanging up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anchor_core::Conversation;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{Instrument, info, info_span};

use super::translate::{Carrier, Introduction, Translator};
use super::upgrade::session_key;
use super::webrtc::{Call, Offer, Switchboard};
use super::wire::Kind;
use crate::access::{Admission, Caller};
use crate::http::Server;
use crate::refusal::Refusal;
use crate::studio::{Newsfeed, StudioEvent};
use crate::transport::ClientMessage;
use crate::{metrics, session};

/// Longest offer, in bytes. A browser's has two to six thousand.
const OFFER_MAX: usize = 64 * 1024;

/// Longest settings that come with an offer, in bytes: as long as a `session.update` may be.
const SESSION_MAX: usize = 256 * 1024;

const PLACE: &str = "/v1/realtime/calls";

/// The calls that are open, so that they can be hung up by name.
#[derive(Default)]
pub(crate) struct OpenCalls(Mutex<HashMap<String, watch::Sender<bool>>>);

/// What a client asks for with its offer.
#[derive(Debug, Deserialize)]
struct Wanted {
    model: Option<String>,
    studio: Option<String>,
}

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new().route(PLACE, post(create)).route("/v1/realtime/calls/{id}/hangup", post(hang_up))
}

async fn create(
    State(server): State<Arc<Server>>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
    request: Request,
) -> Response {
    answer(&server, wanted, &caller, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(server: &Arc<Server>, wanted: Wanted, caller: &Caller, request: Request) -> Result<Response, Refusal> {
    let Some(switchboard) = &server.switchboard else {
        let message =
            "This server takes no WebRTC calls (server.webrtc is false). Connect with a WebSocket to /v1/realtime.";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "webrtc_off", message));
    };
    let (sdp, settings) = parts(request).await?;
    let settings = settings.or_else(|| caller.session.as_ref().map(Value::to_string));
    let admission = caller.admit(server)?;
    let offer = Offer::accept(switchboard, &sdp).map_err(|error| {
        let message = format!("The offer is no SDP that a call can be made of: {error}.");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_offer", message)
    })?;
    let sdp = offer.answer().to_owned();
    let key = session_key();
    let call = open(server, switchboard, &key, wanted, settings, offer).await?;
    let place = format!("{PLACE}/rtc_{key}");
    tokio::spawn(converse(server.clone(), key, call, admission));
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, "application/sdp"), (header::LOCATION, &*place)], sdp)
        .into_response())
}

/// The offer, and the session's settings where they come with it.
async fn parts(request: Request) -> Result<(String, Option<String>), Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*kind {
        "application/sdp" => {
            let body = to_bytes(request.into_body(), OFFER_MAX).await.map_err(|_| too_large("offer", OFFER_MAX))?;
            Ok((text("offer", body.to_vec())?, None))
        }
        "multipart/form-data" => form(request).await,
        _ => {
            let message =
                "Send the offer as 'application/sdp', or as 'multipart/form-data' with the parts 'sdp' and 'session'.";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
        }
    }
}

async fn form(request: Request) -> Result<(String, Option<String>), Refusal> {
    let broken = |error: &dyn std::fmt::Display| {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_multipart", format!("The form cannot be read: {error}."))
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(&error))?;
    let (mut sdp, mut settings) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        match field.name() {
            Some("sdp") => sdp = Some(part("sdp", field, OFFER_MAX).await?),
            Some("session") => settings = Some(part("session", field, SESSION_MAX).await?),
            _ => {}
        }
    }
    match sdp {
        Some(sdp) => Ok((sdp, settings)),
        None => {
            let message = "Missing required parameter: 'sdp'. Send the offer as a part of that name.";
            Err(Refusal::new(StatusCode::BAD_REQUEST, "missing_required_parameter", message).param("sdp"))
        }
    }
}

async fn part(name: &str, mut field: Field<'_>, max: usize) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= max => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(too_large(name, max)),
            Ok(None) => return text(name, bytes),
            Err(error) => {
                let message = format!("The part '{name}' cannot be read: {error}.");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_multipart", message));
            }
        }
    }
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|_| Refusal::invalid(name, format!("The {name} is not text in UTF-8.")))
}

fn too_large(name: &str, max: usize) -> Refusal {
    let message = format!("The {name} is longer than {max} bytes, or did not arrive whole.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "string_above_max_length", message)
}

/// Sets the session up as the client wants it and puts the call on the board.
async fn open(
    server: &Server,
    switchboard: &Switchboard,
    key: &str,
    wanted: Wanted,
    settings: Option<String>,
    offer: Offer,
) -> Result<Call, Refusal> {
    let app = &server.app;
    let studio = wanted.studio.as_deref() == Some("true");
    let mut translator =
        Translator::new(key, Introduction::new(app, wanted.model, Kind::Realtime), studio).carried_by(Carrier::WebRtc);
    let first = settings.map(|settings| update(&mut translator, &settings)).transpose()?.flatten();
    let mut greeting = vec![translator.greeting()];
    let mut news = studio.then(|| Newsfeed::new(app));
    if let Some(news) = &mut news {
        let hello = StudioEvent::hello(&app.name, &app.voices);
        greeting.extend(std::iter::once(hello).chain(news.now()).map(|event| translator.write(&event)));
    }
    let hangup = server.calls.enter(key);
    let ends = (hangup, server.closing.clone());
    match Call::open(switchboard, offer, translator, greeting, news, &app.limits, ends).await {
        Ok(mut call) => {
            if let Some(first) = first {
                call.begin_with(first);
            }
            Ok(call)
        }
        Err(error) => {
            server.calls.leave(key);
            let message = format!("No call can be made: {error}.");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message))
        }
    }
}

/// The settings that come with an offer are what a `session.update` would say.
fn update(translator: &mut Translator, settings: &str) -> Result<Option<ClientMessage>, Refusal> {
    let bad = |code: &str, message: String| Refusal::new(StatusCode::BAD_REQUEST, code, message);
    let settings: Value = serde_json::from_str(settings)
        .map_err(|error| bad("invalid_json", format!("The part 'session' is not JSON: {error}.")))?;
    let event = json!({ "type": "session.update", "session": settings });
    translator.inbound(&event.to_string()).map_err(|error| bad(&error.code, error.message.clone()))
}

/// One session from its greeting to its end.
async fn converse(server: Arc<Server>, key: String, mut call: Call, _admission: Admission) {
    let _open = metrics::OpenSession::new();
    let span = info_span!("session", %key, carrier = "webrtc");
    async {
        info!("opened");
        let conversation = Conversation::new(&key, server.app.session.clone());
        // Why it ended, the call knows better.
        let _ = session::run(&server.app.engines, conversation, &mut call).await;
        let end = call.close();
        info!(why = end.name(), "closed");
    }
    .instrument(span)
    .await;
    server.calls.leave(&key);
}

async fn hang_up(State(server): State<Arc<Server>>, Path(id): Path<String>, _: Caller) -> Result<StatusCode, Refusal> {
    if id.strip_prefix("rtc_").is_some_and(|key| server.calls.hang_up(key)) {
        return Ok(StatusCode::OK);
    }
    Err(Refusal::new(StatusCode::NOT_FOUND, "call_not_found", "There is no such call; it may have ended."))
}

impl OpenCalls {
    fn enter(&self, key: &str) -> watch::Receiver<bool> {
        let (hangup, told) = watch::channel(false);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), hangup);
        told
    }

    fn leave(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn hang_up(&self, key: &str) -> bool {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(key).is_some_and(|hangup| hangup.send(true).is_ok())
    }
}
