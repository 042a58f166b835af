//! From the conversation to the wire.

use anchor_core::engine::{EngineError, Role as Speaker};
use anchor_core::{ClientError, Content as Said, Event, Item as Entry, ItemId, ItemStatus};

use super::super::wire::{Content, Error, Failure, Item, Part, Role, ServerEvent, Status, TranscriptionUsage};
use super::{Translator, detection};
use crate::studio::StudioEvent;
use crate::transport::ServerMessage;

impl Translator {
    /// The messages that tell the client.
    pub(in super::super) fn outbound(&mut self, message: ServerMessage) -> Vec<String> {
        match message {
            ServerMessage::Play(response, frame) => {
                let events = self.answer_sound(response, &frame);
                self.write_all(&events)
            }
            ServerMessage::ClearPlayout => self.tell_studio(&StudioEvent::PlayoutCleared),
            ServerMessage::Event(event) => self.event(event),
        }
    }

    /// An error event, whoever found the error.
    pub(in super::super) fn refuse(&mut self, error: Error) -> String {
        crate::metrics::error(&error.code);
        self.write(&ServerEvent::Error { error })
    }

    /// What a client of the dialect has no event for is for the studio alone.
    fn tell_studio(&mut self, event: &StudioEvent) -> Vec<String> {
        if self.studio { vec![self.write(event)] } else { Vec::new() }
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        let events = match event {
            Event::StateChanged(state) => return self.tell_studio(&StudioEvent::state(state)),
            Event::TranscriptPartial { item, text } => {
                return self.tell_studio(&StudioEvent::TranscriptPartial { item_id: item.to_string(), text });
            }
            Event::AnswerSource { response, story } => {
                let response_id = self.response_name(response);
                return self.tell_studio(&StudioEvent::Story { response_id, story });
            }
            Event::TurnMeasured { response, latency } => {
                let response_id = self.response_name(response);
                return self.tell_studio(&StudioEvent::latency(response_id, &latency));
            }
            Event::ClientError(ClientError::CancelNotActive) if self.is_clearing() => return Vec::new(),
            Event::ClientError(error) => {
                let error = self.client_error(error);
                return vec![self.refuse(error)];
            }
            Event::ResponseCreated { response, out_of_band } => vec![self.response_created(response, out_of_band)],
            Event::OutputAdded { response, index, item, previous } => {
                self.output_added(response, index, item, previous)
            }
            Event::AnswerText { response, delta } => self.answer_text(response, delta).into_iter().collect(),
            Event::OutputDone { response, index, item, previous } => self.output_done(response, index, item, previous),
            Event::ResponseDone { response, outcome, output, usage } => {
                let done = self.response_done(response, &outcome, output, usage);
                done.into_iter().chain(self.cut(response)).collect()
            }
            Event::TranscriptDone { item, text, length } => {
                self.transcribed(&item, text, length.duration().as_secs_f64())
            }
            Event::TranscriptFailed { item, error } => self.transcription_failed(&item, &error),
            Event::SessionUpdated(config) => {
                detection::adopt(&mut self.session, &config);
                vec![ServerEvent::SessionUpdated { session: self.session.shown() }]
            }
            Event::SpeechStarted { item, at } => {
                vec![ServerEvent::SpeechStarted { audio_start_ms: at.as_ms(), item_id: item.to_string() }]
            }
            Event::SpeechStopped { item, at } => {
                vec![ServerEvent::SpeechStopped { audio_end_ms: at.as_ms(), item_id: item.to_string() }]
            }
            Event::InputCommitted { item, previous } => {
                vec![ServerEvent::InputCommitted { previous_item_id: name(previous), item_id: item.to_string() }]
            }
            Event::InputCleared => vec![ServerEvent::InputCleared],
            Event::IdleTimeout { item, start, end } => vec![ServerEvent::IdleTimeout {
                audio_start_ms: start.as_ms(),
                audio_end_ms: end.as_ms(),
                item_id: item.to_string(),
            }],
            Event::ItemAdded { item, previous } => {
                vec![ServerEvent::ItemAdded { previous_item_id: name(previous), item: shown(item) }]
            }
            Event::ItemDone { item, previous } => {
                vec![ServerEvent::ItemDone { previous_item_id: name(previous), item: shown(item) }]
            }
            Event::ItemRetrieved(item) => vec![ServerEvent::ItemRetrieved { item: retrieved(item) }],
            Event::ItemDeleted(item) => vec![ServerEvent::ItemDeleted { item_id: item.to_string() }],
            Event::ItemTruncated { id, audio_end } => {
                let (item_id, audio_end_ms) = (id.to_string(), audio_end.as_ms());
                vec![ServerEvent::ItemTruncated { item_id, content_index: 0, audio_end_ms }]
            }
        };
        self.write_all(&events)
    }

    pub(super) fn write_all(&mut self, events: &[ServerEvent]) -> Vec<String> {
        events.iter().map(|event| self.write(event)).collect()
    }

    /// The wire speaks of a hypothesis as text that only grows, which ours is not until it is final.
    fn transcribed(&self, item: &ItemId, text: String, seconds: f64) -> Vec<ServerEvent> {
        if self.session.audio.input.transcription.is_none() {
            return Vec::new();
        }
        let item_id = item.to_string();
        let usage = TranscriptionUsage::Duration { seconds };
        vec![
            ServerEvent::TranscriptionDelta { item_id: item_id.clone(), content_index: 0, delta: text.clone() },
            ServerEvent::TranscriptionCompleted { item_id, content_index: 0, transcript: text, usage },
        ]
    }

    fn transcription_failed(&self, item: &ItemId, error: &EngineError) -> Vec<ServerEvent> {
        if self.session.audio.input.transcription.is_none() {
            return Vec::new();
        }
        let error = failure("transcription_failed", error);
        vec![ServerEvent::TranscriptionFailed { item_id: item.to_string(), content_index: 0, error }]
    }

    fn client_error(&self, error: ClientError) -> Error {
        let (event_id, verb) = match &self.cause {
            Some(cause) => (cause.event_id.clone(), cause.verb),
            None => (None, ""),
        };
        let mut message = error.to_string();
        let (code, param) = match error {
            ClientError::CommitEmpty(_) => ("input_audio_buffer_commit_empty".to_owned(), None),
            ClientError::CancelNotActive => ("response_cancel_not_active".to_owned(), None),
            ClientError::ResponseActive(response) => {
                message = format!(
                    "Conversation already has an active response in progress: {}. Wait until the response is finished \
                     before creating a new one.",
                    self.response_name(response)
                );
                ("conversation_already_has_active_response".to_owned(), None)
            }
            ClientError::NoSuchItem(_) if verb == "create" => {
                ("item_create_invalid_previous_item_id".to_owned(), Some("previous_item_id"))
            }
            ClientError::NoSuchItem(_) if verb == "reference" => {
                ("item_reference_invalid_item_id".to_owned(), Some("response.input"))
            }
            ClientError::NoSuchItem(_) => (format!("item_{verb}_invalid_item_id"), Some("item_id")),
            ClientError::ItemExists(_) => ("item_create_invalid_item_id".to_owned(), Some("item.id")),
            ClientError::NoSuchCall(_) => ("invalid_tool_call_id".to_owned(), Some("item.call_id")),
            ClientError::TooMany { .. } => ("too_many_in_progress".to_owned(), None),
            ClientError::NotTruncatable(_) => ("unsupported_content_type".to_owned(), Some("item_id")),
        };
        Error { event_id, ..Error::invalid(code, param, message) }
    }
}

pub(super) fn name(item: Option<ItemId>) -> Option<String> {
    item.map(|item| item.to_string())
}

pub(super) fn failure(code: &'static str, error: &EngineError) -> Failure {
    Failure { kind: "server_error", code, message: error.to_string() }
}

pub(super) fn part(spoken: bool, text: String) -> Part {
    if spoken { Part::Audio { transcript: text } } else { Part::Text { text } }
}

pub(super) fn shown(entry: Entry) -> Item {
    item(entry, None)
}

fn retrieved(entry: Entry) -> Item {
    item(entry, Some("realtime.item"))
}

fn item(Entry { id, content, status }: Entry, object: Option<&'static str>) -> Item {
    let id = id.to_string();
    let (status, empty) = match status {
        ItemStatus::InProgress => (Status::InProgress, true),
        ItemStatus::Completed => (Status::Completed, false),
        ItemStatus::Incomplete => (Status::Incomplete, false),
    };
    match content {
        Said::Message { role, text, spoken } => {
            let (role, content) = message(role, text, spoken);
            Item::Message { id, object, status, role, content: if empty { Vec::new() } else { vec![content] } }
        }
        Said::Call { call: call_id, name, arguments } => {
            Item::FunctionCall { id, object, status, name, call_id, arguments }
        }
        Said::CallOutput { call: call_id, output } => Item::FunctionCallOutput { id, object, status, call_id, output },
    }
}

fn message(role: Speaker, text: Option<String>, spoken: bool) -> (Role, Content) {
    match (role, spoken) {
        (Speaker::User, true) => (Role::User, Content::InputAudio { transcript: text }),
        (Speaker::User, false) => (Role::User, Content::InputText { text: text.unwrap_or_default() }),
        (Speaker::System, _) => (Role::System, Content::InputText { text: text.unwrap_or_default() }),
        (Speaker::Assistant, true) => (Role::Assistant, Content::OutputAudio { transcript: text.unwrap_or_default() }),
        (Speaker::Assistant, false) => (Role::Assistant, Content::OutputText { text: text.unwrap_or_default() }),
    }
}
