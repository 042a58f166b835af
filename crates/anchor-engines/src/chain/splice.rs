//! Joins the text of two language models: what the second repeats of the first is cut off.
//!
//! What is promised: let the first have written `said`, in whole words, and let the second write, in pieces of any size,
//! the rest of the answer, either right away or behind a repetition of `said` from the beginning of one of its last
//! sentences (or of all of it) to its end. Then the words of both together are those of the answer, none twice and none
//! lost. White space may differ. A second text that repeats other words, or rewrites what was said, is no repetition and
//! is left as it is; a rest that itself begins with the words of a whole last sentence is taken for one.

/// Beginnings of sentences from which on a repetition is recognised, the newest; the whole text is one more.
const SENTENCES: usize = 8;

/// Cuts off what a text repeats of one before it.
#[derive(Debug)]
pub(super) struct Splice {
    /// The texts it may begin with, each ending where what was said ended.
    candidates: Vec<String>,
    /// What may be a repetition so far.
    held: String,
    /// It is not decided yet whether there is a repetition.
    undecided: bool,
    /// A word cannot go on behind a repetition: the scripts put spaces between words.
    spaced: bool,
    /// How the text behind the repetition is joined, until its first word is there.
    joint: Option<Joint>,
}

/// What was said ended with white space, or with a whole word, or may go on in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    BehindSpace,
    BehindWord,
    Anywhere,
}

/// How a text compares with one that it may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Different,
    /// The same as far as it goes.
    Undecided,
    /// It repeats it, and goes on from this byte.
    Repeats(usize),
}

impl Splice {
    /// For a text behind `said`. With `whole_words`, what was said does not end within a word.
    pub(super) fn new(said: &str, whole_words: bool) -> Self {
        let joint = match said.chars().next_back() {
            Some(last) if last.is_whitespace() => Joint::BehindSpace,
            Some(_) if whole_words => Joint::BehindWord,
            _ => Joint::Anywhere,
        };
        let candidates = candidates(said.trim());
        let undecided = !candidates.is_empty();
        Self { candidates, held: String::new(), undecided, spaced: whole_words, joint: Some(joint) }
    }

    /// Takes the next text and returns what of it is new.
    pub(super) fn push(&mut self, text: &str) -> String {
        if !self.undecided {
            return self.join(text.to_owned());
        }
        self.held.push_str(text);
        let comparisons = || self.candidates.iter().map(|said| compare(&self.held, said, self.spaced));
        if comparisons().any(|comparison| comparison == Comparison::Undecided) {
            return String::new();
        }
        let longest = comparisons().filter_map(Comparison::repeats).max();
        self.decide(longest)
    }

    /// There is no more text: returns what of it is left.
    pub(super) fn finish(&mut self) -> String {
        if !self.undecided {
            return String::new();
        }
        // A repetition may end with the text, which one more space tells from a word that goes on.
        let ended = format!("{} ", self.held);
        let longest = self.candidates.iter().filter_map(|said| compare(&ended, said, self.spaced).repeats()).max();
        self.decide(longest.map(|end| end.min(self.held.len())))
    }

    fn decide(&mut self, repeated: Option<usize>) -> String {
        self.undecided = false;
        let held = std::mem::take(&mut self.held);
        self.join(held[repeated.unwrap_or(0)..].to_owned())
    }

    /// Puts the space between what was said and what is new in order. A line break stays: it ends a sentence.
    fn join(&mut self, text: String) -> String {
        let Some(joint) = self.joint else { return text };
        let is_space = |c: char| c.is_whitespace() && c != '\n';
        let text = if joint == Joint::BehindSpace { text.trim_start_matches(is_space).to_owned() } else { text };
        let Some(first) = text.chars().next() else { return text };
        self.joint = None;
        if joint == Joint::BehindWord && first.is_alphanumeric() { format!(" {text}") } else { text }
    }
}

impl Comparison {
    fn repeats(self) -> Option<usize> {
        match self {
            Self::Repeats(end) => Some(end),
            Self::Different | Self::Undecided => None,
        }
    }
}

/// What was said from each of the last beginnings of a sentence on, and all of it.
fn candidates(said: &str) -> Vec<String> {
    if said.is_empty() {
        return Vec::new();
    }
    let mut begins = vec![0];
    // Whether a sentence has ended, and whether the next may begin: "3.5" is one word.
    let (mut ended, mut begun) = (false, false);
    for (at, c) in said.char_indices() {
        if c.is_whitespace() {
            begun |= ended || c == '\n';
            continue;
        }
        if begun {
            begins.push(at);
        }
        ended = matches!(c, '.' | '!' | '?' | '…' | '।' | '。' | '！' | '？');
        // These scripts put no space behind a sentence.
        begun = matches!(c, '。' | '！' | '？');
    }
    let old = begins.len().saturating_sub(SENTENCES);
    begins.drain(1.min(old)..old);
    begins.into_iter().map(|at| said[at..].to_owned()).collect()
}

/// Compares `text` with `said`, which has no white space around it. All white space is the same.
fn compare(text: &str, said: &str, spaced: bool) -> Comparison {
    let mut left = text.char_indices().peekable();
    let mut right = said.chars().peekable();
    while left.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    loop {
        let (heard, known) = (left.peek().copied(), right.peek().copied());
        match (heard, known) {
            (Some((at, next)), None) => {
                let within_word = spaced && next.is_alphanumeric() && said.ends_with(char::is_alphanumeric);
                return if within_word { Comparison::Different } else { Comparison::Repeats(at) };
            }
            (None, _) => return Comparison::Undecided,
            (Some((_, a)), Some(b)) if a.is_whitespace() && b.is_whitespace() => {
                while left.next_if(|(_, c)| c.is_whitespace()).is_some() {}
                while right.next_if(|c| c.is_whitespace()).is_some() {}
            }
            (Some((_, a)), Some(b)) if a == b => {
                left.next();
                right.next();
            }
            _ => return Comparison::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes behind `said` when the second text arrives in pieces of `size` characters.
    fn spliced(said: &str, second: &str, size: usize) -> String {
        let mut splice = Splice::new(said, true);
        let chars: Vec<char> = second.chars().collect();
        let mut new: String = chars.chunks(size).map(|piece| splice.push(&piece.iter().collect::<String>())).collect();
        new.push_str(&splice.finish());
        new
    }

    #[test]
    fn repetitions_are_cut_off() {
        let said = "The bridge is open. Cars may cross. The ferry ";
        for second in [
            "stops tonight.",
            " stops tonight.",
            "The ferry stops tonight.",
            "Cars may cross. The ferry stops tonight.",
            " The bridge is open.\nCars may cross.  The ferry stops tonight.",
        ] {
            assert_eq!(spliced(said, second, 3), "stops tonight.", "{second}");
        }
        assert_eq!(spliced(said, "The ferryman is ill.", 1), "The ferryman is ill.", "it only begins alike");
        assert_eq!(spliced(said, "The ferry", 2), "", "nothing but a repetition");
        assert_eq!(spliced(said, "The fer", 2), "The fer", "a word of its own");
        assert_eq!(spliced(said, "\nThat is all.", 2), "\nThat is all.", "a line break ends the sentence");
    }

    #[test]
    fn a_space_is_put_where_one_is_missing() {
        assert_eq!(spliced("It is open.", "Cars cross.", 4), " Cars cross.");
        assert_eq!(spliced("It is open.", " Cars cross.", 4), " Cars cross.");
        assert_eq!(spliced("It is open", ", they say.", 4), ", they say.");
        assert_eq!(spliced("", "It is open.", 4), "It is open.");
    }

    #[test]
    fn scripts_without_spaces_are_joined_as_they_are() {
        let mut splice = Splice::new("今天天气", false);
        assert_eq!(splice.push("很好。"), "很好。");
        let mut splice = Splice::new("今天天气", false);
        assert_eq!(splice.push("今天天气很好。"), "很好。");
    }

    #[test]
    fn nothing_is_held_back_once_it_cannot_be_a_repetition() {
        let mut splice = Splice::new("The bridge is open. The ", true);
        assert_eq!(splice.push("fer"), "fer");
        assert_eq!(splice.push("ry"), "ry");
    }

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    proptest! {
        /// The promise of this file, for texts of few different words, so that they repeat themselves a lot.
        #[test]
        fn no_word_twice_and_none_lost(
            answer in prop::collection::vec(prop::sample::select(vec!["ja", "nein", "ja.", "Öl", "é!", "नमस्ते।", "a", "ab"]), 2..30),
            cut in any::<prop::sample::Index>(),
            from in any::<prop::sample::Index>(),
            repeats in any::<bool>(),
            space in prop::sample::select(vec!["", " ", "  ", "\t"]),
            behind in prop::sample::select(vec!["", " "]),
            size in 1usize..9,
        ) {
            let cut = 1 + cut.index(answer.len() - 1);
            let said = answer[..cut].join(" ");
            let rest = answer[cut..].join(" ");
            let candidates = candidates(&said);
            prop_assume!(repeats || candidates.iter().all(|said| compare(&format!("{rest} "), said, true).repeats().is_none()));
            let second = if repeats {
                format!("{space}{} {rest}", from.get(&candidates))
            } else {
                format!("{space}{rest}")
            };
            // A shorter repetition with a rest that looks like a longer one is ambiguous.
            let seen = candidates.iter().filter_map(|said| compare(&second, said, true).repeats()).max();
            prop_assume!(!repeats || seen.map(|end| words(&second[end..]).len()) == Some(answer.len() - cut));
            let new = spliced(&format!("{said}{behind}"), &second, size);
            let whole = format!("{said}{behind}{new}");
            prop_assert_eq!(words(&whole), answer);
        }

        /// Whatever the second writes, only a prefix of it is cut off and nothing is changed behind it.
        #[test]
        fn only_a_repetition_is_taken_away(said in "[ab. é]{0,20}", second in "[ab. é]{0,30}", size in 1usize..5) {
            let new = spliced(&said, &second, size);
            prop_assert!(second.ends_with(new.trim_start()));
            let cut = &second[..second.len() - new.trim_start().len()];
            let flat = |text: &str| words(text).join(" ");
            prop_assert!(cut.trim().is_empty() || flat(&said).ends_with(&flat(cut)), "{cut:?} was lost");
        }
    }
}
