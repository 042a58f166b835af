//! One clause that is being spoken, by one voice after the other if need be.

use std::collections::VecDeque;

use anchor_core::audio::{AudioFrame, OUTPUT_RATE, Samples};
use anchor_core::engine::{TtsEvent, WordTime};

use super::join;
use crate::chain::rest;

/// Sound of a clause under way that is held back in any case, so that there is a quiet place to cut in. As long as two or
/// three syllables.
const HOLD: Samples = Samples::from_ms(250);

/// Where one voice goes on for another, it begins as loud as the other ends, if it is so this near: as exact as places are
/// found.
const NEAR: usize = OUTPUT_RATE as usize * 4 / 100;

/// A clause is given up when it has more sound than this: its text is said in a quarter of it at most, so the voice does
/// not know where to stop.
const LONGEST: usize = OUTPUT_RATE as usize * 60;

/// A clause a voice was given. Its sound goes out but for the newest, with which the clause can be cut.
#[derive(Debug)]
pub(super) struct Clause {
    text: String,
    /// Byte from which the present voice speaks.
    from: usize,
    /// Sound of the text before `from`.
    base: Samples,
    /// Sound given out of all voices before. What is of the text behind `from`, the present voice says too.
    before: Samples,
    /// All that the present voice has made of the clause.
    sound: Vec<f32>,
    /// Of `sound`, what another has said already.
    skipped: usize,
    /// Of `sound`, what was said already or is given out.
    given: usize,
    /// What the listener has heard of the same text, while it is not known where the present voice has come as far.
    heard: Option<Heard>,
    /// The times of words that the present voice told, within its sound and its text.
    words: Vec<WordTime>,
    /// Those of them that wait for their sound.
    waiting: VecDeque<WordTime>,
}

/// What a voice made of a text before it broke off, and how much of that was given out.
#[derive(Debug)]
struct Heard {
    sound: Vec<f32>,
    cut: usize,
    /// Sound that the present voice needs to have made before it is worth another look.
    enough: usize,
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
            base: Samples(0),
            before: Samples(0),
            sound: Vec::new(),
            skipped: 0,
            given: 0,
            heard: None,
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
        self.sound.extend_from_slice(frame);
        self.find_place(false);
    }

    /// The voice has made far more sound than the text can need.
    pub(super) fn is_endless(&self) -> bool {
        self.sound.len() > LONGEST
    }

    /// Gives out the next sound, at most so much, and so that some is kept back.
    pub(super) fn release(&mut self, most: Samples, keep: Samples) -> Vec<TtsEvent> {
        let ready = self.ready().saturating_sub(keep.0 as usize);
        self.give(ready.min(most.0 as usize))
    }

    /// Whether there is sound to be given out beside what is kept back.
    pub(super) fn can_release(&self, keep: Samples) -> bool {
        self.ready() > keep.0 as usize
    }

    /// Gives out all sound there is.
    pub(super) fn give_all(&mut self) -> Vec<TtsEvent> {
        self.give(self.ready())
    }

    /// Takes the time of a word.
    pub(super) fn word(&mut self, word: WordTime) {
        if self.from + word.text_end <= self.text.len() {
            self.words.push(word);
            self.waiting.push_back(word);
        }
    }

    /// The voice has completed the clause: returns the rest of its sound and its end.
    pub(super) fn end(&mut self) -> Vec<TtsEvent> {
        self.find_place(true);
        if self.from > 0 && self.words.is_empty() {
            // The words before have times, so these need some, too.
            for word in rest::lay_out(self.rest(), Samples(self.sound.len() as u64)) {
                self.word(word);
            }
        }
        let mut events = self.give(self.ready());
        events.extend(self.tell_words(usize::MAX));
        events.push(TtsEvent::ClauseEnd);
        events
    }

    /// The voice failed: returns the last of its sound, and whether the clause was complete but for its end. The next
    /// voice speaks [`Clause::rest`], of which the listener may have heard a part: that much of its sound is left out.
    pub(super) fn break_off(&mut self) -> (Vec<TtsEvent>, bool) {
        if self.is_endless() {
            self.begin(None);
            return (vec![TtsEvent::ClauseEnd], true);
        }
        if self.given == self.skipped {
            // Nothing of this voice was heard, so all is as before it came.
            let unjoined = self.heard.take().map(|heard| Heard { enough: 0, ..heard });
            let heard = unjoined.or_else(|| self.as_heard());
            self.begin(heard);
            return (Vec::new(), false);
        }
        if self.words.is_empty() {
            // A little is left behind the cut, to be blended with the next voice.
            let end = self.sound.len().saturating_sub(rest::FADE).max(self.given);
            let quiet = rest::quietest(&self.sound[self.given..end]);
            let events = self.give(quiet);
            let heard = self.as_heard();
            self.begin(heard);
            return (events, false);
        }
        let at = rest::break_off(&self.words, Samples(self.given as u64), &self.sound[self.given..]);
        // Words that begin behind the cut are another voice's.
        self.waiting.retain(|word| word.text_end <= at.text_end);
        let cut = at.cut.0 as usize;
        rest::fade_out(&mut self.sound[self.given..cut]);
        let mut events = self.give(cut - self.given);
        events.extend(self.tell_words(usize::MAX));
        let left = &self.rest()[at.text_end..];
        self.from += at.text_end + (left.len() - left.trim_start().len());
        self.begin(None);
        self.base = self.before;
        let complete = !self.rest().contains(char::is_alphanumeric);
        if complete {
            events.push(TtsEvent::ClauseEnd);
        }
        (events, complete)
    }

    /// Samples that may be given out.
    fn ready(&self) -> usize {
        if self.heard.is_some() { 0 } else { self.sound.len() - self.given }
    }

    /// Looks where the present voice has come as far as the listener. With `whole`, it has ended.
    fn find_place(&mut self, whole: bool) {
        let Some(heard) = self.heard.as_mut().filter(|heard| whole || self.sound.len() >= heard.enough) else { return };
        let place = match join::place(&heard.sound, heard.cut, &self.sound, whole) {
            Ok(place) => place,
            Err(enough) => return heard.enough = enough,
        };
        self.skipped = rest::as_loud(&heard.sound, heard.cut, &self.sound, place, NEAR);
        self.given = self.skipped;
        rest::blend(&heard.sound[heard.cut..], &mut self.sound[self.given..]);
        self.heard = None;
    }

    /// Gives out so many samples, with the words that end in them.
    fn give(&mut self, samples: usize) -> Vec<TtsEvent> {
        if samples == 0 {
            return Vec::new();
        }
        let frame = AudioFrame::new(&self.sound[self.given..self.given + samples]);
        self.given += samples;
        let mut events = self.tell_words(self.given);
        events.push(TtsEvent::Audio(frame));
        events
    }

    /// The words that end in the first samples of the voice, as the listener hears them.
    fn tell_words(&mut self, samples: usize) -> Vec<TtsEvent> {
        let mut events = Vec::new();
        while let Some(word) = self.waiting.front().filter(|word| word.end.0 as usize <= samples) {
            let text_end = self.from + word.text_end;
            let end = self.heard_at(word.end.0 as usize).min(self.heard_at(self.given));
            events.push(TtsEvent::Word(WordTime { text_end, end }));
            self.waiting.pop_front();
        }
        events
    }

    /// When the listener hears a sample of this voice, in sound of the clause: what another voice has said of the same
    /// text, it said at its own pace.
    fn heard_at(&self, sample: usize) -> Samples {
        match sample.checked_sub(self.skipped) {
            Some(behind) => Samples(self.before.0 + behind as u64),
            None => Samples(self.base.0 + (self.before.0 - self.base.0) * sample as u64 / self.skipped as u64),
        }
    }

    /// What the listener has heard, as this voice says it.
    fn as_heard(&mut self) -> Option<Heard> {
        let sound = std::mem::take(&mut self.sound);
        (self.given > 0).then_some(Heard { sound, cut: self.given, enough: 0 })
    }

    /// Makes place for the next voice, behind what the listener has heard.
    fn begin(&mut self, heard: Option<Heard>) {
        self.before = Samples(self.before.0 + (self.given - self.skipped) as u64);
        (self.skipped, self.given, self.heard) = (0, 0, heard);
        self.sound.clear();
        self.words.clear();
        self.waiting.clear();
    }
}
