//! The thread of a conversation: what is being talked about, what was told, what was offered.

use std::collections::BTreeSet;

/// A sentence of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// The story it rests on, by its place in the rundown.
    pub(super) story: Option<usize>,
    /// The sentence of the story that it tells.
    pub(super) sentence: Option<usize>,
}

/// An answer, and what it does to the thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) pieces: Vec<Piece>,
    /// The story that is talked about from here on; `None` leaves it.
    pub(super) current: Option<usize>,
    /// The stories it lists, which "the second one" then means; empty leaves them.
    pub(super) listing: Vec<usize>,
    /// The story that "yes" and "go on" then mean.
    pub(super) offered: Option<usize>,
    /// It is spoken beside the thread and leaves it: "All right.", the time.
    pub(super) aside: bool,
}

/// What the conversation has come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Thread {
    /// Answers so far.
    pub(super) turn: usize,
    /// The story being talked about.
    pub(super) current: Option<usize>,
    /// The one before it.
    pub(super) previous: Option<usize>,
    /// The last list.
    pub(super) listing: Vec<usize>,
    /// See [`Answer::offered`].
    pub(super) offered: Option<usize>,
    /// The last answer, whole.
    pub(super) last: Vec<Piece>,
    /// What of the last answer was cut off, from the sentence on during which it was.
    pub(super) unheard: Vec<Piece>,
    told: BTreeSet<(usize, usize)>,
    mentioned: BTreeSet<usize>,
}

impl Thread {
    /// Takes in an answer of which so many words were heard.
    pub(super) fn heard(&mut self, answer: Answer, words: usize) {
        self.turn += 1;
        let mut spoken = 0;
        let whole = answer.pieces.iter().take_while(|piece| {
            spoken += piece.text.split_whitespace().count();
            spoken <= words
        });
        let whole = whole.count();
        for piece in &answer.pieces[..whole] {
            self.mentioned.extend(piece.story);
            self.told.extend(piece.story.zip(piece.sentence));
        }
        if answer.aside {
            return;
        }
        self.unheard = answer.pieces[whole..].to_vec();
        if self.unheard.iter().all(|piece| piece.story.is_none()) {
            self.unheard.clear();
        }
        if answer.current.is_some() && answer.current != self.current {
            self.previous = std::mem::replace(&mut self.current, answer.current);
        }
        if !answer.listing.is_empty() {
            self.listing = answer.listing;
        }
        self.offered = answer.offered;
        self.last = answer.pieces;
    }

    /// The sentence was heard.
    pub(super) fn told(&self, story: usize, sentence: usize) -> bool {
        self.told.contains(&(story, sentence))
    }

    /// The story was told of, or listed.
    pub(super) fn mentioned(&self, story: usize) -> bool {
        self.mentioned.contains(&story)
    }
}

impl Answer {
    /// Cuts the answer to so many words. A sentence that is cut does not count as told.
    pub(super) fn limit(&mut self, mut words: usize) {
        for piece in &mut self.pieces {
            let length = piece.text.split_whitespace().count();
            if length > words {
                piece.text = piece.text.split_whitespace().take(words).collect::<Vec<_>>().join(" ");
                piece.sentence = None;
            }
            words = words.saturating_sub(length);
        }
        self.pieces.retain(|piece| !piece.text.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let piece = |text: &str, sentence| Piece { text: text.into(), story: Some(3), sentence: Some(sentence) };
        Answer {
            pieces: vec![piece("The bridge is open.", 0), piece("Cars may cross.", 1)],
            current: Some(3),
            ..Answer::default()
        }
    }

    #[test]
    fn only_whole_sentences_count_as_told() {
        let mut thread = Thread::default();
        thread.heard(answer(), 6);
        assert!(thread.told(3, 0) && !thread.told(3, 1));
        assert_eq!(thread.unheard, answer().pieces[1..]);
        assert_eq!(thread.current, Some(3));
    }

    #[test]
    fn an_aside_leaves_the_thread() {
        let mut thread = Thread::default();
        thread.heard(answer(), 2);
        let before = thread.clone();
        thread.heard(Answer { aside: true, ..Answer::default() }, usize::MAX);
        assert_eq!(thread, Thread { turn: 2, ..before });
    }

    #[test]
    fn limits_words() {
        let mut short = answer();
        short.limit(5);
        assert_eq!(short.pieces[1], Piece { text: "Cars".into(), story: Some(3), sentence: None });
        short.limit(0);
        assert!(short.pieces.is_empty());
    }
}
