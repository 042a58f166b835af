//! The dialect of the OpenAI Realtime API (GA): its names, its translation, and WebSockets to speak it over.

mod outbox;
mod pcm;
mod translate;
pub(crate) mod upgrade;
pub(crate) mod websocket;
mod wire;
