//! Decides what a line asks for: its form, the stories its words find, and the thread together.

use super::index::{Index, Match};
use super::keys::{Command, Question};
use super::language::Language;
use super::line::Line;
use super::thread::Thread;

/// Share of a line's words, by rarity, that a story must have to be meant. Half, less a little for a misheard word.
const MIN_COVERAGE: f32 = 0.4;
/// Stories whose score comes this near to the best are as likely to be meant.
const NEAR: f32 = 0.85;
/// The same for the story being talked about, when a fact is asked for.
const NEAR_TO_THREAD: f32 = 0.5;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// There was nothing to understand.
    Nothing,
    Command(Command),
    /// A story from its beginning.
    Tell(usize),
    /// The next part of a story.
    More(usize),
    /// All of a story.
    Whole(usize),
    /// Who reported a story.
    Source(usize),
    /// A fact of a story.
    Fact(usize, Question),
    /// A fact, but no story was named yet.
    FactOfNone,
    /// One of several stories; which one has to be asked.
    Which(Vec<usize>),
    Unknown,
}

/// Decides what the line asks for.
pub(super) fn route(language: &Language, index: &Index, thread: &Thread, line: &Line) -> Request {
    let command = line.command.map(|(command, _)| command);
    if !line.has_words {
        return Request::Nothing;
    }
    // Silence is never argued about.
    if command == Some(Command::Stop) && line.command_leads {
        return Request::Command(Command::Stop);
    }
    let meant = meant(&index.rank(language, &line.content), line, thread);
    match (meant.as_slice(), command, line.question) {
        // "Skip the weather" during the weather.
        (&[story], Some(command @ (Command::Next | Command::Previous)), _) if thread.current == Some(story) => {
            Request::Command(command)
        }
        (&[story], Some(Command::More), _) => Request::More(story),
        (&[story], Some(Command::Whole), _) => Request::Whole(story),
        (&[story], Some(Command::Source), _) => Request::Source(story),
        (&[story], _, Some(question)) => Request::Fact(story, question),
        (&[story], ..) => Request::Tell(story),
        (&[_, ..], ..) => Request::Which(meant),
        // Words that nothing is known of are noise beside a command that is longer.
        (&[], Some(command), _) if outweighs(line) => Request::Command(command),
        (&[], _, Some(question)) if line.content.is_empty() || may_be_of_thread(line, question) => {
            thread.current.map_or(Request::FactOfNone, |story| Request::Fact(story, question))
        }
        _ => line.courtesy.map_or(Request::Unknown, Request::Command),
    }
}

/// The story that is meant, or several that are equally likely.
fn meant(matches: &[Match], line: &Line, thread: &Thread) -> Vec<usize> {
    let Some(best) = matches.iter().find(|found| found.coverage >= MIN_COVERAGE) else { return Vec::new() };
    let near = |found: &&Match, share: f32| found.score >= share * best.score;
    let share = if line.question.is_some() { NEAR_TO_THREAD } else { NEAR };
    if let Some(found) = matches.iter().find(|found| thread.current == Some(found.story) && near(found, share)) {
        return vec![found.story];
    }
    matches.iter().filter(|found| near(found, NEAR)).map(|found| found.story).collect()
}

fn outweighs(line: &Line) -> bool {
    line.command.is_some_and(|(_, words)| words >= line.content.len())
}

/// A question with an unknown word may still be about the story being told: "who paid for it".
fn may_be_of_thread(line: &Line, question: Question) -> bool {
    line.points_back || (question != Question::Open && line.content.len() <= 1)
}
