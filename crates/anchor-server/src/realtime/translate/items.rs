//! Items as clients give them.

use anchor_core::audio::AudioFrame;
use anchor_core::engine::Role;
use anchor_core::{ClientCommand, Content, ContextItem, ItemId, Position};

use super::super::pcm;
use super::super::wire::{AudioFormat, Error, NAME_MAX, NewItem, NewPart};

/// Most items of one response's own input.
const INPUT_MAX: usize = 400;

/// What an item turned out to be.
enum Given {
    Content(Content),
    Sound(AudioFrame),
}

/// Puts an item into the conversation.
pub(super) fn create(
    previous_item_id: Option<String>,
    item: NewItem,
    format: AudioFormat,
) -> Result<ClientCommand, Error> {
    let position = match previous_item_id {
        None => Position::Last,
        Some(root) if root == "root" => Position::First,
        Some(id) => Position::After(name(id, "previous_item_id")?),
    };
    let id = item.id.clone().map(|id| name(id, "item.id")).transpose()?;
    Ok(match given(item, format, "item")? {
        Given::Content(content) => ClientCommand::CreateItem { id, position, content },
        Given::Sound(sound) => ClientCommand::CreateSpokenItem { id, position, sound },
    })
}

/// What a response is to answer instead of the conversation.
pub(super) fn input(items: Vec<NewItem>, format: AudioFormat) -> Result<Vec<ContextItem>, Error> {
    const PARAM: &str = "response.input";
    if items.len() > INPUT_MAX {
        let message = format!("'{PARAM}' has {} items; there may be {INPUT_MAX}.", items.len());
        return Err(Error::invalid("array_above_max_length", Some(PARAM), message));
    }
    let context = |(index, item): (usize, NewItem)| {
        let param = format!("{PARAM}[{index}]");
        if item.kind == "item_reference" {
            return Ok(ContextItem::Reference(name(item.id.unwrap_or_default(), &format!("{param}.id"))?));
        }
        match given(item, format, &param)? {
            Given::Content(content) => Ok(ContextItem::New(content)),
            Given::Sound(_) => {
                let message = format!(
                    "'{param}' is sound without a transcript. Put it into the conversation with \
                     'conversation.item.create', where it is transcribed, and refer to it by an 'item_reference'."
                );
                Err(Error::invalid("invalid_value", Some(&param), message))
            }
        }
    };
    items.into_iter().enumerate().map(context).collect()
}

/// The name of an item or a call.
pub(super) fn name(name: String, param: &str) -> Result<ItemId, Error> {
    if (1..=NAME_MAX).contains(&name.len()) {
        return Ok(ItemId(name.into()));
    }
    let message = format!("'{param}' must have 1 to {NAME_MAX} characters; it has {}.", name.len());
    Err(Error::invalid("invalid_value", Some(param), message))
}

fn given(item: NewItem, format: AudioFormat, param: &str) -> Result<Given, Error> {
    let call = |call_id| name(required(call_id, param, "call_id")?, &format!("{param}.call_id"));
    match item.kind.as_str() {
        "message" => message(item, format, param),
        "function_call" => Ok(Given::Content(Content::Call {
            call: call(item.call_id)?.to_string(),
            name: required(item.name, param, "name")?,
            arguments: required(item.arguments, param, "arguments")?,
        })),
        "function_call_output" => Ok(Given::Content(Content::CallOutput {
            call: call(item.call_id)?.to_string(),
            output: required(item.output, param, "output")?,
        })),
        kind => {
            let message = format!(
                "Items of type '{kind}' are not offered. Use 'message', 'function_call' or 'function_call_output'."
            );
            Err(Error::invalid("invalid_value", Some(&format!("{param}.type")), message))
        }
    }
}

fn message(item: NewItem, format: AudioFormat, param: &str) -> Result<Given, Error> {
    let role = match required(item.role, param, "role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        role => {
            let message = format!("There is no role '{role}'. Use 'user', 'assistant' or 'system'.");
            return Err(Error::invalid("invalid_value", Some(&format!("{param}.role")), message));
        }
    };
    let spoken = item.content.first().is_some_and(|part| part.kind.ends_with("_audio"));
    let mut texts = Vec::new();
    let mut sound = Vec::new();
    for (index, part) in item.content.into_iter().enumerate() {
        let place = format!("{param}.content[{index}]");
        if part.kind.ends_with("_audio") != spoken {
            let message = format!("'{param}.content' mixes sound with text. Make an item of each.");
            return Err(Error::invalid("invalid_value", Some(&place), message));
        }
        match (part.kind.clone().as_str(), part) {
            ("input_text" | "output_text", part) => texts.push(required(part.text, &place, "text")?),
            ("input_audio" | "output_audio", NewPart { transcript: Some(transcript), .. }) => texts.push(transcript),
            ("input_audio", part) if role == Role::User => {
                let audio = required(part.audio, &place, "audio")?;
                sound.extend_from_slice(&pcm::recording(&audio, format, &format!("{place}.audio"))?);
            }
            ("input_audio" | "output_audio", _) => {
                required(None, &place, "transcript")?;
            }
            (kind, _) => {
                let hint = match kind {
                    "input_image" => "The anchor does not see; say in text what there is to see.",
                    _ => "Use 'input_text', 'input_audio' or 'output_text'.",
                };
                let message = format!("Parts of type '{kind}' are not offered. {hint}");
                return Err(Error::invalid("invalid_value", Some(&format!("{place}.type")), message));
            }
        }
    }
    if !sound.is_empty() && texts.is_empty() {
        return Ok(Given::Sound(AudioFrame::new(sound)));
    }
    let text = texts.join("\n");
    if text.trim().is_empty() {
        let message = format!("'{param}.content' has no text. Give at least one part with text or sound.");
        return Err(Error::invalid("invalid_value", Some(&format!("{param}.content")), message));
    }
    Ok(Given::Content(Content::Message { role, text: Some(text), spoken }))
}

fn required(value: Option<String>, param: &str, field: &str) -> Result<String, Error> {
    value.ok_or_else(|| {
        let param = format!("{param}.{field}");
        Error::invalid("missing_required_parameter", Some(&param), format!("Missing required parameter: '{param}'."))
    })
}
