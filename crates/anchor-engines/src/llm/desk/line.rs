//! What a line of the user says by its form alone, before any story is looked at.

use std::ops::Range;

use super::keys::{Command, Question};
use super::language::{Language, PLACE};
use super::words::{Word, likeness, words};

/// Longest line looked at, in words: a question is shorter, and a pasted page would only cost time.
const MAX_WORDS: usize = 60;
/// A phrase of one word is meant only if at most so many other words stand beside it: "more", but not "how many more".
const MAX_BESIDE_ONE_WORD: usize = 2;

/// A line of the user.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// There was at least one word.
    pub(super) has_words: bool,
    /// What it asks for, and how many of its words say so.
    pub(super) command: Option<(Command, usize)>,
    /// The command is how the line begins.
    pub(super) command_leads: bool,
    /// The place in a list that [`Command::Choice`] names.
    pub(super) place: i32,
    /// Greeting, thanks or goodbye beside everything else.
    pub(super) courtesy: Option<Command>,
    /// The fact it asks for.
    pub(super) question: Option<Question>,
    /// It points back to what was talked about.
    pub(super) points_back: bool,
    /// The words that can find a story.
    pub(super) content: Vec<Word>,
    /// The words that can find a sentence.
    pub(super) asked: Vec<Word>,
}

impl Line {
    /// Reads a line addressed to an anchor of this name.
    pub(super) fn read(language: &Language, text: &str, name: &str) -> Self {
        let own_name = words(language, name);
        let mut rest: Vec<_> = words(language, text).into_iter().filter(|word| !language.is_filler(word)).collect();
        rest.truncate(MAX_WORDS);
        // Called by its name the anchor is not asked about it.
        rest.retain(|word| !own_name.iter().any(|own| own.text == word.text));
        let mut line = Self { has_words: !rest.is_empty(), ..Self::default() };

        while let Some((courtesy, at)) = find(language, &rest, &language.commands, courteous) {
            rest.drain(at);
            line.courtesy = Some(courtesy);
        }
        if let Some((command, at)) = find(language, &rest, &language.commands, plain) {
            line.command = Some((command, at.len()));
            line.command_leads = at.start == 0;
            line.place = rest[at.clone()].iter().find_map(|word| language.place(word)).unwrap_or_default();
            rest.drain(at);
        }
        line.question = find(language, &rest, &language.questions, |_, _, _| true).map(|(question, _)| question);
        line.points_back = rest.iter().any(|word| language.is_pointing(word));
        line.content = rest.iter().filter(|word| language.is_content(word)).cloned().collect();
        line.asked = rest.into_iter().filter(|word| !language.is_stop(&word.text)).collect();
        line
    }
}

/// A courtesy, which stands at the start or at the end of a line.
fn courteous(command: Command, at: &Range<usize>, length: usize) -> bool {
    is_courtesy(command) && (at.start == 0 || at.end == length)
}

/// Anything else, unless it is one word among many.
fn plain(command: Command, at: &Range<usize>, length: usize) -> bool {
    !is_courtesy(command) && (at.len() > 1 || length <= 1 + MAX_BESIDE_ONE_WORD)
}

fn is_courtesy(command: Command) -> bool {
    matches!(command, Command::Greeting | Command::Thanks | Command::Goodbye)
}

/// The longest phrase that the line has in an allowed place, of equals the first.
fn find<K: Copy>(
    language: &Language,
    line: &[Word],
    phrases: &[(K, Vec<Word>)],
    allowed: impl Fn(K, &Range<usize>, usize) -> bool,
) -> Option<(K, Range<usize>)> {
    let mut best: Option<(K, Range<usize>)> = None;
    for (key, phrase) in phrases {
        if best.as_ref().is_some_and(|(_, at)| at.len() >= phrase.len()) {
            continue;
        }
        // A word alone must be itself: "council" is not to be taken for "cancel".
        let least = if phrase.len() == 1 { 1.0 } else { f32::MIN_POSITIVE };
        let fit = |(word, wanted): (&Word, &Word)| match wanted.text.as_str() {
            PLACE => language.place(word).is_some(),
            _ => likeness(word, wanted) >= least,
        };
        let fits = |start: &usize| line[*start..].iter().zip(phrase).all(fit);
        let starts = (0..(line.len() + 1).saturating_sub(phrase.len())).filter(fits);
        let found = starts.map(|start| start..start + phrase.len()).find(|at| allowed(*key, at, line.len()));
        best = found.map(|at| (*key, at)).or(best);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Line {
        Line::read(&Language::load("en").unwrap(), text, "Ada")
    }

    #[test]
    fn takes_a_line_apart() {
        let line = read("Hello Ada, what time does the ferry leave, please?");
        assert_eq!(line.courtesy, Some(Command::Greeting));
        assert_eq!(line.command, None);
        assert_eq!(line.question, Some(Question::When));
        let content: Vec<_> = line.content.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(content, ["ferry", "leave"]);
    }

    #[test]
    fn knows_commands_by_their_phrases() {
        for (text, command) in [
            ("could you tell me more please", Command::More),
            ("what time is it", Command::Time),
            ("uh the hedlines", Command::Headlines),
            ("are you a robot", Command::Identity),
            ("i'd like number three", Command::Choice),
            ("what else is there", Command::Rest),
            ("who says so", Command::Source),
        ] {
            assert_eq!(read(text).command.map(|(command, _)| command), Some(command), "{text}");
        }
        assert_eq!(read("how many more jobs will there be").command, None);
        assert_eq!(read("the last one").place, -1);
    }
}
