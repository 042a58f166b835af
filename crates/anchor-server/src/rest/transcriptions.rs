//! `/v1/audio/transcriptions`: a recording, written down.

use std::sync::Arc;

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{EventStream, SttEvent, SttRequest};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::body::{BODY_PATIENCE, is, late, unread};
use super::decode::decode;
use super::event;
use crate::access::Caller;
use crate::http::Server;
use crate::refusal::Refusal;

/// Longest upload, in bytes: the hosted API's limit.
const UPLOAD_MAX: usize = 25 * 1024 * 1024;

/// Samples handed to the recogniser at once: 20 ms.
const PIECE: usize = INPUT_RATE as usize / 50;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/audio/transcriptions", post(transcribe)).layer(DefaultBodyLimit::max(UPLOAD_MAX))
}

/// The fields of the form that have an effect.
#[derive(Default)]
struct Wanted {
    file: Option<Vec<u8>>,
    language: Option<String>,
    prompt: Option<String>,
    format: Option<String>,
    stream: bool,
}

async fn transcribe(State(server): State<Arc<Server>>, _: Caller, request: Request) -> Result<Response, Refusal> {
    if !is(request.headers(), "multipart/form-data") {
        let message = "Send a form, with the header 'Content-Type: multipart/form-data' and its boundary.";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let form =
        Multipart::from_request(request, &()).await.map_err(|error| unread(error.status(), &error.body_text()))?;
    let wanted = timeout(BODY_PATIENCE, read(form)).await.map_err(|_| late())??;
    let format = wanted.format.as_deref().unwrap_or("json");
    if !["json", "text", "srt", "verbose_json", "vtt"].contains(&format) {
        let message =
            format!("The form '{format}' is not offered. Ask for one of: json, text, srt, verbose_json, vtt.");
        return Err(Refusal::invalid("response_format", message));
    }
    let file = wanted.file.ok_or_else(|| {
        Refusal::invalid("file", "The form has no 'file'. Send the recording in a field of that name.")
    })?;
    let decoded = tokio::task::spawn_blocking(move || decode(file)).await;
    let sound = decoded.unwrap_or_else(|_| Err("it cannot be decoded".into())).map_err(|why| {
        let message = format!("'file' cannot be used: {why}. Send wav, mp3, flac, ogg, m4a or webm.");
        Refusal::invalid("file", message)
    })?;
    let seconds = sound.len() as f64 / f64::from(INPUT_RATE);
    let language = wanted.language.or_else(|| server.app.session.language.clone());
    let frames: Vec<AudioFrame> = sound.chunks(PIECE).map(AudioFrame::new).collect();
    let request = SttRequest { language: language.clone(), prompt: wanted.prompt };
    let mut events = server.app.engines.stt.transcribe(request, stream::iter(frames).boxed());
    if wanted.stream {
        return Ok(streamed(events, seconds));
    }
    let mut text = String::new();
    while let Some(event) = events.next().await {
        if let SttEvent::Final(last) = event? {
            text = last;
        }
    }
    Ok(written(format, &text, language.as_deref(), seconds))
}

async fn read(mut form: Multipart) -> Result<Wanted, Refusal> {
    let refuse = |error: MultipartError| unread(error.status(), &error.body_text());
    let mut wanted = Wanted::default();
    while let Some(field) = form.next_field().await.map_err(refuse)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            wanted.file = Some(field.bytes().await.map_err(refuse)?.to_vec());
            continue;
        }
        let text = field.text().await.map_err(refuse)?;
        match name.as_str() {
            "language" if !text.is_empty() => wanted.language = Some(text),
            "prompt" if !text.is_empty() => wanted.prompt = Some(text),
            "response_format" => wanted.format = Some(text),
            "stream" => wanted.stream = text == "true",
            // Words have no times of their own: the recognisers do not tell them.
            "timestamp_granularities[]" if text == "word" => {
                let message = "The times of words are not known. Ask for 'segment'.";
                return Err(Refusal::invalid("timestamp_granularities[]", message));
            }
            _ => {}
        }
    }
    Ok(wanted)
}

/// The transcript in the form asked for. The recognisers tell no times, so that the recording is one segment.
fn written(format: &str, text: &str, language: Option<&str>, seconds: f64) -> Response {
    let usage = usage(seconds);
    match format {
        "text" => plain(format!("{text}\n")),
        "srt" => plain(format!("1\n{} --> {}\n{text}\n\n", clock(0.0, ','), clock(seconds, ','))),
        "vtt" => plain(format!("WEBVTT\n\n{} --> {}\n{text}\n\n", clock(0.0, '.'), clock(seconds, '.'))),
        "verbose_json" => Json(json!({
            "task": "transcribe", "language": language.unwrap_or("unknown"), "duration": seconds, "text": text,
            "segments": [{ "id": 0, "start": 0.0, "end": seconds, "text": text }], "usage": usage,
        }))
        .into_response(),
        _ => Json(json!({ "text": text, "usage": usage })).into_response(),
    }
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn usage(seconds: f64) -> Value {
    json!({ "type": "duration", "seconds": seconds.ceil() as u64 })
}

/// A time as captions have it: hours, minutes, seconds, and milliseconds behind `mark`.
fn clock(seconds: f64, mark: char) -> String {
    let ms = (seconds * 1000.0).round() as u64;
    format!("{:02}:{:02}:{:02}{mark}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Deltas cannot be taken back, and partial transcripts may be: so only what the end confirms is sent.
fn streamed(events: EventStream<SttEvent>, seconds: f64) -> Response {
    let events = events.flat_map(move |event| {
        stream::iter(match event {
            Ok(SttEvent::Partial(_)) => Vec::new(),
            Ok(SttEvent::Final(text)) => vec![
                json!({ "type": "transcript.text.delta", "delta": text }),
                json!({ "type": "transcript.text.done", "text": text, "usage": usage(seconds) }),
            ],
            Err(error) => vec![Refusal::from(error).body()],
        })
    });
    Sse::new(events.map(|data| Ok::<_, std::convert::Infallible>(event(&data)))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_have_hours_to_milliseconds() {
        assert_eq!([clock(0.0, ','), clock(3_723.456, '.')], ["00:00:00,000", "01:02:03.456"]);
    }
}
