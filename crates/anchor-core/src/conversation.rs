//! One spoken conversation: the machines put together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::audio::{AudioFrame, SampleTime};
use crate::engine::{EngineError, Role};
use crate::floor::{Act, Action, Anchor, Rules, decide};
use crate::history::History;
use crate::input_buffer::InputBuffer;
use crate::response::Response;
use crate::shared::Shared;
use crate::timer::{Timer, Timers};
use crate::turn::{TURN_MAX, Turn, TurnTimes};
use crate::vad::{SpeechDetector, SpeechEvent};
use crate::{
    AnchorState, ClientCommand, ClientError, Event, Input, Item, ItemId, ItemStatus, Outcome, Output, Position,
    ResponseId, ResponseParams, SessionConfig, SessionUpdate, TurnDetection, TurnId,
};

/// A client may not commit less than this: the OpenAI Realtime API's limit.
const COMMIT_MIN: SampleTime = SampleTime::from_ms(100);

/// One spoken conversation. Give it an input, then call [`poll_output`](Self::poll_output) until it returns
/// [`Output::Timeout`].
#[derive(Debug)]
pub struct Conversation {
    shared: Shared,
    input: InputBuffer,
    detector: SpeechDetector,
    turns: BTreeMap<TurnId, Turn>,
    responses: BTreeMap<ResponseId, Response>,
    turns_made: u64,
    responses_made: u64,
    /// An answer was withdrawn because the person went on speaking.
    owing: bool,
    announced: AnchorState,
}

impl Conversation {
    /// A conversation in which nothing was said yet. `id_prefix` makes the names of its items unique among sessions.
    pub fn new(id_prefix: &str, config: SessionConfig) -> Self {
        let history = History::new(id_prefix);
        Self {
            shared: Shared { out: Default::default(), timers: Timers::default(), history, config },
            input: InputBuffer::default(),
            detector: SpeechDetector::default(),
            turns: BTreeMap::new(),
            responses: BTreeMap::new(),
            turns_made: 0,
            responses_made: 0,
            owing: false,
            announced: AnchorState::Listening,
        }
    }

    /// The settings as they are now.
    pub fn config(&self) -> &SessionConfig {
        &self.shared.config
    }

    /// Takes in what happened. Never fails: what a client did wrong is an event.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Timeout => self.on_timeout(now),
            Input::Audio(frame) => self.on_audio(frame, now),
            Input::Speech(end, probability) => self.on_speech(end, probability, now),
            Input::Client(command) => {
                if let Err(error) = self.on_client(command, now) {
                    self.shared.tell(Event::ClientError(error));
                }
            }
            Input::Playout(id, played) => {
                if let Some(response) = self.responses.get_mut(&id) {
                    response.on_playout(played, now);
                }
            }
            Input::Stt(id, progress) => {
                if let Some(turn) = self.turns.get_mut(&id) {
                    turn.on_stt(progress, &mut self.shared);
                    self.settle(id, now);
                }
            }
            Input::Llm(id, progress) => {
                if let Some(response) = self.responses.get_mut(&id) {
                    response.on_llm(progress, now, &mut self.shared);
                }
            }
            Input::Tts(id, progress) => {
                if let Some(response) = self.responses.get_mut(&id)
                    && let Err(error) = response.on_tts(progress, now, &mut self.shared)
                {
                    self.stop(id, Outcome::Failed(error), false, now);
                }
            }
        }
        self.advance(now);
    }

    /// The next thing to do. Call until it returns [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        self.shared.out.pop_front().unwrap_or_else(|| Output::Timeout(self.shared.timers.next()))
    }

    fn on_audio(&mut self, frame: AudioFrame, now: Instant) {
        let start = self.input.end();
        self.input.push(&frame);
        match self.turns.values().find(|turn| turn.is_open()) {
            Some(turn) => {
                turn.feed(frame, &mut self.shared);
                if turn.length(self.input.end()) >= TURN_MAX {
                    self.end_turn(self.input.end(), now);
                }
            }
            None if self.shared.config.turn_detection.is_none() => self.open_turn(start, false),
            None => {}
        }
    }

    fn on_speech(&mut self, end: SampleTime, probability: f32, now: Instant) {
        let Some(rules) = &self.shared.config.turn_detection else { return };
        let silence = SampleTime::from_ms(rules.silence_duration.as_millis() as u64);
        let padding = SampleTime::from_ms(rules.prefix_padding.as_millis() as u64);
        match self.detector.push(end, probability, rules.threshold, silence) {
            Some(SpeechEvent::Started(at)) if self.open().is_none() => {
                self.open_turn(at.since(padding).max(self.input.start()), true);
                self.act(Act::Spoke, now);
            }
            Some(SpeechEvent::Stopped(at)) => self.end_turn(at, now),
            Some(SpeechEvent::Started(_)) | None => {}
        }
    }

    fn on_client(&mut self, command: ClientCommand, now: Instant) -> Result<(), ClientError> {
        match command {
            ClientCommand::Update(update) => self.update(update),
            ClientCommand::CreateItem { id, position, role, text } => self.create_item(id, position, role, text)?,
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
            ClientCommand::CreateResponse(params) => match self.verdict(Act::Asked) {
                Action::Answer => self.answer(params, now),
                _ => return Err(ClientError::ResponseActive(self.current().map_or(ResponseId(0), |r| r.id))),
            },
            ClientCommand::CancelResponse => match self.verdict(Act::Hushed) {
                Action::RefuseCancel => return Err(ClientError::CancelNotActive),
                action => self.carry_out(action, now),
            },
        }
        Ok(())
    }

    fn update(&mut self, update: SessionUpdate) {
        let config = &mut self.shared.config;
        if let Some(turn_detection) = update.turn_detection {
            config.turn_detection = turn_detection.map(TurnDetection::within_limits);
            self.detector.reset();
        }
        config.instructions = update.instructions.unwrap_or_else(|| std::mem::take(&mut config.instructions));
        config.speak = update.speak.unwrap_or(config.speak);
        config.voice = update.voice.or_else(|| config.voice.take());
        config.speed = update.speed.unwrap_or(config.speed);
        config.language = update.language.unwrap_or_else(|| config.language.take());
        config.max_tokens = update.max_tokens.unwrap_or(config.max_tokens);
        let config = config.clone();
        self.shared.tell(Event::SessionUpdated(config));
    }

    fn create_item(
        &mut self,
        id: Option<ItemId>,
        position: Position,
        role: Role,
        text: String,
    ) -> Result<(), ClientError> {
        let id = id.unwrap_or_else(|| self.shared.history.new_id());
        let item = Item { id, role, text: Some(text), spoken: false, status: ItemStatus::Completed };
        let previous = self.shared.history.insert(item.clone(), &position)?;
        self.shared.tell(Event::ItemAdded { item: item.clone(), previous: previous.clone() });
        self.shared.tell(Event::ItemDone { item, previous });
        Ok(())
    }

    fn on_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.shared.timers.expired(now) {
            let late = |engine, reason: &str| Outcome::Failed(EngineError::Failed { engine, reason: reason.into() });
            match timer {
                Timer::Transcript(id) => {
                    if let Some(turn) = self.turns.get_mut(&id) {
                        turn.give_up(&mut self.shared);
                        self.settle(id, now);
                    }
                }
                Timer::Text(id) => self.stop(id, late("llm", "no text came in time"), false, now),
                Timer::Sound(id) => self.stop(id, late("tts", "no sound came in time"), false, now),
                // What is due is done below, as after every input.
                Timer::Playout(_) => {}
            }
        }
    }

    fn open(&self) -> Option<&Turn> {
        self.turns.values().find(|turn| turn.is_open())
    }

    fn open_turn(&mut self, start: SampleTime, detected: bool) {
        self.turns_made += 1;
        let id = TurnId(self.turns_made);
        let turn = Turn::open(id, start, detected, self.input.since(start), &mut self.shared);
        self.turns.insert(id, turn);
    }

    /// Ends the open turn with the sample `end`.
    fn end_turn(&mut self, end: SampleTime, now: Instant) {
        let voiced = self.detector.last_voiced().unwrap_or(end);
        self.detector.reset();
        let voiced = self.input.arrival(voiced, now);
        if let Some(turn) = self.turns.values_mut().find(|turn| turn.is_open()) {
            turn.commit(voiced, end, now, &mut self.shared);
            let id = turn.id;
            self.settle(id, now);
        }
    }

    /// Goes on from a turn that has ended and is transcribed.
    fn settle(&mut self, id: TurnId, now: Instant) {
        let Some((times, said)) = self.turns.get(&id).and_then(|turn| turn.settle(now, &mut self.shared)) else {
            return;
        };
        let detected = self.turns.remove(&id).is_some_and(|turn| turn.detected);
        let waiting = self.responses.values_mut().find(|response| response.waits_for() == Some(id));
        match (waiting, said) {
            (Some(response), Ok(_)) => response.begin(times, now, &mut self.shared),
            (Some(response), Err(error)) => {
                let id = response.id;
                self.stop(id, Outcome::Failed(error), false, now);
            }
            (None, said) if detected => {
                let words = said.is_ok_and(|text| !text.is_empty());
                if self.verdict(Act::Finished { words }) == Action::Answer {
                    let response = self.new_response(id, ResponseParams::default());
                    self.begin(response, times, now);
                }
            }
            (None, _) => {}
        }
    }

    fn act(&mut self, act: Act, now: Instant) {
        let action = self.verdict(act);
        self.carry_out(action, now);
    }

    fn verdict(&self, act: Act) -> Action {
        let rules = self.shared.config.turn_detection.as_ref();
        let anchor = match self.current().map(Response::anchor) {
            None if self.owing => Anchor::Owing,
            other => other.unwrap_or(Anchor::Idle),
        };
        decide(
            act,
            anchor,
            Rules {
                create_response: rules.is_some_and(|rules| rules.create_response),
                interrupt_response: rules.is_some_and(|rules| rules.interrupt_response),
            },
        )
    }

    /// Takes back or ends what is being said, the last sounds of an older answer included.
    fn carry_out(&mut self, action: Action, now: Instant) {
        let outcome = match action {
            Action::Withdraw => {
                self.owing = true;
                Outcome::TurnDetected
            }
            Action::Yield => Outcome::TurnDetected,
            Action::Hush | Action::Flush => Outcome::ClientCancelled,
            Action::Stay | Action::Answer | Action::RefuseSecond | Action::RefuseCancel => return,
        };
        for (_, response) in std::mem::take(&mut self.responses) {
            response.stop(outcome.clone(), true, now, &mut self.shared);
        }
    }

    /// The newest response: the one the anchor is busy with.
    fn current(&self) -> Option<&Response> {
        self.responses.values().next_back()
    }

    /// Answers because the client asked; waits for the transcript of the newest turn if that is not there yet.
    fn answer(&mut self, params: ResponseParams, now: Instant) {
        let pending = self.turns.values().rev().find(|turn| !turn.is_open()).map(|turn| turn.id);
        let response = self.new_response(pending.unwrap_or(TurnId(0)), params);
        if pending.is_none() {
            self.begin(response, TurnTimes::typed(now), now);
        }
    }

    fn new_response(&mut self, turn: TurnId, params: ResponseParams) -> ResponseId {
        self.owing = false;
        self.responses_made += 1;
        let id = ResponseId(self.responses_made);
        self.responses.insert(id, Response::new(id, turn, params, &mut self.shared));
        id
    }

    fn begin(&mut self, id: ResponseId, times: TurnTimes, now: Instant) {
        if let Some(response) = self.responses.get_mut(&id) {
            response.begin(times, now, &mut self.shared);
        }
    }

    fn stop(&mut self, id: ResponseId, outcome: Outcome, silence: bool, now: Instant) {
        if let Some(response) = self.responses.remove(&id) {
            response.stop(outcome, silence, now, &mut self.shared);
        }
    }

    /// Does what is due. Only one answer is audible at a time: a newer one waits until the older was heard.
    fn advance(&mut self, now: Instant) {
        let mut ear_is_free = true;
        self.responses.retain(|_, response| {
            let alive = response.advance(ear_is_free, now, &mut self.shared);
            ear_is_free &= !alive;
            alive
        });
        let state = self.state();
        if std::mem::replace(&mut self.announced, state) != state {
            self.shared.tell(Event::StateChanged(state));
        }
    }

    fn state(&self) -> AnchorState {
        match self.current().map(Response::anchor) {
            Some(Anchor::Speaking | Anchor::Draining) => AnchorState::Speaking,
            _ if self.open().is_some_and(|turn| turn.detected) => AnchorState::Hearing,
            Some(_) => AnchorState::Thinking,
            None if self.turns.values().any(|turn| !turn.is_open()) => AnchorState::Thinking,
            None => AnchorState::Listening,
        }
    }
}

impl TurnDetection {
    /// The settings, moved to the nearest that make sense.
    fn within_limits(self) -> Self {
        Self {
            threshold: if self.threshold.is_finite() { self.threshold.clamp(0.05, 0.95) } else { 0.5 },
            prefix_padding: self.prefix_padding.min(Duration::from_secs(2)),
            silence_duration: self.silence_duration.clamp(Duration::from_millis(100), Duration::from_secs(10)),
            ..self
        }
    }
}
