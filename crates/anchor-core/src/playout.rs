//! What the ear has got: sound given out in time with the clock, and the text that belongs to it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::audio::{AudioFrame, Samples};
use crate::engine::WordTime;

/// Sound is given out this far ahead of the ear: enough to ride over a stumbling network, little enough that hardly any
/// stale sound is on its way when somebody interrupts.
const LEAD: Duration = Duration::from_millis(300);

/// Sound is given out in pieces of this length.
const PIECE: Samples = Samples::from_ms(40);

/// How fast people speak where nothing better is known, in bytes of text per second.
const BYTES_PER_SECOND: u64 = 15;

/// Gives out the sound of one answer in time with the clock.
#[derive(Debug, Default)]
pub(crate) struct Playout {
    waiting: VecDeque<f32>,
    given: Samples,
    /// When sample 0 was heard, moved later by every gap in the sound.
    origin: Option<Instant>,
    /// What the client said it has played, and when it said so.
    report: Option<(Instant, Samples)>,
}

impl Playout {
    /// Takes sound from the voice.
    pub(crate) fn push(&mut self, frame: &AudioFrame) {
        self.waiting.extend(frame.iter());
    }

    /// The next piece, if it is time for it.
    pub(crate) fn next(&mut self, now: Instant) -> Option<AudioFrame> {
        if self.waiting.is_empty() || self.due().is_some_and(|due| due > now) {
            return None;
        }
        // Sound that comes after the ear ran dry is heard from now on, not from when it should have come.
        let dry = self.drained_at().is_none_or(|drained| drained < now);
        if dry {
            self.origin = now.checked_sub(self.given.duration());
        }
        let length = self.waiting.len().min(PIECE.0 as usize);
        self.given = self.given + Samples(length as u64);
        Some(AudioFrame::new(self.waiting.drain(..length).collect::<Vec<_>>()))
    }

    /// When the next piece is to be given out; `None` before the first.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some((self.drained_at()?).checked_sub(LEAD).unwrap_or(self.origin?))
    }

    /// When the ear has heard all that was given out; `None` before the first piece.
    pub(crate) fn drained_at(&self) -> Option<Instant> {
        Some(self.origin? + self.given.duration())
    }

    /// Something was given out.
    pub(crate) fn begun(&self) -> bool {
        self.given > Samples(0)
    }

    /// Length of the sound given out.
    pub(crate) fn given(&self) -> Samples {
        self.given
    }

    /// Length of the sound not given out yet.
    pub(crate) fn waiting(&self) -> Samples {
        Samples(self.waiting.len() as u64)
    }

    /// Takes the client's word for what it has played.
    pub(crate) fn report(&mut self, now: Instant, played: Samples) {
        self.report = Some((now, played.min(self.given)));
    }

    /// Length of the sound that was heard by now: by the client's last report, or else by the clock.
    pub(crate) fn heard(&self, now: Instant) -> Samples {
        let (since, played) = match (self.report, self.origin) {
            (Some(report), _) => report,
            (None, Some(origin)) => (origin, Samples(0)),
            (None, None) => return Samples(0),
        };
        (played + Samples::from_duration(now.saturating_duration_since(since))).min(self.given)
    }
}

/// Which text belongs to which sound of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Script {
    clauses: Vec<SpokenClause>,
    /// Clauses whose sound is complete.
    complete: usize,
    length: Samples,
}

#[derive(Clone, Debug, PartialEq)]
struct SpokenClause {
    /// Place in the answer's text.
    text: Range<usize>,
    start: Samples,
    length: Samples,
    words: Vec<WordTime>,
}

impl Script {
    /// The voice was given this clause of the text.
    pub(crate) fn clause(&mut self, text: Range<usize>) {
        self.clauses.push(SpokenClause { text, start: self.length, length: Samples(0), words: Vec::new() });
    }

    /// The voice gave sound of this length.
    pub(crate) fn sound(&mut self, length: Samples) {
        self.length = self.length + length;
        if let Some(clause) = self.clauses.get_mut(self.complete) {
            clause.length = clause.length + length;
        }
    }

    /// The voice knows when a word of the clause under way ends.
    pub(crate) fn word(&mut self, word: WordTime) {
        if let Some(clause) = self.clauses.get_mut(self.complete)
            && word.text_end <= clause.text.len()
        {
            clause.words.push(word);
        }
    }

    /// The sound of the clause under way is complete.
    pub(crate) fn clause_end(&mut self) {
        self.complete = (self.complete + 1).min(self.clauses.len());
        if let Some(next) = self.clauses.get_mut(self.complete) {
            next.start = self.length;
        }
    }

    /// The voice owes sound for a clause it was given.
    pub(crate) fn owes_sound(&self) -> bool {
        self.complete < self.clauses.len()
    }

    /// Length of the sound so far.
    pub(crate) fn length(&self) -> Samples {
        self.length
    }

    /// How much of `text` was heard, in bytes, when `heard` of the sound was. Ends behind a word.
    pub(crate) fn heard_text(&self, text: &str, heard: Samples) -> usize {
        let sounding = self.clauses.len().min(self.complete + 1);
        let Some(at) = self.clauses[..sounding].iter().rposition(|clause| clause.start < heard) else { return 0 };
        let clause = &self.clauses[at];
        let inside = heard - clause.start;
        let complete = at < self.complete;
        if complete && inside >= clause.length {
            return clause.text.end;
        }
        let before = at.checked_sub(1).map_or(0, |previous| self.clauses[previous].text.end);
        let bytes = if clause.words.is_empty() {
            let length = if complete { clause.length.0 } else { u64::MAX };
            let share = (clause.text.len() as u64 * inside.0).checked_div(length).unwrap_or(0);
            let paced = inside.as_ms() * BYTES_PER_SECOND / 1000;
            whole_words(&text[clause.text.clone()], if complete { share } else { paced } as usize)
        } else {
            clause.words.iter().rev().find(|word| word.end <= inside).map_or(0, |word| word.text_end)
        };
        if bytes == 0 { before } else { clause.text.start + bytes }
    }
}

/// The longest run of whole words within the first `bytes` bytes of `text`.
fn whole_words(text: &str, bytes: usize) -> usize {
    if bytes >= text.len() {
        return text.len();
    }
    text.char_indices().rev().find(|&(at, c)| at <= bytes && c.is_whitespace()).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start_of_time;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn sound(milliseconds: u64) -> AudioFrame {
        AudioFrame::new(vec![0.1; Samples::from_ms(milliseconds).0 as usize])
    }

    #[test]
    fn sound_is_given_out_a_lead_ahead_and_no_further() {
        let now = start_of_time();
        let mut playout = Playout::default();
        playout.push(&sound(1000));
        let at_once = std::iter::from_fn(|| playout.next(now)).count();
        assert_eq!(at_once as u64 * PIECE.as_ms(), 320, "the lead, and the piece that crosses it");
        assert_eq!(playout.due(), Some(now + ms(20)));
        assert!(playout.next(now + ms(19)).is_none());
        assert!(playout.next(now + ms(20)).is_some());
        assert_eq!(playout.heard(now + ms(100)).as_ms(), 100);
        assert_eq!(playout.heard(now + ms(5000)).as_ms(), 360, "nobody hears what was not given out");
    }

    #[test]
    fn a_gap_moves_the_clock() {
        let now = start_of_time();
        let mut playout = Playout::default();
        playout.push(&sound(40));
        playout.next(now);
        playout.push(&sound(40));
        playout.next(now + ms(1000));
        assert_eq!(playout.heard(now + ms(1020)).as_ms(), 60);
        assert_eq!(playout.drained_at(), Some(now + ms(1040)));
    }

    #[test]
    fn the_clients_report_beats_the_clock() {
        let now = start_of_time();
        let mut playout = Playout::default();
        playout.push(&sound(300));
        while playout.next(now).is_some() {}
        playout.report(now + ms(200), Samples::from_ms(100));
        assert_eq!(playout.heard(now + ms(250)).as_ms(), 150);
        playout.report(now + ms(250), Samples::from_ms(9_000));
        assert_eq!(playout.heard(now + ms(250)).as_ms(), 300, "no client has heard more than there was");
    }

    const TEXT: &str = "One two three. Four five six.";

    fn script(words: &[WordTime]) -> Script {
        let mut script = Script::default();
        script.clause(0..14);
        script.clause(15..29);
        for &word in words {
            script.word(word);
        }
        script.sound(Samples::from_ms(900));
        script.clause_end();
        script.sound(Samples::from_ms(900));
        script
    }

    fn heard(script: &Script, milliseconds: u64) -> &'static str {
        &TEXT[..script.heard_text(TEXT, Samples::from_ms(milliseconds))]
    }

    #[test]
    fn heard_text_follows_the_words_where_the_voice_knows_them() {
        let word = |text_end, at| WordTime { text_end, end: Samples::from_ms(at) };
        let script = script(&[word(3, 200), word(7, 500), word(14, 900)]);
        assert_eq!(heard(&script, 100), "");
        assert_eq!(heard(&script, 250), "One");
        assert_eq!(heard(&script, 899), "One two");
        assert_eq!(heard(&script, 900), "One two three.");
    }

    #[test]
    fn heard_text_is_a_share_of_the_sound_where_it_does_not() {
        let mut script = script(&[]);
        assert_eq!(heard(&script, 450), "One two");
        assert_eq!(heard(&script, 920), "One two three.");
        assert_eq!(heard(&script, 1_300), "One two three. Four", "by common pace while the clause is incomplete");
        script.clause_end();
        assert_eq!(heard(&script, 1_800), TEXT);
        assert!(!script.owes_sound());
    }
}
