//! A session's settings: as they are sent back, complete, and as a client changes them, in part.

use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What a session is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A conversation.
    #[default]
    Realtime,
    /// Transcripts without answers.
    Transcription,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Transcription => "transcription",
        }
    }
}

/// A session as it is sent back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Conversation(Box<Session>),
    Transcription(Box<TranscriptionSession>),
}

/// All that is sent back of a session that only transcribes.
#[derive(Debug, Serialize)]
pub(crate) struct TranscriptionSession {
    #[serde(rename = "type")]
    kind: Kind,
    object: &'static str,
    id: String,
    audio: TranscriptionAudio,
    include: Option<Value>,
}

#[derive(Debug, Serialize)]
struct TranscriptionAudio {
    input: SessionInput,
}

/// All settings of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Session {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) object: &'static str,
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) output_modalities: [Modality; 1],
    pub(crate) instructions: String,
    pub(crate) audio: SessionAudio,
    /// `None` is written as `"inf"`.
    #[serde(serialize_with = "or_inf")]
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) tools: Vec<Value>,
    pub(crate) tool_choice: Value,
    pub(crate) truncation: Value,
    // From here on: taken and sent back, without effect.
    pub(crate) tracing: Option<Value>,
    pub(crate) prompt: Option<Value>,
    pub(crate) include: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parallel_tool_calls: Option<bool>,
}

impl Session {
    /// What the client is shown of it.
    pub(crate) fn shown(&self) -> Shown {
        match self.kind {
            Kind::Realtime => Shown::Conversation(Box::new(self.clone())),
            Kind::Transcription => Shown::Transcription(Box::new(TranscriptionSession {
                kind: self.kind,
                object: "realtime.transcription_session",
                id: self.id.clone(),
                audio: TranscriptionAudio { input: self.audio.input.clone() },
                include: self.include.clone(),
            })),
        }
    }
}

/// In which form the anchor answers. Sound comes with its transcript, so it is always one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Modality {
    Audio,
    Text,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionAudio {
    pub(crate) input: SessionInput,
    pub(crate) output: SessionOutput,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionInput {
    pub(crate) format: AudioFormat,
    pub(crate) transcription: Option<Transcription>,
    /// Taken and sent back, without effect: clean sound is the client's to send.
    pub(crate) noise_reduction: Option<Value>,
    pub(crate) turn_detection: Option<TurnDetection>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionOutput {
    pub(crate) format: AudioFormat,
    pub(crate) voice: String,
    pub(crate) speed: f64,
}

/// Form of the sound on the wire; always mono.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AudioFormat {
    /// 16-bit little-endian samples at 24 kHz.
    #[default]
    Pcm,
    /// G.711 mu-law at 8 kHz.
    Pcmu,
    /// G.711 A-law at 8 kHz.
    Pcma,
}

impl AudioFormat {
    pub(crate) const ALL: [Self; 3] = [Self::Pcm, Self::Pcmu, Self::Pcma];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pcm => "audio/pcm",
            Self::Pcmu => "audio/pcmu",
            Self::Pcma => "audio/pcma",
        }
    }

    /// Samples a second.
    pub(crate) const fn rate(self) -> u32 {
        match self {
            Self::Pcm => 24_000,
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }
}

/// The rate is said only where the API has a choice of rates.
impl Serialize for AudioFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.name())?;
        if *self == Self::Pcm {
            map.serialize_entry("rate", &self.rate())?;
        }
        map.end()
    }
}

/// Exactly these keys: clients refuse more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Transcription {
    pub(crate) model: String,
    pub(crate) language: Option<String>,
    pub(crate) prompt: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum TurnDetection {
    ServerVad(ServerVad),
    SemanticVad(SemanticVad),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ServerVad {
    pub(crate) threshold: f64,
    pub(crate) prefix_padding_ms: u64,
    pub(crate) silence_duration_ms: u64,
    #[serde(flatten)]
    pub(crate) manners: Manners,
    pub(crate) idle_timeout_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SemanticVad {
    pub(crate) eagerness: Eagerness,
    #[serde(flatten)]
    pub(crate) manners: Manners,
}

/// What follows from a turn. A session that only transcribes has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Manners {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) create_response: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interrupt_response: Option<bool>,
}

/// How soon the anchor takes a pause for the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Eagerness {
    Low,
    Medium,
    High,
    Auto,
}

/// A change of settings: what is absent stays, what is null is turned off. Unknown fields are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SessionPatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(rename = "model")]
    _model: IgnoredAny,
    pub(crate) output_modalities: Option<Vec<Modality>>,
    pub(crate) instructions: Option<String>,
    pub(crate) audio: Option<AudioPatch>,
    pub(crate) max_output_tokens: Option<Value>,
    pub(crate) tools: Option<Vec<Value>>,
    pub(crate) tool_choice: Option<Value>,
    pub(crate) truncation: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub(crate) tracing: Option<Option<Value>>,
    #[serde(deserialize_with = "present")]
    pub(crate) prompt: Option<Option<Value>>,
    #[serde(deserialize_with = "present")]
    pub(crate) include: Option<Option<Value>>,
    pub(crate) reasoning: Option<Value>,
    pub(crate) parallel_tool_calls: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AudioPatch {
    pub(crate) input: Option<InputPatch>,
    pub(crate) output: Option<OutputPatch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InputPatch {
    pub(crate) format: Option<FormatPatch>,
    #[serde(deserialize_with = "present")]
    pub(crate) transcription: Option<Option<TranscriptionPatch>>,
    #[serde(deserialize_with = "present")]
    pub(crate) noise_reduction: Option<Option<Value>>,
    #[serde(deserialize_with = "present")]
    pub(crate) turn_detection: Option<Option<TurnDetectionPatch>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutputPatch {
    pub(crate) format: Option<FormatPatch>,
    pub(crate) voice: Option<VoicePatch>,
    pub(crate) speed: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FormatPatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) rate: Option<i64>,
}

/// A voice is named, or named as the `id` of an object.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a voice is named by a string, or by an object with an 'id'")]
pub(crate) enum VoicePatch {
    Name(String),
    Custom { id: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TranscriptionPatch {
    pub(crate) model: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(crate) language: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) prompt: Option<Option<String>>,
    #[serde(rename = "delay")]
    _delay: IgnoredAny,
    #[serde(rename = "keywords")]
    _keywords: IgnoredAny,
    #[serde(rename = "languages")]
    _languages: IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TurnDetectionPatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<TurnDetectionKind>,
    pub(crate) threshold: Option<f64>,
    pub(crate) prefix_padding_ms: Option<i64>,
    pub(crate) silence_duration_ms: Option<i64>,
    pub(crate) create_response: Option<bool>,
    pub(crate) interrupt_response: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub(crate) idle_timeout_ms: Option<Option<i64>>,
    pub(crate) eagerness: Option<Eagerness>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnDetectionKind {
    ServerVad,
    SemanticVad,
}

/// Tells null from absent.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(super) fn or_inf<S: Serializer>(tokens: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match tokens {
        Some(tokens) => serializer.serialize_u32(*tokens),
        None => serializer.serialize_str("inf"),
    }
}
