//! From the conversation to the wire.

use anchor_core::engine::{EngineError, Role as Speaker};
use anchor_core::{ClientError, Event, Item as Entry, ItemId, ItemStatus, Outcome, ResponseId};

use super::super::pcm;
use super::super::wire::{
    Content, Error, Failure, InputTokens, Item, Modality, OutputTokens, Part, Place, Response, ResponseAudio,
    ResponseOutput, Role, ServerEvent, Status, StatusDetails, TranscriptionUsage, Usage,
};
use super::{Answer, Translator, settings};
use crate::studio::StudioEvent;
use crate::transport::ServerMessage;

/// The hosted API's count of tokens for sound it says: one for each 50 ms.
const SAMPLES_PER_TOKEN: u64 = pcm::WIRE_RATE as u64 / 20;

impl Translator {
    /// The messages that tell the client.
    pub(in super::super) fn outbound(&mut self, message: ServerMessage) -> Vec<String> {
        match message {
            ServerMessage::Play(response, frame) => {
                let Some(answer) = self.answer(response) else { return Vec::new() };
                answer.samples += frame.len() as u64;
                let Some(place) = self.place(response) else { return Vec::new() };
                pcm::deltas(&frame)
                    .map(|delta| self.write(&ServerEvent::AudioDelta { place: place.clone(), delta }))
                    .collect()
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
            Event::ClientError(error) => {
                let error = self.client_error(error);
                return vec![self.refuse(error)];
            }
            Event::ResponseCreated { response } => vec![self.response_created(response)],
            Event::AnswerStarted { response, item, previous, .. } => self.answer_started(response, item, previous),
            Event::AnswerText { response, delta } => self.answer_text(response, delta).into_iter().collect(),
            Event::AnswerDone { response, item, previous, .. } => self.answer_done(response, item, previous),
            Event::ResponseDone { response, outcome, item } => vec![self.response_done(response, &outcome, item)],
            Event::TranscriptDone { item, text, length } => {
                self.transcribed(&item, text, length.duration().as_secs_f64())
            }
            Event::TranscriptFailed { item, error } => self.transcription_failed(&item, &error),
            Event::SessionUpdated(config) => {
                settings::adopt(&mut self.session, &config);
                vec![ServerEvent::SessionUpdated { session: self.session.clone() }]
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
            Event::ItemAdded { item, previous } => {
                vec![ServerEvent::ItemAdded { previous_item_id: name(previous), item: shown(item) }]
            }
            Event::ItemDone { item, previous } => {
                self.words += words(item.text.as_deref().unwrap_or_default());
                vec![ServerEvent::ItemDone { previous_item_id: name(previous), item: shown(item) }]
            }
            Event::ItemRetrieved(item) => vec![ServerEvent::ItemRetrieved { item: retrieved(item) }],
            Event::ItemDeleted(item) => vec![ServerEvent::ItemDeleted { item_id: item.to_string() }],
            Event::ItemTruncated { id, audio_end } => {
                let (item_id, audio_end_ms) = (id.to_string(), audio_end.as_ms());
                vec![ServerEvent::ItemTruncated { item_id, content_index: 0, audio_end_ms }]
            }
        };
        events.iter().map(|event| self.write(event)).collect()
    }

    /// The wire speaks of a hypothesis as text that only grows, which ours is not until it is final.
    fn transcribed(&mut self, item: &ItemId, text: String, seconds: f64) -> Vec<ServerEvent> {
        self.words += words(&text);
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

    fn response_created(&mut self, response: ResponseId) -> ServerEvent {
        let (modality, metadata) = match &mut self.cause {
            Some(cause) => (cause.modality, cause.metadata.take()),
            None => (None, None),
        };
        let modality = modality.unwrap_or(self.session.output_modalities[0]);
        let answer = Answer { response, item_id: String::new(), modality, metadata, words: 0, samples: 0 };
        let response = self.response(&answer, Status::InProgress);
        self.newest = Some(answer.response);
        self.answers.push(answer);
        ServerEvent::ResponseCreated { response }
    }

    fn answer_started(&mut self, response: ResponseId, item: Entry, previous: Option<ItemId>) -> Vec<ServerEvent> {
        if let Some(answer) = self.answer(response) {
            answer.item_id = item.id.to_string();
        }
        let Some(place) = self.place(response) else { return Vec::new() };
        let response_id = place.response_id.clone();
        let part = part(item.spoken, String::new());
        let item = shown(item);
        vec![
            ServerEvent::OutputItemAdded { response_id, output_index: 0, item: item.clone() },
            ServerEvent::ItemAdded { previous_item_id: name(previous), item },
            ServerEvent::ContentPartAdded { place, part },
        ]
    }

    fn answer_text(&mut self, response: ResponseId, delta: String) -> Option<ServerEvent> {
        let place = self.place(response)?;
        let answer = self.answer(response)?;
        answer.words += words(&delta);
        Some(match answer.modality {
            Modality::Audio => ServerEvent::AudioTranscriptDelta { place, delta },
            Modality::Text => ServerEvent::TextDelta { place, delta },
        })
    }

    fn answer_done(&mut self, response: ResponseId, item: Entry, previous: Option<ItemId>) -> Vec<ServerEvent> {
        let Some(place) = self.place(response) else { return Vec::new() };
        let text = item.text.clone().unwrap_or_default();
        self.words += words(&text);
        let part = part(item.spoken, text.clone());
        let mut events = if item.spoken {
            vec![
                ServerEvent::AudioDone { place: place.clone() },
                ServerEvent::AudioTranscriptDone { place: place.clone(), transcript: text },
            ]
        } else {
            vec![ServerEvent::TextDone { place: place.clone(), text }]
        };
        let response_id = place.response_id.clone();
        let item = shown(item);
        events.extend([
            ServerEvent::ContentPartDone { place, part },
            ServerEvent::ItemDone { previous_item_id: name(previous), item: item.clone() },
            ServerEvent::OutputItemDone { response_id, output_index: 0, item },
        ]);
        events
    }

    fn response_done(&mut self, response: ResponseId, outcome: &Outcome, item: Option<Entry>) -> ServerEvent {
        let at = self.answers.iter().position(|answer| answer.response == response);
        let answer = match at {
            Some(at) => self.answers.swap_remove(at),
            None => Answer {
                response,
                item_id: String::new(),
                modality: self.session.output_modalities[0],
                metadata: None,
                words: 0,
                samples: 0,
            },
        };
        let (status, status_details) = match outcome {
            Outcome::Completed => (Status::Completed, None),
            Outcome::TurnDetected => (Status::Cancelled, Some(StatusDetails::Cancelled { reason: "turn_detected" })),
            Outcome::ClientCancelled => {
                (Status::Cancelled, Some(StatusDetails::Cancelled { reason: "client_cancelled" }))
            }
            Outcome::Failed(error) => {
                (Status::Failed, Some(StatusDetails::Failed { error: failure("response_failed", error) }))
            }
        };
        let usage = Some(self.usage(&answer));
        let output = item.into_iter().map(shown).collect();
        let response = Response { status_details, output, usage, ..self.response(&answer, status) };
        ServerEvent::ResponseDone { response }
    }

    fn response(&self, answer: &Answer, status: Status) -> Response {
        Response {
            id: self.response_name(answer.response),
            object: "realtime.response",
            status,
            status_details: None,
            output: Vec::new(),
            conversation_id: format!("conv_{}", self.key),
            output_modalities: [answer.modality],
            audio: ResponseAudio {
                output: ResponseOutput { format: settings::FORMAT, voice: self.session.audio.output.voice.clone() },
            },
            usage: None,
            metadata: answer.metadata.clone(),
        }
    }

    /// The language model reads the instructions and all that was said before.
    fn usage(&self, answer: &Answer) -> Usage {
        let input_tokens = words(&self.session.instructions) + self.words.saturating_sub(answer.words);
        let audio_tokens = answer.samples.div_ceil(SAMPLES_PER_TOKEN);
        let output_tokens = answer.words + audio_tokens;
        Usage {
            total_tokens: input_tokens + output_tokens,
            input_tokens,
            output_tokens,
            input_token_details: InputTokens { text_tokens: input_tokens, ..InputTokens::default() },
            output_token_details: OutputTokens { text_tokens: answer.words, audio_tokens },
        }
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
            ClientError::NoSuchItem(_) => (format!("item_{verb}_invalid_item_id"), Some("item_id")),
            ClientError::ItemExists(_) => ("item_create_invalid_item_id".to_owned(), Some("item.id")),
            ClientError::NotTruncatable(_) => ("unsupported_content_type".to_owned(), Some("item_id")),
        };
        Error { event_id, ..Error::invalid(code, param, message) }
    }

    fn answer(&mut self, response: ResponseId) -> Option<&mut Answer> {
        self.answers.iter_mut().find(|answer| answer.response == response)
    }

    fn place(&self, response: ResponseId) -> Option<Place> {
        let answer = self.answers.iter().find(|answer| answer.response == response)?;
        let (response_id, item_id) = (self.response_name(response), answer.item_id.clone());
        Some(Place { response_id, item_id, output_index: 0, content_index: 0 })
    }
}

fn name(item: Option<ItemId>) -> Option<String> {
    item.map(|item| item.to_string())
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn failure(code: &'static str, error: &EngineError) -> Failure {
    Failure { kind: "server_error", code, message: error.to_string() }
}

fn part(spoken: bool, text: String) -> Part {
    if spoken { Part::Audio { transcript: text } } else { Part::Text { text } }
}

fn shown(entry: Entry) -> Item {
    item(entry, None)
}

fn retrieved(entry: Entry) -> Item {
    item(entry, Some("realtime.item"))
}

fn item(Entry { id, role, text, spoken, status }: Entry, object: Option<&'static str>) -> Item {
    let (status, empty) = match status {
        ItemStatus::InProgress => (Status::InProgress, true),
        ItemStatus::Completed => (Status::Completed, false),
        ItemStatus::Incomplete => (Status::Incomplete, false),
    };
    let (role, content) = match (role, spoken) {
        (Speaker::User, true) => (Role::User, Content::InputAudio { transcript: text }),
        (Speaker::User, false) => (Role::User, Content::InputText { text: text.unwrap_or_default() }),
        (Speaker::System, _) => (Role::System, Content::InputText { text: text.unwrap_or_default() }),
        (Speaker::Assistant, true) => (Role::Assistant, Content::OutputAudio { transcript: text.unwrap_or_default() }),
        (Speaker::Assistant, false) => (Role::Assistant, Content::OutputText { text: text.unwrap_or_default() }),
    };
    let content = if empty { Vec::new() } else { vec![content] };
    Item::Message { id: id.to_string(), object, status, role, content }
}
