//! What of a chat model's text is spoken: not what it thinks aloud first, not the white space before it begins, and with
//! a space where it goes on with somebody else's words.

use super::prompt::Prompt;

/// The marks between which models think aloud: DeepSeek's and Qwen's, and Mistral's.
const THOUGHT: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];

/// The text of one answer while it arrives.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    state: State,
    /// What cannot be judged yet.
    held: String,
    /// The answer goes on in the middle of a text: white space at its beginning belongs to it.
    goes_on: bool,
    /// A word would stick to the word before it.
    needs_space: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Beginning,
    Thinking(&'static str),
    Speaking,
}

impl Spoken {
    /// The answer to this prompt, which may go on with `so_far`.
    pub(super) fn new(prompt: &Prompt, so_far: &str) -> Self {
        let needs_space = !so_far.is_empty() && !prompt.prefilled && !so_far.ends_with(char::is_whitespace);
        Self { state: State::Beginning, held: String::new(), goes_on: prompt.prefilled, needs_space }
    }

    /// Takes in the next piece and gives what of it is spoken.
    pub(super) fn push(&mut self, piece: &str) -> Option<String> {
        if self.state == State::Speaking {
            return (!piece.is_empty()).then(|| piece.to_owned());
        }
        self.held.push_str(piece);
        loop {
            match self.state {
                State::Beginning => {
                    let begun = self.held.trim_start();
                    if let Some((open, close)) = THOUGHT.into_iter().find(|(open, _)| begun.starts_with(open)) {
                        self.held = begun[open.len()..].to_owned();
                        self.state = State::Thinking(close);
                    } else if THOUGHT.into_iter().any(|(open, _)| open.starts_with(begun)) {
                        return None;
                    } else {
                        return self.begin();
                    }
                }
                State::Thinking(close) => match self.held.find(close) {
                    Some(at) => {
                        self.held.drain(..at + close.len());
                        self.state = State::Beginning;
                    }
                    None => {
                        // Only the beginning of the closing mark can still matter.
                        let mut keep = self.held.len().saturating_sub(close.len());
                        while !self.held.is_char_boundary(keep) {
                            keep += 1;
                        }
                        self.held.drain(..keep);
                        return None;
                    }
                },
                State::Speaking => return None,
            }
        }
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> Option<String> {
        match self.state {
            State::Beginning => self.begin(),
            State::Thinking(_) | State::Speaking => None,
        }
    }

    fn begin(&mut self) -> Option<String> {
        let held = std::mem::take(&mut self.held);
        let text = if self.goes_on { &held } else { held.trim_start() };
        if text.is_empty() {
            return None;
        }
        self.state = State::Speaking;
        let space = if self.needs_space && text.starts_with(char::is_alphanumeric) { " " } else { "" };
        Some(format!("{space}{text}"))
    }
}

#[cfg(test)]
mod tests {
    use anchor_core::engine::LlmRequest;
    use proptest::prelude::*;

    use super::super::prompt::{Continues, Room};
    use super::*;

    fn spoken(so_far: &str, continues: Continues, pieces: &[&str]) -> String {
        let request = LlmRequest { so_far: so_far.into(), ..LlmRequest::default() };
        let prompt = Prompt::new(&request, continues, Room { context: 100, answer: 10, other: 0 });
        let mut spoken = Spoken::new(&prompt, so_far);
        let mut text: String = pieces.iter().filter_map(|piece| spoken.push(piece)).collect();
        text.extend(spoken.finish());
        text
    }

    #[test]
    fn thoughts_are_not_spoken() {
        let say = |pieces: &[&str]| spoken("", Continues::Ask, pieces);
        assert_eq!(say(&["\n<thi", "nk>What if é", "</thi", "nk>\n\nHello", " there."]), "Hello there.");
        assert_eq!(say(&["[THINK]no[/THINK]Yes."]), "Yes.");
        assert_eq!(say(&["<think>for ever"]), "");
        assert_eq!(say(&["<th", "ree> words"]), "<three> words");
        assert_eq!(say(&["<th"]), "<th");
        assert_eq!(say(&[" ", "", "A < b <think>."]), "A < b <think>.");
    }

    #[test]
    fn the_joint_has_one_space() {
        assert_eq!(spoken("It is", Continues::Ask, &["six."]), " six.");
        assert_eq!(spoken("It is ", Continues::Ask, &[" six."]), "six.");
        assert_eq!(spoken("It is six", Continues::Ask, &[" ", ", I think."]), ", I think.");
        assert_eq!(spoken("It is", Continues::Prefill, &[" ", "six."]), " six.");
        assert_eq!(spoken("It is si", Continues::Prefill, &["x."]), "x.");
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in "(<think>[a-zé<]{0,9}</think>)?[ a-z<é]{0,20}", at in 0_usize..40) {
            let cut = text.char_indices().map(|(cut, _)| cut).nth(at).unwrap_or(text.len());
            let (one, other) = text.split_at(cut);
            let say = |pieces: &[&str]| spoken("", Continues::Ask, pieces);
            prop_assert_eq!(say(&[one, other]), say(&[&text]));
        }
    }
}
