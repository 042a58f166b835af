//! One spoken conversation: the machines put together.

mod client;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::audio::{AudioFrame, SampleTime};
use crate::engine::EngineError;
use crate::floor::{Act, Action, Anchor, Rules, decide};
use crate::history::History;
use crate::input_buffer::InputBuffer;
use crate::response::Response;
use crate::shared::Shared;
use crate::timer::{Timer, Timers};
use crate::turn::{TURN_MAX, Turn, TurnTimes, unheard};
use crate::vad::{SpeechDetector, SpeechEvent};
use crate::{
    AnchorState, ContextItem, Event, Input, Outcome, Output, Position, ResponseId, ResponseParams, SessionConfig,
    TurnId,
};

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
    /// The person was answered before, so that a silence is one between two turns.
    answered: bool,
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
            answered: false,
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
                Timer::Idle => self.break_silence(now),
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
        let waiting: Vec<_> = self.responses.values().filter(|response| response.waits_for(id)).map(|r| r.id).collect();
        if waiting.is_empty() && detected {
            let words = said.as_ref().is_ok_and(|text| !text.is_empty());
            if self.verdict(Act::Finished { words }) == Action::Answer {
                let response = self.new_response(id, ResponseParams::default());
                self.begin(response, times, now);
            }
        }
        for response in waiting {
            match &said {
                Ok(_) => self.begin(response, times, now),
                Err(error) => self.stop(response, Outcome::Failed(error.clone()), false, now),
            }
        }
    }

    /// The person has said nothing for as long as the session waits: the silence is a turn that is answered.
    fn break_silence(&mut self, now: Instant) {
        let rules = self.shared.config.turn_detection.as_ref();
        let Some(waited) = rules.and_then(|rules| rules.idle_timeout) else { return };
        let end = self.input.end();
        let start = end.since(SampleTime::from_ms(waited.as_millis() as u64));
        let item = self.shared.history.new_id();
        self.shared.tell(Event::IdleTimeout { item: item.clone(), start, end });
        let previous = self.shared.history.last();
        self.shared.tell(Event::InputCommitted { item: item.clone(), previous });
        self.shared.add(unheard(item), &Position::Last).ok();
        self.answer(ResponseParams::default(), now);
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
        let (beside, stopped) = std::mem::take(&mut self.responses).into_iter().partition(|(_, r)| r.out_of_band());
        self.responses = beside;
        for response in BTreeMap::into_values(stopped) {
            response.stop(outcome.clone(), true, now, &mut self.shared);
        }
    }

    /// The newest response in the conversation: the one the anchor is busy with.
    fn current(&self) -> Option<&Response> {
        self.responses.values().rev().find(|response| !response.out_of_band())
    }

    /// Answers although no turn has just ended; waits for the transcripts of those that have, unless it has an input of
    /// its own that refers to none.
    fn answer(&mut self, params: ResponseParams, now: Instant) {
        let refers = |item: &ContextItem| matches!(item, ContextItem::Reference(_));
        let waits = params.input.as_ref().is_none_or(|items| items.iter().any(refers));
        let newest = if waits { TurnId(self.turns_made) } else { TurnId(0) };
        let response = self.new_response(newest, params);
        self.begin(response, TurnTimes::typed(now), now);
    }

    fn new_response(&mut self, waits_for: TurnId, params: ResponseParams) -> ResponseId {
        self.owing &= params.out_of_band;
        self.responses_made += 1;
        let id = ResponseId(self.responses_made);
        self.responses.insert(id, Response::new(id, waits_for, params, &mut self.shared));
        id
    }

    /// Begins an answer if everything it answers to is transcribed.
    fn begin(&mut self, id: ResponseId, times: TurnTimes, now: Instant) {
        if let Some(response) = self.responses.get_mut(&id)
            && !self.turns.values().any(|turn| turn.is_pending() && response.waits_for(turn.id))
        {
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
            self.answered |= !alive && !response.out_of_band();
            alive
        });
        self.watch_silence(now);
        let state = self.state();
        if std::mem::replace(&mut self.announced, state) != state {
            self.shared.tell(Event::StateChanged(state));
        }
    }

    /// Waits for the person to speak while nothing else is going on.
    fn watch_silence(&mut self, now: Instant) {
        let rules = self.shared.config.turn_detection.as_ref();
        let quiet = self.answered && self.turns.is_empty() && self.responses.is_empty();
        match rules.and_then(|rules| rules.idle_timeout).filter(|_| quiet) {
            Some(timeout) => self.shared.timers.set_once(Timer::Idle, now + timeout),
            None => self.shared.timers.clear(Timer::Idle),
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
