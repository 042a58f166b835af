//! One clause that is being spoken, by one voice after the other if need be.

use std::collections::VecDeque;

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::engine::{TtsEvent, WordTime};

use crate::chain::rest::{self, Pace};

/// Sound of a clause under way that is held back in any case, so that there is a quiet place to cut in. As long as two or
/// three syllables.
const HOLD: Samples = Samples::from_ms(250);

/// A clause a voice was given. Its sound goes out but for the newest, with which the clause can be cut.
#[derive(Debug)]
pub(super) struct Clause {
    text: String,
    /// Byte from which the present voice speaks.
    from: usize,
    /// Sound of it by voices before.
    before: Samples,
    /// Sound of it given out, by all voices.
    given: Samples,
    /// The newest sound, not given out.
    held: Vec<f32>,
    /// The times of words that the present voice told, within the whole clause.
    words: Vec<WordTime>,
    /// Those of them that wait for their sound.
    waiting: VecDeque<WordTime>,
}

/// How much sound to keep back of an answer of which the voice has made so much. Of its first sound no more than half, so
/// that the answer does not begin later.
pub(super) fn to_keep(sounded: Samples) -> Samples {
    HOLD.min(Samples(sounded.0 / 2))
}

impl Clause {
    pub(super) fn new(text: String) -> Self {
        Self {
            text,
            from: 0,
            before: Samples(0),
            given: Samples(0),
            held: Vec::new(),
            words: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// What the present voice has to speak.
    pub(super) fn rest(&self) -> &str {
        &self.text[self.from..]
    }

    /// Takes the voice's next sound.
    pub(super) fn sound(&mut self, frame: &AudioFrame) {
        self.held.extend_from_slice(frame);
    }

    /// Gives out the next sound, at most so much, and so that some is kept back.
    pub(super) fn release(&mut self, most: Samples, keep: Samples) -> Vec<TtsEvent> {
        let ready = self.held.len().saturating_sub(keep.0 as usize);
        self.give(ready.min(most.0 as usize))
    }

    /// Whether there is sound to be given out beside what is kept back.
    pub(super) fn can_release(&self, keep: Samples) -> bool {
        self.held.len() > keep.0 as usize
    }

    /// Gives out all sound there is.
    pub(super) fn give_all(&mut self) -> Vec<TtsEvent> {
        self.give(self.held.len())
    }

    /// Takes the time of a word, which counts from where the voice began.
    pub(super) fn word(&mut self, word: WordTime) {
        let word = WordTime { text_end: self.from + word.text_end, end: self.before + word.end };
        if word.text_end <= self.text.len() {
            self.words.push(word);
            self.waiting.push_back(word);
        }
    }

    /// The text and the length of its sound, if one voice spoke all of it.
    pub(super) fn spoken_by_one(&self) -> Option<(&str, Samples)> {
        (self.from == 0).then(|| (&*self.text, Samples(self.given.0 + self.held.len() as u64)))
    }

    /// The voice has completed the clause: returns the rest of its sound and its end.
    pub(super) fn end(&mut self) -> Vec<TtsEvent> {
        let mut events = Vec::new();
        let length = Samples(self.given.0 + self.held.len() as u64);
        if self.from > 0 && self.words.is_empty() {
            // The words before have times, so these need some, too.
            self.lay_out(self.text.len(), length);
        }
        events.extend(self.give(self.held.len()));
        events.extend(self.waiting.drain(..).map(TtsEvent::Word));
        events.push(TtsEvent::ClauseEnd);
        events
    }

    /// The voice failed: returns the last of its sound, and whether the clause was complete but for its end. The next
    /// voice speaks [`Clause::rest`].
    pub(super) fn break_off(&mut self, pace: Pace, speed: f32) -> (Vec<TtsEvent>, bool) {
        if self.given == self.before {
            // Nothing of it was heard.
            self.forget();
            return (Vec::new(), false);
        }
        let within: Vec<_> = self.words.iter().map(|word| self.to_voice(*word)).collect();
        let at = rest::break_off(self.rest(), &within, self.given - self.before, &self.held, pace, speed);
        let (heard, cut) = (self.from + at.text_end, self.before + at.cut);
        if self.words.is_empty() {
            self.lay_out(heard, cut);
        }
        // Words that begin behind the cut are another voice's.
        self.waiting.retain(|word| word.text_end <= heard);
        self.held.truncate((cut.0 - self.given.0) as usize);
        rest::fade_out(&mut self.held);
        let mut events = self.give(self.held.len());
        events.extend(self.waiting.drain(..).map(|word| TtsEvent::Word(WordTime { end: word.end.min(cut), ..word })));
        self.forget();
        self.before = self.given;
        let left = &self.text[heard..];
        self.from = heard + (left.len() - left.trim_start().len());
        let complete = !self.rest().contains(char::is_alphanumeric);
        if complete {
            events.push(TtsEvent::ClauseEnd);
        }
        (events, complete)
    }

    /// Gives out so many of the samples held, with the words that end in them.
    fn give(&mut self, samples: usize) -> Vec<TtsEvent> {
        let mut events = Vec::new();
        if samples == 0 {
            return events;
        }
        self.given = Samples(self.given.0 + samples as u64);
        while let Some(word) = self.waiting.front().filter(|word| word.end <= self.given) {
            events.push(TtsEvent::Word(*word));
            self.waiting.pop_front();
        }
        let frame: Vec<f32> = self.held.drain(..samples).collect();
        events.push(TtsEvent::Audio(AudioFrame::new(frame)));
        events
    }

    /// Gives times to the words of the present voice up to byte `end`, which it has spoken up to `length`.
    fn lay_out(&mut self, end: usize, length: Samples) {
        for word in rest::lay_out(&self.text[self.from..end], length - self.before) {
            self.word(word);
        }
    }

    fn to_voice(&self, word: WordTime) -> WordTime {
        WordTime { text_end: word.text_end - self.from, end: word.end - self.before }
    }

    /// Forgets what the present voice made and was not given out.
    fn forget(&mut self) {
        self.held.clear();
        self.words.clear();
        self.waiting.clear();
    }
}
