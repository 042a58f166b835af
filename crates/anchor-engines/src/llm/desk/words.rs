//! Words as they are compared: by letters, by stem, and by sound, because recognisers mishear.

use super::language::Language;

/// Shorter words are only themselves: "be" is not "bye".
const MIN_LETTERS: usize = 3;
/// Shorter words are too alike by chance to be taken for one another; longer ones may have a slip in each so many letters.
const MIN_ALIKE_LETTERS: usize = 5;
/// Fewer sounds are too alike by chance, unless the spelling is nearly the same, too: "flue" is "flu", "cow" is not "key".
const MIN_ALIKE_SOUNDS: usize = 3;

/// A word of a script or of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Word {
    /// In lower case, without a possessive ending.
    pub(super) text: String,
    /// Without its grammatical ending.
    pub(super) stem: String,
    /// The same for words that sound alike.
    pub(super) sound: String,
    /// It was written with a capital letter.
    pub(super) capital: bool,
}

/// The words of `text` in lower case: contractions spelled out, possessive endings taken off.
pub(super) fn words(language: &Language, text: &str) -> Vec<Word> {
    let is_part = |c: char| c.is_alphanumeric() || c == '\'';
    text.replace('’', "'").split(|c| !is_part(c)).flat_map(|written| split(language, written)).collect()
}

fn split(language: &Language, written: &str) -> Vec<Word> {
    let written = written.trim_matches('\'');
    let lower = written.to_lowercase();
    let capital = written.starts_with(char::is_uppercase);
    let word = |text: &str| Word { text: text.into(), stem: language.stem(text), sound: language.sound(text), capital };
    if lower.is_empty() {
        Vec::new()
    } else if let Some(spelled_out) = language.contraction(&lower) {
        spelled_out.split(' ').map(word).collect()
    } else {
        vec![word(&lower.strip_suffix("'s").unwrap_or(&lower).replace('\'', ""))]
    }
}

/// How sure it is that a word which was heard is another that is known: 1 for the same, 0 for different ones.
pub(super) fn likeness(heard: &Word, known: &Word) -> f32 {
    if heard.stem == known.stem {
        return 1.0;
    }
    let (shorter, longer) = (heard.text.len().min(known.text.len()), heard.text.len().max(known.text.len()));
    if shorter < MIN_LETTERS {
        return 0.0;
    }
    let allowed = shorter / MIN_ALIKE_LETTERS;
    // The measure is costly: most pairs are ruled out before.
    let slips = || strsim::osa_distance(&heard.text, &known.text);
    if allowed > 0 && longer - shorter <= allowed && slips() <= allowed {
        0.8
    } else if heard.sound == known.sound && (heard.sound.len() >= MIN_ALIKE_SOUNDS || slips() == 1) {
        0.7
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(heard: &str, known: &str) -> bool {
        let language = Language::load("en").unwrap();
        likeness(&words(&language, heard)[0], &words(&language, known)[0]) > 0.0
    }

    #[test]
    fn splits_as_spoken() {
        let language = Language::load("en").unwrap();
        let texts: Vec<_> =
            words(&language, "What’s the Forecaster's  view -- at six o'clock?").into_iter().map(|w| w.text).collect();
        assert_eq!(texts, ["what", "is", "the", "forecaster", "view", "at", "six", "oclock"]);
    }

    #[test]
    fn knows_spellings_endings_and_sounds() {
        for (heard, known) in [
            ("harbor", "harbour"),
            ("center", "centre"),
            ("vaccines", "vaccine"),
            ("striking", "strike"),
            ("whether", "weather"),
            ("festivle", "festival"),
            ("lanturn", "lantern"),
            ("flue", "flu"),
            ("buy", "bought"),
        ] {
            assert!(alike(heard, known), "{heard} {known}");
        }
        for (heard, known) in
            [("goal", "coal"), ("cow", "key"), ("bridge", "bread"), ("strike", "stripes"), ("elephant", "element")]
        {
            assert!(!alike(heard, known), "{heard} {known}");
        }
    }
}
