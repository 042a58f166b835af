//! Sound that comes as events of a chat: `choices[0].delta.audio.data`, 16 bits at 24 kHz in base64
//! (`vllm/entrypoints/bosonai/serving_chat.py`, `vllm/entrypoints/bosonai/utils.py` of Boson's server).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::NAME;
use crate::http::{Decode, Fault, Sse, cut_short, error_in, unreadable};
use crate::tts::speech::Sound;

/// Reads the events of one clause.
pub(super) struct ChatSound {
    events: Sse,
    sound: Sound,
    /// The last event has come.
    complete: bool,
}

impl ChatSound {
    pub(super) fn new(sound: Sound) -> Self {
        Self { events: Sse::default(), sound, complete: false }
    }

    fn take(&mut self, data: &str, events: &mut Vec<Vec<f32>>) -> Result<(), Fault> {
        if self.complete {
            return Ok(());
        }
        if data == "[DONE]" {
            self.complete = true;
            return self.sound.finish(events);
        }
        let event: Value = serde_json::from_str(data).map_err(|error| unreadable(NAME, error))?;
        if let Some(said) = error_in(&event) {
            return Err(Fault::Broken(said));
        }
        let Some(sound) = event["choices"][0]["delta"]["audio"]["data"].as_str() else { return Ok(()) };
        let bytes = STANDARD.decode(sound).map_err(|error| unreadable(NAME, error))?;
        self.sound.push(&bytes, events)
    }
}

impl Decode for ChatSound {
    type Event = Vec<f32>;

    fn push(&mut self, bytes: &[u8], events: &mut Vec<Self::Event>) -> Result<(), Fault> {
        self.events.push(bytes)?.iter().try_for_each(|data| self.take(data, events))
    }

    fn finish(&mut self, events: &mut Vec<Self::Event>) -> Result<(), Fault> {
        if let Some(data) = self.events.finish() {
            self.take(&data, events)?;
        }
        if self.complete { Ok(()) } else { Err(cut_short()) }
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}
