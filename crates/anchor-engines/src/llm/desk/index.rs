//! Finds stories by their words, and in a story the sentences that answer a question.
//!
//! Stories are ranked by BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009).
//! It is written out here rather than taken from a library because each word of a question stands for several weighted
//! ones: those that look or sound alike and those of the same subject.

use std::collections::BTreeMap;
use std::ops::Range;

use anchor_core::rundown::Rundown;

use super::keys::Question;
use super::language::Language;
use super::story::{IndexedStory, Sentence};
use super::words::{Word, likeness};

/// How soon further occurrences of a word stop counting: the usual value.
const K1: f32 = 1.2;
/// How much long stories are held back: the usual value.
const B: f32 = 0.75;
/// Likeness of words that only share a subject.
pub(super) const SAME_TOPIC: f32 = 0.5;
/// Weight of a word that neither the stories nor the language know: a noise as likely as a subject.
const UNKNOWN: f32 = 0.5;
/// Weight of a word that names no topic in the search for a sentence.
const GENERIC: f32 = 0.4;
/// Weight of a word of the heading or the source in the search for a sentence: it names the story, not the answer.
const LABEL: f32 = 0.25;
/// Weight of a sentence being of the kind that a question asks for, in units of one matching rare word.
const KIND: f32 = 1.0;
/// What an open question has to have in common with a sentence, labels aside; if it has less, the story is the answer.
const OPEN_NEEDS: f32 = 0.4;

/// The stories of a rundown, ready to be searched.
pub(super) struct Index {
    /// Name of the programme.
    pub(super) title: String,
    /// The stories in running order.
    pub(super) stories: Vec<IndexedStory>,
    /// Every word of the stories that can be content, by its text.
    vocabulary: BTreeMap<String, Word>,
    /// In how many stories each stem is.
    frequency: BTreeMap<String, usize>,
    average_length: f32,
}

/// A story that may be meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) story: usize,
    pub(super) score: f32,
    /// Share of the question's words that the story has, each by its rarity; 0 to 1.
    pub(super) coverage: f32,
    /// One of the words stands in the story's heading or names its source.
    pub(super) named: bool,
}

impl Index {
    pub(super) fn new(language: &Language, rundown: &Rundown) -> Self {
        let stories: Vec<_> = rundown.stories.iter().map(|story| IndexedStory::new(language, story)).collect();
        let mut vocabulary = BTreeMap::new();
        for word in stories.iter().flat_map(IndexedStory::words).filter(|word| !language.is_stop(&word.text)) {
            vocabulary.entry(word.text.clone()).or_insert_with(|| word.clone());
        }
        let mut frequency = BTreeMap::new();
        for stem in stories.iter().flat_map(|story| story.counts.keys()) {
            *frequency.entry(stem.clone()).or_insert(0) += 1;
        }
        let average_length = stories.iter().map(|story| story.length).sum::<f32>() / stories.len().max(1) as f32;
        Self { title: rundown.title.clone(), stories, vocabulary, frequency, average_length }
    }

    /// The stories that have any of the words, best first.
    pub(super) fn rank(&self, language: &Language, content: &[Word]) -> Vec<Match> {
        let meanings: Vec<_> = content.iter().map(|word| self.meanings(language, word)).collect();
        let weights: Vec<_> =
            content.iter().zip(&meanings).map(|(word, meanings)| self.weight(language, word, meanings)).collect();
        let wanted: f32 = weights.iter().sum();
        let mut matches = Vec::new();
        for (number, story) in self.stories.iter().enumerate() {
            let (mut score, mut found) = (0.0, 0.0);
            for (meanings, weight) in meanings.iter().zip(&weights) {
                let best = meanings.iter().map(|(stem, likeness)| likeness * self.relevance(story, stem));
                let best = best.fold(0.0, f32::max);
                score += best;
                found += if best > 0.0 { *weight } else { 0.0 };
            }
            if score > 0.0 {
                let named = meanings.iter().any(|meanings| story.has_label(meanings));
                matches.push(Match { story: number, score, coverage: found / wanted, named });
            }
        }
        matches.sort_by(|a, b| b.score.total_cmp(&a.score));
        matches
    }

    /// The sentences of the story that answer the question best, with the one before if they need it; none if there
    /// is no sign of an answer.
    pub(super) fn answer(&self, language: &Language, story: usize, question: Question, asked: &[Word]) -> Range<usize> {
        let story = &self.stories[story];
        let meanings: Vec<_> = asked.iter().map(|word| self.meanings(language, word)).collect();
        let label = if question == Question::Open { 0.0 } else { LABEL };
        let score = |sentence: &Sentence| {
            let overlap: f32 = asked
                .iter()
                .zip(&meanings)
                .map(|(word, meanings)| {
                    story.overlap(sentence, meanings, label) * if language.is_content(word) { 1.0 } else { GENERIC }
                })
                .sum();
            let kind = sentence.kind(language, question, &meanings);
            // A sentence of the right kind that shares no word answers only a question that has none.
            if overlap > 0.0 || (kind > 0.0 && !asked.iter().any(|word| language.is_content(word))) {
                overlap + KIND * kind
            } else {
                0.0
            }
        };
        let scores = story.sentences.iter().map(score).enumerate();
        // Of equals the first: stories begin with what matters.
        let best = scores.fold((0, 0.0), |best, next| if next.1 > best.1 { next } else { best });
        let needed = if question == Question::Open { OPEN_NEEDS } else { f32::MIN_POSITIVE };
        match best {
            (_, score) if score < needed => 0..0,
            (at, _) if story.sentences[at].refers_back => at.saturating_sub(1)..at + 1,
            (at, _) => at..at + 1,
        }
    }

    /// How much a word of a question matters.
    fn weight(&self, language: &Language, word: &Word, meanings: &Meanings) -> f32 {
        let meant = meanings.iter().filter(|&(_, likeness)| *likeness > SAME_TOPIC);
        let unknown = || self.rarity("") * if language.has_topic(&word.stem) { 1.0 } else { UNKNOWN };
        meant.map(|(stem, _)| self.rarity(stem)).reduce(f32::max).unwrap_or_else(unknown)
    }

    /// What a word of a question may stand for among the words of the stories.
    fn meanings(&self, language: &Language, word: &Word) -> Meanings {
        let mut meanings = Meanings::new();
        let mut add = |stem: &str, likeness: f32| {
            if likeness > 0.0 {
                let known = meanings.entry(stem.to_owned()).or_insert(0.0f32);
                *known = known.max(likeness);
            }
        };
        if self.frequency.contains_key(&word.stem) {
            add(&word.stem, 1.0);
        } else if !language.has_topic(&word.stem) {
            // A word of a known subject was hardly misheard: no story has it.
            self.vocabulary.values().for_each(|known| add(&known.stem, likeness(word, known)));
        }
        // Where some story has the word itself, those of the same subject matter less.
        let same_topic = if self.frequency.contains_key(&word.stem) { SAME_TOPIC / 2.0 } else { SAME_TOPIC };
        for stem in language.topic(&word.stem).filter(|stem| self.frequency.contains_key(*stem)) {
            add(stem, same_topic);
        }
        meanings
    }

    /// The term of BM25 for one word.
    fn relevance(&self, story: &IndexedStory, stem: &str) -> f32 {
        let count = story.counts.get(stem).copied().unwrap_or(0.0);
        let norm = K1 * (1.0 - B + B * story.length / self.average_length);
        self.rarity(stem) * count * (K1 + 1.0) / (count + norm)
    }

    /// Inverse document frequency; greatest for a word that no story has.
    fn rarity(&self, stem: &str) -> f32 {
        let having = self.frequency.get(stem).copied().unwrap_or(0) as f32;
        (1.0 + (self.stories.len() as f32 - having + 0.5) / (having + 0.5)).ln()
    }
}

/// Stems with their likeness to a word of the question.
pub(super) type Meanings = BTreeMap<String, f32>;
