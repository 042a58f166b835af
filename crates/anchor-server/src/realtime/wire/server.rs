//! What the server sends.

use serde::Serialize;
use serde_json::Value;

use super::{AudioFormat, Modality, Shown};

/// Everything the server may send, by its `type`. Its `event_id` is put beside it when it is sent.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum ServerEvent {
    #[serde(rename = "error")]
    Error { error: Error },
    #[serde(rename = "session.created")]
    SessionCreated { session: Shown },
    #[serde(rename = "session.updated")]
    SessionUpdated { session: Shown },
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted { audio_start_ms: u64, item_id: String },
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped { audio_end_ms: u64, item_id: String },
    #[serde(rename = "input_audio_buffer.committed")]
    InputCommitted { previous_item_id: Option<String>, item_id: String },
    #[serde(rename = "input_audio_buffer.cleared")]
    InputCleared,
    #[serde(rename = "input_audio_buffer.timeout_triggered")]
    IdleTimeout { audio_start_ms: u64, audio_end_ms: u64, item_id: String },
    #[serde(rename = "conversation.item.added")]
    ItemAdded { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.done")]
    ItemDone { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.retrieved")]
    ItemRetrieved { item: Item },
    #[serde(rename = "conversation.item.deleted")]
    ItemDeleted { item_id: String },
    #[serde(rename = "conversation.item.truncated")]
    ItemTruncated { item_id: String, content_index: u32, audio_end_ms: u64 },
    #[serde(rename = "output_audio_buffer.started")]
    OutputAudioBufferStarted { response_id: String },
    #[serde(rename = "output_audio_buffer.stopped")]
    OutputAudioBufferStopped { response_id: String },
    #[serde(rename = "output_audio_buffer.cleared")]
    OutputAudioBufferCleared { response_id: String },
    #[serde(rename = "conversation.item.input_audio_transcription.delta")]
    TranscriptionDelta { item_id: String, content_index: u32, delta: String },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    TranscriptionCompleted { item_id: String, content_index: u32, transcript: String, usage: TranscriptionUsage },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    TranscriptionFailed { item_id: String, content_index: u32, error: Failure },
    #[serde(rename = "response.created")]
    ResponseCreated { response: Response },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded {
        #[serde(flatten)]
        place: Place,
        part: Part,
    },
    #[serde(rename = "response.output_audio_transcript.delta")]
    AudioTranscriptDelta {
        #[serde(flatten)]
        place: Place,
        delta: String,
    },
    #[serde(rename = "response.output_audio.delta")]
    AudioDelta {
        #[serde(flatten)]
        place: Place,
        delta: String,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        #[serde(flatten)]
        place: Place,
        delta: String,
    },
    #[serde(rename = "response.output_audio.done")]
    AudioDone {
        #[serde(flatten)]
        place: Place,
    },
    #[serde(rename = "response.output_audio_transcript.done")]
    AudioTranscriptDone {
        #[serde(flatten)]
        place: Place,
        transcript: String,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        #[serde(flatten)]
        place: Place,
        text: String,
    },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone {
        #[serde(flatten)]
        place: Place,
        part: Part,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    CallDelta {
        #[serde(flatten)]
        place: CallPlace,
        delta: String,
    },
    #[serde(rename = "response.function_call_arguments.done")]
    CallDone {
        #[serde(flatten)]
        place: CallPlace,
        name: String,
        arguments: String,
    },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.done")]
    ResponseDone { response: Response },
}

/// Where in a response something happens.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    pub(crate) response_id: String,
    pub(crate) item_id: String,
    pub(crate) output_index: u32,
    pub(crate) content_index: u32,
}

/// Which call of a response something is about.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CallPlace {
    pub(crate) response_id: String,
    pub(crate) item_id: String,
    pub(crate) output_index: u32,
    pub(crate) call_id: String,
}

/// Longest text of an error, in bytes: some of it quotes the client, who may have sent anything.
const QUOTED_MAX: usize = 1_000;

/// What a client did wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Error {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    /// The client's name of the event that was wrong.
    pub(crate) event_id: Option<String>,
}

impl Error {
    /// The client did something wrong, in the parameter named by a dotted path.
    pub(crate) fn invalid(code: impl Into<String>, param: Option<&str>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        let mut param = param.map(str::to_owned);
        for quoting in param.iter_mut().chain([&mut message]) {
            quoting.truncate(quoting.floor_char_boundary(QUOTED_MAX));
        }
        Self { kind: "invalid_request_error", code: code.into(), message, param, event_id: None }
    }
}

/// A member of the conversation.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Item {
    Message {
        id: String,
        /// Only in answer to a `conversation.item.retrieve`.
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<&'static str>,
        status: Status,
        role: Role,
        content: Vec<Content>,
    },
    FunctionCall {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<&'static str>,
        status: Status,
        name: String,
        call_id: String,
        arguments: String,
    },
    FunctionCallOutput {
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<&'static str>,
        status: Status,
        call_id: String,
        output: String,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Cancelled,
    Failed,
}

/// What an item consists of.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Content {
    InputText { text: String },
    InputAudio { transcript: Option<String> },
    OutputText { text: String },
    OutputAudio { transcript: String },
}

/// The same while it is being made, under other names.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    Text { text: String },
    Audio { transcript: String },
}

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Response {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    pub(crate) status: Status,
    pub(crate) status_details: Option<StatusDetails>,
    pub(crate) output: Vec<Item>,
    /// Absent where it is made beside the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<String>,
    pub(crate) output_modalities: [Modality; 1],
    #[serde(serialize_with = "super::or_inf")]
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) audio: ResponseAudio,
    pub(crate) usage: Option<Usage>,
    pub(crate) metadata: Option<Value>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ResponseAudio {
    pub(crate) output: ResponseOutput,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ResponseOutput {
    pub(crate) format: AudioFormat,
    pub(crate) voice: String,
}

/// Why a response is not completed.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum StatusDetails {
    Cancelled { reason: &'static str },
    Incomplete { reason: &'static str },
    Failed { error: Failure },
}

/// What broke on the server's side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What a response took. Text is counted in words, for want of a tokenizer that all language models share; sound as the
/// hosted API counts it, one token for each 50 ms said.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) total_tokens: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) input_token_details: InputTokens,
    pub(crate) output_token_details: OutputTokens,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct InputTokens {
    pub(crate) text_tokens: u64,
    pub(crate) audio_tokens: u64,
    pub(crate) image_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) cached_tokens_details: CachedTokens,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct CachedTokens {
    pub(crate) text_tokens: u64,
    pub(crate) audio_tokens: u64,
    pub(crate) image_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct OutputTokens {
    pub(crate) text_tokens: u64,
    pub(crate) audio_tokens: u64,
}

/// What a transcription took.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum TranscriptionUsage {
    /// The length of its sound.
    Duration { seconds: f64 },
}
