//! The dialect of the OpenAI Realtime API (GA): its names, its translation, and WebSockets and WebRTC to speak it over.

pub(crate) mod calls;
mod g711;
mod outbox;
mod pcm;
mod translate;
pub(crate) mod webrtc;
pub(crate) mod websocket;
mod wire;

pub use translate::fuzzing;
