//! What clients send.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use super::{Error, FormatPatch, Modality, SessionPatch, VoicePatch};

/// Longest name a client may give to an event or an item, in bytes. It is sent back with whatever concerns it.
pub(crate) const NAME_MAX: usize = 512;

/// Longest message that is no sound, in bytes. Much of it is kept and sent back, to clients that may refuse messages over
/// 1 MiB.
const COMMAND_MAX: usize = 256 * 1024;

/// The one type of message that is nothing but sound.
const SOUND: &str = "input_audio_buffer.append";

/// Everything a client may send, by its `type`.
#[derive(Debug, Deserialize)]
pub(crate) enum ClientEvent {
    #[serde(rename = "session.update")]
    SessionUpdate { session: Box<SessionPatch> },
    #[serde(rename = "input_audio_buffer.append")]
    InputAudioBufferAppend { audio: String },
    #[serde(rename = "input_audio_buffer.commit")]
    InputAudioBufferCommit {},
    #[serde(rename = "input_audio_buffer.clear")]
    InputAudioBufferClear {},
    #[serde(rename = "conversation.item.create")]
    ConversationItemCreate { previous_item_id: Option<String>, item: Box<NewItem> },
    #[serde(rename = "conversation.item.delete")]
    ConversationItemDelete { item_id: String },
    #[serde(rename = "conversation.item.retrieve")]
    ConversationItemRetrieve { item_id: String },
    #[serde(rename = "conversation.item.truncate")]
    ConversationItemTruncate { item_id: String, content_index: i64, audio_end_ms: i64 },
    #[serde(rename = "response.create")]
    ResponseCreate { response: Option<Box<ResponseRequest>> },
    #[serde(rename = "response.cancel")]
    ResponseCancel { response_id: Option<String> },
    #[serde(rename = "output_audio_buffer.clear")]
    OutputAudioBufferClear {},
    /// Beyond the dialect, from the studio page: how much of a response was really heard so far.
    #[serde(rename = "anchor.playout")]
    Playout { response_id: String, played_ms: i64 },
}

/// An item a client puts into the conversation, or gives to one response.
#[derive(Debug, Deserialize)]
pub(crate) struct NewItem {
    pub(crate) id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) content: Vec<NewPart>,
    pub(crate) call_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arguments: Option<String>,
    pub(crate) output: Option<String>,
}

/// A part of such an item.
#[derive(Debug, Deserialize)]
pub(crate) struct NewPart {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) audio: Option<String>,
    pub(crate) transcript: Option<String>,
}

/// The settings of one response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponseRequest {
    pub(crate) instructions: Option<String>,
    pub(crate) output_modalities: Option<Vec<Modality>>,
    pub(crate) max_output_tokens: Option<Value>,
    pub(crate) audio: Option<ResponseAudioRequest>,
    pub(crate) tools: Option<Vec<Value>>,
    pub(crate) tool_choice: Option<Value>,
    pub(crate) metadata: Option<Value>,
    pub(crate) conversation: Option<String>,
    pub(crate) input: Option<Vec<NewItem>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResponseAudioRequest {
    pub(crate) output: Option<ResponseOutputRequest>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResponseOutputRequest {
    pub(crate) format: Option<FormatPatch>,
    pub(crate) voice: Option<VoicePatch>,
}

/// Reads one message: the client's name for it and what it asks for. An error names the place as a dotted path.
pub(crate) fn parse<E: DeserializeOwned>(text: &str) -> Result<(Option<String>, E), Error> {
    let mut fields: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Error::invalid("invalid_json", None, format!("The message is not a JSON object: {error}.")))?;
    let event_id = match fields.remove("event_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.len() <= NAME_MAX => Some(id),
        Some(_) => {
            let message = format!("'event_id' must be a string of at most {NAME_MAX} characters.");
            return Err(Error::invalid("invalid_value", Some("event_id"), message));
        }
    };
    let rest = text.len() - sound(&fields);
    if rest > COMMAND_MAX && fields.get("type").is_none_or(|kind| kind != SOUND) {
        let message = format!("The message has {rest} bytes that are no sound; it may have {COMMAND_MAX}.");
        return Err(Error { event_id, ..Error::invalid("string_above_max_length", None, message) });
    }
    match event(fields) {
        Ok(event) => Ok((event_id, event)),
        Err(error) => Err(Error { event_id, ..error }),
    }
}

/// How much of a message is recorded sound in an item: it is not kept once it is transcribed.
fn sound(fields: &Map<String, Value>) -> usize {
    let parts = fields.get("item").and_then(|item| item["content"].as_array());
    parts.into_iter().flatten().filter_map(|part| part["audio"].as_str()).map(str::len).sum()
}

fn event<E: DeserializeOwned>(mut fields: Map<String, Value>) -> Result<E, Error> {
    let kind = match fields.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(Error::invalid("invalid_type", Some("type"), "'type' must be a string.")),
        None => return Err(Error::invalid("missing_required_parameter", Some("type"), "'type' is missing.")),
    };
    // Tagged from outside rather than inside, because serde loses its place within what it has to look into twice.
    let tagged = Value::Object(Map::from_iter([(kind, Value::Object(fields))]));
    serde_path_to_error::deserialize(tagged).map_err(|error| refusal(dotted(error.path()), error.inner().to_string()))
}

/// The path within the event; its first segment is the event's type.
fn dotted(path: &Path) -> String {
    let mut dotted = String::new();
    for segment in path.iter().skip(1) {
        match segment {
            Segment::Seq { index } => {
                // Writing to a string does not fail.
                let _ = write!(dotted, "[{index}]");
            }
            Segment::Map { key } => {
                if !dotted.is_empty() {
                    dotted.push('.');
                }
                dotted.push_str(key);
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    dotted
}

/// Says in the API's terms what serde found, which tells its findings apart only by their text.
fn refusal(path: String, found: String) -> Error {
    if found.starts_with("missing field") {
        let field = found.split('`').nth(1).unwrap_or_default();
        let param = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        let message = format!("Missing required parameter: '{param}'.");
        return Error::invalid("missing_required_parameter", Some(&param), message);
    }
    if found.starts_with("unknown field") {
        let message = format!("Unknown parameter: '{path}'.");
        return Error::invalid("unknown_parameter", Some(&path), message);
    }
    let code = if found.starts_with("invalid type") { "invalid_type" } else { "invalid_value" };
    let param = if path.is_empty() { "type" } else { &path };
    Error::invalid(code, Some(param), format!("'{param}' cannot be taken: {found}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_mistake_has_its_code_and_its_place() {
        let mistakes = [
            "{",
            "[]",
            r#"{"type": 1}"#,
            r#"{"event_id": "e"}"#,
            r#"{"type": "response.create", "event_id": 7}"#,
            r#"{"type": "nonsense"}"#,
            r#"{"type": "conversation.item.delete"}"#,
            r#"{"type": "conversation.item.delete", "item_id": 5}"#,
            r#"{"type": "conversation.item.create", "item": {"type": "message", "content": [{}]}}"#,
            r#"{"type": "session.update", "session": {"audio": {"input": {"colour": "red"}}}}"#,
            r#"{"type": "session.update", "session": {"modalities": ["audio"]}}"#,
            r#"{"type": "session.update", "session": {"output_modalities": ["smell"]}}"#,
            r#"{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "x"}}}}}"#,
        ];
        let refusals = mistakes.map(|text| {
            let error = parse::<ClientEvent>(text).expect_err(text);
            format!("{text}\n  {} at {}\n  {}", error.code, error.param.as_deref().unwrap_or("-"), error.message)
        });
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn the_clients_name_of_an_event_is_kept_also_with_its_error() {
        let (event_id, _) = parse::<ClientEvent>(r#"{"type": "response.create", "event_id": "e1"}"#).unwrap();
        assert_eq!(event_id.as_deref(), Some("e1"));
        let error = parse::<ClientEvent>(r#"{"type": "x", "event_id": "e2"}"#).unwrap_err();
        assert_eq!(error.event_id.as_deref(), Some("e2"));
    }

    #[test]
    fn fields_of_newer_dialects_are_no_obstacle_outside_the_session() {
        let text = r#"{"type": "response.create", "response": {"reasoning": {"effort": "low"}}, "newer": 1}"#;
        assert!(parse::<ClientEvent>(text).is_ok());
    }
}
