//! The only place that knows both languages: the wire's, and the conversation's.
//!
//! [`Translator`] holds what the wire wants remembered and the conversation does not care for: the settings as they are
//! sent back, the names of responses, what each of them was asked with and what it took.

mod answers;
mod detection;
pub mod fuzzing;
mod inbound;
mod items;
mod outbound;
mod output_buffer;
mod settings;
mod tools;

use anchor_core::engine::{EngineKind, Voice};
use anchor_core::{ResponseId, SessionConfig};
use serde::Serialize;
use serde_json::Value;

use self::answers::Answer;
pub(super) use self::output_buffer::Carrier;
use self::output_buffer::Sounding;
pub(crate) use self::settings::HOSTED_VOICES;
use super::pcm::Microphone;
use super::wire::{AudioFormat, Kind, Modality, ServerEvent, Session};
use crate::App;

/// Translates for one session.
pub(super) struct Translator {
    /// Names the session among all; its items, responses and events have it in their names.
    key: String,
    session: Session,
    /// Names of the voices to choose from, the default first.
    voices: Vec<String>,
    /// The client understands the studio's own events.
    studio: bool,
    microphone: Microphone,
    /// The command that is being carried out.
    cause: Option<Cause>,
    /// Responses that have not ended.
    answers: Vec<Answer>,
    carrier: Carrier,
    /// Over WebRTC: what the client is hearing, and what it is yet to be told of what it does not hear to the end.
    sounding: Vec<Sounding>,
    cuts: Vec<(ResponseId, ServerEvent)>,
    events: u64,
}

/// What a command leaves behind for the events that follow from it.
#[derive(Default)]
struct Cause {
    event_id: Option<String>,
    /// What it does to an item, where it does something to an item: part of the codes of its errors.
    verb: &'static str,
    /// What it wants of a response, where it asks for one.
    ordered: Option<Box<Ordered>>,
}

/// What the conversation need not know of a response that was asked for.
struct Ordered {
    modality: Modality,
    format: AudioFormat,
    voice: String,
    max_output_tokens: Option<u32>,
    metadata: Option<Value>,
}

impl Ordered {
    /// A response that nobody asked for is as the session has it.
    fn of(session: &Session) -> Self {
        Self {
            modality: session.output_modalities[0],
            format: session.audio.output.format,
            voice: session.audio.output.voice.clone(),
            max_output_tokens: session.max_output_tokens,
            metadata: None,
        }
    }
}

/// Who a client speaks to.
pub(super) struct Introduction<'a> {
    /// Name of the language model, or what the client takes it for.
    model: String,
    /// Name of the recogniser.
    recogniser: String,
    voices: &'a [Voice],
    config: &'a SessionConfig,
    /// What the session is for.
    kind: Kind,
}

impl<'a> Introduction<'a> {
    /// `model` is the one that the client asked for: there is no other, but clients want to find it again.
    pub(super) fn new(app: &'a App, model: Option<String>, kind: Kind) -> Self {
        let status = app.engine_status.borrow();
        let engine = |kind| {
            let engine = status.iter().find(|engine| engine.kind == kind);
            engine.map_or_else(|| "default".to_owned(), |engine| engine.name.clone())
        };
        Self {
            model: model.unwrap_or_else(|| engine(EngineKind::Llm)),
            recogniser: engine(EngineKind::Stt),
            voices: &app.voices,
            config: &app.session,
            kind,
        }
    }
}

impl Translator {
    pub(super) fn new(key: &str, introduction: Introduction<'_>, studio: bool) -> Self {
        let session = settings::initial(key, &introduction);
        Self {
            key: key.to_owned(),
            microphone: Microphone::new(session.audio.input.format),
            session,
            voices: introduction.voices.iter().map(|voice| voice.name.clone()).collect(),
            studio,
            cause: None,
            answers: Vec::new(),
            carrier: Carrier::WebSocket,
            sounding: Vec::new(),
            cuts: Vec::new(),
            events: 0,
        }
    }

    /// The first event of a session.
    pub(super) fn greeting(&mut self) -> String {
        let session = self.session.shown();
        self.write(&ServerEvent::SessionCreated { session })
    }

    /// Writes an event with a name of its own.
    pub(super) fn write<E: Serialize>(&mut self, event: &E) -> String {
        #[derive(Serialize)]
        struct Named<'a, E> {
            event_id: String,
            #[serde(flatten)]
            event: &'a E,
        }
        self.events += 1;
        let event_id = format!("event_{}_{}", self.key, self.events);
        serde_json::to_string(&Named { event_id, event }).expect("events have string keys and nothing that fails")
    }

    /// What the last command caused has been sent; what comes now has other causes.
    pub(super) fn forget_cause(&mut self) {
        self.cause = None;
    }

    fn response_name(&self, response: ResponseId) -> String {
        format!("resp_{}_{}", self.key, response.0)
    }

    fn response_named(&self, name: &str) -> Option<ResponseId> {
        name.strip_prefix("resp_")?.strip_prefix(&self.key)?.strip_prefix('_')?.parse().ok().map(ResponseId)
    }
}

#[cfg(test)]
mod tests;
