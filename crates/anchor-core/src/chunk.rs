//! Text as it is written, cut into clauses as they can be spoken.

use std::ops::Range;

/// The first clause may end at a comma from this many bytes on, so that speech starts early.
const FIRST_CLAUSE_MIN: usize = 24;

/// A sentence longer than this many bytes is cut at its next comma, or else at its next space.
const CLAUSE_MAX: usize = 240;

/// Words that end in a full stop without ending a sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "no", "vs", "etc", "e.g", "i.e", "approx", "gen", "col", "rev",
];

/// Cuts a stream of text into clauses. Clauses are ranges of the whole text and never overlap; only white space lies
/// between them.
#[derive(Debug, Default)]
pub(crate) struct Chunker {
    text: String,
    /// Everything before is in a clause.
    start: usize,
    /// Everything before was looked at.
    seen: usize,
    /// A first clause was found.
    begun: bool,
}

impl Chunker {
    /// Takes the next text and returns the clauses that are complete by now.
    pub(crate) fn push(&mut self, delta: &str) -> Vec<Range<usize>> {
        self.text.push_str(delta);
        let mut clauses = Vec::new();
        // A mark ends a clause only with white space behind it ("3.5" goes on), so the last character waits.
        while let Some(end) = self.next_end() {
            clauses.extend(self.cut(end));
        }
        clauses
    }

    /// There is no more text: the rest is the last clause.
    pub(crate) fn finish(&mut self) -> Option<Range<usize>> {
        self.cut(self.text.len())
    }

    /// The whole text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Where the clause under way ends, if that can be told yet.
    fn next_end(&mut self) -> Option<usize> {
        let unseen = &self.text[self.seen..];
        let mut chars = unseen.char_indices().peekable();
        while let Some((at, mark)) = chars.next() {
            let Some(&(after, next)) = chars.peek() else {
                self.seen += at;
                return None;
            };
            let end = self.seen + after;
            if mark == '\n' || (next.is_whitespace() && self.ends_clause(mark, end)) {
                self.seen = end;
                return Some(end);
            }
        }
        None
    }

    /// Whether the clause under way may end at byte `end`, behind `mark`.
    fn ends_clause(&self, mark: char, end: usize) -> bool {
        let length = end - self.start;
        match mark {
            '!' | '?' | '…' | '।' | '。' => true,
            '.' => !self.is_abbreviation(end),
            ',' | ';' | ':' | '—' | '–' => length > CLAUSE_MAX || (!self.begun && length >= FIRST_CLAUSE_MIN),
            _ => length > CLAUSE_MAX + CLAUSE_MAX / 4,
        }
    }

    /// Whether the full stop before byte `end` belongs to an abbreviation or an initial.
    fn is_abbreviation(&self, end: usize) -> bool {
        let before = self.text[self.start..end].trim_end_matches('.');
        let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or(before);
        let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
        initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
    }

    /// Ends the clause under way at byte `end`; `None` if it has nothing but white space.
    fn cut(&mut self, end: usize) -> Option<Range<usize>> {
        let raw = &self.text[self.start..end];
        let begin = self.start + (raw.len() - raw.trim_start().len());
        let clause = begin..begin + raw.trim().len();
        self.start = end;
        self.seen = self.seen.max(end);
        if clause.is_empty() {
            return None;
        }
        self.begun = true;
        Some(clause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The clauses of a text that arrives in pieces of `size` characters.
    fn clauses(text: &str, size: usize) -> Vec<String> {
        let mut chunker = Chunker::default();
        let chars: Vec<char> = text.chars().collect();
        let mut ranges: Vec<_> =
            chars.chunks(size).flat_map(|piece| chunker.push(&piece.iter().collect::<String>())).collect();
        ranges.extend(chunker.finish());
        ranges.into_iter().map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn sentences_are_clauses_and_the_first_may_end_at_a_comma() {
        let text = "The harbour bridge reopened today, after two years. It cost 3.5 million, says the council. Dr. A. Berg agrees!";
        assert_eq!(
            clauses(text, 7),
            [
                "The harbour bridge reopened today,",
                "after two years.",
                "It cost 3.5 million, says the council.",
                "Dr. A. Berg agrees!",
            ]
        );
    }

    #[test]
    fn a_short_opening_stays_whole_and_lines_end_clauses() {
        assert_eq!(clauses("Well, yes. One\nTwo", 3), ["Well, yes.", "One", "Two"]);
        assert_eq!(clauses("  \n ", 1), [""; 0]);
        assert_eq!(clauses("नमस्ते। आप कैसे हैं?", 2), ["नमस्ते।", "आप कैसे हैं?"]);
    }

    #[test]
    fn endless_sentences_are_cut() {
        let text = "word ".repeat(200);
        assert!(clauses(&text, 10).iter().all(|clause| clause.len() <= CLAUSE_MAX * 2));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_pieces_do_not_matter(text in "[a-cA .,!?\n3।…]{0,400}", size in 1usize..20) {
            let cut = clauses(&text, size);
            let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(squeeze(&cut.concat()), squeeze(&text));
            prop_assert_eq!(cut, clauses(&text, 1000));
        }
    }
}
