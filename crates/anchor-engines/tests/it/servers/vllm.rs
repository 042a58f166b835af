//! The server of vLLM as recognisers use it: `/v1/audio/transcriptions`, `/v1/models`, and the WebSocket `/v1/realtime`. It
//! hears whatever the test says is heard, word by word as the sound grows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Counted, Server, Trouble, Troubles, body};

pub const MODEL: &str = "mistralai/Voxtral-Mini-3B-2507";
pub const REALTIME_MODEL: &str = "mistralai/Voxtral-Mini-4B-Realtime-2602";

/// A word of the text is heard for each so much of sound, in milliseconds; the whole text at the end of 16 words.
const WORD_MS: usize = 250;

/// What the server hears, and what it was asked.
#[derive(Clone, Default)]
pub struct Vllm {
    pub troubles: Troubles,
    text: Arc<Mutex<String>>,
    /// Answers with one JSON object, as servers that cannot stream do.
    whole: Arc<Mutex<bool>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Realtime sessions that are open: an upgraded connection is no longer the server's.
    sessions: Arc<AtomicUsize>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub model: String,
    pub language: Option<String>,
    pub stream: bool,
    pub milliseconds: usize,
    pub key: Option<String>,
}

impl Vllm {
    /// Starts a server that hears this.
    pub async fn serve(text: &str) -> (Self, Server) {
        let vllm = Self { text: Arc::new(Mutex::new(text.into())), ..Self::default() };
        let router = Router::new()
            .route("/health", get(async || ""))
            .route("/v1/models", get(models))
            .route("/v1/audio/transcriptions", post(transcribe))
            .route("/v1/realtime", any(realtime))
            .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(vllm.clone())
            .merge(super::openai_chat::Chat::default().routes());
        let server = Server::start(router).await;
        (vllm, server)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Realtime sessions that are open now.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::SeqCst)
    }

    pub fn answer_whole(&self) {
        *self.whole.lock().unwrap() = true;
    }

    /// The words heard in so much sound: all of them in the whole turn, fewer while it is being spoken.
    fn heard(&self, milliseconds: usize) -> Vec<String> {
        let text = self.text.lock().unwrap().clone();
        text.split_whitespace().take((milliseconds / WORD_MS).max(1)).map(str::to_owned).collect()
    }
}

async fn models() -> Json<Value> {
    let model = |id: &str| json!({ "id": id, "object": "model", "owned_by": "vllm", "max_model_len": 8192 });
    Json(json!({ "object": "list", "data": [model(MODEL), model(REALTIME_MODEL)] }))
}

async fn transcribe(State(vllm): State<Vllm>, headers: HeaderMap, form: Bytes) -> Response {
    let asked = read(&headers, &form);
    vllm.asked.lock().unwrap().push(asked.clone());
    let trouble = vllm.troubles.next();
    if let Some(Trouble::Refuses(status, text)) = trouble {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    if trouble == Some(Trouble::Hangs) {
        return std::future::pending().await;
    }
    if asked.model != MODEL {
        let error = json!({ "error": { "message": format!("The model `{}` does not exist.", asked.model) } });
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let words = vllm.heard(asked.milliseconds);
    if *vllm.whole.lock().unwrap() || !asked.stream {
        let seconds = asked.milliseconds.div_ceil(1000);
        let answer = json!({ "text": words.join(" "), "usage": { "type": "duration", "seconds": seconds } });
        let json = ([(header::CONTENT_TYPE, "application/json")], body(vec![answer.to_string().into()], trouble));
        return json.into_response();
    }
    let event = |delta: &str| {
        let choice = json!({ "delta": { "content": delta }, "finish_reason": null });
        let chunk = json!({ "id": "trsc-1", "object": "transcription.chunk", "choices": [choice] });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut pieces: Vec<Bytes> = words.iter().map(|word| event(&format!(" {word}"))).collect();
    pieces.push("data: [DONE]\n\n".into());
    let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (kind, body(pieces, trouble)).into_response()
}

/// What a form asks for. Its sound is 16 kHz, 16 bits, mono, or this panics.
fn read(headers: &HeaderMap, form: &[u8]) -> Asked {
    let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
    let boundary = format!("--{}", kind.split_once("boundary=").expect("a form").1.trim_matches('"'));
    let mut asked =
        Asked { model: String::new(), language: None, stream: false, milliseconds: 0, key: key_of(headers) };
    for part in split(form, boundary.as_bytes()) {
        let Some(at) = part.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let (head, content) = (String::from_utf8_lossy(&part[..at]), &part[at + 4..part.len().saturating_sub(2)]);
        let text = || String::from_utf8_lossy(content).into_owned();
        match head.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name) {
            Some("file") => {
                let wav = b"RIFF";
                assert!(content.starts_with(wav) && content[8..16] == *b"WAVEfmt ", "no WAV");
                assert_eq!(content[20..36], *b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0", "not 16 kHz mono");
                asked.milliseconds = (content.len() - 44) / 32;
            }
            Some("model") => asked.model = text(),
            Some("language") => asked.language = Some(text()),
            Some("stream") => asked.stream = text() == "true",
            _ => {}
        }
    }
    asked
}

fn key_of(headers: &HeaderMap) -> Option<String> {
    headers.get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned())
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while at + by.len() <= bytes.len() {
        if bytes[at..].starts_with(by) {
            parts.push(&bytes[from..at]);
            at += by.len();
            from = at;
        } else {
            at += 1;
        }
    }
    parts
}

async fn realtime(State(vllm): State<Vllm>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let key = key_of(&headers);
    upgrade.on_upgrade(move |socket| async move {
        let _counted = Counted::new(vllm.sessions.clone());
        // A client that is gone is what some tests are about.
        let _ = converse(socket, &vllm, key).await;
    })
}

/// One session: a word is told for each stretch of sound, the rest after the last commit.
async fn converse(mut socket: WebSocket, vllm: &Vllm, key: Option<String>) -> Result<(), axum::Error> {
    let trouble = vllm.troubles.next();
    if trouble == Some(Trouble::Hangs) {
        return hung(&mut socket).await;
    }
    say(&mut socket, json!({ "type": "session.created", "id": "sess-1", "created": 0 })).await?;
    let mut asked = Asked { model: String::new(), language: None, stream: true, milliseconds: 0, key };
    let (mut begun, mut told) = (false, 0);
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).expect("JSON");
        match event["type"].as_str().expect("a type") {
            "session.update" => {
                asked.model = event["model"].as_str().unwrap_or_default().into();
                asked.language = event["language"].as_str().map(str::to_owned);
            }
            "input_audio_buffer.append" => {
                assert!(begun, "the first commit comes before the sound");
                let sound = BASE64_STANDARD.decode(event["audio"].as_str().unwrap()).expect("base64");
                assert!(!sound.is_empty(), "vLLM answers an empty piece with an error");
                asked.milliseconds += sound.len() / 32;
            }
            "input_audio_buffer.commit" if event["final"] == true => {
                vllm.asked.lock().unwrap().push(asked.clone());
                let words = vllm.heard(usize::MAX);
                for word in &words[told.min(words.len())..] {
                    if let Some(event) = at_word(told, &trouble) {
                        return event_of(&mut socket, event).await;
                    }
                    say(&mut socket, json!({ "type": "transcription.delta", "delta": format!(" {word}") })).await?;
                    told += 1;
                }
                say(&mut socket, json!({ "type": "transcription.done", "text": words.join(" "), "usage": {} })).await?;
                return Ok(());
            }
            "input_audio_buffer.commit" => begun = true,
            other => panic!("no event of this protocol: {other}"),
        }
        let words = vllm.heard(asked.milliseconds);
        while told + 1 < words.len() {
            if let Some(event) = at_word(told, &trouble) {
                return event_of(&mut socket, event).await;
            }
            say(&mut socket, json!({ "type": "transcription.delta", "delta": format!(" {}", words[told]) })).await?;
            // Most tokens of the model have no text.
            say(&mut socket, json!({ "type": "transcription.delta", "delta": "" })).await?;
            told += 1;
        }
    }
    Ok(())
}

/// What happens instead of this word.
fn at_word(word: usize, trouble: &Option<Trouble>) -> Option<Trouble> {
    let trouble = trouble.clone()?;
    let at = match trouble {
        Trouble::StopsAfter(at) | Trouble::BreaksAfter(at) | Trouble::SaysAfter(at, _) => at,
        _ => return None,
    };
    (word >= at).then_some(trouble)
}

async fn event_of(socket: &mut WebSocket, trouble: Trouble) -> Result<(), axum::Error> {
    match trouble {
        Trouble::SaysAfter(_, text) => {
            socket.send(Message::text(text)).await?;
            hung(socket).await
        }
        Trouble::StopsAfter(_) => hung(socket).await,
        _ => Ok(()),
    }
}

/// Says nothing until the client is gone.
async fn hung(socket: &mut WebSocket) -> Result<(), axum::Error> {
    while let Some(message) = socket.recv().await {
        message?;
    }
    Ok(())
}

async fn say(socket: &mut WebSocket, event: Value) -> Result<(), axum::Error> {
    socket.send(Message::text(event.to_string())).await
}
