//! Tools: which one a line asks for, by the words of its name and its description, and what is said instead of or after
//! a call.
//!
//! A tool that is offered goes before the stories. Like the stories' thread, what was asked for before is not kept: it is
//! found out anew from the conversation.

use anchor_core::engine::{EngineError, LlmRequest, ToolCall};
use serde_json::{Map, Value};

use super::super::calls;
use super::NAME;
use super::keys::{Command, Reply};
use super::language::Language;
use super::line::Line;
use super::thread::Piece;
use super::words::{Word, likeness, words};
use fill::{Filled, Spoken};
use schema::Parameter;

mod fill;
mod schema;
mod told;

/// Share of a line's words, those that matter, that a tool has to know. So a story that shares a word with a tool's name
/// is still told.
const MIN_KNOWN: f32 = 0.5;
/// Share of the words of a tool's name that make it the one that is meant, if its description has another one.
const MIN_NAMED: f32 = 0.5;
/// So many words of the description make up for a name that was not said.
const MIN_DESCRIBED: usize = 2;

/// What the desk does.
pub(super) enum Deed {
    Say(Vec<Piece>),
    Call(ToolCall),
}

/// A call that a line asks for, which may still lack something.
pub(super) struct Wish {
    tool: usize,
    values: Map<String, Value>,
    /// Parameters without a value that the tool needs.
    missing: Vec<usize>,
}

/// The tools of a request.
pub(super) struct Tools<'a> {
    language: &'a Language,
    tools: Vec<Tool>,
    /// One of them has to be called.
    must_call: bool,
}

struct Tool {
    name: String,
    /// The words of the name that say what it is about.
    named: Vec<Word>,
    /// The words of the description that matter.
    described: Vec<Word>,
    parameters: Vec<Parameter>,
}

impl<'a> Tools<'a> {
    /// The tools that the request's choice leaves. Fails where one is not described properly.
    pub(super) fn new(language: &'a Language, request: &LlmRequest) -> Result<Self, EngineError> {
        let tools = calls::offered(NAME, request)?;
        let tools = tools.iter().map(|offered| Tool::new(language, &offered["function"])).collect();
        Ok(Self { language, tools, must_call: calls::must_call(request) })
    }

    /// The call that the line asks for, on top of one that lacked something; `name` is the anchor's own.
    pub(super) fn wish(&self, line: &str, before: Option<Wish>, name: &str) -> Option<Wish> {
        if self.tools.is_empty() {
            return None;
        }
        let spoken = Spoken::new(self.language, line);
        let line = Line::read(self.language, line, name);
        if let Some(tool) = self.meant(&spoken, &line) {
            return Some(self.filled(tool, fill::from_line(self.language, &self.tools[tool], &spoken, true)));
        }
        let is_command = line.asked.is_empty() && line.command.is_some_and(|(command, _)| !is_answer(command));
        match before {
            Some(before) if !is_command || self.must_call => self.answered(before, &spoken),
            None if self.must_call => {
                Some(self.filled(0, fill::from_line(self.language, &self.tools[0], &spoken, false)))
            }
            _ => None,
        }
    }

    /// The call, or the question for what it lacks.
    pub(super) fn fulfil(&self, wish: Wish, turn: usize) -> Deed {
        let tool = &self.tools[wish.tool];
        let Some(missing) = wish.missing.first() else {
            let arguments = Value::Object(wish.values).to_string();
            let (id, name) = (calls::new_id(), tool.name.clone());
            return Deed::Call(ToolCall { id, name, arguments, result: None });
        };
        let asked = tool.parameters[*missing].asked_for(self.language);
        Deed::Say(vec![self.piece(Reply::ToolAsks, turn, &asked)])
    }

    /// What the tools gave, in sentences.
    pub(super) fn told(&self, calls: &[ToolCall], turn: usize) -> Vec<Piece> {
        let told = calls.iter().flat_map(|call| match call.result.as_deref() {
            None => vec![self.language.say(Reply::ToolWaits, turn, "")],
            Some(result) => told::told(self.language, result, turn),
        });
        told.map(|text| Piece { text, ..Piece::default() }).collect()
    }

    fn piece(&self, reply: Reply, turn: usize, value: &str) -> Piece {
        Piece { text: self.language.say(reply, turn, value), ..Piece::default() }
    }

    /// The tool that the line speaks of; the likeliest one if one has to be called and the line speaks of any.
    fn meant(&self, spoken: &Spoken, line: &Line) -> Option<usize> {
        let command = line.command.filter(|_| line.asked.is_empty()).map(|(command, _)| command);
        if command == Some(Command::Stop) {
            return None;
        }
        let mut best = None;
        for (at, tool) in self.tools.iter().enumerate() {
            let (named, described) = tool.hits(self.language, spoken);
            let score = named * 2.0 + described as f32;
            let whole = named >= 1.0;
            let meant = whole
                || command.is_none()
                    && ((named >= MIN_NAMED && described > 0) || described >= MIN_DESCRIBED)
                    && !tool.named.is_empty();
            let known = || tool.known(self.language, spoken) > MIN_KNOWN;
            let counts = if self.must_call { score > 0.0 } else { meant && known() };
            if counts && best.is_none_or(|(_, most)| score > most) {
                best = Some((at, score));
            }
        }
        best.map(|(at, _)| at)
    }

    fn filled(&self, tool: usize, filled: Filled) -> Wish {
        let parameters = self.tools[tool].parameters.iter().enumerate();
        let lacks = |parameter: &Parameter| parameter.required && !filled.values.contains_key(&parameter.name);
        let missing = parameters.filter(|(_, parameter)| lacks(parameter)).map(|(at, _)| at).collect();
        Wish { tool, values: filled.values, missing }
    }

    /// The wish with what the line adds to it; `None` if that is nothing.
    fn answered(&self, before: Wish, spoken: &Spoken) -> Option<Wish> {
        let Wish { tool, mut values, missing } = before;
        let asked = missing.iter().map(|at| &self.tools[tool].parameters[*at]);
        let added = fill::from_answer(self.language, asked, spoken);
        if added.values.is_empty() && !self.must_call {
            return None;
        }
        values.extend(added.values);
        Some(self.filled(tool, Filled { values, used: Vec::new() }))
    }
}

/// Commands that may answer a question for a value: "yes", "the second one".
fn is_answer(command: Command) -> bool {
    matches!(command, Command::Yes | Command::No | Command::Choice)
}

impl Tool {
    fn new(language: &Language, function: &Value) -> Self {
        let text = |key: &str| function[key].as_str().unwrap_or_default();
        let all = words(language, &schema::split(text("name")));
        let says = |word: &&Word| !language.tools.verbs.contains(&word.text) && !language.is_stop(&word.text);
        let mut named: Vec<_> = all.iter().filter(says).cloned().collect();
        if named.is_empty() {
            named = all;
        }
        let described = words(language, text("description")).into_iter().filter(|word| {
            language.is_content(word) && says(&word) && !named.iter().any(|other| other.stem == word.stem)
        });
        let described = described.collect();
        Self { name: text("name").to_owned(), named, described, parameters: schema::parameters(language, function) }
    }

    /// The share of the name's words that were said, and how many words of the description and options of parameters.
    fn hits(&self, language: &Language, spoken: &Spoken) -> (f32, usize) {
        let said = |word: &&Word| spoken.words().any(|heard| is_same(language, heard, word));
        let named = self.named.iter().filter(said).count() as f32 / self.named.len().max(1) as f32;
        let described = self.described.iter().filter(|word| spoken.words().any(|heard| likeness(heard, word) > 0.0));
        (named, described.count() + fill::options_said(self, spoken))
    }

    /// The share of the words of a line that matter which the tool knows or which are values for it.
    fn known(&self, language: &Language, spoken: &Spoken) -> f32 {
        let used = fill::from_line(language, self, spoken, false).used;
        let matters = |word: &Word| {
            language.is_content(word) && !language.tools.verbs.contains(&word.text) && !language.is_number(word)
        };
        let parameters = self.parameters.iter().flat_map(|parameter| &parameter.words);
        let own: Vec<_> = self.named.iter().chain(&self.described).chain(parameters).collect();
        let (mut known, mut all) = (0.0, 0.0);
        for (token, used) in spoken.tokens.iter().zip(used) {
            for word in token.words.iter().filter(|word| matters(word)) {
                all += 1.0;
                known += f32::from(used || own.iter().any(|own| is_same(language, word, own)));
            }
        }
        if all == 0.0 { 1.0 } else { known / all }
    }
}

/// The words are the same, or sound alike, or are of the same subject.
fn is_same(language: &Language, heard: &Word, known: &Word) -> bool {
    likeness(heard, known) > 0.0 || language.topic(&heard.stem).any(|stem| stem == known.stem)
}
