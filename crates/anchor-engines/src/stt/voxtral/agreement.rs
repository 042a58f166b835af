//! Partial transcripts that are rarely taken back.
//!
//! A recogniser that hears a growing turn again and again changes its mind about the newest words. A word counts as settled
//! once two hypotheses in a row agree on everything up to it (LocalAgreement-2: Liu, Spanakis and Niehues, "Low-Latency
//! Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection", Interspeech 2020; used the
//! same way by Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System", 2023). Shown are the
//! settled words and, behind them, what the newest hypothesis adds, without its last word, which most often changes.

/// Hypotheses about one turn, in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    settled: Vec<String>,
    previous: Vec<String>,
}

impl Agreement {
    /// Takes the next hypothesis and returns what to show.
    pub(super) fn push(&mut self, hypothesis: &str) -> String {
        let words: Vec<String> = hypothesis.split_whitespace().map(str::to_owned).collect();
        let agreed = words.iter().zip(&self.previous).take_while(|(a, b)| alike(a, b)).count();
        // What was settled stays, even where a later hypothesis would have it otherwise.
        if agreed > self.settled.len() {
            self.settled.extend_from_slice(&words[self.settled.len()..agreed]);
        }
        let sure = words.len().saturating_sub(1);
        let open = words.get(self.settled.len()..sure).unwrap_or_default();
        let shown: Vec<&str> = self.settled.iter().chain(open).map(String::as_str).collect();
        let shown = shown.join(" ");
        self.previous = words;
        shown
    }
}

/// The same word, whatever its case and punctuation.
fn alike(a: &str, b: &str) -> bool {
    let letters = |word: &str| -> String {
        word.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    a == b || letters(a) == letters(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a recogniser says of a growing turn, as one might: endings change, a word is split, punctuation moves.
    const HYPOTHESES: [&str; 9] = [
        "What",
        "What is",
        "What is the where",
        "What is the weather",
        "What is the weather going",
        "What is the whether going to",
        "What is the weather going to be?",
        "What is the weather going to be in sell",
        "What is the weather going to be in Selmouth tomorrow?",
    ];

    fn shown(hypotheses: &[&str]) -> Vec<String> {
        let mut agreement = Agreement::default();
        hypotheses.iter().map(|hypothesis| agreement.push(hypothesis)).collect()
    }

    /// Words shown in all, and how many of them were taken back by what was shown next.
    fn taken_back<S: AsRef<str>>(shown: &[S]) -> (usize, usize) {
        let words = |text: &S| text.as_ref().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut back = 0;
        for pair in shown.windows(2) {
            let (before, after) = (words(&pair[0]), words(&pair[1]));
            let kept = before.iter().zip(&after).take_while(|(a, b)| alike(a, b)).count();
            back += before.len() - kept;
        }
        (shown.iter().map(|text| words(text).len()).sum(), back)
    }

    #[test]
    fn settled_words_stay_and_the_newest_word_waits() {
        assert_eq!(
            shown(&HYPOTHESES),
            [
                "",
                "What",
                "What is the",
                "What is the",
                "What is the weather",
                "What is the weather going",
                "What is the weather going to",
                "What is the weather going to be in",
                "What is the weather going to be in Selmouth",
            ]
        );
    }

    #[test]
    fn less_is_taken_back_than_without() {
        let (raw_shown, raw_back) = taken_back(&HYPOTHESES);
        let (shown, back) = taken_back(&shown(&HYPOTHESES));
        println!("taken back: {back} of {shown} words shown; without agreement {raw_back} of {raw_shown}");
        assert_eq!((raw_back, back), (7, 0));
    }

    /// Turns of twelve words, each heard twelve times while it grows. The two newest words are wrong as often as `newest` of
    /// 100 times, older ones as often as `older`.
    fn scripted(newest: u32, older: u32) -> [(usize, usize); 2] {
        let mut state = 1_u32;
        let mut hundred = || {
            // Numerical Recipes' linear congruential generator; its high bits are the random ones.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % 100
        };
        let mut sums = [(0, 0); 2];
        for _ in 0..500 {
            let mut hypotheses: Vec<String> = Vec::new();
            for length in 1..=12 {
                let mut word = |place: usize| {
                    let wrong = hundred() < if place + 2 >= length { newest } else { older };
                    if wrong { format!("x{}", hundred()) } else { format!("w{place}") }
                };
                hypotheses.push((0..length).map(&mut word).collect::<Vec<_>>().join(" "));
            }
            let raw: Vec<&str> = hypotheses.iter().map(String::as_str).collect();
            for (sum, counts) in sums.iter_mut().zip([taken_back(&raw), taken_back(&shown(&raw))]) {
                *sum = (sum.0 + counts.0, sum.1 + counts.1);
            }
        }
        sums
    }

    #[test]
    fn at_most_half_as_many_words_are_taken_back_as_without() {
        for (newest, older) in [(0, 0), (20, 0), (20, 2), (40, 2)] {
            let [raw, agreed] = scripted(newest, older).map(|(shown, back)| 100.0 * back as f64 / shown as f64);
            println!(
                "the two newest words wrong {newest} times in 100, older ones {older}: {raw:.1} % of the words shown are \
                 taken back without agreement, {agreed:.1} % with it"
            );
            assert!(agreed * 2.0 <= raw, "{agreed} of {raw}");
        }
    }

    #[test]
    fn an_empty_hypothesis_takes_nothing_back() {
        assert_eq!(shown(&["one two three", "one two three four", ""]).last().unwrap(), "one two three");
        assert_eq!(shown(&[""]), [""]);
    }
}
