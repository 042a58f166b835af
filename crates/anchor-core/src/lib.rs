//! Who speaks when: one spoken conversation as a state machine without I/O.
//!
//! The law of this crate: no I/O, no clock, no thread, no randomness, no unsafe code, no serialisation of its types.
//! Time comes in as an argument and work goes out as a value, so that every conversation can be replayed exactly.
//!
//! Start with [`Conversation`]: one input, then drain the outputs.

#![forbid(unsafe_code)]

pub mod audio;
pub mod engine;
pub mod rundown;

mod conversation;
mod protocol;

pub use conversation::Conversation;
pub use protocol::*;
