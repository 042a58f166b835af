//! The news desk: answers from the stories of the rundown, without a neural network.
//!
//! It keeps no state of a conversation. Each request carries the whole conversation; the desk goes through it from the
//! beginning, answers every line again without saying so, and thereby knows the thread: the story being talked about,
//! what was listed, what was told and what was heard of it. So a history that a client edits, a restart and a new
//! rundown are harmless.

use std::sync::{Arc, Mutex, PoisonError};

use anchor_core::engine::{EngineError, EventStream, Llm, LlmEvent, LlmRequest, Message, Role, ToolCall};
use anchor_core::rundown::OnAir;
use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use serde::Deserialize;
use tokio::sync::watch;

use crate::{Entry, LoadContext, Needs, blocking, options};

mod answer;
mod carry_on;
mod clock;
mod index;
mod keys;
mod language;
mod line;
mod own_name;
mod route;
mod story;
mod thread;
mod tools;
mod words;

use answer::Answerer;
use index::Index;
use language::Language;
use own_name::own_name;
use thread::{Answer, Thread};
use tools::{Deed, Tools};

const NAME: &str = "desk";

/// Lines of the user that the desk looks back. What was told before may be told again; nobody minds after an hour.
const MAX_LINES_BACK: usize = 100;

/// Its line in the table of language models.
pub(crate) const ENTRY: Entry<dyn Llm> = Entry {
    name: NAME,
    about: "answers from the stories of the rundown, without a neural network (English)",
    needs: Needs { gpu_bytes: 0, packages: &[], network: false },
    load,
};

/// The table of the desk in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// ISO 639-1 code of the language it speaks.
    language: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { language: "en".into() }
    }
}

fn load(context: &LoadContext) -> Result<Arc<dyn Llm>, EngineError> {
    let options: Options = options::parse(NAME, &context.options)?;
    Ok(Arc::new(Desk::new(&options.language, context.rundown.clone(), || ZonedDateTime::now().datetime())?))
}

/// The news desk. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    language: Language,
    rundown: watch::Receiver<OnAir>,
    /// The stories of the rundown's newest version that was asked about.
    index: Mutex<Option<(u64, Arc<Index>)>>,
    now: Box<dyn Fn() -> DateTime + Send + Sync>,
}

impl Desk {
    /// A desk that speaks the language of this ISO 639-1 code, answers from the rundown on air at the time of each
    /// question, and reads the local time from `now`.
    pub fn new(
        language: &str,
        rundown: watch::Receiver<OnAir>,
        now: impl Fn() -> DateTime + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let language = Language::load(language)?;
        let shared = Shared { language, rundown, index: Mutex::default(), now: Box::new(now) };
        // So that the first question does not wait for it.
        shared.index();
        Ok(Self(Arc::new(shared)))
    }
}

impl Llm for Desk {
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        if request.sound.is_some() {
            return super::failed_stream(super::cannot_hear(NAME));
        }
        let desk = self.0.clone();
        blocking::stream(NAME, move |sink| {
            let index = desk.index();
            let tools = Tools::new(&desk.language, &request)?;
            let mut source = None;
            let pieces = match desk.answer(&index, &tools, &request) {
                Deed::Say(pieces) => pieces,
                Deed::Call(call) => return sink.send(LlmEvent::ToolCall(call)),
            };
            let (mut space, pieces) = carry_on::carry_on(&request.so_far, pieces);
            for piece in pieces {
                if let Some(story) = piece.story.filter(|_| piece.story != source) {
                    source = piece.story;
                    sink.send(LlmEvent::Source(index.stories[story].slug.clone()))?;
                }
                for clause in clauses(&piece.text) {
                    sink.send(LlmEvent::Delta(format!("{space}{clause}")))?;
                    space = " ";
                }
            }
            Ok(())
        })
    }
}

impl Shared {
    /// The stories on air, indexed anew only when they changed.
    fn index(&self) -> Arc<Index> {
        let on_air = self.rundown.borrow().clone();
        // A panic of another thread cannot have left it half written: it is replaced as a whole.
        let mut newest = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((version, index)) if *version == on_air.version => index.clone(),
            _ => {
                let index = Arc::new(Index::new(&self.language, &on_air.rundown));
                *newest = Some((on_air.version, index.clone()));
                index
            }
        }
    }

    /// What is done about the user's last line: mostly it is answered, sentence by sentence. A welcome before there is one.
    fn answer(&self, index: &Index, tools: &Tools<'_>, request: &LlmRequest) -> Deed {
        let name = own_name(&self.language, &request.instructions);
        let now = (self.now)();
        let limit = request.max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let answer = |thread: &Thread, line: Option<&str>| {
            let answerer = Answerer { language: &self.language, index, name: &name, now, thread };
            let mut answer = line.map_or_else(|| answerer.welcome(), |line| answerer.answer(line));
            answer.limit(limit);
            answer
        };
        let (mut thread, mut wish) = (Thread::default(), None);
        let mut turns = turns(&request.messages);
        let last = turns.pop();
        for turn in turns {
            wish = tools.wish(turn.line, wish, &name);
            if wish.is_some() || !turn.calls.is_empty() {
                wish = wish.filter(|_| turn.calls.is_empty());
                thread.heard(Answer { aside: true, ..Answer::default() }, turn.words_heard);
            } else {
                let answer = answer(&thread, Some(turn.line));
                thread.heard(answer, turn.words_heard);
            }
        }
        let Some(last) = last else { return Deed::Say(answer(&thread, None).pieces) };
        let mut said = if !last.calls.is_empty() {
            Answer { pieces: tools.told(last.calls, thread.turn), ..Answer::default() }
        } else if let Some(wish) = tools.wish(last.line, wish, &name).filter(|_| request.so_far.is_empty()) {
            match tools.fulfil(wish, thread.turn) {
                Deed::Say(pieces) => Answer { pieces, ..Answer::default() },
                call @ Deed::Call(_) => return call,
            }
        } else {
            answer(&thread, Some(last.line))
        };
        said.limit(limit);
        Deed::Say(said.pieces)
    }
}

/// A line of the user, how many words of its answer were heard, and the newest calls of tools made for it.
struct Turn<'a> {
    line: &'a str,
    words_heard: usize,
    calls: &'a [ToolCall],
}

/// The newest turns of the conversation, oldest first.
fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        if let (false, Some(turn)) = (message.calls.is_empty(), turns.last_mut()) {
            turn.calls = &message.calls;
        }
        match (message.role, turns.last_mut()) {
            (Role::User, _) => turns.push(Turn { line: &message.text, words_heard: 0, calls: &[] }),
            (Role::Assistant, Some(turn)) if message.interrupted => {
                turn.words_heard = turn.words_heard.saturating_add(message.text.split_whitespace().count());
            }
            (Role::Assistant, Some(turn)) => turn.words_heard = usize::MAX,
            (Role::Assistant, None) | (Role::System, _) => {}
        }
    }
    let old = turns.len().saturating_sub(MAX_LINES_BACK);
    turns.split_off(old)
}

/// The clauses of a sentence, each with the mark behind it, so that a voice can begin before the sentence ends.
fn clauses(sentence: &str) -> Vec<String> {
    let mut clauses = Vec::new();
    let mut open = false;
    for word in sentence.split_whitespace() {
        match clauses.last_mut().filter(|_| open) {
            Some(clause) => *clause = format!("{clause} {word}"),
            None => clauses.push(word.to_owned()),
        }
        open = !word.ends_with([',', ';', ':']);
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_what_a_voice_pauses_at() {
        assert_eq!(clauses("On Thursday, at 6:30, it rains."), ["On Thursday,", "at 6:30,", "it rains."]);
        assert!(clauses("").is_empty());
    }

    #[test]
    fn counts_what_was_heard() {
        let message = |role, text: &str, interrupted| Message { interrupted, ..Message::new(role, text) };
        let messages = [
            message(Role::Assistant, "Good evening.", false),
            message(Role::User, "the news", false),
            message(Role::Assistant, "Here are the", true),
            message(Role::User, "stop", false),
            message(Role::System, "Be brief.", false),
            message(Role::User, "go on", false),
        ];
        let heard: Vec<_> = turns(&messages).into_iter().map(|turn| (turn.line, turn.words_heard)).collect();
        assert_eq!(heard, [("the news", 3), ("stop", 0), ("go on", 0)]);
    }
}
