//! OpenAI's chat API as servers of all makers speak it.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Server, Trouble, Troubles, body};

pub const MODEL: &str = "tiny";

pub const ANSWER: &str = "Good evening. The harbour bridge is open again.";

/// What the server does, and what it was asked.
#[derive(Clone, Default)]
pub struct Chat {
    pub troubles: Troubles,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The body of a request, and its key.
pub type Asked = (Value, Option<String>);

impl Chat {
    pub async fn serve() -> (Self, Server) {
        let chat = Self::default();
        let models = json!({ "object": "list", "data": [{ "id": MODEL }, { "id": "second" }] });
        let router = Router::new()
            .route("/health", get(async || ""))
            .route("/v1/models", get(async || Json(models)))
            .merge(chat.routes());
        let server = Server::start(router).await;
        (chat, server)
    }

    /// Its chat alone, for servers that have more.
    pub fn routes(&self) -> Router {
        Router::new().route("/v1/chat/completions", post(complete)).with_state(self.clone())
    }

    /// The bodies of the requests, and their keys.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn complete(State(chat): State<Chat>, headers: HeaderMap, Json(asked): Json<Value>) -> Response {
    let key = headers.get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned());
    chat.asked.lock().unwrap().push((asked.clone(), key));
    let trouble = chat.troubles.next();
    match &trouble {
        Some(Trouble::Refuses(status, text)) => {
            return (StatusCode::from_u16(*status).unwrap(), text.clone()).into_response();
        }
        Some(Trouble::Hangs) => return std::future::pending().await,
        _ => {}
    }
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice] });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut pieces = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    pieces.extend(ANSWER.split_inclusive(' ').map(|word| chunk(json!({ "content": word }), Value::Null)));
    pieces.push(chunk(json!({}), "stop".into()));
    pieces.push("data: [DONE]\n\n".into());
    ([(header::CONTENT_TYPE, "text/event-stream")], body(pieces, trouble)).into_response()
}
