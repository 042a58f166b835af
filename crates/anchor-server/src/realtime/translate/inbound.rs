//! From the wire to the conversation.

use anchor_core::audio::Samples;
use anchor_core::{ClientCommand, ResponseId, ResponseParams};

use super::super::wire::{ClientEvent, Error, Kind, Modality, ResponseRequest, parse};
use super::items::name as item_name;
use super::{Cause, Ordered, Translator, items, settings, tools};
use crate::transport::ClientMessage;

/// Longest answer a client can mean when it says how much was played, in milliseconds: a day.
const PLAYED_MAX: i64 = 24 * 60 * 60 * 1000;

/// Longest metadata of a response, in bytes of JSON: the hosted API's sixteen pairs fit.
const METADATA_MAX: usize = 16 * 1024;

/// What a message asks for.
enum Asked {
    /// Nothing more: what it brought was taken in.
    Nothing,
    /// To do something.
    Command(ClientCommand, Cause),
    /// To note how much of a response was heard.
    Heard(ResponseId, Samples),
}

impl Translator {
    /// Takes in a message of the client. Sound waits to be fetched with [`next_audio`](Self::next_audio).
    pub(in super::super) fn inbound(&mut self, text: &str) -> Result<Option<ClientMessage>, Error> {
        let (event_id, event) = parse(text)?;
        match self.message(event) {
            Ok(Asked::Nothing) => Ok(None),
            Ok(Asked::Heard(response, played)) => Ok(Some(ClientMessage::Playout(response, played))),
            Ok(Asked::Command(command, cause)) => {
                self.cause = Some(Cause { event_id, ..cause });
                Ok(Some(ClientMessage::Command(command)))
            }
            Err(error) => Err(Error { event_id, ..error }),
        }
    }

    /// The next of the sound that was taken in. To be fetched until there is none before the next message is taken in.
    pub(in super::super) fn next_audio(&mut self) -> Option<ClientMessage> {
        self.microphone.next().map(ClientMessage::Audio)
    }

    fn message(&mut self, event: ClientEvent) -> Result<Asked, Error> {
        let plain = |command| Asked::Command(command, Cause::default());
        let about_item = |verb, command| Asked::Command(command, Cause { verb, ..Cause::default() });
        Ok(match event {
            ClientEvent::InputAudioBufferAppend { audio } => {
                self.microphone.append(&audio)?;
                Asked::Nothing
            }
            ClientEvent::InputAudioBufferCommit {} => plain(ClientCommand::CommitInput),
            ClientEvent::InputAudioBufferClear {} => plain(ClientCommand::ClearInput),
            ClientEvent::SessionUpdate { session } => {
                let update = settings::amend(&mut self.session, *session, &self.voices)?;
                self.microphone.set_format(self.session.audio.input.format);
                plain(ClientCommand::Update(Box::new(update)))
            }
            ClientEvent::ConversationItemCreate { previous_item_id, item } => {
                about_item("create", items::create(previous_item_id, *item, self.session.audio.input.format)?)
            }
            ClientEvent::ConversationItemDelete { item_id } => {
                about_item("delete", ClientCommand::DeleteItem(item_name(item_id, "item_id")?))
            }
            ClientEvent::ConversationItemRetrieve { item_id } => {
                about_item("retrieve", ClientCommand::RetrieveItem(item_name(item_id, "item_id")?))
            }
            ClientEvent::ConversationItemTruncate { item_id, content_index, audio_end_ms } => {
                settings::integer(content_index, 0..=0, "content_index")?;
                let audio_end = played(audio_end_ms, "audio_end_ms")?;
                let id = item_name(item_id, "item_id")?;
                about_item("truncate", ClientCommand::TruncateItem { id, audio_end })
            }
            ClientEvent::ResponseCreate { .. } if self.session.kind == Kind::Transcription => {
                let message =
                    "A session of type 'transcription' gives no answers. Connect without '?intent=transcription'.";
                return Err(Error::invalid("invalid_value", Some("type"), message));
            }
            ClientEvent::OutputAudioBufferClear {} => {
                self.clear_playout()?.map_or(Asked::Nothing, |(command, cause)| Asked::Command(command, cause))
            }
            ClientEvent::ResponseCreate { response } => self.respond(*response.unwrap_or_default())?,
            ClientEvent::ResponseCancel { response_id } => plain(ClientCommand::CancelResponse(
                // No response has the number 0: what is not named like one of ours is not active.
                response_id.map(|name| self.response_named(&name).unwrap_or(ResponseId(0))),
            )),
            ClientEvent::Playout { response_id, played_ms } => self.heard(&response_id, played_ms)?,
        })
    }

    fn heard(&self, response_id: &str, played_ms: i64) -> Result<Asked, Error> {
        if !self.studio {
            let message = "'anchor.playout' is understood in studio sessions only. Connect with '?studio=true'.";
            return Err(Error::invalid("invalid_value", Some("type"), message));
        }
        let Some(response) = self.response_named(response_id) else {
            let message = format!("There is no response '{response_id}'.");
            return Err(Error::invalid("invalid_value", Some("response_id"), message));
        };
        Ok(Asked::Heard(response, played(played_ms, "played_ms")?))
    }

    fn respond(&mut self, request: ResponseRequest) -> Result<Asked, Error> {
        let out_of_band = match request.conversation.as_deref() {
            None | Some("auto") => false,
            Some("none") => true,
            Some(other) => {
                let message = format!("There is no conversation '{other}'. Use 'auto' or 'none'.");
                return Err(Error::invalid("invalid_value", Some("response.conversation"), message));
            }
        };
        if request.metadata.as_ref().is_some_and(|metadata| metadata.to_string().len() > METADATA_MAX) {
            let message = format!("'response.metadata' is longer than {METADATA_MAX} bytes of JSON.");
            return Err(Error::invalid("invalid_value", Some("response.metadata"), message));
        }
        let mut ordered = Ordered { metadata: request.metadata, ..Ordered::of(&self.session) };
        let mut params = ResponseParams { out_of_band, instructions: request.instructions, ..Default::default() };
        if let Some(modalities) = request.output_modalities {
            ordered.modality = settings::one_modality(&modalities, "response.output_modalities")?;
            params.speak = Some(ordered.modality == Modality::Audio);
        }
        if let Some(tokens) = request.max_output_tokens {
            ordered.max_output_tokens = settings::max_output_tokens(&tokens, "response.max_output_tokens")?;
            params.max_tokens = Some(ordered.max_output_tokens);
        }
        if let Some(output) = request.audio.and_then(|audio| audio.output) {
            ordered.format = settings::format(output.format, ordered.format, "response.audio.output.format")?;
            if let Some(voice) = output.voice {
                let (shown, own) = settings::own_voice(voice, &self.voices, "response.audio.output.voice")?;
                (ordered.voice, params.voice) = (shown, Some(own));
            }
        }
        let offered = request.tools.map(|offered| tools::offered(&offered, "response.tools"));
        params.tools = offered.transpose()?;
        let choice = request.tool_choice.map(|choice| tools::choice(&choice, "response.tool_choice"));
        params.tool_choice = choice.transpose()?;
        let input = request.input.map(|given| items::input(given, self.session.audio.input.format));
        params.input = input.transpose()?;
        let cause = Cause { verb: "reference", ordered: Some(Box::new(ordered)), ..Cause::default() };
        Ok(Asked::Command(ClientCommand::CreateResponse(Box::new(params)), cause))
    }
}

fn played(milliseconds: i64, param: &str) -> Result<Samples, Error> {
    settings::integer(milliseconds, 0..=PLAYED_MAX, param).map(|ms| Samples::from_ms(ms.unsigned_abs()))
}
