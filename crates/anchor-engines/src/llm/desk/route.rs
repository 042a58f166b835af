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
    let mut meant = meant(&index.rank(language, &line.content), line, thread);
    if meant.len() > 1 {
        decide(&mut meant, &index.rank(language, &line.asked));
    }
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
        (&[], _, Some(question)) if may_be_of_thread(line, question) => {
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
    // "When will it get better?" stays with the story even if another one has the word "better".
    if let Some(story) = thread.current.filter(|_| line.points_back && line.question.is_some() && !best.named) {
        return vec![story];
    }
    matches.iter().filter(|found| near(found, NEAR)).map(|found| found.story).collect()
}

/// Leaves one of several if the words that are too general to find a story can tell them apart.
fn decide(stories: &mut Vec<usize>, with_general_words: &[Match]) {
    let mut ranked = with_general_words.iter().filter(|found| stories.contains(&found.story));
    if let (Some(best), Some(second)) = (ranked.next(), ranked.next())
        && second.score < NEAR * best.score
    {
        *stories = vec![best.story];
    }
}

fn outweighs(line: &Line) -> bool {
    line.command.is_some_and(|(_, words)| words >= line.content.len())
}

/// A question without a word that leads elsewhere is about the story being told; one with an unknown word may be:
/// "who paid for it". But "thank you, that was good" asks nothing.
fn may_be_of_thread(line: &Line, question: Question) -> bool {
    match question {
        Question::Open if line.content.is_empty() => line.courtesy.is_none(),
        Question::Open => line.points_back,
        _ => line.points_back || line.content.len() <= 1,
    }
}
