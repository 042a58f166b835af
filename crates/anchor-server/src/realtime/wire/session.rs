//! A session's settings: as they are sent back, complete, and as a client changes them, in part.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// All settings of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Session {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) object: &'static str,
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) output_modalities: [Modality; 1],
    pub(crate) instructions: String,
    pub(crate) audio: SessionAudio,
    /// `None` is written as `"inf"`.
    #[serde(serialize_with = "or_inf")]
    pub(crate) max_output_tokens: Option<u32>,
    // From here on: taken and sent back, without effect.
    pub(crate) tools: Vec<Value>,
    pub(crate) tool_choice: Value,
    pub(crate) truncation: Value,
    pub(crate) tracing: Option<Value>,
    pub(crate) prompt: Option<Value>,
    pub(crate) include: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parallel_tool_calls: Option<bool>,
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

/// Form of the sound on the wire: 16-bit little-endian mono.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AudioFormat {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) rate: u32,
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
    pub(crate) create_response: bool,
    pub(crate) interrupt_response: bool,
    /// Taken and sent back, without effect.
    pub(crate) idle_timeout_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SemanticVad {
    pub(crate) eagerness: Eagerness,
    pub(crate) create_response: bool,
    pub(crate) interrupt_response: bool,
}

impl Default for SemanticVad {
    fn default() -> Self {
        Self { eagerness: Eagerness::Auto, create_response: true, interrupt_response: true }
    }
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
    pub(crate) idle_timeout_ms: Option<u64>,
    pub(crate) eagerness: Option<Eagerness>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnDetectionKind {
    ServerVad,
    SemanticVad,
}

/// Tells null from absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn or_inf<S: Serializer>(tokens: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match tokens {
        Some(tokens) => serializer.serialize_u32(*tokens),
        None => serializer.serialize_str("inf"),
    }
}
