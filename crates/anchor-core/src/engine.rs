//! What the core asks of a speech recogniser, a language model, a voice and a voice activity detector.
//!
//! Every call is a stream; dropping the stream cancels the work. An engine that computes gets told at its next step,
//! an engine behind a network closes its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_core::Stream;

use crate::audio::{AudioFrame, Samples};

/// What an engine gives back. It ends after its last event or its first error.
pub type EventStream<T> = Pin<Box<dyn Stream<Item = Result<T, EngineError>> + Send>>;

/// The sound of one turn at [`INPUT_RATE`](crate::audio::INPUT_RATE) while it is being spoken; ends with the turn.
pub type AudioInput = Pin<Box<dyn Stream<Item = AudioFrame> + Send>>;

/// Something an engine will know a little later. Dropping it cancels the work.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send>>;

/// The clauses of one answer while it is being written; ends with the answer.
pub type TextInput = Pin<Box<dyn Stream<Item = String> + Send>>;

/// Turns speech into text.
pub trait Stt: Send + Sync {
    /// Transcribes one turn. Gives any number of [`SttEvent::Partial`] and, unless it fails, exactly one
    /// [`SttEvent::Final`] as its last event. Silence gives a final that is empty.
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent>;

    /// Whether the engine would take a request now. One that works in this process always would; one behind a network
    /// asks its server, with a request as small as there is.
    fn probe(&self) -> Later<()> {
        Box::pin(async { Ok(()) })
    }
}

/// Writes the answer.
pub trait Llm: Send + Sync {
    /// Answers the last message of the request. Ends when the answer is complete.
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent>;

    /// Whether the engine would take a request now. One that works in this process always would; one behind a network
    /// asks its server, with a request as small as there is.
    fn probe(&self) -> Later<()> {
        Box::pin(async { Ok(()) })
    }
}

/// Turns text into speech.
pub trait Tts: Send + Sync {
    /// Speaks the clauses as they arrive, one after the other, without a gap of its own making.
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent>;

    /// The voices this engine can speak in, the default first.
    fn voices(&self) -> Vec<Voice>;

    /// Whether the engine would take a request now. One that works in this process always would; one behind a network
    /// asks its server, with a request as small as there is.
    fn probe(&self) -> Later<()> {
        Box::pin(async { Ok(()) })
    }
}

/// Makes voice activity detectors: one for each session.
pub trait VadModel: Send + Sync {
    /// A detector that has heard nothing yet.
    fn start(&self) -> Box<dyn Vad>;
}

/// Tells speech from everything else, for one session. Cheap enough to be called on the session's own task.
pub trait Vad: Send {
    /// Takes the next samples at [`INPUT_RATE`](crate::audio::INPUT_RATE), any number of them, and returns the
    /// probability that the newest complete window is speech; `None` while no further window is complete.
    fn push(&mut self, pcm: &[f32]) -> Option<f32>;
}

/// Engines of one anchor, chosen by its profile.
#[derive(Clone)]
pub struct Engines {
    /// The recogniser.
    pub stt: Arc<dyn Stt>,
    /// The language model.
    pub llm: Arc<dyn Llm>,
    /// The voice.
    pub tts: Arc<dyn Tts>,
    /// The voice activity detector.
    pub vad: Arc<dyn VadModel>,
}

/// What an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// Turns speech into text.
    Stt,
    /// Writes answers.
    Llm,
    /// Turns text into speech.
    Tts,
    /// Tells speech from everything else.
    Vad,
}

impl EngineKind {
    /// The kind's name in configuration, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::Vad => "vad",
        }
    }
}

/// How an engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EngineState {
    /// It will be loaded when it is first needed.
    #[default]
    Idle,
    /// It is being loaded.
    Loading,
    /// It works.
    Ready,
    /// It works, but not as well as it should, for this reason.
    Degraded(String),
    /// It does not work, for this reason.
    Failed(String),
}

/// How one engine of an anchor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// What it does.
    pub kind: EngineKind,
    /// Its name in the table of its kind.
    pub name: String,
    /// How it is.
    pub state: EngineState,
    /// Requests go to it first. Of a chain, that is the best engine that works; the others stand by.
    pub in_use: bool,
}

/// The newest of what happened to the engines, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Notices ever given, so that somebody who looks now and then knows how many are new.
    pub total: u64,
    /// The newest of them, each with its time.
    pub recent: Vec<(SystemTime, Notice)>,
}

/// Something happened to the engines that the operator should know. It is never said to the audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind of thing, as metrics count it.
    pub what: NoticeKind,
    /// The engine or model server it is about, by its name.
    pub about: String,
    /// One sentence for people.
    pub text: String,
}

/// What a [`Notice`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// An engine failed or stalled, and the next of its chain took over.
    SwitchedOver,
    /// A better engine of the chain works again and has taken over.
    SwitchedBack,
    /// A model server is up and answers.
    ServerReady,
    /// A model server ended or stopped answering, and is started again.
    ServerLost,
    /// A model server could not be kept up, and is left alone until the operator acts.
    ServerGivenUp,
}

impl NoticeKind {
    /// The kind's name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SwitchedOver => "switched_over",
            Self::SwitchedBack => "switched_back",
            Self::ServerReady => "server_ready",
            Self::ServerLost => "server_lost",
            Self::ServerGivenUp => "server_given_up",
        }
    }
}

/// How to transcribe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SttRequest {
    /// ISO 639-1 code of the language spoken; `None` lets the engine find out.
    pub language: Option<String>,
    /// Words to expect, in the engine's own manner of using them.
    pub prompt: Option<String>,
}

/// What a recogniser has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum SttEvent {
    /// The whole turn as understood so far; a later one may take words back.
    Partial(String),
    /// The whole turn.
    Final(String),
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator's instructions within the conversation.
    System,
    /// The person.
    User,
    /// The anchor.
    Assistant,
}

/// One message of the conversation as a language model is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said. Of an anchor's answer only what was heard.
    pub text: String,
    /// The anchor was cut off at the end of `text`.
    pub interrupted: bool,
    /// What the anchor asked of tools after it, with what they gave.
    pub calls: Vec<ToolCall>,
}

impl Message {
    /// A message of nothing but text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), interrupted: false, calls: Vec::new() }
    }
}

/// A tool the language model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: String,
}

/// Whether a language model calls tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// Never.
    None,
    /// It must call one.
    Required,
    /// It must call the one of this name.
    Function(String),
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Tells it from other calls of the conversation.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments, a JSON object.
    pub arguments: String,
    /// What the tool gave; `None` while that is not known.
    pub result: Option<String>,
}

/// What to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LlmRequest {
    /// The anchor's standing instructions.
    pub instructions: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Upper bound on the answer, in the engine's tokens.
    pub max_tokens: Option<u32>,
    /// What the engine may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must, or must not.
    pub tool_choice: ToolChoice,
    /// Sound at [`INPUT_RATE`](crate::audio::INPUT_RATE) that the last message is about. An engine that cannot hear
    /// refuses it as [`EngineError::Unsupported`].
    pub sound: Option<AudioFrame>,
    /// The answer's text that another engine has written before it failed. The engine goes on right behind it and
    /// repeats nothing of it.
    pub so_far: String,
}

/// What a language model has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LlmEvent {
    /// The next piece of the answer's text.
    Delta(String),
    /// The text from here on rests on this story of the rundown, named by its slug.
    Source(String),
    /// The engine calls a tool. Only where the request offers it.
    ToolCall(ToolCall),
    /// The answer ends here because it met the upper bound on its length, not because it is complete. The last event.
    LimitReached,
}

/// How to speak.
#[derive(Clone, Debug, PartialEq)]
pub struct TtsRequest {
    /// Name of the voice; `None` takes the engine's first.
    pub voice: Option<String>,
    /// Pace relative to the voice's own: 1.0 is as it comes.
    pub speed: f32,
}

impl Default for TtsRequest {
    fn default() -> Self {
        Self { voice: None, speed: 1.0 }
    }
}

/// What a voice has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum TtsEvent {
    /// The next sound at [`OUTPUT_RATE`](crate::audio::OUTPUT_RATE), levelled to about [`SPEECH_LOUDNESS_LUFS`].
    Audio(AudioFrame),
    /// When a word is heard. Sent before or with the sound of its clause, by engines that know.
    Word(WordTime),
    /// The sound of one clause is complete. Sent once for each clause, in order.
    ClauseEnd,
}

/// Loudness every voice is brought to, so that one does not shout after another whispered (ITU-R BS.1770).
pub const SPEECH_LOUDNESS_LUFS: f64 = -20.0;

/// A word in time: a place in the text of its clause, and a place in the sound of its clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordTime {
    /// Byte in the clause behind the word's last letter.
    pub text_end: usize,
    /// Length of the clause's sound up to the word's end.
    pub end: Samples,
}

/// A voice somebody can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// What to ask for.
    pub name: String,
    /// ISO 639-1 code of the language it speaks.
    pub language: String,
    /// One line about it.
    pub about: String,
}

/// Why an engine gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens any more. Never shown to anybody.
    #[error("cancelled")]
    Cancelled,
    /// The engine cannot work on this machine as it is.
    #[error("{engine} cannot be used: {reason}. {remedy}")]
    Unavailable {
        /// Name of the engine.
        engine: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do about it, a full sentence.
        remedy: String,
    },
    /// The request asks for something the engine does not have.
    #[error("{engine} cannot do that: {reason}")]
    Unsupported {
        /// Name of the engine.
        engine: &'static str,
        /// What it does not have, and what it has instead.
        reason: String,
    },
    /// The engine broke while working. The next request may succeed.
    #[error("{engine} failed: {reason}")]
    Failed {
        /// Name of the engine.
        engine: &'static str,
        /// What happened.
        reason: String,
    },
}
