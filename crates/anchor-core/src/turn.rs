//! One turn of the person: from its first sample to its transcript.

use std::time::Instant;

use crate::audio::{AudioFrame, SampleTime};
use crate::engine::{EngineError, Role, SttEvent, SttRequest};
use crate::shared::Shared;
use crate::timer::Timer;
use crate::{Content, Event, Item, ItemId, ItemStatus, Job, Output, Position, Progress, TurnId};

/// A turn longer than this ends by itself: whoever speaks this long wants no answer, and recognisers have limits.
pub(crate) const TURN_MAX: SampleTime = SampleTime::from_ms(120_000);

/// One turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    pub(crate) item: ItemId,
    start: SampleTime,
    /// Begun by hearing speech rather than by a client that decides itself.
    pub(crate) detected: bool,
    state: TurnState,
    transcript: Transcript,
}

#[derive(Debug)]
enum TurnState {
    Open,
    Committed { times: TurnTimes, end: SampleTime },
}

#[derive(Debug)]
enum Transcript {
    Pending,
    Ready(String),
    Failed(EngineError),
}

/// When the stages of a turn were over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnTimes {
    /// The last voiced sample arrived.
    pub(crate) voiced: Instant,
    /// The turn was known to be over.
    pub(crate) committed: Instant,
    /// Its transcript was there.
    pub(crate) transcribed: Instant,
}

impl TurnTimes {
    /// A turn that took no time: an answer asked for in writing.
    pub(crate) fn typed(now: Instant) -> Self {
        Self { voiced: now, committed: now, transcribed: now }
    }
}

impl Turn {
    /// Begins a turn with the sound from `start` on.
    pub(crate) fn open(id: TurnId, start: SampleTime, detected: bool, sound: AudioFrame, shared: &mut Shared) -> Self {
        let item = shared.history.new_id();
        if detected {
            shared.tell(Event::SpeechStarted { item: item.clone(), at: start });
        }
        Self::listen(id, shared);
        let turn = Self { id, item, start, detected, state: TurnState::Open, transcript: Transcript::Pending };
        turn.feed(sound, shared);
        turn
    }

    /// A turn that the client had recorded: all of it is there and has its place in the history.
    pub(crate) fn recorded(id: TurnId, item: ItemId, sound: AudioFrame, now: Instant, shared: &mut Shared) -> Self {
        Self::listen(id, shared);
        let (start, end) = (SampleTime(0), SampleTime(sound.len() as u64));
        let state = TurnState::Committed { times: TurnTimes::typed(now), end };
        let turn = Self { id, item, start, detected: false, state, transcript: Transcript::Pending };
        turn.feed(sound, shared);
        turn.finish(now, shared);
        turn
    }

    /// What was said is not known yet.
    pub(crate) fn is_pending(&self) -> bool {
        !self.is_open() && matches!(self.transcript, Transcript::Pending)
    }

    fn listen(id: TurnId, shared: &mut Shared) {
        let request = SttRequest { language: shared.config.language.clone(), prompt: shared.config.vocabulary.clone() };
        shared.out.push_back(Output::Stt(id, Job::Start(request)));
    }

    fn finish(&self, now: Instant, shared: &mut Shared) {
        if matches!(self.transcript, Transcript::Pending) {
            shared.out.push_back(Output::Stt(self.id, Job::Finish));
            shared.timers.start(Timer::Transcript(self.id), now);
        }
    }

    /// More is being said.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, TurnState::Open)
    }

    /// Length of the turn if it ended at `end`.
    pub(crate) fn length(&self, end: SampleTime) -> SampleTime {
        end.since(self.start)
    }

    /// Passes sound to the recogniser.
    pub(crate) fn feed(&self, sound: AudioFrame, shared: &mut Shared) {
        if matches!(self.transcript, Transcript::Pending) && !sound.is_empty() {
            shared.out.push_back(Output::Stt(self.id, Job::Feed(sound)));
        }
    }

    /// Ends the turn with the sample `end` and makes it an item of the history.
    pub(crate) fn commit(&mut self, voiced: Instant, end: SampleTime, now: Instant, shared: &mut Shared) {
        if self.detected {
            shared.tell(Event::SpeechStopped { item: self.item.clone(), at: end });
        }
        let previous = shared.history.last();
        shared.tell(Event::InputCommitted { item: self.item.clone(), previous });
        // The name is new, so there is room for it; and the place is the end, which always exists.
        let _ = shared.add(unheard(self.item.clone()), &Position::Last);
        self.finish(now, shared);
        let times = TurnTimes { voiced: voiced.min(now), committed: now, transcribed: now };
        self.state = TurnState::Committed { times, end };
    }

    /// Drops the turn and the work on it.
    pub(crate) fn cancel(self, shared: &mut Shared) {
        shared.timers.clear(Timer::Transcript(self.id));
        if matches!(self.transcript, Transcript::Pending) {
            shared.out.push_back(Output::Stt(self.id, Job::Cancel));
        }
    }

    /// Takes in news of the transcription.
    pub(crate) fn on_stt(&mut self, progress: Progress<SttEvent>, shared: &mut Shared) {
        match (progress, &self.transcript) {
            (Progress::Event(SttEvent::Partial(text)), Transcript::Pending) => {
                shared.tell(Event::TranscriptPartial { item: self.item.clone(), text });
            }
            (Progress::Event(SttEvent::Final(text)), Transcript::Pending) => {
                self.transcript = Transcript::Ready(text.trim().to_owned());
            }
            (Progress::Failed(error), Transcript::Pending) => self.transcript = Transcript::Failed(error),
            (Progress::Finished, Transcript::Pending) => {
                let reason = "it ended without a transcript".to_owned();
                self.transcript = Transcript::Failed(EngineError::Failed { engine: "stt", reason });
            }
            // The transcript is final; what its job still says changes nothing.
            (_, Transcript::Ready(_) | Transcript::Failed(_)) => {}
        }
    }

    /// The transcript did not come in time.
    pub(crate) fn give_up(&mut self, shared: &mut Shared) {
        if matches!(self.transcript, Transcript::Pending) {
            shared.out.push_back(Output::Stt(self.id, Job::Cancel));
            let reason = "no transcript came in time".to_owned();
            self.transcript = Transcript::Failed(EngineError::Failed { engine: "stt", reason });
        }
    }

    /// Settles a turn that has ended and is transcribed: tells the client and returns when its stages were over and
    /// what was said. `None` while something is missing.
    pub(crate) fn settle(&self, now: Instant, shared: &mut Shared) -> Option<(TurnTimes, Result<String, EngineError>)> {
        let TurnState::Committed { times, end } = self.state else { return None };
        let item = self.item.clone();
        let said = match &self.transcript {
            Transcript::Pending => return None,
            Transcript::Ready(text) => {
                shared.history.transcribed(&item, text);
                shared.tell(Event::TranscriptDone { item, text: text.clone(), length: self.length(end) });
                Ok(text.clone())
            }
            Transcript::Failed(error) => {
                shared.tell(Event::TranscriptFailed { item, error: error.clone() });
                Err(error.clone())
            }
        };
        shared.timers.clear(Timer::Transcript(self.id));
        Some((TurnTimes { transcribed: now, ..times }, said))
    }
}

/// The item of a turn before its words are known.
pub(crate) fn unheard(id: ItemId) -> Item {
    let content = Content::Message { role: Role::User, text: None, spoken: true };
    Item { id, content, status: ItemStatus::Completed }
}
