//! Who speaks when: one spoken conversation as a state machine without I/O.
//!
//! The law of this crate: no I/O, no clock, no thread, no randomness, no unsafe code, no serialisation of its types.
//! Time comes in as an argument and work goes out as a value, so that every conversation can be replayed exactly.
//!
//! Start with [`Conversation`]: one input, then drain the outputs.

#![forbid(unsafe_code)]

pub mod audio;
pub mod engine;
pub mod grammar;
pub mod rundown;

mod chunk;
mod context;
mod conversation;
mod floor;
mod history;
mod input_buffer;
mod playout;
mod protocol;
mod response;
mod shared;
mod timer;
mod turn;
mod vad;

pub use conversation::Conversation;
pub use protocol::*;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    /// An instant to count from; which one it is makes no difference.
    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    pub(crate) fn start_of_time() -> Instant {
        Instant::now()
    }
}
