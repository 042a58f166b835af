//! Language models, one file or folder each.

pub mod desk;
pub mod ollama;
pub mod openai_chat;
pub mod voxtral_vllm;

mod briefing;
mod calls;
mod chat;
mod prompt;
mod spoken;

use anchor_core::engine::{EngineError, EventStream, LlmEvent};
use futures::StreamExt;

use crate::http::Fault;

/// A stream that only says why there is none.
fn failed_stream(error: EngineError) -> EventStream<LlmEvent> {
    futures::stream::once(async { Err(error) }).boxed()
}

/// The fault of an answer that is complete and has neither words nor calls: on air it would be silence.
fn wordless() -> Fault {
    Fault::Broken("it answered without a word".into())
}

/// The error of an engine that is asked about sound and cannot hear.
fn cannot_hear(engine: &'static str) -> EngineError {
    EngineError::Unsupported { engine, reason: "it cannot hear; voxtral-vllm answers questions about sound".into() }
}
