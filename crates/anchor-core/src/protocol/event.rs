//! What the client is told.

use std::time::Duration;

use crate::audio::{SampleTime, Samples};
use crate::engine::EngineError;
use crate::{ClientError, Item, ItemId, ResponseId, SessionConfig};

/// What the client is told.
///
/// An item of the client or of a turn lives from `ItemAdded` to `ItemDone`. A response lives from `ResponseCreated` to
/// `ResponseDone`. In between its items follow one another, each from `OutputAdded` to `OutputDone`: first, if it says
/// anything, the one message, with any number of `AnswerText` and [`Output::Play`](crate::Output::Play) within it; then the
/// calls of tools.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The settings are now these.
    SessionUpdated(Box<SessionConfig>),
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
    /// The person said nothing for as long as the session waits. The silence becomes an item and is answered.
    IdleTimeout {
        /// Item of the silence.
        item: ItemId,
        /// Its first sample.
        start: SampleTime,
        /// Its last.
        end: SampleTime,
    },
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
        /// See [`ResponseParams::out_of_band`](crate::ResponseParams::out_of_band).
        out_of_band: bool,
    },
    /// The answer goes on with this item, still without its text or arguments.
    OutputAdded {
        /// The answer.
        response: ResponseId,
        /// The item's place among those of the answer.
        index: u32,
        /// The item.
        item: Item,
        /// Item before it in the conversation.
        previous: Option<ItemId>,
    },
    /// The next text of the answer's message.
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
    /// An item of the answer is complete or was cut off.
    OutputDone {
        /// The answer.
        response: ResponseId,
        /// The item's place among those of the answer.
        index: u32,
        /// The item.
        item: Item,
        /// Item before it in the conversation.
        previous: Option<ItemId>,
    },
    /// The response ended.
    ResponseDone {
        /// The answer.
        response: ResponseId,
        /// How.
        outcome: Outcome,
        /// Its items.
        output: Vec<Item>,
        /// What it took.
        usage: Usage,
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
    /// The language model met the upper bound on an answer; all up to there was given out.
    LimitReached,
    /// An engine failed.
    Failed(EngineError),
}

/// What a response took. Text is counted in [`words`], for want of a tokenizer that all language models share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What the language model was told: instructions, tools, and the conversation.
    pub told: u64,
    /// What it wrote, calls included.
    pub written: u64,
    /// Sound given out.
    pub sound: Samples,
}

/// Counts the words of a text.
pub fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
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
