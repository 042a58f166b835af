//! Sound on a track of its own: over WebRTC the client is told when a response is heard instead of being sent its sound.

use anchor_core::audio::Samples;
use anchor_core::{ClientCommand, ResponseId};

use super::super::wire::{Error, ServerEvent};
use super::{Cause, Translator};

/// What the translated events travel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Carrier {
    /// Sound travels in events.
    WebSocket,
    /// Sound has a track of its own.
    WebRtc,
}

/// The `verb` of a command that ends what is heard. There may be nothing left to end by then, which is no error.
const CLEAR: &str = "clear";

/// A response with sound given out that the client has not heard to its end.
pub(super) struct Sounding {
    response: ResponseId,
    item_id: String,
    started: bool,
}

impl Translator {
    /// The same translator for another carrier.
    pub(in super::super) fn carried_by(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// Sound of a response was given out.
    pub(super) fn sounds(&mut self, response: ResponseId, item_id: String) {
        if self.sounding.iter().all(|sounding| sounding.response != response) {
            self.sounding.push(Sounding { response, item_id, started: false });
        }
    }

    /// The first sound of a response leaves for the client.
    pub(in super::super) fn playout_started(&mut self, response: ResponseId) -> String {
        if let Some(sounding) = self.sounding.iter_mut().find(|sounding| sounding.response == response) {
            sounding.started = true;
        }
        let response_id = self.response_name(response);
        self.write(&ServerEvent::OutputAudioBufferStarted { response_id })
    }

    /// The last sound of a response has left.
    pub(in super::super) fn playout_stopped(&mut self, response: ResponseId) -> String {
        self.sounding.retain(|sounding| sounding.response != response);
        let response_id = self.response_name(response);
        self.write(&ServerEvent::OutputAudioBufferStopped { response_id })
    }

    /// Sound that had not left was dropped; so much of each response had. An item that is still being said is cut with its
    /// response, any other now.
    pub(in super::super) fn playout_cleared(&mut self, sent: &[(ResponseId, Samples)]) -> Vec<String> {
        let mut events = Vec::new();
        for Sounding { response, item_id, started } in std::mem::take(&mut self.sounding) {
            if started {
                events.push(ServerEvent::OutputAudioBufferCleared { response_id: self.response_name(response) });
            }
            let heard = sent.iter().find(|(other, _)| *other == response).map_or(Samples(0), |(_, sent)| *sent);
            let truncated = ServerEvent::ItemTruncated { item_id, content_index: 0, audio_end_ms: heard.as_ms() };
            if self.is_open(response) { self.cuts.push((response, truncated)) } else { events.push(truncated) }
        }
        self.write_all(&events)
    }

    /// What is still to be told of a response that has ended.
    pub(super) fn cut(&mut self, response: ResponseId) -> Option<ServerEvent> {
        let at = self.cuts.iter().position(|(other, _)| *other == response)?;
        Some(self.cuts.swap_remove(at).1)
    }

    /// The client wants what is heard to end: a command where something is.
    pub(super) fn clear_playout(&self) -> Result<Option<(ClientCommand, Cause)>, Error> {
        if self.carrier == Carrier::WebSocket {
            let message = "'output_audio_buffer.clear' is understood over WebRTC only: over a WebSocket the sound is the \
                           client's to drop. Send 'conversation.item.truncate' to say what was heard.";
            return Err(Error::invalid("invalid_value", Some("type"), message));
        }
        let command = (ClientCommand::CancelResponse(None), Cause { verb: CLEAR, ..Cause::default() });
        Ok((!self.sounding.is_empty()).then_some(command))
    }

    /// The command that is carried out was to end what is heard.
    pub(super) fn is_clearing(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.verb == CLEAR)
    }
}
