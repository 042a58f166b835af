//! Puts the answer together, out of the stories' sentences and the language's replies.

use std::ops::Range;

use jiff::civil::DateTime;

use super::index::Index;
use super::keys::{Command, Question, Reply};
use super::language::Language;
use super::line::Line;
use super::route::{Request, route};
use super::story::IndexedStory;
use super::thread::{Answer, Piece, Thread};

/// Most headlines read at once: more nobody keeps in mind.
const MAX_LISTED: usize = 8;
/// Stories offered in place of one that is not there.
const OFFERED: usize = 2;

/// Answers one line.
pub(super) struct Answerer<'a> {
    pub(super) language: &'a Language,
    pub(super) index: &'a Index,
    /// What the anchor is called; may be empty.
    pub(super) name: &'a str,
    pub(super) now: DateTime,
    pub(super) thread: &'a Thread,
}

impl Answerer<'_> {
    /// The answer to the line.
    pub(super) fn answer(&self, text: &str) -> Answer {
        let line = Line::read(self.language, text, self.name);
        let request = route(self.language, self.index, self.thread, &line);
        let mut answer = match request {
            Request::Nothing => self.aside(Reply::NothingHeard, ""),
            Request::Command(command) => self.command(command, &line),
            Request::Tell(story) => self.tell(story),
            Request::More(story) if self.thread.current == Some(story) => self.more(),
            Request::More(story) => self.tell(story),
            Request::Whole(story) => self.whole(story),
            Request::Source(story) => self.source(story),
            Request::Fact(story, question) => self.fact(story, question, &line),
            Request::FactOfNone => self.offer(Reply::WhichStory),
            Request::Which(ref stories) => self.list(Reply::Ambiguous, stories),
            Request::Unknown => self.offer(Reply::Unknown),
        };
        if line.courtesy == Some(Command::Greeting) && request != Request::Command(Command::Greeting) {
            answer.pieces.insert(0, self.piece(Reply::Hello, ""));
        }
        answer.pieces.retain(|piece| !piece.text.is_empty());
        answer
    }

    /// What to say before anybody asked.
    pub(super) fn welcome(&self) -> Answer {
        self.aside(Reply::Greeting, &self.index.title)
    }

    fn command(&self, command: Command, line: &Line) -> Answer {
        let thread = self.thread;
        let clock = &self.language.clock;
        match command {
            Command::Greeting => self.welcome(),
            Command::Thanks => self.aside(Reply::Thanks, ""),
            Command::Goodbye => self.aside(Reply::Goodbye, ""),
            Command::Stop | Command::No => self.aside(Reply::Stop, ""),
            Command::Wellbeing => self.aside(Reply::Wellbeing, ""),
            Command::Help => self.aside(Reply::Help, ""),
            Command::Identity if self.name.is_empty() => self.aside(Reply::Identity, ""),
            Command::Identity => self.aside(Reply::IdentityNamed, self.name),
            Command::Time => self.aside(Reply::Time, &clock.time(self.now.time())),
            Command::Date => self.aside(Reply::Date, &clock.date(self.now.date())),
            Command::Repeat if thread.last.is_empty() => self.aside(Reply::RepeatNothing, ""),
            Command::Repeat => Answer { pieces: thread.last.clone(), offered: thread.offered, ..Answer::default() },
            Command::Headlines => self.list(Reply::Headlines, &self.all()),
            Command::Rest => self.rest(),
            Command::More | Command::Yes => self.more(),
            Command::Whole => thread.current.map_or_else(|| self.offer(Reply::WhichStory), |story| self.whole(story)),
            Command::Source => thread.current.map_or_else(|| self.offer(Reply::WhichStory), |story| self.source(story)),
            Command::Next => self.next(),
            Command::Previous => self.previous(),
            Command::Choice => self.choice(line.place),
            Command::Other => self.other(),
        }
    }

    /// A story from its beginning.
    fn tell(&self, story: usize) -> Answer {
        let indexed = &self.index.stories[story];
        let first = indexed.parts.first().cloned().unwrap_or(0..0);
        let mut pieces = self.sentences(story, first.clone());
        self.attribute(indexed, &mut pieces);
        if first.end < indexed.sentences.len() {
            pieces.push(self.piece(Reply::GoOn, ""));
        }
        Answer { pieces, current: Some(story), ..Answer::default() }
    }

    fn whole(&self, story: usize) -> Answer {
        let indexed = &self.index.stories[story];
        let mut pieces = self.sentences(story, 0..indexed.sentences.len());
        self.attribute(indexed, &mut pieces);
        Answer { pieces, current: Some(story), ..Answer::default() }
    }

    /// What was cut off, or what comes next.
    fn more(&self) -> Answer {
        let thread = self.thread;
        if !thread.unheard.is_empty() {
            let (pieces, offered) = (thread.unheard.clone(), thread.offered);
            return Answer { pieces, offered, ..Answer::default() };
        }
        if let Some(story) = thread.offered {
            return self.tell(story);
        }
        let Some(story) = thread.current else {
            let first = thread.listing.first();
            return first.map_or_else(|| self.list(Reply::Headlines, &self.all()), |story| self.tell(*story));
        };
        let indexed = &self.index.stories[story];
        let untold = |sentence: &usize| !thread.told(story, *sentence);
        let part = indexed.parts.iter().find(|part| (*part).clone().any(|sentence| untold(&sentence)));
        let Some(part) = part else { return self.all_told(story) };
        let mut pieces: Vec<_> =
            part.clone().filter(untold).flat_map(|sentence| self.sentences(story, sentence..sentence + 1)).collect();
        if (part.end..indexed.sentences.len()).any(|sentence| untold(&sentence)) {
            pieces.push(self.piece(Reply::GoOn, ""));
        }
        Answer { pieces, current: Some(story), ..Answer::default() }
    }

    fn all_told(&self, story: usize) -> Answer {
        let mut pieces = vec![self.piece(Reply::AllTold, "")];
        let next = Some(story + 1).filter(|next| *next < self.index.stories.len());
        if let Some(next) = next {
            pieces.extend([self.piece(Reply::OfferNext, ""), self.headline(next)]);
        }
        Answer { pieces, offered: next, ..Answer::default() }
    }

    /// The sentences that answer a question on a story.
    fn fact(&self, story: usize, question: Question, line: &Line) -> Answer {
        let indexed = &self.index.stories[story];
        let found = self.index.answer(self.language, story, question, &line.asked);
        if !found.is_empty() {
            let mut pieces = self.sentences(story, found);
            self.attribute(indexed, &mut pieces);
            return Answer { pieces, current: Some(story), ..Answer::default() };
        }
        let is_new = self.thread.current != Some(story);
        match question {
            Question::Open if is_new => self.tell(story),
            Question::Open if line.content.is_empty() => self.more(),
            // "What about the bridge?" during the bridge.
            Question::Open if !line.points_back => self.tell(story),
            _ => {
                let mut answer =
                    if is_new { self.tell(story) } else { Answer { current: Some(story), ..Answer::default() } };
                answer.pieces.insert(0, self.piece(Reply::NotSaid, ""));
                answer
            }
        }
    }

    fn source(&self, story: usize) -> Answer {
        let source = self.index.stories[story].source.as_deref();
        let text = source.map_or_else(|| self.say(Reply::SourceNone, ""), |source| self.say(Reply::Source, source));
        let pieces = vec![Piece { text, story: Some(story), sentence: None }];
        Answer { pieces, current: Some(story), ..Answer::default() }
    }

    fn rest(&self) -> Answer {
        let stories: Vec<_> = self.all().into_iter().filter(|story| !self.thread.mentioned(*story)).collect();
        if stories.is_empty() && !self.index.stories.is_empty() {
            return self.aside(Reply::RestNone, "");
        }
        self.list(Reply::Rest, &stories)
    }

    fn next(&self) -> Answer {
        let next = self.thread.current.map_or(0, |story| story + 1);
        self.step(next, Reply::Next)
    }

    fn previous(&self) -> Answer {
        match self.thread.current {
            Some(0) => self.aside(Reply::AtStart, ""),
            story => self.step(story.map_or(0, |story| story - 1), Reply::Previous),
        }
    }

    fn step(&self, story: usize, opening: Reply) -> Answer {
        if self.index.stories.is_empty() {
            return self.aside(Reply::NoStories, "");
        }
        if story >= self.index.stories.len() {
            return self.aside(Reply::AtEnd, "");
        }
        let mut answer = self.tell(story);
        answer.pieces.insert(0, self.piece(opening, ""));
        answer
    }

    /// A place in the last list, or in the rundown if nothing was listed. A negative one is counted from the end.
    fn choice(&self, place: i32) -> Answer {
        let all = self.all();
        let list = if self.thread.listing.is_empty() { &all } else { &self.thread.listing };
        let place = match place {
            ..0 => list.len().checked_sub(place.unsigned_abs() as usize),
            _ => (place.unsigned_abs() as usize).checked_sub(1),
        };
        match place.and_then(|place| list.get(place)) {
            Some(story) => self.tell(*story),
            None if list.is_empty() => self.aside(Reply::NoStories, ""),
            None => self.aside(Reply::NoSuchPlace, &self.language.clock.number(list.len())),
        }
    }

    /// The other one of two; without two, the story talked about before.
    fn other(&self) -> Answer {
        let thread = self.thread;
        let others: Vec<_> = thread.listing.iter().copied().filter(|story| thread.current != Some(*story)).collect();
        match (others.as_slice(), thread.previous) {
            (&[story], _) | (_, Some(story)) => self.tell(story),
            (&[], None) => self.offer(Reply::WhichStory),
            (_, None) => self.list(Reply::Ambiguous, &others),
        }
    }

    /// Says `reply` and offers what has not been mentioned yet.
    fn offer(&self, reply: Reply) -> Answer {
        let mut stories = self.all();
        stories.sort_by_key(|story| (self.thread.mentioned(*story), *story));
        stories.truncate(OFFERED);
        self.list(reply, &stories)
    }

    /// Headlines between an opening and the question which one.
    fn list(&self, opening: Reply, stories: &[usize]) -> Answer {
        if self.index.stories.is_empty() {
            return self.aside(Reply::NoStories, "");
        }
        let listed = &stories[..stories.len().min(MAX_LISTED)];
        let mut pieces = vec![self.piece(opening, "")];
        pieces.extend(listed.iter().map(|story| self.headline(*story)));
        if listed.len() < stories.len() {
            let count = self.language.clock.number(stories.len() - listed.len());
            pieces.push(self.piece(Reply::HeadlinesMore, &count));
        }
        if listed.len() > 1 {
            pieces.push(self.piece(Reply::WhichOne, ""));
        }
        let offered = listed.first().copied().filter(|_| listed.len() == 1 || opening == Reply::Unknown);
        Answer { pieces, listing: listed.to_vec(), offered, ..Answer::default() }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.index.stories.len()).collect()
    }

    fn headline(&self, story: usize) -> Piece {
        Piece { text: self.index.stories[story].headline.clone(), story: Some(story), sentence: None }
    }

    fn sentences(&self, story: usize, range: Range<usize>) -> Vec<Piece> {
        let text = |sentence: usize| self.index.stories[story].sentences[sentence].text.clone();
        range.map(|at| Piece { text: text(at), story: Some(story), sentence: Some(at) }).collect()
    }

    /// Says whose report it is, unless the last sentence does.
    fn attribute(&self, story: &IndexedStory, pieces: &mut [Piece]) {
        let (Some(source), Some(last)) = (&story.source, pieces.last_mut()) else { return };
        if last.text.to_lowercase().contains(&source.to_lowercase()) {
            return;
        }
        match last.text.strip_suffix('.') {
            Some(text) => last.text = format!("{text}{}", self.say(Reply::Reported, source)),
            None => last.text = format!("{} {}", last.text, self.say(Reply::Source, source)),
        }
    }

    fn aside(&self, reply: Reply, value: &str) -> Answer {
        Answer { pieces: vec![self.piece(reply, value)], aside: true, ..Answer::default() }
    }

    fn piece(&self, reply: Reply, value: &str) -> Piece {
        Piece { text: self.say(reply, value), ..Piece::default() }
    }

    fn say(&self, reply: Reply, value: &str) -> String {
        self.language.say(reply, self.thread.turn, value)
    }
}
