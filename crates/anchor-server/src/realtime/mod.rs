//! The dialect of the OpenAI Realtime API (GA): its names, its translation, and WebSockets and WebRTC to speak it over.

pub(crate) mod calls;
mod g711;
mod outbox;
mod pcm;
mod translate;
pub(crate) mod upgrade;
pub(crate) mod webrtc;
pub(crate) mod websocket;
mod wire;

use axum::http::StatusCode;
use serde_json::{Value, json};

pub(crate) use self::translate::HOSTED_VOICES;
pub use self::translate::fuzzing;
use self::translate::{Introduction, Translator};
use self::wire::Kind;
use crate::App;
use crate::refusal::Refusal;

/// A session as one that begins with these settings is described, complete; or what is wrong with the settings.
pub(crate) fn described(app: &App, session: Option<&Value>) -> Result<Value, Refusal> {
    let model = session.and_then(|session| session["model"].as_str()).map(str::to_owned);
    let mut translator = Translator::new("ephemeral", Introduction::new(app, model, kind_of(session)), false);
    if let Some(session) = session {
        translator.inbound(&update(session)).map_err(|error| {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, error.code, error.message);
            error.param.into_iter().fold(refusal, Refusal::param)
        })?;
    }
    let mut greeting: Value = serde_json::from_str(&translator.greeting()).unwrap_or_default();
    Ok(greeting["session"].take())
}

/// What kind of session these settings are of.
fn kind_of(session: Option<&Value>) -> Kind {
    match session.and_then(|session| session["type"].as_str()) {
        Some("transcription") => Kind::Transcription,
        _ => Kind::Realtime,
    }
}

/// The client event that makes these settings.
fn update(session: &Value) -> String {
    json!({ "type": "session.update", "session": session }).to_string()
}
