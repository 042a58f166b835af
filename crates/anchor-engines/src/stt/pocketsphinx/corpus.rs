//! What people are likely to say while this rundown is on air: the sentences the language model is made from.

use std::collections::BTreeSet;

use anchor_core::rundown::{Rundown, Story};

use crate::numbers::spell_out;

/// Phrasings of a news desk's commands and questions.
const PHRASES: &str = include_str!("../../../assets/stt/phrases.txt");

/// The place of a story's subject in a phrasing.
const TOPIC: &str = "{topic}";

/// Words that no subject begins or ends with, and that divide a sentence into phrases.
const FUNCTION_WORDS: &str = include_str!("../../../assets/stt/function_words.txt");

/// Weights: a command is said far more often than any one question; a heading is asked for more often than a detail.
const COMMAND_WEIGHT: f64 = 10.0;
const SCRIPT_WEIGHT: f64 = 2.0;
const QUESTION_WEIGHT: f64 = 1.0;

/// Longest subject, in words, that is put into a question. Longer ones are found word by word.
const TOPIC_WORDS: usize = 3;

/// Questions made of each detail of a script. Each detail takes others, so that together they use all of them.
const QUESTIONS_PER_DETAIL: usize = 8;

/// Most stories and sentences that are taken up, so that a huge rundown costs bounded time and memory.
const MOST_STORIES: usize = 200;
const MOST_SENTENCES_PER_STORY: usize = 100;

/// Sentences of plain lower-case words with their weights, and the words that were written in capitals throughout.
#[derive(Default)]
pub(super) struct Corpus {
    pub(super) sentences: Vec<(String, f64)>,
    pub(super) initials: BTreeSet<String>,
}

impl Corpus {
    /// The sentences for `rundown`.
    pub(super) fn of(rundown: &Rundown) -> Self {
        let mut corpus = Self::default();
        let (questions, commands): (Vec<&str>, Vec<&str>) = phrases().partition(|phrase| phrase.contains(TOPIC));
        corpus.sentences.extend(commands.into_iter().map(|command| (command.to_owned(), COMMAND_WEIGHT)));
        corpus.add_text(&rundown.title, SCRIPT_WEIGHT);
        let mut next = 0;
        for story in rundown.stories.iter().take(MOST_STORIES) {
            corpus.add_story(story, &questions, &mut next);
        }
        corpus
    }

    fn add_story(&mut self, story: &Story, questions: &[&str], next: &mut usize) {
        self.add_text(&story.heading, SCRIPT_WEIGHT);
        self.add_text(&story.script, SCRIPT_WEIGHT);
        if let Some(source) = &story.source {
            self.add_text(source, SCRIPT_WEIGHT);
        }
        let main = subjects(&story.heading);
        let others = |at: usize| main.get(at % main.len().max(1)).map_or("that", String::as_str);
        for (at, subject) in main.iter().enumerate() {
            for question in questions {
                self.ask(question, subject, others(at + 1));
            }
        }
        for detail in subjects(&story.script) {
            for _ in 0..QUESTIONS_PER_DETAIL {
                self.ask(questions[*next % questions.len()], &detail, others(*next));
                *next += 1;
            }
        }
    }

    /// Puts `subject` into the first place of `question`, `other` into the second, with and without an article.
    fn ask(&mut self, question: &str, subject: &str, other: &str) {
        for article in ["", "the "] {
            let question = question.replacen(TOPIC, &format!("{article}{subject}"), 1).replace(TOPIC, other);
            self.sentences.push((question, QUESTION_WEIGHT));
        }
    }

    fn add_text(&mut self, text: &str, weight: f64) {
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            if word.len() > 1 && word.chars().all(char::is_uppercase) {
                self.initials.insert(word.to_lowercase());
            }
        }
        self.sentences.extend(sentences(text).map(|words| (words.join(" "), weight)));
    }
}

fn phrases() -> impl Iterator<Item = &'static str> {
    PHRASES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The sentences of `text` in plain lower-case words, numbers written out.
fn sentences(text: &str) -> impl Iterator<Item = Vec<String>> {
    let spoken = spell_out(text);
    let ended: Vec<Vec<String>> = spoken
        .split_inclusive([' ', '\n'])
        .fold(vec![String::new()], |mut sentences, word| {
            if let Some(sentence) = sentences.last_mut() {
                sentence.push_str(word);
            }
            if word.trim_end().ends_with(['.', '!', '?', ':', ';']) {
                sentences.push(String::new());
            }
            sentences
        })
        .into_iter()
        .map(|sentence| words(&sentence))
        .filter(|words| !words.is_empty())
        .take(MOST_SENTENCES_PER_STORY)
        .collect();
    ended.into_iter()
}

/// The words of `text`, in lower case: letters with apostrophes between them.
fn words(text: &str) -> Vec<String> {
    text.replace('’', "'")
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\'').to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// What a text is about: its phrases between function words, whole and in parts of up to [`TOPIC_WORDS`] words.
fn subjects(text: &str) -> Vec<String> {
    let divides = |word: &String| FUNCTION_WORDS.split_whitespace().any(|function| function == word);
    let mut subjects = BTreeSet::new();
    for sentence in sentences(text) {
        for phrase in sentence.split(divides) {
            for length in 1..=TOPIC_WORDS.min(phrase.len()) {
                subjects.extend(phrase.windows(length).map(|part| part.join(" ")));
            }
        }
    }
    subjects.into_iter().collect()
}
