//! Speech that a test can read back: each word is a burst of a tone that names it, so that what was heard, in which order,
//! comes out of the sound alone, whatever its rate and level.

use std::f32::consts::TAU;

/// Words are told apart by their tones, this many of them. More would stand too close for a burst of 60 ms.
const TONES: usize = 128;

/// Tones lie this far apart, in Hz, from the first on: below, levels and resamplers bend them; above, 24 kHz ends.
const FIRST_HZ: f32 = 500.0;
const STEP_HZ: f32 = 45.0;

/// Silence behind each word.
const GAP_MS: usize = 40;

/// What a word sounds like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard(pub usize);

/// The words of a text as they will be heard. Different words may sound alike; see [`distinct`].
pub fn spoken(text: &str) -> Vec<Heard> {
    words(text).map(|word| Heard(tone(&word))).collect()
}

/// Whether all words of a text sound different.
pub fn distinct(text: &str) -> bool {
    let mut heard = spoken(text);
    let count = heard.len();
    heard.sort_unstable();
    heard.dedup();
    heard.len() == count
}

/// The sound of a text at this rate.
pub fn speak(text: &str, rate: u32) -> Vec<f32> {
    let per_ms = rate as usize / 1000;
    let mut sound = vec![0.0; 20 * per_ms];
    for word in words(text) {
        let length = burst_ms(&word) * rate as usize / 1000;
        let step = TAU * hz(tone(&word)) / rate as f32;
        // Soft edges keep the tone's neighbours quiet.
        let edge = 5 * per_ms;
        let loud = |n: usize| (n.min(length - n) as f32 / edge as f32).min(1.0);
        sound.extend((0..length).map(|n| 0.3 * loud(n) * (step * n as f32).sin()));
        sound.extend(std::iter::repeat_n(0.0, GAP_MS * per_ms));
    }
    sound
}

/// The words in sound at 24 kHz. Pieces of a word shorter than half of the shortest are not heard.
pub fn words_heard(sound: &[f32]) -> Vec<Heard> {
    const RATE: usize = 24_000;
    let peak = sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let envelope: Vec<bool> = sound
        .chunks(RATE / 200)
        .map(|block| block.iter().any(|sample| sample.abs() > 0.2 * peak && sample.abs() > 0.001))
        .collect();
    let mut heard = Vec::new();
    let mut at = 0;
    while at < envelope.len() {
        let length = envelope[at..].iter().take_while(|loud| **loud).count();
        if length >= 8 {
            let block = RATE / 200;
            heard.push(Heard(nearest_tone(
                &sound[(at + 1) * block..((at + length - 1) * block).min(sound.len())],
                RATE,
            )));
        }
        at += length.max(1);
    }
    heard
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let bare = |word: &str| word.chars().filter(|sign| sign.is_alphanumeric()).collect::<String>().to_lowercase();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty())
}

fn tone(word: &str) -> usize {
    let hash = word
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 20) as usize % TONES
}

fn hz(tone: usize) -> f32 {
    FIRST_HZ + STEP_HZ * tone as f32
}

/// 60 to 150 ms by its letters.
fn burst_ms(word: &str) -> usize {
    (40 + 20 * word.chars().count()).min(150)
}

/// The tone with the most power (Goertzel).
fn nearest_tone(burst: &[f32], rate: usize) -> usize {
    let power = |tone: &usize| {
        let twice = 2.0 * (TAU * hz(*tone) / rate as f32).cos();
        let (last, before) =
            burst.iter().fold((0.0_f32, 0.0_f32), |(last, before), sample| (sample + twice * last - before, last));
        last * last + before * before - twice * last * before
    };
    (0..TONES).max_by(|a, b| power(a).total_cmp(&power(b))).expect("there are tones")
}

mod tests {
    use anchor_core::audio::resample;
    use anchor_engines::loudness::Leveller;

    use super::*;

    const TEXT: &str = "A ferry ran aground off the harbour wall on Tuesday morning, and nobody was hurt.";

    #[test]
    fn words_are_read_back_in_order() {
        assert_eq!(words_heard(&speak(TEXT, 24_000)), spoken(TEXT));
        assert!(distinct("one two three") && !distinct("two two"));
        assert_eq!(words_heard(&[0.0; 24_000]), []);
    }

    #[test]
    fn level_and_rate_do_not_matter() {
        for rate in [16_000, 22_050, 48_000] {
            let sound = resample(&speak(TEXT, rate), rate, 24_000).unwrap();
            for gain in [0.05, 0.5, 6.0] {
                let mut leveller = Leveller::new(gain);
                let mut out = leveller.push(&sound);
                out.extend(leveller.finish());
                assert_eq!(words_heard(&out), spoken(TEXT), "{rate} Hz, {gain}");
            }
        }
    }

    #[test]
    fn what_was_cut_off_is_missing_and_what_was_repeated_is_there_twice() {
        let whole = speak("bridge opens tomorrow", 24_000);
        let cut = &whole[..whole.len() / 3];
        let heard = words_heard(&[cut, &whole].concat());
        assert_eq!(heard[heard.len() - 3..], spoken("bridge opens tomorrow"));
        assert_eq!(heard[0], spoken("bridge")[0]);
    }
}
