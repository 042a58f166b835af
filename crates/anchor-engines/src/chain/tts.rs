//! Voices in a chain: the next speaks the clauses that are not complete, and the one under way from where the listener has
//! heard it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anchor_core::audio::Samples;
use anchor_core::engine::{EngineError, EventStream, Later, TextInput, Tts, TtsEvent, TtsRequest, Voice};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, stream};

use super::relay::Relay;
use super::{Chain, now, until};

mod clause;
mod join;
mod voice;

use clause::Clause;

/// A clause that is not complete gives out its sound only as the ear needs it, so much ahead: what nobody has heard can be
/// said anew, and a voice that is faster than speech has completed most clauses before the ear comes to them. More than the
/// 300 ms that a conversation keeps ahead of the ear, and than a busy machine is late.
const AHEAD: Duration = Duration::from_millis(600);

/// The least that is given out at a time while the ear catches up.
const PIECE: Duration = Duration::from_millis(100);

/// Clauses a voice is given before it has completed the first: enough to go on without a gap, few enough that little is
/// said again.
const CLAUSES_AHEAD: usize = 4;

impl Tts for Chain<dyn Tts> {
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        self.used();
        if let Some(only) = self.only() {
            return only.speak(request, text);
        }
        let speaking = Speaking::new(Relay::start(self), request, text);
        stream::unfold(speaking, |mut speaking| async { Some((speaking.next().await?, speaking)) }).boxed()
    }

    /// Those of the first member that can be loaded. Blocks while it loads.
    fn voices(&self) -> Vec<Voice> {
        let voices = self.members().iter().map(|member| member.slot.voices());
        voices.into_iter().find(|voices| !voices.is_empty()).unwrap_or_default()
    }

    fn probe(&self) -> Later<()> {
        async { Ok(()) }.boxed()
    }
}

/// One answer on its way through the chain.
struct Speaking {
    relay: Relay<dyn Tts>,
    request: TtsRequest,
    text: TextInput,
    text_ended: bool,
    /// Where the voice gets its clauses; `None` once there are no more.
    feed: Option<mpsc::UnboundedSender<String>>,
    events: EventStream<TtsEvent>,
    /// The clauses the voice was given and has not completed.
    clauses: VecDeque<Clause>,
    /// Sound the voice has made of this answer.
    sounded: Samples,
    out: VecDeque<TtsEvent>,
    /// When an ear that hears everything at once has heard all that was given out; `None` before the first sound.
    ear: Option<Instant>,
    /// When something has to come, while sound is owed.
    due: Option<Instant>,
    /// The voice asked for is one that another member has.
    foreign: bool,
    over: bool,
}

impl Speaking {
    fn new(relay: Relay<dyn Tts>, request: TtsRequest, text: TextInput) -> Self {
        let (feed, events) = voice::start(&relay, &request, false);
        Self {
            relay,
            request,
            text,
            text_ended: false,
            feed: Some(feed),
            events,
            clauses: VecDeque::new(),
            sounded: Samples(0),
            out: VecDeque::new(),
            ear: None,
            due: None,
            foreign: false,
            over: false,
        }
    }

    async fn next(&mut self) -> Option<Result<TtsEvent, EngineError>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                self.note(&event);
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            let more_text = !self.text_ended && self.clauses.len() < CLAUSES_AHEAD;
            let release_at = self.release_at();
            let failure = tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(Ok(event)) => {
                        self.take(event);
                        if !self.is_endless() {
                            continue;
                        }
                        self.endless()
                    }
                    None if self.text_ended && self.clauses.is_empty() => {
                        self.relay.done();
                        self.over = true;
                        continue;
                    }
                    None => self.broken_off(),
                    Some(Err(error)) => error,
                },
                clause = self.text.next(), if more_text => {
                    self.feed(clause);
                    continue;
                }
                () = until(release_at) => {
                    self.release(PIECE);
                    continue;
                }
                () = until(self.due) => self.relay.silence(),
            };
            if let Err(error) = self.change(failure).await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Takes the next clause of the answer, or its end.
    fn feed(&mut self, clause: Option<String>) {
        match (clause, &self.feed) {
            (Some(text), Some(feed)) => {
                // A voice that takes no more text has said, or will say, why.
                let _ = feed.unbounded_send(text.clone());
                self.clauses.push_back(Clause::new(text));
                if self.clauses.len() == 1 {
                    self.wait();
                }
            }
            _ => {
                self.text_ended = true;
                self.feed = None;
            }
        }
    }

    fn take(&mut self, event: TtsEvent) {
        let is_last = self.relay.is_last();
        let Some(clause) = self.clauses.front_mut() else {
            // Nothing is owed, so there is nothing it could belong to.
            return;
        };
        match event {
            TtsEvent::Audio(frame) => {
                self.sounded = self.sounded + Samples(frame.len() as u64);
                clause.sound(&frame);
                if is_last {
                    self.out.extend(clause.give_all());
                } else {
                    self.release(Duration::ZERO);
                }
            }
            TtsEvent::Word(word) => clause.word(word),
            TtsEvent::ClauseEnd => {
                self.out.extend(clause.end());
                self.clauses.pop_front();
            }
        }
        self.wait();
    }

    /// Takes down what is given out.
    fn note(&mut self, event: &TtsEvent) {
        if let TtsEvent::Audio(frame) = event {
            let now = now();
            let from = self.ear.map_or(now, |ear| ear.max(now));
            self.ear = Some(from + Samples(frame.len() as u64).duration());
        }
    }

    /// Gives out of the clause under way what the ear needs to be [`AHEAD`] of, and `more`.
    fn release(&mut self, more: Duration) {
        let ahead = self.ear.map_or(Duration::ZERO, |ear| ear.saturating_duration_since(now()));
        let need = (AHEAD + more).saturating_sub(ahead);
        let keep = clause::to_keep(self.sounded);
        if let Some(clause) = self.clauses.front_mut()
            && ahead <= AHEAD
        {
            self.out.extend(clause.release(Samples::from_duration(need), keep));
        }
    }

    /// When the ear needs more of the clause under way, if there is more.
    fn release_at(&self) -> Option<Instant> {
        let keep = clause::to_keep(self.sounded);
        let more = self.clauses.front().is_some_and(|clause| clause.can_release(keep));
        self.ear.filter(|_| more).map(|ear| ear.checked_sub(AHEAD).unwrap_or(ear))
    }

    /// Something has to come within the chain's patience, if sound is owed.
    fn wait(&mut self) {
        let patience = self.relay.patience().filter(|_| !self.clauses.is_empty());
        self.due = patience.map(|patience| now() + patience);
    }

    /// Gives what is left to the next voice.
    async fn change(&mut self, failure: EngineError) -> Result<(), EngineError> {
        if let EngineError::Unsupported { .. } = failure
            && self.sounded == Samples(0)
            && !self.foreign
            && voice::is_of_another(&self.relay, &self.request).await
        {
            self.foreign = true;
        } else {
            self.relay.pass_on(failure)?;
            self.foreign = true;
        }
        if let Some(clause) = self.clauses.front_mut() {
            let (events, complete) = clause.break_off();
            self.out.extend(events);
            if complete {
                self.clauses.pop_front();
            }
        }
        self.sounded = Samples(0);
        let (feed, events) = voice::start(&self.relay, &self.request, self.foreign);
        for clause in &self.clauses {
            let _ = feed.unbounded_send(clause.rest().to_owned());
        }
        self.events = events;
        self.feed = (!self.text_ended).then_some(feed);
        self.wait();
        Ok(())
    }

    /// The voice does not come to the end of a clause. The last of the chain is let speak.
    fn is_endless(&self) -> bool {
        !self.relay.is_last() && self.clauses.front().is_some_and(Clause::is_endless)
    }

    fn endless(&self) -> EngineError {
        let reason = "it spoke for a minute and did not come to the end of a clause".into();
        EngineError::Failed { engine: self.relay.slot().name(), reason }
    }

    fn broken_off(&self) -> EngineError {
        EngineError::Failed { engine: self.relay.slot().name(), reason: "it stopped before the text did".into() }
    }
}
