//! A story taken apart into the sentences that are told and the words it is found by.

use std::collections::BTreeMap;
use std::ops::Range;

use anchor_core::rundown::Story;

use super::index::{Meanings, SAME_TOPIC};
use super::keys::Question;
use super::language::Language;
use super::words::{Word, words};

/// A word of the heading counts as so many words of the script.
const HEADING_WEIGHT: f32 = 3.0;
/// Longest part of a story told at once, in sentences: beyond, listeners want to get a word in.
const MAX_PART_SENTENCES: usize = 4;

/// A story, ready to be searched.
pub(super) struct IndexedStory {
    pub(super) slug: String,
    /// With a full stop, as a sentence.
    pub(super) headline: String,
    pub(super) source: Option<String>,
    /// In the order of the script.
    pub(super) sentences: Vec<Sentence>,
    /// What is told at once.
    pub(super) parts: Vec<Range<usize>>,
    /// The words of its heading, its slug and its source.
    labels: Vec<Word>,
    /// How often it has each stem, those of the heading counted more.
    pub(super) counts: BTreeMap<String, f32>,
    /// The sum of the counts.
    pub(super) length: f32,
}

/// A sentence of a script.
pub(super) struct Sentence {
    pub(super) text: String,
    words: Vec<Word>,
    /// It cannot be understood without the one before.
    pub(super) refers_back: bool,
}

impl IndexedStory {
    pub(super) fn new(language: &Language, story: &Story) -> Self {
        let mut sentences = Vec::new();
        let mut parts = Vec::new();
        for paragraph in story.script.split("\n\n") {
            let start = sentences.len();
            sentences.extend(split_sentences(language, paragraph).map(|text| Sentence::new(language, text)));
            let whole = start..sentences.len();
            parts
                .extend(whole.clone().step_by(MAX_PART_SENTENCES).map(|at| at..whole.end.min(at + MAX_PART_SENTENCES)));
        }
        let heading = words(language, &format!("{} {}", story.heading, story.slug));
        let source = words(language, story.source.as_deref().unwrap_or_default());
        let mut counts = BTreeMap::new();
        let mut count = |words: &[Word], weight: f32| {
            words.iter().for_each(|word| *counts.entry(word.stem.clone()).or_insert(0.0) += weight);
        };
        count(&heading, HEADING_WEIGHT);
        count(&source, 1.0);
        sentences.iter().for_each(|sentence: &Sentence| count(&sentence.words, 1.0));
        let mut headline = story.heading.clone();
        if !headline.ends_with(['.', '!', '?']) {
            headline.push('.');
        }
        Self {
            slug: story.slug.clone(),
            headline,
            source: story.source.clone(),
            sentences,
            parts,
            labels: [heading, source].concat(),
            length: counts.values().sum(),
            counts,
        }
    }

    /// Everything the story can be found by.
    pub(super) fn words(&self) -> impl Iterator<Item = &Word> {
        self.labels.iter().chain(self.sentences.iter().flat_map(|sentence| &sentence.words))
    }

    fn is_label(&self, stem: &str) -> bool {
        self.labels.iter().any(|word| word.stem == stem)
    }

    /// The word of the question stands in the heading or the source.
    pub(super) fn has_label(&self, meanings: &Meanings) -> bool {
        meanings.iter().any(|(stem, likeness)| *likeness > SAME_TOPIC && self.is_label(stem))
    }

    /// How well a word of the question fits the sentence.
    pub(super) fn overlap(&self, sentence: &Sentence, meanings: &Meanings, label: f32) -> f32 {
        // Where the story has the word itself, others of the same subject are beside the point.
        let has_itself =
            meanings.iter().any(|(stem, likeness)| *likeness > SAME_TOPIC && self.counts.contains_key(stem));
        let fit = |word: &Word| {
            let weight = if self.is_label(&word.stem) { label } else { 1.0 };
            let likeness = meanings.get(&word.stem).copied().filter(|likeness| !has_itself || *likeness > SAME_TOPIC);
            likeness.unwrap_or(0.0) * weight
        };
        sentence.words.iter().map(fit).fold(0.0, f32::max)
    }
}

impl Sentence {
    fn new(language: &Language, text: String) -> Self {
        let words = words(language, &text);
        let begins =
            |with: &Vec<Word>| words.len() >= with.len() && words.iter().zip(with).all(|(a, b)| a.text == b.text);
        let refers_back = language.referring.iter().any(begins);
        Self { text, words, refers_back }
    }

    /// How much the sentence looks like an answer to this kind of question, 0 to 1. The shares were set by hand on the
    /// questions of `tests/data/routing.toml`.
    pub(super) fn kind(&self, language: &Language, question: Question, asked: &[Meanings]) -> f32 {
        let cue = self.words.iter().any(|word| language.is_cue(question, word));
        let number = |word: &Word| language.is_number(word);
        match question {
            Question::Open => 0.0,
            Question::When | Question::Why => f32::from(cue),
            Question::Who => 0.7 * f32::from(self.has_name(language)) + 0.3 * f32::from(cue),
            Question::Where => 0.5 * f32::from(self.has_place(language)) + 0.5 * f32::from(cue),
            Question::Amount | Question::Duration => {
                0.4 * f32::from(cue) + 0.6 * f32::from(cue && self.words.iter().any(number))
            }
            Question::Count => {
                let counted = |pair: &[Word]| number(&pair[0]) && asked.iter().any(|m| m.contains_key(&pair[1].stem));
                let any = self.words.iter().any(number);
                0.3 * f32::from(any) + 0.7 * f32::from(self.words.windows(2).any(counted))
            }
        }
    }

    /// It has two capital words in a row that are no place, such as a person's name.
    fn has_name(&self, language: &Language) -> bool {
        let name = |at: usize| {
            self.words[at].capital
                && self.words.get(at + 1).is_some_and(|next| next.capital)
                && (at == 0 || !language.is_before_place(&self.words[at - 1]))
        };
        (0..self.words.len()).any(name)
    }

    /// It has a capital word behind a preposition of place.
    fn has_place(&self, language: &Language) -> bool {
        self.words.windows(2).any(|pair| language.is_before_place(&pair[0]) && pair[1].capital)
    }
}

/// The sentences of a paragraph, each with its closing mark.
fn split_sentences(language: &Language, paragraph: &str) -> impl Iterator<Item = String> {
    let mut sentences = Vec::new();
    let mut sentence = String::new();
    for word in paragraph.split_whitespace() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let bare = word.trim_end_matches(['"', '\'', ')', '”', '’']);
        let stop = bare.strip_suffix('.').is_some_and(|word| !language.is_abbreviation(word));
        if stop || bare.ends_with(['!', '?', '…', '。', '।']) {
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    sentences.push(sentence);
    sentences.into_iter().filter(|sentence| !sentence.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sentences_apart() {
        let language = Language::load("en").unwrap();
        let text = "Dr. Fenn paid 3.50 crowns at 6 p.m. today. \"Well!\" He left... Then";
        let sentences: Vec<_> = split_sentences(&language, text).collect();
        assert_eq!(sentences, ["Dr. Fenn paid 3.50 crowns at 6 p.m. today.", "\"Well!\"", "He left...", "Then"]);
    }

    #[test]
    fn tells_in_parts() {
        let language = Language::load("en").unwrap();
        let script = format!("{}\n\nIt ends.", "It rains. ".repeat(5));
        let story = IndexedStory::new(&language, &Story { heading: "Rain".into(), script, ..Story::default() });
        assert_eq!(story.headline, "Rain.");
        assert_eq!(story.parts, [0..4, 4..5, 5..6]);
        assert!(story.sentences.iter().all(|sentence| sentence.refers_back));
    }
}
