//! The servers of voices: Higgs Audio in its three dialects, and OpenAI's `/v1/audio/speech`. They speak in tones
//! ([`morse`](super::morse)) and keep what they were asked.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Server, Trouble, Troubles, body, morse};

/// Which server is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boson,
    VllmOmni,
    SglangOmni,
    /// Before it had a list of voices.
    OldSglangOmni,
    OpenAi,
}

/// What a server of voices does, and what it was asked.
#[derive(Clone)]
pub struct Speech {
    pub kind: Arc<Mutex<Kind>>,
    pub troubles: Troubles,
    /// What the questions about the server's state meet, one each.
    pub state_troubles: Troubles,
    pub habits: Arc<Mutex<Habits>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// How it sends its sound.
#[derive(Clone)]
pub struct Habits {
    /// Rate of the samples, in Hz.
    pub rate: u32,
    /// It says so in its headers.
    pub says_rate: bool,
    /// Bytes in a piece.
    pub piece: usize,
    /// Refuses bare samples.
    pub only_wav: bool,
    /// Loudness of the voice.
    pub gain: f32,
    /// Sent instead of the sound.
    pub instead: Option<(&'static str, Vec<u8>)>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: &'static str,
    pub body: Value,
    pub key: Option<String>,
}

impl Speech {
    pub fn new(kind: Kind) -> Self {
        let habits = Habits { rate: 24_000, says_rate: false, piece: 4_801, only_wav: false, gain: 1.0, instead: None };
        Self {
            kind: Arc::new(Mutex::new(kind)),
            troubles: Troubles::default(),
            state_troubles: Troubles::default(),
            habits: Arc::new(Mutex::new(habits)),
            asked: Arc::default(),
        }
    }

    /// Starts a server of this kind; what it does can be changed while it runs.
    pub async fn serve(kind: Kind) -> (Self, Server) {
        let speech = Self::new(kind);
        let server = Server::start(speech.router()).await;
        (speech, server)
    }

    pub fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.habits.lock().unwrap());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn kind(&self) -> Kind {
        *self.kind.lock().unwrap()
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/v1/models", get(models))
            .route("/v1/audio/voices", get(voices))
            .route("/v1/audio/speech", post(speech))
            .route("/v1/chat/completions", post(chat))
            .with_state(self.clone())
    }

    fn note(&self, path: &'static str, headers: &HeaderMap, body: &Value) {
        let key = headers.get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned());
        self.asked.lock().unwrap().push(Asked { path, body: body.clone(), key });
    }

    /// Samples as bytes.
    fn pcm(&self, text: &str) -> Vec<u8> {
        let habits = self.habits.lock().unwrap().clone();
        let sample = |sample: f32| ((sample * habits.gain).clamp(-1.0, 1.0) * 32_767.0) as i16;
        morse::speak(text, habits.rate).into_iter().flat_map(|s| sample(s).to_le_bytes()).collect()
    }
}

fn error(status: u16, text: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let body = if text.starts_with('{') { text.to_owned() } else { json!({"error": {"message": text}}).to_string() };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn state_trouble(server: &Speech) -> Option<Response> {
    match server.state_troubles.next()? {
        Trouble::Refuses(status, text) => Some(error(status, &text)),
        Trouble::Hangs => std::future::pending().await,
        _ => None,
    }
}

/// Boson's says nothing, the others that they are well.
async fn health(State(server): State<Speech>) -> Response {
    if let Some(refusal) = state_trouble(&server).await {
        return refusal;
    }
    match server.kind() {
        Kind::Boson => StatusCode::OK.into_response(),
        Kind::VllmOmni => Json(json!({"status": "healthy"})).into_response(),
        Kind::SglangOmni | Kind::OldSglangOmni => Json(json!({"status": "healthy", "running": true})).into_response(),
        Kind::OpenAi => error(404, "{\"detail\":\"Not Found\"}"),
    }
}

async fn models(State(server): State<Speech>) -> Response {
    if let Some(refusal) = state_trouble(&server).await {
        return refusal;
    }
    let id = match server.kind() {
        Kind::OpenAi => "kokoro",
        _ => "higgs-audio-v2-generation-3B-base",
    };
    Json(json!({"object": "list", "data": [{"id": id, "object": "model"}]})).into_response()
}

async fn voices(State(server): State<Speech>) -> Response {
    if let Some(refusal) = state_trouble(&server).await {
        return refusal;
    }
    match server.kind() {
        Kind::Boson => Json(json!(["belinda", "en_man", "zh_man_sichuan"])).into_response(),
        Kind::VllmOmni => Json(json!({"voices": ["default"], "uploaded_voices": []})).into_response(),
        Kind::SglangOmni => {
            let uploaded = json!([{"name": "ben", "consent": "", "created_at": 0}]);
            Json(json!({"voices": ["default"], "uploaded_voices": uploaded, "cache_stats": {"hits": 0}}))
                .into_response()
        }
        Kind::OldSglangOmni | Kind::OpenAi => error(404, "{\"detail\":\"Not Found\"}"),
    }
}

async fn speech(State(server): State<Speech>, headers: HeaderMap, Json(asked): Json<Value>) -> Response {
    server.note("/v1/audio/speech", &headers, &asked);
    let trouble = server.troubles.next();
    if let Some(Trouble::Refuses(status, text)) = trouble {
        return error(status, &text);
    }
    if let Some(complaint) = complaint(&server, &asked) {
        return error(400, &complaint);
    }
    let habits = server.habits.lock().unwrap().clone();
    let (content, bytes) = match habits.instead {
        Some((content, bytes)) => (content, bytes),
        None => {
            let pcm = server.pcm(asked["input"].as_str().unwrap());
            match (server.kind(), asked["response_format"].as_str()) {
                // Boson's server calls everything so.
                (Kind::Boson, _) => ("audio/mpeg", pcm),
                (_, Some("wav")) => ("audio/wav", [wav_header(habits.rate), pcm].concat()),
                _ => ("audio/pcm", pcm),
            }
        }
    };
    let pieces = bytes.chunks(habits.piece).map(Bytes::copy_from_slice).collect();
    let mut answer = ([(header::CONTENT_TYPE, content)], body(pieces, trouble)).into_response();
    if habits.says_rate {
        answer.headers_mut().insert("x-sample-rate", habits.rate.into());
    }
    answer
}

/// What the real server would not take.
fn complaint(server: &Speech, asked: &Value) -> Option<String> {
    let text = |name: &str| asked[name].as_str();
    text("input").filter(|text| !text.is_empty()).map_or(Some("input is missing".into()), |_| None).or_else(|| {
        let kind = server.kind();
        let required = match kind {
            Kind::Boson | Kind::OpenAi => ["model", "voice"].as_slice(),
            _ => &[],
        };
        if let Some(missing) = required.iter().find(|name| text(name).is_none()) {
            return Some(format!("{missing}: Field required"));
        }
        match kind {
            Kind::VllmOmni if asked["speed"].as_f64().is_some_and(|speed| speed != 1.0) => {
                Some("higgs_audio_v2 v1 does not support 'speed' adjustments".into())
            }
            Kind::VllmOmni if text("voice").is_some() && text("ref_audio").is_none() => {
                Some("higgs_audio_v2 v1 does not support 'voice'/'speaker' selection for built-in voices".into())
            }
            Kind::VllmOmni | Kind::SglangOmni if text("ref_audio").is_some() && text("ref_text").is_none() => {
                Some("voice clone requires both".into())
            }
            _ if text("response_format") == Some("pcm") && server.habits.lock().unwrap().only_wav => {
                Some("response_format: Input should be 'mp3' or 'wav'".into())
            }
            _ => None,
        }
    })
}

/// The chat of Boson's server, which clones.
async fn chat(State(server): State<Speech>, headers: HeaderMap, Json(asked): Json<Value>) -> Response {
    server.note("/v1/chat/completions", &headers, &asked);
    let trouble = server.troubles.next();
    if let Some(Trouble::Refuses(status, text)) = trouble {
        return error(status, &text);
    }
    let event = |delta: Value| {
        let choices = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]);
        format!("data: {}\n\n", json!({"id": "chat-1", "object": "chat.completion.chunk", "choices": choices}))
    };
    let text = asked["messages"].as_array().and_then(|all| all.last()?["content"].as_str()).unwrap();
    let mut pieces = vec![Bytes::from(event(json!({"role": "assistant", "content": ""})))];
    for sound in server.pcm(text).chunks(15_360) {
        let audio = json!({"id": "audio-1", "data": STANDARD.encode(sound), "expires_at": 0, "transcript": ""});
        pieces.push(event(json!({"content": "", "audio": audio})).into());
    }
    pieces.push("data: [DONE]\n\n".into());
    ([(header::CONTENT_TYPE, "text/event-stream")], body(pieces, trouble)).into_response()
}

/// As servers write it that do not know the length yet.
fn wav_header(rate: u32) -> Vec<u8> {
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data\xff\xff\xff\xff");
    bytes
}
