//! One language of the news desk: the words it understands and the words it says, read from one file and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anchor_core::engine::EngineError;
use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;

use super::NAME;
use super::clock::Clock;
use super::keys::{Command, Question, Reply};
use super::words::{Word, words};

/// The files by ISO 639-1 code, each with the stemmer of its language.
const FILES: &[(&str, Algorithm, &str)] = &[("en", Algorithm::English, include_str!("../../../assets/desk/en.toml"))];

/// Stands in a phrase for any place in a list.
pub(super) const PLACE: &str = "{place}";

/// A language, ready for use.
pub(super) struct Language {
    stemmer: Stemmer,
    irregular: BTreeMap<String, String>,
    contractions: BTreeMap<String, String>,
    sounds: Sounds,
    fillers: BTreeSet<String>,
    stop: BTreeSet<String>,
    generic: BTreeSet<String>,
    pointing: BTreeSet<String>,
    abbreviations: BTreeSet<String>,
    before_places: BTreeSet<String>,
    numbers: BTreeSet<String>,
    places: BTreeMap<String, i32>,
    /// The beginnings of sentences that need the one before.
    pub(super) referring: Vec<Vec<Word>>,
    /// The words in front of the anchor's name.
    pub(super) before_own_name: Vec<Vec<String>>,
    /// For each stem the stems of the same subject.
    topics: BTreeMap<String, BTreeSet<String>>,
    /// The phrases of commands, in order of precedence.
    pub(super) commands: Vec<(Command, Vec<Word>)>,
    /// The phrases of questions, in order of precedence.
    pub(super) questions: Vec<(Question, Vec<Word>)>,
    cues: BTreeMap<Question, BTreeSet<String>>,
    replies: BTreeMap<Reply, Vec<String>>,
    /// How time is told.
    pub(super) clock: Clock,
    /// How tools are called, and their results told.
    pub(super) tools: ToolWords,
}

/// The words around tools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolWords {
    /// Words of a tool's name that do not say what it is about.
    pub(super) verbs: BTreeSet<String>,
    /// A value may stand behind these.
    pub(super) before_values: BTreeSet<String>,
    pub(super) yes: BTreeSet<String>,
    pub(super) no: BTreeSet<String>,
    /// Keys of a result whose text is said as it is.
    pub(super) said: Vec<String>,
    /// Keys that only tell whether it worked.
    pub(super) outcome: BTreeSet<String>,
    /// Keys of what went wrong.
    pub(super) failure: Vec<String>,
    /// One fact of a result, with `{name}` and `{value}`.
    pub(super) fact: String,
    pub(super) is_true: String,
    pub(super) is_false: String,
    pub(super) and: String,
    pub(super) or: String,
    pub(super) numbers: BTreeMap<String, f64>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    irregular: BTreeMap<String, String>,
    contractions: BTreeMap<String, String>,
    words: WordLists,
    numbers: Numbers,
    sounds: Sounds,
    topics: BTreeMap<String, Vec<String>>,
    commands: BTreeMap<Command, Vec<String>>,
    questions: BTreeMap<Question, Asking>,
    replies: BTreeMap<Reply, Vec<String>>,
    clock: Clock,
    tools: ToolWords,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordLists {
    fillers: BTreeSet<String>,
    stop: BTreeSet<String>,
    generic: BTreeSet<String>,
    pointing: BTreeSet<String>,
    referring: Vec<String>,
    abbreviations: BTreeSet<String>,
    before_places: BTreeSet<String>,
    before_own_name: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    words: BTreeSet<String>,
    places: BTreeMap<String, i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sounds {
    alike: Vec<(String, String)>,
    silent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    ask: Vec<String>,
    cues: Vec<String>,
}

impl Language {
    /// The language of this ISO 639-1 code.
    pub(super) fn load(code: &str) -> Result<Self, EngineError> {
        let Some((_, algorithm, text)) = FILES.iter().find(|(known, ..)| *known == code) else {
            let codes: Vec<_> = FILES.iter().map(|(code, ..)| *code).collect();
            return Err(EngineError::Unavailable {
                engine: NAME,
                reason: format!("it does not speak the language \"{code}\""),
                remedy: format!("Set `language` to one of: {}.", codes.join(", ")),
            });
        };
        Self::parse(*algorithm, text).map_err(|reason| EngineError::Unavailable {
            engine: NAME,
            reason: format!("in its language file {code}.toml, {reason}"),
            remedy: "Correct the file and build the program again.".into(),
        })
    }

    fn parse(algorithm: Algorithm, text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let message = error.to_string();
            message.split_whitespace().collect::<Vec<_>>().join(" ")
        })?;
        complete("replies", Reply::ALL, &file.replies)?;
        complete("commands", Command::ALL, &file.commands)?;
        complete("questions", Question::ALL, &file.questions)?;
        file.replies.iter().try_for_each(|(reply, variants)| check_reply(*reply, variants))?;
        file.clock.check()?;

        let mut language = Self {
            stemmer: Stemmer::create(algorithm),
            irregular: file.irregular,
            contractions: file.contractions,
            sounds: file.sounds,
            fillers: file.words.fillers,
            stop: file.words.stop,
            generic: file.words.generic,
            pointing: file.words.pointing,
            abbreviations: file.words.abbreviations,
            before_places: file.words.before_places,
            numbers: file.numbers.words,
            places: file.numbers.places,
            referring: Vec::new(),
            before_own_name: file
                .words
                .before_own_name
                .iter()
                .map(|text| text.split(' ').map(str::to_owned).collect())
                .collect(),
            topics: BTreeMap::new(),
            commands: Vec::new(),
            questions: Vec::new(),
            cues: BTreeMap::new(),
            replies: file.replies,
            clock: file.clock,
            tools: file.tools,
        };
        language.referring = file.words.referring.iter().map(|text| words(&language, text)).collect();
        for group in file.topics.values() {
            let stems: BTreeSet<_> = group.iter().map(|word| language.stem(word)).collect();
            for stem in &stems {
                language.topics.entry(stem.clone()).or_default().extend(stems.iter().cloned());
            }
        }
        for (command, phrases) in &file.commands {
            for phrase in phrases {
                language.commands.push((*command, language.phrase(phrase)?));
            }
        }
        for (question, asking) in &file.questions {
            for phrase in &asking.ask {
                language.questions.push((*question, language.phrase(phrase)?));
            }
            let stems = asking.cues.iter().map(|cue| language.stem(cue)).collect();
            language.cues.insert(*question, stems);
        }
        Ok(language)
    }

    /// The words of a phrase without fillers, [`PLACE`] kept whole.
    fn phrase(&self, text: &str) -> Result<Vec<Word>, String> {
        let place = || vec![Word { text: PLACE.into(), stem: PLACE.into(), ..Word::default() }];
        let split = text.split(' ').flat_map(|part| if part == PLACE { place() } else { words(self, part) });
        let phrase: Vec<_> = split.filter(|word| !self.is_filler(word)).collect();
        if phrase.is_empty() { Err(format!("the phrase \"{text}\" has only fillers")) } else { Ok(phrase) }
    }

    /// What to say: the variant of this turn with the placeholder filled in.
    pub(super) fn say(&self, reply: Reply, turn: usize, value: &str) -> String {
        let variants = &self.replies[&reply];
        let text = &variants[turn % variants.len()];
        match reply.placeholder() {
            Some(name) => capitalised(&text.replace(&format!("{{{name}}}"), value)),
            None => text.clone(),
        }
    }

    /// The word without its grammatical ending.
    pub(super) fn stem(&self, word: &str) -> String {
        let regular = self.irregular.get(word).map_or(word, String::as_str);
        self.stemmer.stem(regular).into_owned()
    }

    /// A key that is the same for words which sound alike.
    pub(super) fn sound(&self, word: &str) -> String {
        let alike = self.sounds.alike.iter();
        let letters = alike.fold(
            word.to_owned(),
            |word, (from, to)| {
                if word.contains(from) { word.replace(from, to) } else { word }
            },
        );
        let audible = |(index, c): &(usize, char)| *index == 0 || !self.sounds.silent.contains(*c);
        letters.chars().enumerate().filter(audible).map(|(_, c)| c).collect()
    }

    /// The words behind one that is written together.
    pub(super) fn contraction(&self, word: &str) -> Option<&str> {
        self.contractions.get(word).map(String::as_str)
    }

    /// The stems of the same subjects.
    pub(super) fn topic(&self, stem: &str) -> impl Iterator<Item = &str> {
        self.topics.get(stem).into_iter().flatten().map(String::as_str)
    }

    /// The word belongs to a known subject.
    pub(super) fn has_topic(&self, stem: &str) -> bool {
        self.topics.contains_key(stem)
    }

    /// The place in a list that the word names; a negative one counts from the end.
    pub(super) fn place(&self, word: &Word) -> Option<i32> {
        self.places.get(&word.text).copied()
    }

    /// The word carries nothing at all.
    pub(super) fn is_filler(&self, word: &Word) -> bool {
        self.fillers.contains(&word.text)
    }

    /// The word can help to find a story.
    pub(super) fn is_content(&self, word: &Word) -> bool {
        !self.is_stop(&word.text) && !self.generic.contains(&word.text)
    }

    /// The word can help to find neither a story nor a sentence.
    pub(super) fn is_stop(&self, word: &str) -> bool {
        self.stop.contains(word) || self.fillers.contains(word)
    }

    /// The word points back to what was talked about.
    pub(super) fn is_pointing(&self, word: &Word) -> bool {
        self.pointing.contains(&word.text)
    }

    /// The word with its full stop ends no sentence.
    pub(super) fn is_abbreviation(&self, word: &str) -> bool {
        self.abbreviations.contains(&word.to_lowercase())
    }

    /// The name of a place may follow.
    pub(super) fn is_before_place(&self, word: &Word) -> bool {
        self.before_places.contains(&word.text)
    }

    /// The word is a number.
    pub(super) fn is_number(&self, word: &Word) -> bool {
        self.numbers.contains(&word.text) || word.text.starts_with(|c: char| c.is_ascii_digit())
    }

    /// The word marks a sentence as the answer to such a question.
    pub(super) fn is_cue(&self, question: Question, word: &Word) -> bool {
        self.cues[&question].contains(&word.stem)
    }
}

/// With a capital first letter, as a sentence begins that begins with what was filled in.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// Every key has its entry.
fn complete<K: Ord + Debug, V>(table: &str, all: &[K], entries: &BTreeMap<K, V>) -> Result<(), String> {
    match all.iter().find(|key| !entries.contains_key(key)) {
        Some(key) => Err(format!("the table [{table}] lacks the entry for {key:?}")),
        None => Ok(()),
    }
}

/// There is something to say, and it fills in what it has to and nothing else.
fn check_reply(reply: Reply, variants: &[String]) -> Result<(), String> {
    if variants.is_empty() {
        return Err(format!("the reply {reply:?} has no variants"));
    }
    let placeholder = reply.placeholder().map(|name| format!("{{{name}}}"));
    for variant in variants {
        let rest = placeholder.as_ref().map_or_else(|| variant.clone(), |name| variant.replace(name, ""));
        if placeholder.as_ref().is_some_and(|name| !variant.contains(name)) || rest.contains(['{', '}']) {
            let names = placeholder.as_deref().unwrap_or("no name in braces");
            return Err(format!("the reply {reply:?} has to use {names}, unlike \"{variant}\""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(from: &str, to: &str) -> String {
        let (_, algorithm, text) = FILES[0];
        assert!(text.contains(from), "{from}");
        Language::parse(algorithm, &text.replace(from, to)).err().expect("the file is broken")
    }

    #[test]
    fn every_language_loads() {
        for (code, ..) in FILES {
            Language::load(code).map(|_| ()).unwrap();
        }
    }

    #[test]
    fn mistakes_are_named() {
        let stop = "stop = [\"All right.\"]";
        insta::assert_snapshot!(broken(stop, "stop = []"), @"the reply Stop has no variants");
        insta::assert_snapshot!(broken(stop, ""), @"the table [replies] lacks the entry for Stop");
        insta::assert_snapshot!(broken(stop, "stop = ['Bye, {name}.']"), @r#"the reply Stop has to use no name in braces, unlike "Bye, {name}.""#);
        insta::assert_snapshot!(broken("My name is {name}", "My name is"), @r#"the reply IdentityNamed has to use {name}, unlike "My name is, and I am an AI, not a human being. The stories come from the newsroom.""#);
        insta::assert_snapshot!(broken("yes = [", "yes = ['please', "), @r#"the phrase "please" has only fillers"#);
        assert!(broken(stop, "halt = []").contains("unknown variant `halt`"));
        let error = Language::load("eo").err().expect("there is no such file");
        insta::assert_snapshot!(error, @r#"desk cannot be used: it does not speak the language "eo". Set `language` to one of: en."#);
    }

    #[test]
    fn replies_take_turns() {
        let language = Language::load("en").unwrap();
        let said: Vec<_> = (0..3).map(|turn| language.say(Reply::Source, turn, "the harbour office")).collect();
        assert_eq!(said[0], "That comes from the harbour office.");
        assert_eq!(said[1], "The harbour office reports that.");
        assert_eq!(said[2], said[0]);
    }
}
