//! From the wire to the conversation.

use anchor_core::audio::Samples;
use anchor_core::engine::Role;
use anchor_core::{ClientCommand, ItemId, Position, ResponseId, ResponseParams};

use super::super::wire::{ClientEvent, Error, Modality, NAME_MAX, NewItem, NewPart, ResponseRequest, parse};
use super::{Cause, Translator, settings};
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
                plain(ClientCommand::Update(settings::amend(&mut self.session, *session, &self.voices)?))
            }
            ClientEvent::ConversationItemCreate { previous_item_id, item } => {
                about_item("create", create_item(previous_item_id, item)?)
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
            ClientEvent::ResponseCreate { response } => create_response(response.unwrap_or_default())?,
            ClientEvent::ResponseCancel { response_id } => {
                self.check_newest(response_id)?;
                plain(ClientCommand::CancelResponse)
            }
            ClientEvent::OutputAudioBufferClear {} => {
                self.clear_playout()?.map_or(Asked::Nothing, |(command, cause)| Asked::Command(command, cause))
            }
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

    /// Only the newest response can still be going on.
    fn check_newest(&self, response_id: Option<String>) -> Result<(), Error> {
        match response_id {
            Some(name) if self.newest.is_none() || self.response_named(&name) != self.newest => Err(Error::invalid(
                "response_cancel_not_active",
                Some("response_id"),
                "Cancellation failed: no active response found",
            )),
            _ => Ok(()),
        }
    }
}

fn played(milliseconds: i64, param: &str) -> Result<Samples, Error> {
    settings::integer(milliseconds, 0..=PLAYED_MAX, param).map(|ms| Samples::from_ms(ms.unsigned_abs()))
}

fn item_name(name: String, param: &str) -> Result<ItemId, Error> {
    if (1..=NAME_MAX).contains(&name.len()) {
        return Ok(ItemId(name.into()));
    }
    let message = format!("'{param}' must have 1 to {NAME_MAX} characters; it has {}.", name.len());
    Err(Error::invalid("invalid_value", Some(param), message))
}

fn create_item(previous_item_id: Option<String>, item: NewItem) -> Result<ClientCommand, Error> {
    if item.kind != "message" {
        let message = format!("Items of type '{}' are not offered. Use 'message'.", item.kind);
        return Err(Error::invalid("invalid_value", Some("item.type"), message));
    }
    let role = match item.role.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some(role) => {
            let message = format!("There is no role '{role}'. Use 'user', 'assistant' or 'system'.");
            return Err(Error::invalid("invalid_value", Some("item.role"), message));
        }
        None => {
            let message = "Missing required parameter: 'item.role'.";
            return Err(Error::invalid("missing_required_parameter", Some("item.role"), message));
        }
    };
    let texts = item.content.into_iter().enumerate().map(|(index, part)| text_of(index, part));
    let text = texts.collect::<Result<Vec<_>, _>>()?.join("\n");
    if text.trim().is_empty() {
        let message = "'item.content' has no text. Give at least one part with text.";
        return Err(Error::invalid("invalid_value", Some("item.content"), message));
    }
    let position = match previous_item_id {
        None => Position::Last,
        Some(root) if root == "root" => Position::First,
        Some(id) => Position::After(item_name(id, "previous_item_id")?),
    };
    let id = item.id.map(|id| item_name(id, "item.id")).transpose()?;
    Ok(ClientCommand::CreateItem { id, position, role, text })
}

fn text_of(index: usize, part: NewPart) -> Result<String, Error> {
    let (text, field) = match part.kind.as_str() {
        "input_text" | "output_text" => (part.text, "text"),
        "input_audio" | "output_audio" => (part.transcript, "transcript"),
        kind => {
            let param = format!("item.content[{index}].type");
            let message = format!("Parts of type '{kind}' are not offered. Use 'input_text' or 'output_text'.");
            return Err(Error::invalid("invalid_value", Some(&param), message));
        }
    };
    text.ok_or_else(|| {
        let param = format!("item.content[{index}].{field}");
        let message = format!("Missing required parameter: '{param}'.");
        Error::invalid("missing_required_parameter", Some(&param), message)
    })
}

fn create_response(request: ResponseRequest) -> Result<Asked, Error> {
    if let Some(conversation) = request.conversation.filter(|conversation| conversation != "auto") {
        let message = format!("Responses with conversation '{conversation}' are not offered. Use 'auto'.");
        return Err(Error::invalid("invalid_value", Some("response.conversation"), message));
    }
    if request.input.is_some() {
        let message = "Responses with an input of their own are not offered. Create items instead.";
        return Err(Error::invalid("invalid_value", Some("response.input"), message));
    }
    if request.metadata.as_ref().is_some_and(|metadata| metadata.to_string().len() > METADATA_MAX) {
        let message = format!("'response.metadata' is longer than {METADATA_MAX} bytes of JSON.");
        return Err(Error::invalid("invalid_value", Some("response.metadata"), message));
    }
    let modality = match request.output_modalities {
        Some(modalities) => Some(settings::one_modality(&modalities, "response.output_modalities")?),
        None => None,
    };
    let speak = modality.map(|modality| modality == Modality::Audio);
    let params = ResponseParams { instructions: request.instructions, speak };
    let cause = Cause { modality, metadata: request.metadata, ..Cause::default() };
    Ok(Asked::Command(ClientCommand::CreateResponse(params), cause))
}
