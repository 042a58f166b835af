//! `/v1/audio/speech`: a text, spoken.

use std::sync::Arc;

use anchor_core::engine::{EventStream, TtsEvent, TtsRequest};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::encode::{Encoder, FORMATS};
use super::{event, words};
use crate::access::Caller;
use crate::http::Server;
use crate::realtime::HOSTED_VOICES;
use crate::refusal::Refusal;

/// Longest text, in characters: the hosted API's limit.
const INPUT_MAX: usize = 4096;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/audio/speech", post(speak))
}

#[derive(Deserialize)]
struct Wanted {
    input: String,
    voice: Option<Voice>,
    response_format: Option<String>,
    speed: Option<f32>,
    stream_format: Option<StreamFormat>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a voice is named by a string, or by an object with an 'id'")]
enum Voice {
    Name(String),
    Custom { id: String },
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum StreamFormat {
    Audio,
    Sse,
}

async fn speak(State(server): State<Arc<Server>>, _: Caller, Body(wanted): Body<Wanted>) -> Result<Response, Refusal> {
    let length = wanted.input.chars().count();
    if length > INPUT_MAX || wanted.input.trim().is_empty() {
        let message = format!(
            "'input' must hold 1 to {INPUT_MAX} characters to speak, not {length}. Send a longer text in parts."
        );
        return Err(Refusal::invalid("input", message));
    }
    let speed = wanted.speed.unwrap_or(server.app.session.speed);
    if !(0.25..=4.0).contains(&speed) {
        return Err(Refusal::invalid("speed", format!("'speed' must be from 0.25 to 4.0, not {speed}.")));
    }
    let format = wanted.response_format.as_deref().unwrap_or("mp3");
    let encoder = Encoder::new(format).ok_or_else(|| {
        let message = format!("The form '{format}' is not offered. Ask for one of: {FORMATS}.");
        Refusal::invalid("response_format", message)
    })?;
    let encoder = encoder.map_err(|error| broken(&error))?;
    let request = TtsRequest { voice: voice(&server, wanted.voice)?, speed };
    let usage = words(&wanted.input);
    let mut sound = server.app.engines.tts.speak(request, stream::iter(clauses(&wanted.input)).boxed());
    // What goes wrong before the first sound is said in the answer's status.
    let first = next_sound(&mut sound).await.transpose()?.unwrap_or_default();
    let kind = encoder.content_type();
    let file = file(encoder, first, sound);
    if wanted.stream_format != Some(StreamFormat::Sse) {
        let body = axum::body::Body::from_stream(file.map(|piece| piece.map_err(|refusal| refusal.body().to_string())));
        return Ok(([(header::CONTENT_TYPE, kind)], body).into_response());
    }
    let usage = json!({ "input_tokens": usage, "output_tokens": 0, "total_tokens": usage });
    let done = stream::iter([event(&json!({ "type": "speech.audio.done", "usage": usage }))]);
    let events = file.filter_map(async |piece| match piece {
        Ok(bytes) if bytes.is_empty() => None,
        Ok(bytes) => Some(event(&json!({ "type": "speech.audio.delta", "audio": BASE64_STANDARD.encode(bytes) }))),
        Err(refusal) => Some(event(&refusal.body())),
    });
    Ok(Sse::new(events.chain(done).map(Ok::<_, std::convert::Infallible>)).into_response())
}

/// The voice asked for. Names of the hosted API's voices, which clients send by default, mean the anchor's own.
fn voice(server: &Server, wanted: Option<Voice>) -> Result<Option<String>, Refusal> {
    let Some(Voice::Name(name) | Voice::Custom { id: name }) = wanted else {
        return Ok(server.app.session.voice.clone());
    };
    let voices: Vec<_> = server.app.voices.iter().map(|voice| voice.name.as_str()).collect();
    if voices.contains(&name.as_str()) {
        Ok(Some(name))
    } else if HOSTED_VOICES.contains(&name.as_str()) {
        Ok(server.app.session.voice.clone())
    } else {
        let message = format!("There is no voice '{name}'. Choose one of: {}.", voices.join(", "));
        Err(Refusal::invalid("voice", message))
    }
}

/// A text sentence by sentence, so that the first is heard while the next is made.
fn clauses(text: &str) -> Vec<String> {
    let sentences = text.lines().flat_map(|line| line.split_inclusive(". "));
    sentences.map(str::trim).filter(|sentence| !sentence.is_empty()).map(str::to_owned).collect()
}

async fn next_sound(sound: &mut EventStream<TtsEvent>) -> Option<Result<Vec<f32>, Refusal>> {
    loop {
        match sound.next().await? {
            Ok(TtsEvent::Audio(frame)) => return Some(Ok(frame.to_vec())),
            Ok(TtsEvent::Word(_) | TtsEvent::ClauseEnd) => {}
            Err(error) => return Some(Err(error.into())),
        }
    }
}

/// The pieces of the file, up to its end or the first error.
fn file(
    encoder: Encoder,
    first: Vec<f32>,
    sound: EventStream<TtsEvent>,
) -> impl Stream<Item = Result<Vec<u8>, Refusal>> + Send {
    let state = Some((encoder, Some(first), sound));
    stream::unfold(state, async |state| {
        let (mut encoder, first, mut sound) = state?;
        let next = match first {
            Some(first) => Some(Ok(first)),
            None => next_sound(&mut sound).await,
        };
        Some(match next {
            Some(Ok(samples)) => match encoder.push(&samples) {
                Ok(bytes) => (Ok(bytes), Some((encoder, None, sound))),
                Err(error) => (Err(broken(&error)), None),
            },
            Some(Err(refusal)) => (Err(refusal), None),
            None => (encoder.finish().map_err(|error| broken(&error)), None),
        })
    })
    .boxed()
}

fn broken(error: &str) -> Refusal {
    let message = format!("The sound cannot be written in this form: {error}. Ask for 'wav'.");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "encoding_failed", message)
}
