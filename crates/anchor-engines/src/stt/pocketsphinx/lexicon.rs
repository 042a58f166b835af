//! How each word of the vocabulary is said: from the model's dictionary, else put together from words that stand in it,
//! else by the rules of [`pronounce`](super::pronounce).

use std::collections::{BTreeSet, HashMap};

use super::pronounce::{pronounce, spell};

/// Shortest word that may be a part of a compound; shorter ones are found in too many names by accident.
const SHORTEST_PART: usize = 4;

/// A pronouncing dictionary in the CMU format: one pronunciation a line, `word PH OH N Z`, further ones as `word(2)`.
pub(super) struct Dictionary<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Dictionary<'a> {
    /// Reads the text of a dictionary.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut words: HashMap<&str, Vec<&str>> = HashMap::new();
        for line in text.lines() {
            if let Some((word, phones)) = line.split_once(' ') {
                let word = word.split_once('(').map_or(word, |(word, _)| word);
                words.entry(word).or_default().push(phones.trim());
            }
        }
        Self(words)
    }

    /// The dictionary of just `vocabulary`, in the same format. A word of `initials` may be said letter by letter.
    pub(super) fn restricted<'w>(
        &self,
        vocabulary: impl Iterator<Item = &'w str>,
        initials: &BTreeSet<String>,
    ) -> String {
        let mut out = String::new();
        for word in vocabulary {
            let mut said = self.say(word);
            if initials.contains(word) {
                said.extend(spell(word));
            }
            let mut seen = BTreeSet::new();
            said.retain(|phones| seen.insert(phones.clone()));
            for (at, phones) in said.iter().enumerate() {
                let number = if at == 0 { String::new() } else { format!("({})", at + 1) };
                out += &format!("{word}{number} {phones}\n");
            }
        }
        out
    }

    /// All pronunciations of `word`.
    fn say(&self, word: &str) -> Vec<String> {
        if let Some(known) = self.0.get(word) {
            return known.iter().map(|phones| (*phones).to_owned()).collect();
        }
        if let Some(owner) = word.strip_suffix("'s").or_else(|| word.strip_suffix('\'')) {
            return self.say(owner).into_iter().map(|phones| possessive(&phones)).collect();
        }
        if let Some(american) = american_spellings(word).find_map(|spelling| self.0.get(spelling.as_str())) {
            return american.iter().map(|phones| (*phones).to_owned()).collect();
        }
        self.compound(word).into_iter().chain(pronounce(word)).collect()
    }

    /// `brightwater` as `bright` and `water`: the split with the longest first part.
    fn compound(&self, word: &str) -> Option<String> {
        let cuts = SHORTEST_PART..(word.len() + 1).saturating_sub(SHORTEST_PART);
        cuts.rev().find_map(|cut| {
            let (head, tail) = word.split_at_checked(cut)?;
            Some(format!("{} {}", self.0.get(head)?.first()?, self.0.get(tail)?.first()?))
        })
    }
}

/// British letters and the American ones in their place; the dictionary is American.
const SPELLINGS: [(&str, &str); 8] = [
    ("our", "or"),
    ("ise", "ize"),
    ("isa", "iza"),
    ("isi", "izi"),
    ("re", "er"),
    ("ogue", "og"),
    ("ll", "l"),
    ("ae", "e"),
];

/// What `word` would be in American spelling: neighbours, organised, metres, travelled.
fn american_spellings(word: &str) -> impl Iterator<Item = String> {
    SPELLINGS.into_iter().flat_map(move |(british, american)| {
        word.rmatch_indices(british)
            .map(move |(at, _)| format!("{}{american}{}", &word[..at], &word[at + british.len()..]))
    })
}

/// The sound of `owner`'s.
fn possessive(owner: &str) -> String {
    let ending = match owner.rsplit(' ').next() {
        Some("S" | "Z" | "SH" | "ZH" | "CH" | "JH") => "IH Z",
        Some("P" | "T" | "K" | "F" | "TH") => "S",
        _ => "Z",
    };
    format!("{owner} {ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "neighbors N EY B ER Z\nmeters M IY T ER Z\nbright B R AY T\nwater W AO T ER\nwater(2) W AA T ER\nread R EH D\nread(2) R IY D\nrose R OW Z\n";

    fn said(word: &str) -> String {
        Dictionary::parse(TEXT).restricted([word].into_iter(), &BTreeSet::from(["nato".to_owned()]))
    }

    #[test]
    fn known_words_keep_all_their_pronunciations() {
        assert_eq!(said("read"), "read R EH D\nread(2) R IY D\n");
    }

    #[test]
    fn possessives_and_compounds_come_from_their_parts() {
        assert_eq!(said("rose's"), "rose's R OW Z IH Z\n");
        assert!(said("brightwater").starts_with("brightwater B R AY T W AO T ER\n"));
    }

    #[test]
    fn british_spelling_sounds_like_american() {
        assert_eq!(said("neighbours"), "neighbours N EY B ER Z\n");
        assert_eq!(said("metres"), "metres M IY T ER Z\n");
    }

    #[test]
    fn unknown_words_are_said_by_rule_and_initials_also_spelt() {
        assert_eq!(said("pim"), "pim P IH M\n");
        assert!(said("nato").ends_with("nato(3) EH N EY T IY OW\n"));
        assert_eq!(said("%"), "");
    }
}
