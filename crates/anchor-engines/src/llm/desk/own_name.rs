//! The name that the instructions give the anchor.

use super::language::Language;

/// Longest name, in words.
const MAX_WORDS: usize = 3;

/// The capital words behind "you are", "your name is" and the like; empty if there are none.
pub(super) fn own_name(language: &Language, instructions: &str) -> String {
    let written: Vec<_> = instructions.split_whitespace().collect();
    let names = (0..written.len()).flat_map(|at| {
        let rest = &written[at..];
        let phrases = language.before_own_name.iter().filter(|phrase| begins(rest, phrase));
        phrases.map(|phrase| name(language, &rest[phrase.len()..]))
    });
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

fn begins(written: &[&str], phrase: &[String]) -> bool {
    written.len() >= phrase.len()
        && written.iter().zip(phrase).all(|(word, wanted)| bare(word).to_lowercase() == *wanted)
}

/// The capital words at the start, up to a punctuation mark.
fn name(language: &Language, written: &[&str]) -> String {
    let mut name = Vec::new();
    for word in written.iter().take(MAX_WORDS) {
        let bare = bare(word);
        if !bare.starts_with(char::is_uppercase) || language.is_stop(&bare.to_lowercase()) {
            break;
        }
        name.push(bare);
        if !word.ends_with(bare) {
            break;
        }
    }
    name.join(" ")
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name() {
        let language = Language::load("en").unwrap();
        for (instructions, name) in [
            ("You are Ada, the anchor of the evening news.", "Ada"),
            ("Be brief. Your name is Nora Fenn.", "Nora Fenn"),
            ("you are the anchor, called \"Iris\" by everyone", "Iris"),
            ("You are a human being named John and no machine.", "John"),
            ("You are the evening anchor.", ""),
            ("You are", ""),
            ("", ""),
        ] {
            assert_eq!(own_name(&language, instructions), name, "{instructions}");
        }
    }
}
