//! Carries on an answer that another language model has begun: what was said already is left out.

use super::thread::Piece;

/// From so many words on, a broken-off sentence that begins like one of the desk's is taken for it and is ended by it.
const SAME_FROM: usize = 3;

/// What is left to say of `pieces` behind `so_far`, and what comes before its first word.
///
/// A sentence that was said in the same words is not said again. One that was broken off in the words of the desk is
/// ended with them; any other is left as it is, and a line break ends it, so that the desk's next sentence does not seem
/// to be its end.
pub(super) fn carry_on(so_far: &str, pieces: Vec<Piece>) -> (&'static str, Vec<Piece>) {
    if so_far.trim().is_empty() {
        return ("", pieces);
    }
    let said = plain(so_far);
    let mut left: Vec<_> = pieces.into_iter().filter(|piece| !contains(&said, &plain(&piece.text))).collect();
    let begun = |piece: &Piece| begun(&said, &plain(&piece.text));
    if let Some((at, words)) = left.iter().enumerate().find_map(|(at, piece)| Some((at, begun(piece)?))) {
        // What the desk would have said before it comes too late.
        left.drain(..at);
        left[0].text = behind(&left[0].text, words);
        return (" ", left);
    }
    if is_complete(so_far) {
        return (" ", left);
    }
    ("\n", left)
}

/// A text without what a repetition may spell differently: its words in lower case.
fn plain(text: &str) -> Vec<String> {
    let word = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    text.split_whitespace().map(word).filter(|word| !word.is_empty()).collect()
}

fn contains(said: &[String], sentence: &[String]) -> bool {
    sentence.is_empty() || said.windows(sentence.len()).any(|words| words == sentence)
}

/// How many words of the sentence stand at the end of what was said, if it broke off within the sentence.
fn begun(said: &[String], sentence: &[String]) -> Option<usize> {
    (SAME_FROM..sentence.len()).rev().find(|words| said.ends_with(&sentence[..*words]))
}

/// The text ends with a sentence, not within one.
fn is_complete(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '”' | ')'));
    text.ends_with(['.', '!', '?', '…'])
}

/// The text behind so many of its words.
fn behind(text: &str, words: usize) -> String {
    let has_sound = |word: &&str| word.contains(char::is_alphanumeric);
    let mut left = words;
    let rest = text.split_whitespace().skip_while(|word| {
        let skip = left > 0;
        left -= usize::from(skip && has_sound(word));
        skip
    });
    rest.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried_on(so_far: &str) -> String {
        let sentences = ["The bridge is open again.", "Cars may cross, at 6:30 p.m. today.", "Shall I go on?"];
        let pieces = sentences.map(|text| Piece { text: text.into(), ..Piece::default() });
        let (space, left) = carry_on(so_far, pieces.to_vec());
        let texts: Vec<_> = left.into_iter().map(|piece| piece.text).collect();
        format!("{so_far}|{}", if texts.is_empty() { String::new() } else { space.to_owned() + &texts.join(" ") })
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        insta::assert_snapshot!(carried_on(""), @"|The bridge is open again. Cars may cross, at 6:30 p.m. today. Shall I go on?");
        insta::assert_snapshot!(
            carried_on("Good evening. The bridge is open again."),
            @"Good evening. The bridge is open again.| Cars may cross, at 6:30 p.m. today. Shall I go on?"
        );
        insta::assert_snapshot!(
            carried_on("the BRIDGE is open again, cars may cross at 6:30 p.m. today. Shall I go on?"),
            @"the BRIDGE is open again, cars may cross at 6:30 p.m. today. Shall I go on?|"
        );
    }

    #[test]
    fn a_sentence_of_the_desk_is_ended_in_its_words_and_another_by_a_line_break() {
        insta::assert_snapshot!(
            carried_on("The bridge is"),
            @"The bridge is| open again. Cars may cross, at 6:30 p.m. today. Shall I go on?"
        );
        insta::assert_snapshot!(
            carried_on("The bridge is open again. Cars may cross, at"),
            @"The bridge is open again. Cars may cross, at| 6:30 p.m. today. Shall I go on?"
        );
        insta::assert_snapshot!(
            carried_on("As far as I know, the old"),
            @"
        As far as I know, the old|
        The bridge is open again. Cars may cross, at 6:30 p.m. today. Shall I go on?
        "
        );
    }
}
