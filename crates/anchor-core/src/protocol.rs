//! What goes into a [`Conversation`](crate::Conversation) and what comes out of it.
//!
//! The words are those of the OpenAI Realtime API (session, item, response, commit, truncate, cancel), without its JSON.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audio::{AudioFrame, SampleTime, Samples};
use crate::engine::{EngineError, LlmEvent, LlmRequest, Role, SttEvent, SttRequest, TtsEvent, TtsRequest};

/// One turn of the person. Never reused within a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(pub u64);

/// One answer of the anchor. Never reused within a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseId(pub u64);

/// Name of an item of the history; chosen by the client or made by the conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId(pub Arc<str>);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientCommand {
    /// Change the session. Acknowledged by [`Event::SessionUpdated`].
    Update(SessionUpdate),
    /// Put a message into the history, behind the item named or at the end.
    CreateItem {
        /// Name for the item, if the client has one.
        id: Option<ItemId>,
        /// Where to put it.
        position: Position,
        /// Who is to have said it.
        role: Role,
        /// What.
        text: String,
    },
    /// Take an item out of the history.
    DeleteItem(ItemId),
    /// Ask for an item as it stands.
    RetrieveItem(ItemId),
    /// Cut an answer in the history to what was heard of it.
    TruncateItem {
        /// The answer.
        id: ItemId,
        /// What was heard.
        audio_end: Samples,
    },
    /// End the turn now.
    CommitInput,
    /// Forget the turn.
    ClearInput,
    /// Answer now.
    CreateResponse(ResponseParams),
    /// Stop answering.
    CancelResponse,
}

/// Where to put a new item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// Behind the last.
    #[default]
    Last,
    /// Before the first.
    First,
    /// Behind this one.
    After(ItemId),
}

/// The settings of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionConfig {
    /// The anchor's standing instructions.
    pub instructions: String,
    /// The anchor answers in sound (with its transcript) rather than in text.
    pub speak: bool,
    /// Voice of the anchor; `None` takes the engine's first.
    pub voice: Option<String>,
    /// Pace of the voice: 1.0 is as it comes.
    pub speed: f32,
    /// How turns end; `None` leaves it to the client's commits.
    pub turn_detection: Option<TurnDetection>,
    /// ISO 639-1 code of the language spoken to the anchor; `None` lets the recogniser find out.
    pub language: Option<String>,
    /// Upper bound on an answer, in the language model's tokens.
    pub max_tokens: Option<u32>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            instructions: String::new(),
            speak: true,
            voice: None,
            speed: 1.0,
            turn_detection: Some(TurnDetection::default()),
            language: None,
            max_tokens: None,
        }
    }
}

/// How the end of a turn is heard.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnDetection {
    /// Probability from which a window counts as speech, 0 to 1.
    pub threshold: f32,
    /// Sound kept from before the speech was noticed.
    pub prefix_padding: Duration,
    /// A pause this long ends the turn.
    pub silence_duration: Duration,
    /// Answer when the turn ends.
    pub create_response: bool,
    /// Stop answering when the person speaks.
    pub interrupt_response: bool,
}

impl Default for TurnDetection {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix_padding: Duration::from_millis(300),
            silence_duration: Duration::from_millis(400),
            create_response: true,
            interrupt_response: true,
        }
    }
}

/// Changes to the settings of a session; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionUpdate {
    /// See [`SessionConfig::instructions`].
    pub instructions: Option<String>,
    /// See [`SessionConfig::speak`].
    pub speak: Option<bool>,
    /// See [`SessionConfig::voice`].
    pub voice: Option<String>,
    /// See [`SessionConfig::speed`].
    pub speed: Option<f32>,
    /// See [`SessionConfig::turn_detection`]; `Some(None)` turns it off.
    pub turn_detection: Option<Option<TurnDetection>>,
    /// See [`SessionConfig::language`].
    pub language: Option<Option<String>>,
    /// See [`SessionConfig::max_tokens`].
    pub max_tokens: Option<Option<u32>>,
}

/// Settings of one answer; what is `None` is taken from the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseParams {
    /// See [`SessionConfig::instructions`].
    pub instructions: Option<String>,
    /// See [`SessionConfig::speak`].
    pub speak: Option<bool>,
}

/// What the client is told. An item's life is `ItemAdded` then `ItemDone`; a response's is `ResponseCreated`,
/// `AnswerStarted`, any number of `AnswerText` and [`Output::Play`], `AnswerDone`, `ResponseDone`. A response that ends
/// before it has anything to say has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The settings are now these.
    SessionUpdated(SessionConfig),
    /// The person began to speak; the turn's item will have this name.
    SpeechStarted {
        /// Item of the turn.
        item: ItemId,
        /// First sample of the turn, padding included.
        at: SampleTime,
    },
    /// The person stopped speaking.
    SpeechStopped {
        /// Item of the turn.
        item: ItemId,
        /// Last sample of the turn.
        at: SampleTime,
    },
    /// The turn ended and became an item.
    InputCommitted {
        /// Item of the turn.
        item: ItemId,
        /// Item before it.
        previous: Option<ItemId>,
    },
    /// The turn was forgotten.
    InputCleared,
    /// An item entered the history.
    ItemAdded {
        /// The item.
        item: Item,
        /// Item before it.
        previous: Option<ItemId>,
    },
    /// An item of the client or of a turn is complete.
    ItemDone {
        /// The item.
        item: Item,
        /// Item before it.
        previous: Option<ItemId>,
    },
    /// An item as it stands.
    ItemRetrieved(Item),
    /// An item left the history.
    ItemDeleted(ItemId),
    /// An answer was cut to what was heard.
    ItemTruncated {
        /// The answer.
        id: ItemId,
        /// What was heard.
        audio_end: Samples,
    },
    /// The whole turn as understood so far; a later one may take words back.
    TranscriptPartial {
        /// Item of the turn.
        item: ItemId,
        /// The words so far.
        text: String,
    },
    /// The whole turn.
    TranscriptDone {
        /// Item of the turn.
        item: ItemId,
        /// The words.
        text: String,
        /// Length of the turn.
        length: SampleTime,
    },
    /// The turn could not be transcribed.
    TranscriptFailed {
        /// Item of the turn.
        item: ItemId,
        /// Why.
        error: EngineError,
    },
    /// The anchor sets out to answer.
    ResponseCreated {
        /// The answer.
        response: ResponseId,
    },
    /// The answer has its first text.
    AnswerStarted {
        /// The answer.
        response: ResponseId,
        /// Its item, still empty.
        item: Item,
        /// Item before it.
        previous: Option<ItemId>,
        /// It is going to be spoken.
        spoken: bool,
    },
    /// The next text of the answer.
    AnswerText {
        /// The answer.
        response: ResponseId,
        /// The text.
        delta: String,
    },
    /// The answer rests on this story of the rundown from here on.
    AnswerSource {
        /// The answer.
        response: ResponseId,
        /// Slug of the story.
        story: String,
    },
    /// The answer is complete or was cut off.
    AnswerDone {
        /// The answer.
        response: ResponseId,
        /// Its item.
        item: Item,
        /// Item before it.
        previous: Option<ItemId>,
        /// It was spoken.
        spoken: bool,
    },
    /// The response ended.
    ResponseDone {
        /// The answer.
        response: ResponseId,
        /// How.
        outcome: Outcome,
        /// Its item, if it got that far.
        item: Option<Item>,
    },
    /// What the anchor does now.
    StateChanged(AnchorState),
    /// How long the stages of an answer took. Sent when its first sound is given out.
    TurnMeasured {
        /// The answer.
        response: ResponseId,
        /// The stages.
        latency: TurnLatency,
    },
    /// The client asked for something that cannot be done. The session goes on.
    ClientError(ClientError),
}

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was given out.
    Completed,
    /// The person began to speak.
    TurnDetected,
    /// The client asked for it.
    ClientCancelled,
    /// An engine failed.
    Failed(EngineError),
}

/// What the anchor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorState {
    /// Nobody speaks.
    Listening,
    /// The person speaks.
    Hearing,
    /// An answer is on its way.
    Thinking,
    /// An answer is heard.
    Speaking,
}

/// How long each stage of an answer took, from the person's last voiced sample on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnLatency {
    /// Last voiced sample to the decision that the turn is over; nothing for a turn that was typed.
    pub endpointing: Duration,
    /// Decision to final transcript.
    pub stt: Duration,
    /// Final transcript to the first clause.
    pub llm: Duration,
    /// First clause to the first sound.
    pub tts: Duration,
}

impl TurnLatency {
    /// The whole wait.
    pub fn total(&self) -> Duration {
        self.endpointing + self.stt + self.llm + self.tts
    }
}

/// A message of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// Who said it.
    pub role: Role,
    /// What was said: of a turn `None` until it is transcribed, of an answer what was heard of it.
    pub text: Option<String>,
    /// It was spoken rather than written.
    pub spoken: bool,
    /// How complete it is.
    pub status: ItemStatus,
}

/// How complete an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemStatus {
    /// More is coming.
    InProgress,
    /// All of it is there.
    Completed,
    /// It was cut off.
    Incomplete,
}

/// What a client did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A commit without at least 100 ms of sound.
    #[error(
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only has {0}ms of audio."
    )]
    CommitEmpty(u64),
    /// A cancel while nothing is being said.
    #[error("Cancellation failed: no active response found")]
    CancelNotActive,
    /// A second answer while one is being given.
    #[error("Conversation already has an active response in progress: resp_{}. Wait until the response is finished before creating a new one.", .0.0)]
    ResponseActive(ResponseId),
    /// No item has this name.
    #[error("The item '{0}' does not exist in the conversation")]
    NoSuchItem(ItemId),
    /// An item has this name already.
    #[error("The item '{0}' already exists in the conversation")]
    ItemExists(ItemId),
    /// A truncation of something that is no spoken answer.
    #[error("Only model output audio messages can be truncated")]
    NotTruncatable(ItemId),
}
