//! `/v1/chat/completions`: the language model alone, in text.

mod request;

use std::convert::Infallible;
use std::sync::Arc;

use anchor_core::engine::{EventStream, LlmEvent, ToolCall};
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use self::request::Wanted;
use super::body::Body;
use super::{event, words};
use crate::access::{Caller, now};
use crate::http::Server;
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/chat/completions", post(complete))
}

async fn complete(
    State(server): State<Arc<Server>>,
    _: Caller,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Refusal> {
    let (stream, with_usage) = (wanted.stream, wanted.stream_options.include_usage);
    let answer = Answer::new(wanted.model.clone());
    let request = wanted.request()?;
    let asked =
        request.messages.iter().map(|message| words(&message.text)).sum::<usize>() + words(&request.instructions);
    let mut events = server.app.engines.llm.generate(request);
    if stream {
        // What goes wrong before the first word is said in the answer's status.
        let first = events.next().await.transpose()?;
        let events = stream::iter(first.map(Ok)).chain(events).boxed();
        return Ok(Sse::new(streamed(answer, events, asked, with_usage).map(Ok::<_, Infallible>)).into_response());
    }
    let (mut text, mut calls, mut cut) = (String::new(), Vec::new(), false);
    while let Some(event) = events.next().await {
        match event? {
            LlmEvent::Delta(delta) => text += &delta,
            LlmEvent::ToolCall(call) => calls.push(call),
            LlmEvent::LimitReached => cut = true,
            LlmEvent::Source(_) => {}
        }
    }
    let finish = finish_reason(calls.len(), cut);
    let usage = usage(asked, words(&text));
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
    if !calls.is_empty() {
        message["tool_calls"] = calls.iter().map(shown).collect();
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish, "logprobs": null });
    Ok(Json(answer.shown("chat.completion", json!([choice]), Some(usage))).into_response())
}

/// What all pieces of an answer have in common.
struct Answer {
    id: String,
    created: u64,
    model: String,
}

impl Answer {
    fn new(model: String) -> Self {
        Self { id: format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()), created: now(), model }
    }

    fn shown(&self, object: &str, choices: Value, usage: Option<Value>) -> Value {
        let Self { id, created, model } = self;
        let mut shown = json!({ "id": id, "object": object, "created": created, "model": model, "choices": choices });
        if let Some(usage) = usage {
            shown["usage"] = usage;
        }
        shown
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> Event {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish, "logprobs": null });
        event(&self.shown("chat.completion.chunk", json!([choice]), None))
    }
}

/// The answer piece by piece, up to `[DONE]`.
fn streamed(
    answer: Answer,
    events: EventStream<LlmEvent>,
    asked: usize,
    with_usage: bool,
) -> impl Stream<Item = Event> + Send {
    let opening = answer.chunk(json!({ "role": "assistant", "content": "" }), None);
    let (mut text, mut calls, mut cut, mut failed) = (String::new(), 0_usize, false, false);
    let pieces = events.map(Some).chain(stream::iter([None])).flat_map(move |happened| {
        stream::iter(match happened {
            Some(Ok(LlmEvent::Delta(delta))) => {
                text += &delta;
                vec![answer.chunk(json!({ "content": delta }), None)]
            }
            Some(Ok(LlmEvent::ToolCall(call))) => {
                let mut call = shown(&call);
                call["index"] = calls.into();
                calls += 1;
                vec![answer.chunk(json!({ "tool_calls": [call] }), None)]
            }
            Some(Ok(LlmEvent::LimitReached)) => {
                cut = true;
                Vec::new()
            }
            Some(Ok(LlmEvent::Source(_))) => Vec::new(),
            Some(Err(error)) => {
                failed = true;
                vec![event(&Refusal::from(error).body())]
            }
            // An answer that failed does not end as if it were whole.
            None if failed => Vec::new(),
            None => {
                let mut last = vec![answer.chunk(json!({}), Some(finish_reason(calls, cut)))];
                if with_usage {
                    let usage = usage(asked, words(&text));
                    last.push(event(&answer.shown("chat.completion.chunk", json!([]), Some(usage))));
                }
                last.push(Event::default().data("[DONE]"));
                last
            }
        })
    });
    stream::iter([opening]).chain(pieces)
}

fn shown(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

/// Why an answer with so many calls ended.
fn finish_reason(calls: usize, cut: bool) -> &'static str {
    match (calls, cut) {
        (_, true) => "length",
        (0, false) => "stop",
        (_, false) => "tool_calls",
    }
}

fn usage(asked: usize, answered: usize) -> Value {
    json!({ "prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered })
}
