//! What is left of a clause when a voice that tells its words' times breaks off within it: how far the words were heard,
//! where the sound is cut, and from which word on the next voice speaks.

use anchor_core::audio::{OUTPUT_RATE, Samples, level_dbfs};
use anchor_core::engine::WordTime;

/// A word that ends this little behind the sound was heard: its last sound fades anyway.
const TOLERANCE: Samples = Samples::from_ms(30);

/// How long a piece of sound has to be quiet to be taken for a pause.
const WINDOW: usize = OUTPUT_RATE as usize / 100;

/// Quieter than this, in dBFS, is silence.
const SILENCE: f32 = -60.0;

/// A place at the edge of what is near has to be so many dB better than one in the middle.
const DISTANCE: f32 = 6.0;

/// The end of a cut sound is faded out over this length, in samples, so that it does not click.
pub(super) const FADE: usize = OUTPUT_RATE as usize * 6 / 1000;

/// Where a clause was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BreakOff {
    /// Byte behind the last word that was heard, in the text the voice was given.
    pub(super) text_end: usize,
    /// Length of the sound up to the cut, of the samples the voice gave.
    pub(super) cut: Samples,
}

/// Where to break off a clause, of whose sound `given` is out of reach and `held` is not, and whose words were told.
pub(super) fn break_off(words: &[WordTime], given: Samples, held: &[f32]) -> BreakOff {
    let length = Samples(given.0 + held.len() as u64);
    let last = words.iter().rev().find(|word| word.end <= length + TOLERANCE);
    let text_end = last.map_or(0, |word| word.text_end);
    let cut = match last {
        Some(word) if word.end >= given => word.end.min(length),
        // Within a word: it will be said again, so the less of it is heard the better.
        _ => Samples(given.0 + quietest(held) as u64),
    };
    BreakOff { text_end, cut }
}

/// The place in `new`, at most `near` from `place`, where it is as loud as `old` is at `cut`: a pause goes on as a pause, and
/// a sound as a sound. The nearest of several.
pub(super) fn as_loud(old: &[f32], cut: usize, new: &[f32], place: usize, near: usize) -> usize {
    let level = |sound: &[f32], at: usize| {
        let piece = &sound[at.saturating_sub(WINDOW / 2).min(sound.len())..(at + WINDOW / 2).min(sound.len())];
        level_dbfs(piece).max(SILENCE)
    };
    let wanted = level(old, cut);
    let unlike = |at: usize| (level(new, at) - wanted).abs() + at.abs_diff(place) as f32 / near as f32 * DISTANCE;
    let places = (0..=2 * near).step_by(WINDOW / 4).filter_map(|at| (place + at).checked_sub(near));
    let within = std::iter::once(place).chain(places).filter(|at| *at <= new.len());
    within.min_by(|a, b| unlike(*a).total_cmp(&unlike(*b))).unwrap_or(place)
}

/// The words of `text` laid out along a sound of this length.
pub(super) fn lay_out(text: &str, length: Samples) -> Vec<WordTime> {
    let all = weight(text);
    let place =
        |end: usize| WordTime { text_end: end, end: Samples((length.0 as f64 * weight(&text[..end]) / all) as u64) };
    if all == 0.0 { Vec::new() } else { word_ends(text).map(place).collect() }
}

/// Blends the end of a sound into the beginning of another.
pub(super) fn blend(end: &[f32], sound: &mut [f32]) {
    let length = sound.len().min(FADE);
    for (at, sample) in sound[..length].iter_mut().enumerate() {
        let share = at as f32 / length as f32;
        *sample = *sample * share + end.get(at).unwrap_or(&0.0) * (1.0 - share);
    }
}

/// Fades out the end of a sound.
pub(super) fn fade_out(samples: &mut [f32]) {
    let length = samples.len().min(FADE);
    let begin = samples.len() - length;
    for (at, sample) in samples[begin..].iter_mut().enumerate() {
        *sample *= 1.0 - (at + 1) as f32 / length as f32;
    }
}

/// The middle of the quietest piece of a sound, the latest of several; all of it where it is shorter than a piece.
pub(super) fn quietest(samples: &[f32]) -> usize {
    if samples.len() <= WINDOW {
        return samples.len();
    }
    let energy = |piece: &[f32]| piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    let places = (0..=samples.len() - WINDOW).step_by(WINDOW / 4).map(|at| (energy(&samples[at..at + WINDOW]), at));
    // Silence is silence: a little noise does not make one pause better than a later one.
    let floor = 1e-7 * WINDOW as f64;
    let best = places.min_by(|a, b| a.0.max(floor).total_cmp(&b.0.max(floor)).then(b.1.cmp(&a.1)));
    best.map_or(samples.len(), |(_, at)| at + WINDOW / 2)
}

/// The bytes behind each word that can be heard.
fn word_ends(text: &str) -> impl Iterator<Item = usize> {
    let mut begin = 0;
    let pieces = text.split_inclusive(char::is_whitespace).map(move |piece| {
        let at = begin;
        begin += piece.len();
        (at, piece.trim_end())
    });
    pieces.filter(|(_, word)| word.contains(char::is_alphanumeric)).map(|(at, word)| at + word.len())
}

/// How long a text takes to say, in letters. Fitted to the word times of three of Flite's voices; a figure is a word by
/// itself, and marks are pauses.
fn weight(text: &str) -> f64 {
    let text = text.trim_end();
    let mut chars = text.chars().peekable();
    let mut weight = 0.0;
    while let Some(c) = chars.next() {
        // "3.5" has no pause in it.
        let ends_word = chars.peek().is_none_or(|next| next.is_whitespace());
        weight += match c {
            '.' | '!' | '?' | '…' | '।' if ends_word => 2.5,
            ',' | ';' | ':' | '—' | '–' if ends_word => 1.4,
            '。' | '，' => 2.5,
            c if c.is_numeric() => 4.0,
            c if c.is_alphabetic() => 1.0,
            c if c.is_whitespace() => 0.2,
            _ => 0.0,
        };
    }
    weight
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tone(milliseconds: u64) -> Vec<f32> {
        (0..Samples::from_ms(milliseconds).0).map(|at| (at as f32 * 0.1).sin() * 0.3).collect()
    }

    #[test]
    fn words_with_times_are_cut_at_their_ends() {
        let word = |text_end, ms| WordTime { text_end, end: Samples::from_ms(ms) };
        let words = [word(4, 300), word(10, 600), word(17, 1100), word(22, 1400), word(27, 1800)];
        let at = |given, held| {
            let cut = break_off(&words, Samples::from_ms(given), &tone(held));
            (cut.text_end, cut.cut.as_ms())
        };
        assert_eq!(at(550, 100), (10, 600), "a word ends within what is held");
        assert_eq!(at(550, 40), (10, 590), "the end of a word may be missing by a little");
        let (text_end, cut) = at(700, 200);
        assert!(text_end == 10 && (700..900).contains(&cut), "within a word, which is said again");
        assert_eq!(at(0, 100).0, 0);
        assert_eq!(at(1800, 0), (27, 1800));
    }

    #[test]
    fn words_are_laid_out_by_their_letters() {
        let laid_out = lay_out("Cars cross again, they say.", Samples::from_ms(1800));
        assert_eq!(laid_out.iter().map(|word| word.text_end).collect::<Vec<_>>(), [4, 10, 17, 22, 27]);
        assert_eq!(laid_out[4].end, Samples::from_ms(1800));
    }

    #[test]
    fn a_pause_goes_on_as_a_pause_and_a_sound_as_a_sound() {
        let old = [tone(100), vec![0.0; 2_400], tone(100)].concat();
        let near = 960;
        assert_eq!(as_loud(&old, 1_200, &old, 1_200, near), 1_200, "a sound is not left for a pause");
        let silent = as_loud(&old, 3_600, &old, 2_000, near);
        assert!((2_500..2_960).contains(&silent), "{silent}");
        assert_eq!(as_loud(&old, 0, &[], 0, near), 0);
    }

    #[test]
    fn a_sound_ends_in_silence_or_in_another() {
        let mut sound = vec![1.0; 1000];
        fade_out(&mut sound);
        assert_eq!((sound[999], sound[1000 - FADE - 1]), (0.0, 1.0));
        blend(&[0.5; FADE], &mut sound);
        assert_eq!((sound[0], sound[FADE / 2], sound[FADE]), (0.5, 0.75, 1.0));
        fade_out(&mut []);
        blend(&[1.0], &mut []);
    }

    proptest! {
        /// Wherever a voice breaks off, the cut lies in what can still be cut, and the text is cut behind a word.
        #[test]
        fn cuts_lie_where_they_can(
            text in "[a-zé0-9,. ]{0,60}",
            given in 0u64..200_000,
            held in prop::collection::vec(-1.0f32..1.0, 0..7000),
            times in prop::collection::vec(0u64..200_000, 0..8),
        ) {
            let ends: Vec<_> = word_ends(&text).collect();
            let mut times = times;
            times.sort_unstable();
            let words: Vec<_> = ends.iter().zip(&times).map(|(&text_end, &end)| WordTime { text_end, end: Samples(end) }).collect();
            let BreakOff { text_end, cut } = break_off(&words, Samples(given), &held);
            prop_assert!((given..=given + held.len() as u64).contains(&cut.0));
            prop_assert!(text_end == 0 || ends.contains(&text_end));
            // No word that was told to end later counts as heard, and none that ended before the cut is said again.
            for word in words {
                prop_assert!(word.text_end > text_end || word.end <= Samples(given + held.len() as u64) + TOLERANCE);
                prop_assert!(word.text_end <= text_end || word.end > cut);
            }
            let laid_out = lay_out(&text, Samples(given));
            prop_assert!(laid_out.is_sorted_by_key(|word| (word.text_end, word.end)));
            prop_assert!(laid_out.iter().all(|word| word.end.0 <= given));
        }
    }
}
