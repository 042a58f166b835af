//! What is agreed: for a session, and for one response of it.

use std::time::Duration;

use crate::engine::{Tool, ToolChoice};
use crate::{Content, ItemId};

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
    /// Words the recogniser is to expect, in its own manner of using them.
    pub vocabulary: Option<String>,
    /// Upper bound on an answer, in the language model's tokens.
    pub max_tokens: Option<u32>,
    /// What the language model may call.
    pub tools: Vec<Tool>,
    /// Whether it may, must, or must not.
    pub tool_choice: ToolChoice,
    /// How much of the conversation the language model is told.
    pub retention: Option<Retention>,
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
            vocabulary: None,
            max_tokens: None,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            retention: None,
        }
    }
}

/// A bound on what the language model is told of the conversation. Once it is more than `most`, the oldest messages are
/// left out for good until `retained` of `most` is left: seldom and much at once, because servers keep what they computed
/// for the beginning of a prompt. Counted in [`words`](crate::words).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retention {
    /// The bound.
    pub most: u64,
    /// Share of it that is kept, 0 to 1.
    pub retained: f32,
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
    /// Speak again when the person has said nothing for this long after an answer was heard.
    pub idle_timeout: Option<Duration>,
}

impl Default for TurnDetection {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix_padding: Duration::from_millis(300),
            silence_duration: Duration::from_millis(400),
            create_response: true,
            interrupt_response: true,
            idle_timeout: None,
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
    /// See [`SessionConfig::vocabulary`].
    pub vocabulary: Option<Option<String>>,
    /// See [`SessionConfig::max_tokens`].
    pub max_tokens: Option<Option<u32>>,
    /// See [`SessionConfig::tools`].
    pub tools: Option<Vec<Tool>>,
    /// See [`SessionConfig::tool_choice`].
    pub tool_choice: Option<ToolChoice>,
    /// See [`SessionConfig::retention`].
    pub retention: Option<Option<Retention>>,
}

impl SessionConfig {
    /// Takes the changes over.
    pub(crate) fn take(&mut self, update: SessionUpdate) {
        fn set<T>(setting: &mut T, update: Option<T>) {
            if let Some(update) = update {
                *setting = update;
            }
        }
        set(&mut self.instructions, update.instructions);
        set(&mut self.speak, update.speak);
        set(&mut self.voice, update.voice.map(Some));
        set(&mut self.speed, update.speed);
        set(&mut self.turn_detection, update.turn_detection.map(|rules| rules.map(TurnDetection::within_limits)));
        set(&mut self.language, update.language);
        set(&mut self.vocabulary, update.vocabulary);
        set(&mut self.max_tokens, update.max_tokens);
        set(&mut self.tools, update.tools);
        set(&mut self.tool_choice, update.tool_choice);
        set(&mut self.retention, update.retention);
    }
}

impl TurnDetection {
    /// The settings, moved to the nearest that make sense.
    fn within_limits(self) -> Self {
        Self {
            threshold: if self.threshold.is_finite() { self.threshold.clamp(0.05, 0.95) } else { 0.5 },
            prefix_padding: self.prefix_padding.min(Duration::from_secs(2)),
            silence_duration: self.silence_duration.clamp(Duration::from_millis(100), Duration::from_secs(10)),
            idle_timeout: self.idle_timeout.map(|timeout| timeout.max(Duration::from_secs(1))),
            ..self
        }
    }
}

/// Settings of one answer; what is `None` is taken from the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseParams {
    /// Its items do not become part of the conversation, and it may be made beside the conversation's own answer.
    pub out_of_band: bool,
    /// What the language model is told instead of the conversation.
    pub input: Option<Vec<ContextItem>>,
    /// See [`SessionConfig::instructions`].
    pub instructions: Option<String>,
    /// See [`SessionConfig::speak`].
    pub speak: Option<bool>,
    /// See [`SessionConfig::voice`].
    pub voice: Option<String>,
    /// See [`SessionConfig::max_tokens`].
    pub max_tokens: Option<Option<u32>>,
    /// See [`SessionConfig::tools`].
    pub tools: Option<Vec<Tool>>,
    /// See [`SessionConfig::tool_choice`].
    pub tool_choice: Option<ToolChoice>,
}

/// Something the language model is told for one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextItem {
    /// This.
    New(Content),
    /// The item of the conversation that has this name.
    Reference(ItemId),
}
