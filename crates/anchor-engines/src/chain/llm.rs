//! Language models in a chain: the next goes on behind the words that the last one finished.

use std::collections::VecDeque;
use std::time::Instant;

use anchor_core::engine::{EngineError, EventStream, Later, Llm, LlmEvent, LlmRequest};
use futures::{FutureExt, StreamExt, stream};

use super::relay::Relay;
use super::splice::Splice;
use super::{Chain, guarded, now, until};

/// Most bytes of an unfinished word that are held back. Longer ones are of a script that puts no spaces between its
/// words, and may be cut anywhere.
const WORD_MAX: usize = 48;

/// Most bytes of the answer that are kept for a successor, the newest: four times what an answer may have.
const KEPT_MAX: usize = 64 * 1024;

impl Llm for Chain<dyn Llm> {
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        self.used();
        if let Some(only) = self.only() {
            return only.generate(request);
        }
        let writing = Writing::new(Relay::start(self), request);
        stream::unfold(writing, |mut writing| async { Some((writing.next().await?, writing)) }).boxed()
    }

    fn probe(&self) -> Later<()> {
        async { Ok(()) }.boxed()
    }
}

/// One answer on its way through the chain.
struct Writing {
    relay: Relay<dyn Llm>,
    request: LlmRequest,
    events: EventStream<LlmEvent>,
    /// Cuts off what the member repeats.
    splice: Option<Splice>,
    text: Text,
    out: VecDeque<LlmEvent>,
    /// When something has to come.
    due: Option<Instant>,
    called: bool,
    over: bool,
    /// What to say last, if not all went well.
    failure: Option<EngineError>,
}

/// The answer's text as it is given out: in whole words, so that a successor never has to finish half a one.
#[derive(Default)]
struct Text {
    given: String,
    /// The word under way.
    held: String,
    /// What was given ends in the middle of a text without spaces.
    unspaced: bool,
}

impl Writing {
    fn new(relay: Relay<dyn Llm>, request: LlmRequest) -> Self {
        let text = Text { given: request.so_far.clone(), ..Text::default() };
        let events = start(&relay, request.clone());
        let due = relay.patience().map(|patience| now() + patience);
        let (out, splice, failure) = (VecDeque::new(), None, None);
        Self { relay, request, events, splice, text, out, due, called: false, over: false, failure }
    }

    async fn next(&mut self) -> Option<Result<LlmEvent, EngineError>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return self.failure.take().map(Err);
            }
            let failure = tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(Ok(event)) => {
                        self.due = self.relay.patience().map(|patience| now() + patience);
                        self.take(event);
                        continue;
                    }
                    None => {
                        self.relay.done();
                        self.end();
                        continue;
                    }
                    Some(Err(error)) => error,
                },
                () = until(self.due) => self.relay.silence(),
            };
            match self.relay.pass_on(failure) {
                // A tool was called, which must not be done twice; the answer goes on with what it gives.
                _ if self.called => self.end(),
                Ok(()) => self.start_again(),
                Err(error) => {
                    self.failure = Some(error);
                    self.end();
                }
            }
        }
    }

    fn take(&mut self, event: LlmEvent) {
        match event {
            LlmEvent::Delta(delta) => {
                let new = self.splice.as_mut().map_or_else(|| delta.clone(), |splice| splice.push(&delta));
                let hold = !self.relay.is_last();
                self.give(|text| text.push(&new, hold));
            }
            event => {
                // It belongs to this place of the text.
                self.give(Text::flush);
                self.called |= matches!(event, LlmEvent::ToolCall(_));
                self.out.push_back(event);
            }
        }
    }

    fn give(&mut self, words: impl FnOnce(&mut Text) -> String) {
        let words = words(&mut self.text);
        if !words.is_empty() {
            self.out.push_back(LlmEvent::Delta(words));
        }
    }

    /// Nothing more of the answer will come.
    fn end(&mut self) {
        let rest = self.splice.as_mut().map(Splice::finish).unwrap_or_default();
        self.give(|text| text.push(&rest, true) + &text.flush());
        self.over = true;
    }

    fn start_again(&mut self) {
        self.text.held.clear();
        let so_far = self.text.given.trim_end();
        self.request.so_far = so_far.to_owned();
        self.splice = (!so_far.is_empty()).then(|| Splice::new(&self.text.given, !self.text.unspaced));
        self.events = start(&self.relay, self.request.clone());
        self.due = self.relay.patience().map(|patience| now() + patience);
    }
}

impl Text {
    /// Takes the next text and returns what can be given out: all, or with `hold` all but the word under way.
    fn push(&mut self, new: &str, hold: bool) -> String {
        if new.is_empty() {
            return String::new();
        }
        self.held.push_str(new);
        if !hold {
            return self.flush();
        }
        let space = self.held.char_indices().rev().find(|(_, c)| c.is_whitespace());
        let end = space.map_or(0, |(at, c)| at + c.len_utf8());
        if self.held.len() - end > WORD_MAX {
            let given = self.flush();
            self.unspaced = true;
            return given;
        }
        let rest = self.held.split_off(end);
        let given = std::mem::replace(&mut self.held, rest);
        self.keep(given)
    }

    /// All that was held back.
    fn flush(&mut self) -> String {
        let given = std::mem::take(&mut self.held);
        self.keep(given)
    }

    fn keep(&mut self, given: String) -> String {
        if !given.is_empty() {
            self.unspaced = false;
            self.given.push_str(&given);
            let old = self.given.len().saturating_sub(KEPT_MAX);
            let old = (old..=self.given.len()).find(|at| self.given.is_char_boundary(*at)).unwrap_or(0);
            self.given.drain(..old);
        }
        given
    }
}

/// Starts the member that has the answer.
fn start(relay: &Relay<dyn Llm>, request: LlmRequest) -> EventStream<LlmEvent> {
    let slot = relay.slot().clone();
    guarded(slot.name(), move || slot.generate(request))
}
