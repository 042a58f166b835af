//! The names and shapes of the OpenAI Realtime API (GA), as its reference and its official clients have them.
//!
//! Types only: what they mean is the business of [`translate`](super::translate). Clients are strict about absent and
//! `null`, so every optional field is left out when empty, except those the API sends as `null`: a first item's
//! `previous_item_id`; a response's `status_details`, `usage` and `metadata`; the transcript of user audio; a session's
//! `tracing`, `prompt`, `include`, `transcription`, `noise_reduction` and `turn_detection`; an error's `param`, `code` and
//! `event_id`.

mod client;
mod server;
mod session;

pub(crate) use client::*;
pub(crate) use server::*;
pub(crate) use session::*;
