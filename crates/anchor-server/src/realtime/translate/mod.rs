//! The only place that knows both languages: the wire's, and the conversation's.
//!
//! [`Translator`] holds what the wire wants remembered and the conversation does not care for: the settings as they are
//! sent back, the names of responses, what each of them was asked with and what it took.

mod answers;
mod inbound;
mod outbound;
mod settings;

use anchor_core::engine::{EngineKind, Voice};
use anchor_core::{ResponseId, SessionConfig};
use serde::Serialize;
use serde_json::Value;

use self::answers::Answer;
pub(crate) use self::settings::HOSTED_VOICES;
use super::pcm::Microphone;
use super::wire::{Modality, ServerEvent, Session};
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
    newest: Option<ResponseId>,
    /// Words said by both sides so far.
    words: u64,
    events: u64,
}

/// What a command leaves behind for the events that follow from it.
#[derive(Default)]
struct Cause {
    event_id: Option<String>,
    /// What it does to an item, where it does something to an item: part of the codes of its errors.
    verb: &'static str,
    metadata: Option<Value>,
    modality: Option<Modality>,
}

/// Who a client speaks to.
pub(super) struct Introduction<'a> {
    /// Name of the language model, or what the client takes it for.
    model: String,
    /// Name of the recogniser.
    recogniser: String,
    voices: &'a [Voice],
    config: &'a SessionConfig,
}

impl<'a> Introduction<'a> {
    /// `model` is the one that the client asked for: there is no other, but clients want to find it again.
    pub(super) fn new(app: &'a App, model: Option<String>) -> Self {
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
        }
    }
}

impl Translator {
    pub(super) fn new(key: &str, introduction: Introduction<'_>, studio: bool) -> Self {
        Self {
            key: key.to_owned(),
            session: settings::initial(key, &introduction),
            voices: introduction.voices.iter().map(|voice| voice.name.clone()).collect(),
            studio,
            microphone: Microphone::new(),
            cause: None,
            answers: Vec::new(),
            newest: None,
            words: 0,
            events: 0,
        }
    }

    /// The first event of a session.
    pub(super) fn greeting(&mut self) -> String {
        let session = self.session.clone();
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
