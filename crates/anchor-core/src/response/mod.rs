//! One answer of the anchor: written by the language model, cut into clauses, spoken, given out.

mod output;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use crate::audio::Samples;
use crate::chunk::Chunker;
use crate::context;
use crate::engine::{EngineError, LlmEvent, LlmRequest, Tool, ToolCall, TtsEvent, TtsRequest};
use crate::floor::Anchor;
use crate::playout::{Playout, Script};
use crate::shared::Shared;
use crate::timer::Timer;
use crate::turn::TurnTimes;
use crate::{
    Event, ItemId, Job, Outcome, Output, Progress, ResponseId, ResponseParams, TurnId, TurnLatency, Usage, words,
};

/// The voice is given its next clause while less sound than this waits to be given out: it stays ahead of the ear
/// without piling up sound that an interruption would waste.
const SOUND_AHEAD: Samples = Samples::from_ms(4_000);

/// An answer longer than this many bytes is cut off: nobody listens to a quarter of an hour.
const TEXT_MAX: usize = 16 * 1024;

/// Most calls in one answer: a language model that makes more has run away.
const CALLS_MAX: usize = 64;

/// One answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) id: ResponseId,
    item: ItemId,
    spoken: bool,
    params: ResponseParams,
    state: ResponseState,
    playout: Playout,
}

#[derive(Debug)]
enum ResponseState {
    /// A turn it answers is not transcribed yet; this is the newest of them.
    Waiting(TurnId),
    /// Language model and voice are at work.
    Working(Box<Work>),
    /// Complete; the last of the sound is on its way to the ear.
    Draining,
}

/// An answer being made.
#[derive(Debug)]
struct Work {
    chunker: Chunker,
    /// Clauses the voice has not been given yet.
    clauses: VecDeque<Range<usize>>,
    script: Script,
    /// Calls of tools. The client learns of them when what was said before them was given out: it carries them out and
    /// asks for the next answer, which would be refused while this one goes on.
    calls: Vec<ToolCall>,
    written: Written,
    /// Words the language model was told.
    told: u64,
    voice: Voice,
    times: TurnTimes,
    first_clause: Option<Instant>,
    measured: bool,
}

/// How far the language model is.
#[derive(Debug)]
enum Written {
    Nothing,
    Some,
    All(Outcome),
}

/// How far the voice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    NotStarted,
    Speaking,
    /// It was told that no clause follows.
    Finishing,
    Finished,
}

impl Response {
    /// Sets out to answer. Call [`begin`](Self::begin) when everything it answers to is known, which is when no turn up to
    /// `waits_for` is being transcribed any more.
    pub(crate) fn new(id: ResponseId, waits_for: TurnId, params: ResponseParams, shared: &mut Shared) -> Self {
        let item = shared.history.new_id();
        shared.tell(Event::ResponseCreated { response: id, out_of_band: params.out_of_band });
        let spoken = params.speak.unwrap_or(shared.config.speak);
        Self { id, item, spoken, params, state: ResponseState::Waiting(waits_for), playout: Playout::default() }
    }

    /// It is made beside the conversation and leaves no trace in it.
    pub(crate) fn out_of_band(&self) -> bool {
        self.params.out_of_band
    }

    /// It cannot begin before this turn is transcribed.
    pub(crate) fn waits_for(&self, turn: TurnId) -> bool {
        matches!(self.state, ResponseState::Waiting(newest) if turn <= newest)
    }

    /// What the anchor does while this is its answer.
    pub(crate) fn anchor(&self) -> Anchor {
        match self.state {
            ResponseState::Draining => Anchor::Draining,
            ResponseState::Working(_) if self.playout.begun() => Anchor::Speaking,
            ResponseState::Waiting(_) | ResponseState::Working(_) => Anchor::Thinking,
        }
    }

    /// Starts the language model.
    pub(crate) fn begin(&mut self, times: TurnTimes, now: Instant, shared: &mut Shared) {
        let request = self.request(shared);
        let tool = |tool: &Tool| words(&tool.name) + words(&tool.description) + words(&tool.parameters);
        let tools: u64 = request.tools.iter().map(tool).sum();
        let told = words(&request.instructions) + tools + context::told(&request.messages);
        shared.out.push_back(Output::Llm(self.id, Job::Start(request)));
        shared.timers.start(Timer::Text(self.id), now);
        self.state = ResponseState::Working(Box::new(Work {
            chunker: Chunker::default(),
            clauses: VecDeque::new(),
            script: Script::default(),
            calls: Vec::new(),
            written: Written::Nothing,
            told,
            voice: if self.spoken { Voice::NotStarted } else { Voice::Finished },
            times,
            first_clause: None,
            measured: false,
        }));
    }

    /// Takes in news of the language model.
    pub(crate) fn on_llm(&mut self, progress: Progress<LlmEvent>, now: Instant, shared: &mut Shared) {
        let ResponseState::Working(work) = &mut self.state else { return };
        if matches!(work.written, Written::All(_)) {
            return;
        }
        shared.timers.start(Timer::Text(self.id), now);
        match progress {
            Progress::Event(LlmEvent::Source(story)) => {
                shared.tell(Event::AnswerSource { response: self.id, story });
            }
            Progress::Event(LlmEvent::Delta(delta)) if delta.is_empty() => {}
            Progress::Event(LlmEvent::ToolCall(call)) => {
                if work.calls.len() < CALLS_MAX {
                    work.calls.push(call);
                }
            }
            Progress::Event(LlmEvent::LimitReached) => self.written(Outcome::LimitReached, now, shared),
            Progress::Event(LlmEvent::Delta(delta)) => {
                if matches!(work.written, Written::Nothing) {
                    work.written = Written::Some;
                    self.announce(0, self.new_message(), shared);
                }
                self.write(delta, now, shared);
            }
            Progress::Finished => self.written(Outcome::Completed, now, shared),
            Progress::Failed(error) => self.written(Outcome::Failed(error), now, shared),
        }
    }

    /// Takes in news of the voice. An error means that the answer cannot go on.
    pub(crate) fn on_tts(
        &mut self,
        progress: Progress<TtsEvent>,
        now: Instant,
        shared: &mut Shared,
    ) -> Result<(), EngineError> {
        let ResponseState::Working(work) = &mut self.state else { return Ok(()) };
        if matches!(work.voice, Voice::NotStarted | Voice::Finished) {
            return Ok(());
        }
        match progress {
            Progress::Event(TtsEvent::Audio(frame)) => {
                work.script.sound(Samples(frame.len() as u64));
                self.playout.push(&frame);
            }
            Progress::Event(TtsEvent::Word(word)) => work.script.word(word),
            Progress::Event(TtsEvent::ClauseEnd) => work.script.clause_end(),
            Progress::Finished if work.voice == Voice::Finishing => work.voice = Voice::Finished,
            Progress::Finished => {
                work.voice = Voice::Finished;
                return Err(EngineError::Failed { engine: "tts", reason: "it stopped before the text did".into() });
            }
            Progress::Failed(error) => {
                work.voice = Voice::Finished;
                return Err(error);
            }
        }
        if work.voice != Voice::Finished && (work.script.owes_sound() || work.voice == Voice::Finishing) {
            shared.timers.start(Timer::Sound(self.id), now);
        } else {
            shared.timers.clear(Timer::Sound(self.id));
        }
        Ok(())
    }

    /// The client says how much it has played.
    pub(crate) fn on_playout(&mut self, played: Samples, now: Instant) {
        self.playout.report(now, played);
    }

    /// Does what is due: gives clauses to the voice, gives out sound while `ear_is_free`, and ends the answer when
    /// nothing is left to do. Returns false once even its last sound was heard.
    pub(crate) fn advance(&mut self, ear_is_free: bool, now: Instant, shared: &mut Shared) -> bool {
        self.feed_voice(now, shared);
        if ear_is_free {
            self.give_out(now, shared);
        }
        self.complete_if_done(shared);
        let drained = self.playout.drained_at();
        if matches!(self.state, ResponseState::Draining) && drained.is_none_or(|at| at <= now) {
            shared.timers.clear(Timer::Playout(self.id));
            return false;
        }
        let wake = if self.playout.waiting() > Samples(0) { self.playout.due() } else { drained };
        match wake.filter(|&at| at > now) {
            Some(at) => shared.timers.set(Timer::Playout(self.id), at),
            None => shared.timers.clear(Timer::Playout(self.id)),
        }
        true
    }

    /// Ends the answer where it is. `silence` also drops the sound that is on its way to the ear.
    pub(crate) fn stop(mut self, outcome: Outcome, silence: bool, now: Instant, shared: &mut Shared) {
        if silence && self.playout.begun() {
            shared.out.push_back(Output::ClearPlayout);
        }
        for timer in [Timer::Text(self.id), Timer::Sound(self.id), Timer::Playout(self.id)] {
            shared.timers.clear(timer);
        }
        // What is not dropped will be heard.
        let heard = if silence { self.playout.heard(now) } else { self.playout.given() };
        match std::mem::replace(&mut self.state, ResponseState::Draining) {
            ResponseState::Draining => {
                // The answer is complete in the history; only its end was not heard. It may have been deleted since.
                let _ = shared.history.truncate(&self.item, heard);
            }
            ResponseState::Waiting(_) => {
                let (output, usage) = (Vec::new(), Usage::default());
                shared.tell(Event::ResponseDone { response: self.id, outcome, output, usage });
            }
            ResponseState::Working(work) => {
                if !matches!(work.written, Written::All(_)) {
                    shared.out.push_back(Output::Llm(self.id, Job::Cancel));
                }
                if matches!(work.voice, Voice::Speaking | Voice::Finishing) {
                    shared.out.push_back(Output::Tts(self.id, Job::Cancel));
                }
                self.close(work, outcome, Some(heard), shared);
            }
        }
    }

    fn request(&self, shared: &mut Shared) -> LlmRequest {
        let messages = match &self.params.input {
            Some(items) => shared.history.messages_of(items),
            None => shared.history.messages(shared.config.retention),
        };
        let (params, config) = (&self.params, &shared.config);
        LlmRequest {
            instructions: params.instructions.as_ref().unwrap_or(&config.instructions).clone(),
            messages,
            max_tokens: params.max_tokens.unwrap_or(config.max_tokens),
            tools: params.tools.as_ref().unwrap_or(&config.tools).clone(),
            tool_choice: params.tool_choice.as_ref().unwrap_or(&config.tool_choice).clone(),
            ..LlmRequest::default()
        }
    }

    fn write(&mut self, delta: String, now: Instant, shared: &mut Shared) {
        let ResponseState::Working(work) = &mut self.state else { return };
        let clauses = work.chunker.push(&delta);
        if !clauses.is_empty() {
            work.first_clause.get_or_insert(now);
        }
        work.clauses.extend(clauses);
        shared.tell(Event::AnswerText { response: self.id, delta });
        if work.chunker.text().len() > TEXT_MAX {
            shared.out.push_back(Output::Llm(self.id, Job::Cancel));
            self.written(Outcome::LimitReached, now, shared);
        }
    }

    /// The language model has ended, well or not. What it wrote is still spoken.
    fn written(&mut self, outcome: Outcome, now: Instant, shared: &mut Shared) {
        let ResponseState::Working(work) = &mut self.state else { return };
        shared.timers.clear(Timer::Text(self.id));
        if let Some(clause) = work.chunker.finish() {
            work.first_clause.get_or_insert(now);
            work.clauses.push_back(clause);
        }
        work.written = Written::All(outcome);
    }

    /// Gives the voice its next clauses while it is not too far ahead of the ear.
    fn feed_voice(&mut self, now: Instant, shared: &mut Shared) {
        let ResponseState::Working(work) = &mut self.state else { return };
        if !self.spoken {
            return;
        }
        while self.playout.waiting() < SOUND_AHEAD && !work.script.owes_sound() {
            let Some(clause) = work.clauses.pop_front() else { break };
            if work.voice == Voice::NotStarted {
                let voice = self.params.voice.as_ref().or(shared.config.voice.as_ref()).cloned();
                let request = TtsRequest { voice, speed: shared.config.speed };
                shared.out.push_back(Output::Tts(self.id, Job::Start(request)));
                work.voice = Voice::Speaking;
            }
            let text = work.chunker.text()[clause.clone()].to_owned();
            shared.out.push_back(Output::Tts(self.id, Job::Feed(text)));
            shared.timers.start(Timer::Sound(self.id), now);
            work.script.clause(clause);
        }
        if matches!(work.written, Written::All(_)) && work.clauses.is_empty() {
            match work.voice {
                Voice::NotStarted => work.voice = Voice::Finished,
                Voice::Speaking => {
                    shared.out.push_back(Output::Tts(self.id, Job::Finish));
                    shared.timers.start(Timer::Sound(self.id), now);
                    work.voice = Voice::Finishing;
                }
                Voice::Finishing | Voice::Finished => {}
            }
        }
    }

    fn give_out(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(piece) = self.playout.next(now) {
            shared.out.push_back(Output::Play(self.id, piece));
        }
        if let ResponseState::Working(work) = &mut self.state
            && self.playout.begun()
            && !std::mem::replace(&mut work.measured, true)
        {
            let clause = work.first_clause.unwrap_or(now);
            let latency = TurnLatency {
                endpointing: work.times.committed - work.times.voiced,
                stt: work.times.transcribed - work.times.committed,
                llm: clause - work.times.transcribed,
                tts: now - clause,
            };
            shared.tell(Event::TurnMeasured { response: self.id, latency });
        }
    }

    /// Ends the answer once all of it was written, spoken and given out.
    fn complete_if_done(&mut self, shared: &mut Shared) {
        let ResponseState::Working(work) = &self.state else { return };
        let spoken = work.voice == Voice::Finished && self.playout.waiting() == Samples(0);
        let Written::All(outcome) = &work.written else { return };
        if !spoken {
            return;
        }
        let outcome = outcome.clone();
        shared.timers.clear(Timer::Sound(self.id));
        if let ResponseState::Working(work) = std::mem::replace(&mut self.state, ResponseState::Draining) {
            self.close(work, outcome, None, shared);
        }
    }
}
