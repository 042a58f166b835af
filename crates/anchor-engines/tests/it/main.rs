//! The engines as the rest of the program sees them: through their tables.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod behaviour;
mod tts;
