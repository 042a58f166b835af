//! The life of an answer on the wire: from `response.created` to `response.done`, in the order clients rely on.

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::{Content, Item as Entry, ItemId, Outcome, ResponseId, Usage as Taken};

use super::super::pcm::Speaker;
use super::super::wire::{
    CallPlace, InputTokens, Modality, OutputTokens, Place, Response, ResponseAudio, ResponseOutput, ServerEvent,
    Status, StatusDetails, Usage,
};
use super::outbound::{failure, name, part, shown};
use super::{Carrier, Ordered, Translator};

/// The hosted API's count of tokens for sound it says: one for each 50 ms.
const SAMPLES_PER_TOKEN: u64 = Samples::from_ms(50).0;

/// A response that has not ended.
pub(super) struct Answer {
    response: ResponseId,
    out_of_band: bool,
    ordered: Ordered,
    speaker: Speaker,
    /// Its message; empty until it has one.
    item_id: String,
}

impl Translator {
    pub(super) fn response_created(&mut self, response: ResponseId, out_of_band: bool) -> ServerEvent {
        let ordered = self.cause.as_mut().and_then(|cause| cause.ordered.take());
        let ordered = ordered.map_or_else(|| Ordered::of(&self.session), |ordered| *ordered);
        let speaker = Speaker::new(ordered.format);
        let answer = Answer { response, out_of_band, ordered, speaker, item_id: String::new() };
        let response = self.response(&answer, Status::InProgress);
        self.answers.push(answer);
        ServerEvent::ResponseCreated { response }
    }

    pub(super) fn output_added(
        &mut self,
        response: ResponseId,
        output_index: u32,
        entry: Entry,
        previous: Option<ItemId>,
    ) -> Vec<ServerEvent> {
        let response_id = self.response_name(response);
        let Some(answer) = self.answer(response) else { return Vec::new() };
        let item = shown(entry.clone());
        let mut events = vec![ServerEvent::OutputItemAdded { response_id, output_index, item: item.clone() }];
        if !answer.out_of_band {
            events.push(ServerEvent::ItemAdded { previous_item_id: name(previous), item });
        }
        if let Content::Message { spoken, .. } = entry.content {
            answer.item_id = entry.id.to_string();
            let part = part(spoken, String::new());
            events.extend(self.place(response).map(|place| ServerEvent::ContentPartAdded { place, part }));
        }
        events
    }

    pub(super) fn answer_text(&mut self, response: ResponseId, delta: String) -> Option<ServerEvent> {
        let place = self.place(response)?;
        Some(match self.answer(response)?.ordered.modality {
            Modality::Audio => ServerEvent::AudioTranscriptDelta { place, delta },
            Modality::Text => ServerEvent::TextDelta { place, delta },
        })
    }

    /// The next sound of an answer, in pieces.
    pub(super) fn answer_sound(&mut self, response: ResponseId, frame: &AudioFrame) -> Vec<ServerEvent> {
        let Some(place) = self.place(response) else { return Vec::new() };
        if self.carrier == Carrier::WebRtc {
            self.sounds(response, place.item_id);
            return Vec::new();
        }
        let deltas = self.answer(response).map(|answer| answer.speaker.deltas(frame)).unwrap_or_default();
        deltas.into_iter().map(|delta| ServerEvent::AudioDelta { place: place.clone(), delta }).collect()
    }

    pub(super) fn output_done(
        &mut self,
        response: ResponseId,
        output_index: u32,
        entry: Entry,
        previous: Option<ItemId>,
    ) -> Vec<ServerEvent> {
        let response_id = self.response_name(response);
        let (Some(place), Some(answer)) = (self.place(response), self.answer(response)) else { return Vec::new() };
        let out_of_band = answer.out_of_band;
        let item = shown(entry.clone());
        let mut events = match entry.content {
            Content::Message { text, spoken, .. } => {
                let last = if spoken { answer.speaker.finish() } else { Vec::new() };
                let sound = last.into_iter().map(|delta| ServerEvent::AudioDelta { place: place.clone(), delta });
                sound.chain(message_done(place.clone(), text.unwrap_or_default(), spoken)).collect()
            }
            Content::Call { call, name, arguments } => {
                let item_id = entry.id.to_string();
                let place = CallPlace { response_id: response_id.clone(), item_id, output_index, call_id: call };
                vec![
                    ServerEvent::CallDelta { place: place.clone(), delta: arguments.clone() },
                    ServerEvent::CallDone { place, name, arguments },
                ]
            }
            Content::CallOutput { .. } => Vec::new(),
        };
        if !out_of_band {
            events.push(ServerEvent::ItemDone { previous_item_id: name(previous), item: item.clone() });
        }
        events.push(ServerEvent::OutputItemDone { response_id, output_index, item });
        events
    }

    pub(super) fn response_done(
        &mut self,
        response: ResponseId,
        outcome: &Outcome,
        output: Vec<Entry>,
        taken: Taken,
    ) -> Option<ServerEvent> {
        let at = self.answers.iter().position(|answer| answer.response == response)?;
        let answer = self.answers.swap_remove(at);
        let (status, status_details) = match outcome {
            Outcome::Completed => (Status::Completed, None),
            Outcome::TurnDetected => (Status::Cancelled, Some(StatusDetails::Cancelled { reason: "turn_detected" })),
            Outcome::ClientCancelled => {
                (Status::Cancelled, Some(StatusDetails::Cancelled { reason: "client_cancelled" }))
            }
            Outcome::LimitReached => {
                (Status::Incomplete, Some(StatusDetails::Incomplete { reason: "max_output_tokens" }))
            }
            Outcome::Failed(error) => {
                (Status::Failed, Some(StatusDetails::Failed { error: failure("response_failed", error) }))
            }
        };
        let output = output.into_iter().map(shown).collect();
        let usage = Some(usage(taken));
        let response = Response { status_details, output, usage, ..self.response(&answer, status) };
        Some(ServerEvent::ResponseDone { response })
    }

    fn response(&self, answer: &Answer, status: Status) -> Response {
        let Ordered { modality, format, voice, max_output_tokens, metadata } = &answer.ordered;
        Response {
            id: self.response_name(answer.response),
            object: "realtime.response",
            status,
            status_details: None,
            output: Vec::new(),
            conversation_id: (!answer.out_of_band).then(|| format!("conv_{}", self.key)),
            output_modalities: [*modality],
            max_output_tokens: *max_output_tokens,
            audio: ResponseAudio { output: ResponseOutput { format: *format, voice: voice.clone() } },
            usage: None,
            metadata: metadata.clone(),
        }
    }

    pub(super) fn is_open(&self, response: ResponseId) -> bool {
        self.answers.iter().any(|answer| answer.response == response)
    }

    fn answer(&mut self, response: ResponseId) -> Option<&mut Answer> {
        self.answers.iter_mut().find(|answer| answer.response == response)
    }

    /// The place of an answer's message, which is its first item and has one part.
    fn place(&self, response: ResponseId) -> Option<Place> {
        let answer = self.answers.iter().find(|answer| answer.response == response)?;
        let (response_id, item_id) = (self.response_name(response), answer.item_id.clone());
        Some(Place { response_id, item_id, output_index: 0, content_index: 0 })
    }
}

fn message_done(place: Place, text: String, spoken: bool) -> Vec<ServerEvent> {
    let part = part(spoken, text.clone());
    let mut events = if spoken {
        vec![
            ServerEvent::AudioDone { place: place.clone() },
            ServerEvent::AudioTranscriptDone { place: place.clone(), transcript: text },
        ]
    } else {
        vec![ServerEvent::TextDone { place: place.clone(), text }]
    };
    events.push(ServerEvent::ContentPartDone { place, part });
    events
}

fn usage(Taken { told, written, sound }: Taken) -> Usage {
    let audio_tokens = sound.0.div_ceil(SAMPLES_PER_TOKEN);
    let output_tokens = written + audio_tokens;
    Usage {
        total_tokens: told + output_tokens,
        input_tokens: told,
        output_tokens,
        input_token_details: InputTokens { text_tokens: told, ..InputTokens::default() },
        output_token_details: OutputTokens { text_tokens: written, audio_tokens },
    }
}
