//! The life of an answer on the wire: from `response.created` to `response.done`, in the order clients rely on.

use anchor_core::audio::AudioFrame;
use anchor_core::{Item as Entry, ItemId, Outcome, ResponseId};
use serde_json::Value;

use super::super::pcm;
use super::super::wire::{
    InputTokens, Modality, OutputTokens, Place, Response, ResponseAudio, ResponseOutput, ServerEvent, Status,
    StatusDetails, Usage,
};
use super::outbound::{failure, name, part, shown, words};
use super::{Carrier, Translator, settings};

/// The hosted API's count of tokens for sound it says: one for each 50 ms.
const SAMPLES_PER_TOKEN: u64 = pcm::WIRE_RATE as u64 / 20;

/// A response that has not ended.
pub(super) struct Answer {
    response: ResponseId,
    /// Empty until it has one.
    item_id: String,
    modality: Modality,
    metadata: Option<Value>,
    words: u64,
    samples: u64,
}

impl Answer {
    fn new(response: ResponseId, modality: Modality, metadata: Option<Value>) -> Self {
        Self { response, item_id: String::new(), modality, metadata, words: 0, samples: 0 }
    }
}

impl Translator {
    pub(super) fn response_created(&mut self, response: ResponseId) -> ServerEvent {
        let (modality, metadata) = match &mut self.cause {
            Some(cause) => (cause.modality, cause.metadata.take()),
            None => (None, None),
        };
        let modality = modality.unwrap_or(self.session.output_modalities[0]);
        let answer = Answer::new(response, modality, metadata);
        let response = self.response(&answer, Status::InProgress);
        self.newest = Some(answer.response);
        self.answers.push(answer);
        ServerEvent::ResponseCreated { response }
    }

    pub(super) fn answer_started(
        &mut self,
        response: ResponseId,
        item: Entry,
        previous: Option<ItemId>,
    ) -> Vec<ServerEvent> {
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

    pub(super) fn answer_text(&mut self, response: ResponseId, delta: String) -> Option<ServerEvent> {
        let place = self.place(response)?;
        let answer = self.answer(response)?;
        answer.words += words(&delta);
        Some(match answer.modality {
            Modality::Audio => ServerEvent::AudioTranscriptDelta { place, delta },
            Modality::Text => ServerEvent::TextDelta { place, delta },
        })
    }

    /// The next sound of an answer, in pieces.
    pub(super) fn answer_sound(&mut self, response: ResponseId, frame: &AudioFrame) -> Vec<ServerEvent> {
        let Some(place) = self.place(response) else { return Vec::new() };
        if let Some(answer) = self.answer(response) {
            answer.samples += frame.len() as u64;
        }
        if self.carrier == Carrier::WebRtc {
            self.sounds(response, place.item_id);
            return Vec::new();
        }
        pcm::deltas(frame).map(|delta| ServerEvent::AudioDelta { place: place.clone(), delta }).collect()
    }

    pub(super) fn answer_done(
        &mut self,
        response: ResponseId,
        item: Entry,
        previous: Option<ItemId>,
    ) -> Vec<ServerEvent> {
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

    pub(super) fn response_done(
        &mut self,
        response: ResponseId,
        outcome: &Outcome,
        item: Option<Entry>,
    ) -> ServerEvent {
        let at = self.answers.iter().position(|answer| answer.response == response);
        let answer = match at {
            Some(at) => self.answers.swap_remove(at),
            None => Answer::new(response, self.session.output_modalities[0], None),
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

    pub(super) fn is_open(&self, response: ResponseId) -> bool {
        self.answers.iter().any(|answer| answer.response == response)
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
