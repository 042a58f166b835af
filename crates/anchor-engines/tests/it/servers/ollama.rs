//! Ollama's own API: `/api/chat`, `/api/ps`, `/api/show`, `/api/tags`. Its model says what the test gives it to say, and goes on
//! behind an unfinished answer as Ollama's templates do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Server, Trouble, Troubles, body};

pub const MODEL: &str = "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M";

pub const ANSWER: &str = "Good evening. The harbour bridge is open again, after eleven years of work.";

/// What Ollama does, and what it was asked.
#[derive(Clone)]
pub struct Ollama {
    pub troubles: Troubles,
    pub habits: Arc<Mutex<Habits>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

/// How it behaves.
#[derive(Clone)]
pub struct Habits {
    /// What the model says.
    pub answer: String,
    /// The model is in memory.
    pub loaded: bool,
    /// How long loading takes.
    pub load: Duration,
    /// How much of it lies on the GPU, in percent.
    pub on_gpu: u64,
    /// The tool it calls instead of answering.
    pub call: Option<(&'static str, Value)>,
}

impl Ollama {
    /// Starts Ollama with its model in memory.
    pub async fn serve() -> (Self, Server) {
        let habits = Habits { answer: ANSWER.into(), loaded: true, load: Duration::ZERO, on_gpu: 100, call: None };
        let ollama =
            Self { troubles: Troubles::default(), habits: Arc::new(Mutex::new(habits)), asked: Arc::default() };
        let router = Router::new()
            .route("/api/version", get(async || Json(json!({ "version": "0.32.15" }))))
            .route("/api/ps", get(running))
            .route("/api/show", post(show))
            .route("/api/chat", post(chat))
            .with_state(ollama.clone());
        let server = Server::start(router).await;
        (ollama, server)
    }

    pub fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.habits.lock().unwrap());
    }

    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    fn habits(&self) -> Habits {
        self.habits.lock().unwrap().clone()
    }
}

async fn running(State(ollama): State<Ollama>) -> Json<Value> {
    let Habits { loaded, on_gpu, .. } = ollama.habits();
    let size = 15_000_000_000_u64;
    let model = json!({
        "name": MODEL, "model": MODEL, "size": size, "size_vram": size / 100 * on_gpu, "context_length": 8192,
        "expires_at": "2318-01-01T00:00:00Z"
    });
    Json(json!({ "models": if loaded { vec![model] } else { vec![] } }))
}

async fn show(Json(asked): Json<Value>) -> Response {
    if asked["model"] != MODEL {
        return absent(&asked);
    }
    let template = "[SYSTEM_PROMPT]{{ .System }}[/SYSTEM_PROMPT][INST]{{ .Prompt }}[/INST]";
    Json(json!({ "template": template, "details": { "quantization_level": "Q4_K_M" } })).into_response()
}

fn absent(asked: &Value) -> Response {
    let error = format!("model '{}' not found", asked["model"].as_str().unwrap_or_default());
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

async fn chat(State(ollama): State<Ollama>, Json(asked): Json<Value>) -> Response {
    ollama.asked.lock().unwrap().push(asked.clone());
    if asked["model"] != MODEL {
        return absent(&asked);
    }
    let habits = ollama.habits();
    let messages = asked["messages"].as_array().expect("messages");
    if messages.is_empty() {
        tokio::time::sleep(habits.load).await;
        ollama.change(|habits| habits.loaded = true);
        return Json(json!({ "model": MODEL, "message": { "role": "assistant", "content": "" }, "done": true,
                            "done_reason": "load" }))
        .into_response();
    }
    let trouble = ollama.troubles.next();
    match &trouble {
        Some(Trouble::Refuses(status, text)) => {
            return (StatusCode::from_u16(*status).unwrap(), text.clone()).into_response();
        }
        Some(Trouble::Hangs) => return std::future::pending().await,
        _ => {}
    }
    let line = |message: Value, done: bool| {
        let mut line =
            json!({ "model": MODEL, "created_at": "2026-11-24T10:00:00Z", "message": message, "done": done });
        if done {
            line["done_reason"] = "stop".into();
            line["eval_count"] = 17.into();
        }
        Bytes::from(format!("{line}\n"))
    };
    let last = messages.last().unwrap();
    let begun = if last["role"] == "assistant" { last["content"].as_str().unwrap_or_default() } else { "" };
    let rest = habits.answer.strip_prefix(begun).unwrap_or_default().to_owned();
    let mut pieces: Vec<Bytes> = match habits.call {
        Some((name, arguments)) => {
            let call = json!({ "function": { "name": name, "arguments": arguments } });
            vec![line(json!({ "role": "assistant", "content": "", "tool_calls": [call] }), false)]
        }
        None => {
            let words = rest.split_inclusive(' ');
            words.map(|word| line(json!({ "role": "assistant", "content": word }), false)).collect()
        }
    };
    pieces.push(line(json!({ "role": "assistant", "content": "" }), true));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body(pieces, trouble)).into_response()
}
