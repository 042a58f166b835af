//! A trigram language model with Witten-Bell smoothing, written in the ARPA format.
//!
//! Witten and Bell, "The zero-frequency problem" (IEEE Trans. Information Theory 37(4), 1991), method C, in its
//! interpolated form: with `c` the count of a history and `t` the number of different words seen behind it,
//! `p(w|h) = (c(hw) + t p(w|h')) / (c + t)`. A back-off weight of `t / (c + t)` makes the ARPA file say exactly that for
//! every word not seen behind `h`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// Marks of a sentence's begin and end.
const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Probability the format's readers expect of what can never come: the begin mark.
const NEVER: f64 = 1e-99;

type Word = u32;

/// Counts of words in context, gathered sentence by sentence.
pub(super) struct Counts {
    words: HashMap<String, Word>,
    names: Vec<String>,
    unigrams: BTreeMap<Word, f64>,
    bigrams: BTreeMap<[Word; 2], f64>,
    trigrams: BTreeMap<[Word; 3], f64>,
}

impl Counts {
    /// No sentence yet.
    pub(super) fn new() -> Self {
        let mut counts = Self {
            words: HashMap::new(),
            names: Vec::new(),
            unigrams: BTreeMap::new(),
            bigrams: BTreeMap::new(),
            trigrams: BTreeMap::new(),
        };
        counts.word(BEGIN);
        counts.word(END);
        counts
    }

    /// Counts a sentence of plain lower-case words `weight` times.
    pub(super) fn add(&mut self, sentence: &str, weight: f64) {
        let mut history = [None, Some(self.word(BEGIN))];
        for text in sentence.split_whitespace().chain([END]) {
            let word = self.word(text);
            *self.unigrams.entry(word).or_default() += weight;
            if let [_, Some(last)] = history {
                *self.bigrams.entry([last, word]).or_default() += weight;
            }
            if let [Some(before), Some(last)] = history {
                *self.trigrams.entry([before, last, word]).or_default() += weight;
            }
            history = [history[1], Some(word)];
        }
    }

    /// The words counted so far, in the order they came.
    pub(super) fn vocabulary(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|word| *word != BEGIN && *word != END)
    }

    /// Whether a word was counted.
    pub(super) fn has(&self, text: &str) -> bool {
        self.words.contains_key(text)
    }

    fn word(&mut self, text: &str) -> Word {
        if let Some(&word) = self.words.get(text) {
            return word;
        }
        let word = self.names.len() as Word;
        self.words.insert(text.into(), word);
        self.names.push(text.into());
        word
    }

    /// Writes the model.
    pub(super) fn write_arpa(&self, out: &mut impl Write) -> io::Result<()> {
        let unigrams = self.unigram_probabilities();
        let after_one = Histories::of(self.bigrams.iter().map(|([h, _], count)| (*h, *count)));
        let after_two = Histories::of(self.trigrams.iter().map(|([a, b, _], count)| ([*a, *b], *count)));
        let bigram = |[h, w]: [Word; 2], count: f64| after_one.smooth(&h, count, unigrams[w as usize]);

        writeln!(
            out,
            "\\data\\\nngram 1={}\nngram 2={}\nngram 3={}",
            self.names.len(),
            self.bigrams.len(),
            self.trigrams.len()
        )?;
        writeln!(out, "\n\\1-grams:")?;
        for (word, name) in self.names.iter().enumerate() {
            let back_off = after_one.back_off(&(word as Word));
            writeln!(out, "{:.4}\t{name}\t{:.4}", unigrams[word].log10(), back_off.log10())?;
        }
        writeln!(out, "\n\\2-grams:")?;
        for (words, count) in &self.bigrams {
            let [a, b] = self.text(words);
            writeln!(out, "{:.4}\t{a} {b}\t{:.4}", bigram(*words, *count).log10(), after_two.back_off(words).log10())?;
        }
        writeln!(out, "\n\\3-grams:")?;
        for (&[a, b, c], count) in &self.trigrams {
            let shorter = bigram([b, c], self.bigrams.get(&[b, c]).copied().unwrap_or(0.0));
            let probability = after_two.smooth(&[a, b], *count, shorter);
            let [a, b, c] = self.text(&[a, b, c]);
            writeln!(out, "{:.4}\t{a} {b} {c}", probability.log10())?;
        }
        writeln!(out, "\n\\end\\")
    }

    fn unigram_probabilities(&self) -> Vec<f64> {
        let total: f64 = self.unigrams.values().sum();
        let mut probabilities = vec![NEVER; self.names.len()];
        for (word, count) in &self.unigrams {
            probabilities[*word as usize] = count / total;
        }
        probabilities
    }

    fn text<const N: usize>(&self, words: &[Word; N]) -> [&str; N] {
        words.map(|word| self.names[word as usize].as_str())
    }
}

/// For each history how often it was seen, and how many different words behind it.
struct Histories<H>(HashMap<H, (f64, f64)>);

impl<H: std::hash::Hash + Eq> Histories<H> {
    fn of(counts: impl Iterator<Item = (H, f64)>) -> Self {
        let mut histories = HashMap::new();
        for (history, count) in counts {
            let (total, types) = histories.entry(history).or_insert((0.0, 0.0));
            *total += count;
            *types += 1.0;
        }
        Self(histories)
    }

    fn smooth(&self, history: &H, count: f64, shorter: f64) -> f64 {
        let (total, types) = self.0.get(history).copied().unwrap_or((0.0, 1.0));
        (count + types * shorter) / (total + types)
    }

    fn back_off(&self, history: &H) -> f64 {
        self.0.get(history).map_or(1.0, |(total, types)| types / (total + types))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(sentences: &[&str]) -> String {
        let mut counts = Counts::new();
        for sentence in sentences {
            counts.add(sentence, 1.0);
        }
        let mut out = Vec::new();
        counts.write_arpa(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Probability and back-off weight of every n-gram of an ARPA text.
    fn parse(arpa: &str) -> HashMap<String, (f64, f64)> {
        arpa.lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let probability: f64 = fields.next()?.parse().ok()?;
                let words = fields.next()?.to_owned();
                let back_off: f64 = fields.next().map_or(0.0, |field| field.parse().unwrap());
                Some((words, (10f64.powf(probability), 10f64.powf(back_off))))
            })
            .collect()
    }

    fn probability(ngrams: &HashMap<String, (f64, f64)>, history: &[&str], word: &str) -> f64 {
        let mut words = history.to_vec();
        words.push(word);
        if let Some((probability, _)) = ngrams.get(&words.join(" ")) {
            return *probability;
        }
        let back_off = ngrams.get(&history.join(" ")).map_or(1.0, |(_, back_off)| *back_off);
        back_off * probability(ngrams, &history[1..], word)
    }

    #[test]
    fn every_history_shares_out_exactly_one() {
        let arpa = model(&["what is new", "what is the news", "the news of"]);
        let ngrams = parse(&arpa);
        let words = ["what", "is", "new", "the", "news", "of", END];
        for history in [&[][..], &["what"], &["of"], &[BEGIN], &["what", "is"], &["is", "the"], &["new", "what"]] {
            let total: f64 = words.iter().map(|word| probability(&ngrams, history, word)).sum();
            assert!((total - 1.0).abs() < 2e-3, "{history:?}: {total}");
        }
    }

    #[test]
    fn seen_words_are_likelier_than_unseen_ones() {
        let ngrams = parse(&model(&["tell me more", "tell me the news", "of"]));
        let after = |word| probability(&ngrams, &["tell", "me"], word);
        assert!(after("more") > 10.0 * after("of"));
        assert!(after("of") > 0.0);
    }

    #[test]
    fn the_file_has_the_form_readers_expect() {
        insta::assert_snapshot!(model(&["stop"]));
    }
}
