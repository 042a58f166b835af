//! The seam between a session and whatever carries it: a WebSocket, a WebRTC call, a pair of sound files.

use std::future::Future;

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::{ClientCommand, Event, ResponseId};

/// What comes from a client.
#[derive(Clone, Debug)]
pub enum ClientMessage {
    /// The next sound from the person, of any length, at [`INPUT_RATE`](anchor_core::audio::INPUT_RATE).
    Audio(AudioFrame),
    /// The client asks for something.
    Command(ClientCommand),
    /// The client has played this much of a response.
    Playout(ResponseId, Samples),
}

/// What goes to a client.
#[derive(Clone, Debug)]
pub enum ServerMessage {
    /// Something happened.
    Event(Event),
    /// The next sound of a response, at [`OUTPUT_RATE`](anchor_core::audio::OUTPUT_RATE).
    Play(ResponseId, AudioFrame),
    /// Drop what was given out for playing and was not heard yet.
    ClearPlayout,
}

/// What carries a session to its client and back.
pub trait Transport {
    /// The next message of the client; `None` once it is gone. Loses nothing when dropped before it is ready.
    ///
    /// Whatever is sent between two calls is the consequence of the message returned by the first.
    fn recv(&mut self) -> impl Future<Output = Option<ClientMessage>> + Send;

    /// Hands a message to the client. Returns as soon as the message has a place to wait in.
    fn send(&mut self, message: ServerMessage) -> impl Future<Output = Result<(), Disconnected>> + Send;
}

/// The client cannot be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disconnected {
    /// It closed the connection, or the connection broke.
    #[error("the client is gone")]
    Gone,
    /// It does not read what it is sent.
    #[error("the client reads too slowly")]
    TooSlow,
}
