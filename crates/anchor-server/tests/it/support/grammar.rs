//! Events of the dialect as the tokens of the grammar that all sessions keep to.

use anchor_core::grammar::{Grammar, Line, Stream, Token};
use serde_json::Value;

/// Reads a session's events; what breaks a rule is told with the event.
pub(crate) struct Checker(Grammar);

impl Checker {
    pub(crate) fn new(line: Line) -> Self {
        Self(Grammar::new(line))
    }

    pub(crate) fn read(&mut self, event: &Value) -> Result<(), String> {
        let id = event["event_id"].as_str().unwrap_or_default();
        self.0.read(id, token(event)).map_err(|violation| format!("{violation}: {event}"))
    }
}

fn token(event: &Value) -> Token<'_> {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let (item, response) = (text("item_id"), text("response_id"));
    let (part, previous) = (event["content_index"].as_u64().unwrap_or_default(), event["previous_item_id"].as_str());
    let inner = |key: &str| event[key]["id"].as_str().unwrap_or_default();
    match text("type") {
        "session.created" => Token::SessionCreated,
        "input_audio_buffer.speech_started" => Token::SpeechStarted(item),
        "input_audio_buffer.speech_stopped" => Token::SpeechStopped(item),
        "input_audio_buffer.committed" => Token::Committed(item, previous),
        "conversation.item.added" => Token::ItemAdded(inner("item"), previous),
        "conversation.item.done" => Token::ItemDone(inner("item")),
        "conversation.item.deleted" => Token::ItemDeleted(item),
        "conversation.item.retrieved" => Token::Item(inner("item")),
        "conversation.item.truncated"
        | "conversation.item.input_audio_transcription.delta"
        | "conversation.item.input_audio_transcription.completed"
        | "conversation.item.input_audio_transcription.failed" => Token::Item(item),
        "response.created" => Token::ResponseCreated {
            response: inner("response"),
            within: event["response"]["conversation_id"].is_string(),
        },
        "response.done" => Token::ResponseDone(inner("response")),
        "response.output_item.added" => Token::OutputItemAdded(response, inner("item")),
        "response.output_item.done" => Token::OutputItemDone(response, inner("item")),
        "response.content_part.added" => Token::PartAdded(response, item, part),
        "response.content_part.done" => Token::PartDone(response, item, part),
        "response.output_text.delta" => Token::Delta(response, item, part, Stream::Text),
        "response.output_audio.delta" => Token::Delta(response, item, part, Stream::Audio),
        "response.output_audio_transcript.delta" => Token::Delta(response, item, part, Stream::Transcript),
        "response.output_text.done" => Token::StreamDone(response, item, part, Stream::Text),
        "response.output_audio.done" => Token::StreamDone(response, item, part, Stream::Audio),
        "response.output_audio_transcript.done" => Token::StreamDone(response, item, part, Stream::Transcript),
        "response.function_call_arguments.delta" => Token::CallDelta(response, item),
        "response.function_call_arguments.done" => Token::CallDone(response, item),
        "output_audio_buffer.started" => Token::SoundStarted(response),
        "output_audio_buffer.stopped" => Token::SoundStopped(response),
        "output_audio_buffer.cleared" => Token::SoundCleared(response),
        _ => Token::Other,
    }
}
