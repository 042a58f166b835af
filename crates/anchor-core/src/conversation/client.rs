//! What a client asks of a conversation.

use std::time::Instant;

use super::Conversation;
use crate::audio::{AudioFrame, SampleTime};
use crate::floor::{Act, Action};
use crate::response::Response;
use crate::timer::Timer;
use crate::turn::{Turn, unheard};
use crate::{
    ClientCommand, ClientError, Content, ContextItem, Event, Item, ItemId, ItemStatus, Outcome, Position, ResponseId,
    ResponseParams, SessionUpdate, TurnId,
};

/// A client may not commit less than this: the OpenAI Realtime API's limit.
const COMMIT_MIN: SampleTime = SampleTime::from_ms(100);

/// Answers made at the same time beside the conversation: each takes a place of the language model.
const BESIDE_MAX: usize = 8;

/// Recordings transcribed at the same time: each takes a place of the recogniser.
const RECORDINGS_MAX: usize = 8;

impl Conversation {
    pub(super) fn on_client(&mut self, command: ClientCommand, now: Instant) -> Result<(), ClientError> {
        match command {
            ClientCommand::Update(update) => self.update(*update),
            ClientCommand::CreateItem { id, position, content } => self.create_item(id, &position, content)?,
            ClientCommand::CreateSpokenItem { id, position, sound } => self.create_spoken(id, &position, sound, now)?,
            ClientCommand::DeleteItem(id) => {
                self.shared.history.remove(&id)?;
                self.shared.tell(Event::ItemDeleted(id));
            }
            ClientCommand::RetrieveItem(id) => {
                let item = self.shared.history.get(&id)?.clone();
                self.shared.tell(Event::ItemRetrieved(item));
            }
            ClientCommand::TruncateItem { id, audio_end } => {
                let audio_end = self.shared.history.truncate(&id, audio_end)?;
                self.shared.tell(Event::ItemTruncated { id, audio_end });
            }
            ClientCommand::CommitInput => {
                let length = self.open().map_or(SampleTime(0), |turn| turn.length(self.input.end()));
                if length < COMMIT_MIN {
                    return Err(ClientError::CommitEmpty(length.as_ms()));
                }
                self.end_turn(self.input.end(), now);
            }
            ClientCommand::ClearInput => {
                if let Some(turn) = self.open().map(|turn| turn.id).and_then(|id| self.turns.remove(&id)) {
                    turn.cancel(&mut self.shared);
                }
                self.detector.reset();
                self.shared.tell(Event::InputCleared);
            }
            ClientCommand::CreateResponse(params) => self.respond(*params, now)?,
            ClientCommand::CancelResponse(id) => self.cancel(id, now)?,
        }
        Ok(())
    }

    fn update(&mut self, update: SessionUpdate) {
        if update.turn_detection.is_some() {
            self.detector.reset();
            self.shared.timers.clear(Timer::Idle);
        }
        self.shared.config.take(update);
        let config = self.shared.config.clone();
        self.shared.tell(Event::SessionUpdated(Box::new(config)));
    }

    fn create_item(&mut self, id: Option<ItemId>, position: &Position, content: Content) -> Result<(), ClientError> {
        if let Content::CallOutput { call, .. } = &content
            && !self.shared.history.has_call(call)
        {
            return Err(ClientError::NoSuchCall(call.clone()));
        }
        let id = id.unwrap_or_else(|| self.shared.history.new_id());
        self.shared.add(Item { id, content, status: ItemStatus::Completed }, position)
    }

    fn create_spoken(
        &mut self,
        id: Option<ItemId>,
        position: &Position,
        sound: AudioFrame,
        now: Instant,
    ) -> Result<(), ClientError> {
        if self.turns.values().filter(|turn| turn.is_pending()).count() >= RECORDINGS_MAX {
            return Err(ClientError::TooMany { what: "transcriptions", limit: RECORDINGS_MAX });
        }
        let item = unheard(id.unwrap_or_else(|| self.shared.history.new_id()));
        self.shared.add(item.clone(), position)?;
        self.turns_made += 1;
        let id = TurnId(self.turns_made);
        self.turns.insert(id, Turn::recorded(id, item.id, sound, now, &mut self.shared));
        Ok(())
    }

    fn respond(&mut self, params: ResponseParams, now: Instant) -> Result<(), ClientError> {
        for item in params.input.iter().flatten() {
            if let ContextItem::Reference(id) = item {
                self.shared.history.get(id)?;
            }
        }
        if params.out_of_band {
            if self.responses.values().filter(|response| response.out_of_band()).count() >= BESIDE_MAX {
                return Err(ClientError::TooMany { what: "responses beside the conversation", limit: BESIDE_MAX });
            }
        } else if self.verdict(Act::Asked) != Action::Answer {
            return Err(ClientError::ResponseActive(self.current().map_or(ResponseId(0), |response| response.id)));
        }
        self.answer(params, now);
        Ok(())
    }

    fn cancel(&mut self, id: Option<ResponseId>, now: Instant) -> Result<(), ClientError> {
        match id {
            Some(id) if self.responses.get(&id).is_some_and(Response::out_of_band) => {
                self.stop(id, Outcome::ClientCancelled, true, now);
                Ok(())
            }
            Some(id) if self.current().is_none_or(|current| current.id != id) => Err(ClientError::CancelNotActive),
            _ => match self.verdict(Act::Hushed) {
                Action::RefuseCancel => Err(ClientError::CancelNotActive),
                action => {
                    self.carry_out(action, now);
                    Ok(())
                }
            },
        }
    }
}
