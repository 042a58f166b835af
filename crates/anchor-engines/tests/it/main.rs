//! The engines as the rest of the program sees them: through their tables.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a helper of tests fails and prints as they do"
)]

mod behaviour;
mod chain;
mod desk;
mod higgs;
mod language_models;
mod openai_speech;
mod reference;
mod servers;
mod stt;
mod tts;
mod vad;
mod voxtral;
