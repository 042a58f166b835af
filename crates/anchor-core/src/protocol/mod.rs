//! What goes into a [`Conversation`](crate::Conversation) and what comes out of it.
//!
//! The words are those of the OpenAI Realtime API (session, item, response, commit, truncate, cancel), without its JSON.

use std::time::Instant;

use crate::audio::{AudioFrame, SampleTime, Samples};
use crate::engine::{EngineError, LlmEvent, LlmRequest, SttEvent, SttRequest, TtsEvent, TtsRequest};

mod client;
mod event;
mod item;
mod settings;

pub use client::*;
pub use event::*;
pub use item::*;
pub use settings::*;

/// One turn of the person. Never reused within a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(pub u64);

/// One answer of the anchor. Never reused within a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseId(pub u64);

/// What happened in the world.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline of [`Output::Timeout`] has come.
    Timeout,
    /// The next sound from the person, at [`INPUT_RATE`](crate::audio::INPUT_RATE).
    Audio(AudioFrame),
    /// The window of sound that ends at this position is speech with this probability. Follows its [`Input::Audio`].
    Speech(SampleTime, f32),
    /// The client asks for something.
    Client(ClientCommand),
    /// The client has played this much of a response. Without such reports the clock is the estimate.
    Playout(ResponseId, Samples),
    /// News of a transcription.
    Stt(TurnId, Progress<SttEvent>),
    /// News of an answer being written.
    Llm(ResponseId, Progress<LlmEvent>),
    /// News of an answer being spoken.
    Tts(ResponseId, Progress<TtsEvent>),
}

/// What to do in the world.
#[derive(Clone, Debug)]
pub enum Output {
    /// Nothing more to do. Come back with any input, or with [`Input::Timeout`] at this time; `None`: only with an input.
    Timeout(Option<Instant>),
    /// Tell the client.
    Event(Event),
    /// Let the client hear the next sound of a response, at [`OUTPUT_RATE`](crate::audio::OUTPUT_RATE).
    Play(ResponseId, AudioFrame),
    /// Drop what was given out for playing and was not heard yet.
    ClearPlayout,
    /// Work for the recogniser.
    Stt(TurnId, Job<SttRequest, AudioFrame>),
    /// Work for the language model. It is fed nothing.
    Llm(ResponseId, Job<LlmRequest, ()>),
    /// Work for the voice.
    Tts(ResponseId, Job<TtsRequest, String>),
}

/// Work for an engine. Every job that is started ends exactly once: by its own end, its failure, or its cancellation.
#[derive(Clone, Debug, PartialEq)]
pub enum Job<R, P> {
    /// Start it.
    Start(R),
    /// Give it the next piece of its input.
    Feed(P),
    /// There is no more input.
    Finish,
    /// Drop it. Nothing it still says is listened to.
    Cancel,
}

/// News of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress<E> {
    /// It said something.
    Event(E),
    /// It ended with an error.
    Failed(EngineError),
    /// It ended well.
    Finished,
}
