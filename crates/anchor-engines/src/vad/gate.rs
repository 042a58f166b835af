//! What stands between a microphone and a detector: no offset, an audible level, and no speech where the level says
//! that there is only noise.
//!
//! The noise floor is followed by its minima (R. Martin, "Noise power spectral density estimation based on optimal
//! smoothing and minimum statistics", 2001), here of the whole level instead of each frequency: speech pauses within
//! any few seconds, so what never gets quieter is not speech.

use std::collections::VecDeque;

use anchor_core::audio::INPUT_RATE;
use anchor_core::engine::Vad;

/// Levels are taken every 10 ms.
const HOP: usize = INPUT_RATE as usize / 100;

/// Hops a level is averaged over: about one window of a detector, so that noise alone varies little.
const AVERAGED: usize = 3;

/// The floor is the lowest level of the last 3 s, kept as the minima of blocks of half a second.
const BLOCK: usize = 50;
const BLOCKS: usize = 6;

/// The first second has no floor: a session may begin in the middle of a word.
const WARM_UP: usize = 100;

/// Speech has at least three times (4.8 dB) the floor's power. Noise by itself hardly reaches that above its minimum;
/// with four times, quiet syllables in noise 10 dB below speech were cut off and turns ended in the middle.
const MARGIN: f32 = 3.0;

/// And it has more than -65 dBFS: the weakest sounds of speech whose peaks are at -40.
const AUDIBLE: f32 = 3.2e-7;

/// The gate stays open for 130 ms: the closure of a stop consonant is part of its word.
const HOLD: usize = 13;

/// Quiet speech is brought up to this peak (-20 dBFS), for detectors miss it below -30 dBFS; at most by this factor
/// (16 dB). Not higher: a gain that noise has raised falls when a word begins, which makes short words in noise weaker.
const PEAK: f32 = 0.1;
const LARGEST_GAIN: f32 = 6.0;

/// What is left of a remembered peak after one sample: half of it after 2.3 s.
const PEAK_DECAY: f32 = 0.999_981_2;

/// Pole of the filter that takes out offset: 51 Hz.
const POLE: f32 = 0.98;

/// A detector behind a gate.
pub(super) struct Gate<V> {
    detector: V,
    offset: OffsetFilter,
    peak: f32,
    level: Level,
    floor: Floor,
    /// Hops the gate still stays open.
    open: usize,
}

impl<V: Vad> Gate<V> {
    pub(super) fn new(detector: V) -> Self {
        Self {
            detector,
            offset: OffsetFilter { before: None, out: 0.0 },
            peak: 0.0,
            level: Level::default(),
            floor: Floor::default(),
            open: 0,
        }
    }

    /// Takes at most what is missing of a hop, so that the outcome does not depend on the size of the pieces.
    fn push_within_hop(&mut self, pcm: &[f32]) -> Option<f32> {
        let mut cleaned = [0.0; HOP];
        for (clean, raw) in cleaned.iter_mut().zip(pcm) {
            // One NaN or infinity would stay in filters and networks for good.
            let sample = self.offset.apply(if raw.is_finite() { raw.clamp(-1.0, 1.0) } else { 0.0 });
            self.level.power += sample * sample;
            self.peak = (self.peak * PEAK_DECAY).max(sample.abs());
            *clean = sample * (PEAK / self.peak.max(f32::MIN_POSITIVE)).clamp(1.0, LARGEST_GAIN);
        }
        let probability = self.detector.push(&cleaned[..pcm.len()]);
        let opened = if self.open > 0 { probability } else { probability.map(|_| 0.0) };
        self.level.taken += pcm.len();
        if let Some(level) = self.level.end_hop() {
            self.floor.follow(level);
            let heard = level > AUDIBLE && self.floor.get().is_none_or(|floor| level > floor * MARGIN);
            self.open = if heard { HOLD } else { self.open.saturating_sub(1) };
        }
        opened
    }
}

impl<V: Vad> Vad for Gate<V> {
    fn push(&mut self, mut pcm: &[f32]) -> Option<f32> {
        let mut newest = None;
        while !pcm.is_empty() {
            let (piece, rest) = pcm.split_at(pcm.len().min(HOP - self.level.taken));
            newest = self.push_within_hop(piece).or(newest);
            pcm = rest;
        }
        newest
    }
}

/// Takes out offset and the lowest of hum: a one-pole high-pass.
struct OffsetFilter {
    /// `None` before the first sample, which is taken as the offset: a step would be as loud as a word.
    before: Option<f32>,
    out: f32,
}

impl OffsetFilter {
    fn apply(&mut self, sample: f32) -> f32 {
        self.out = sample - self.before.unwrap_or(sample) + POLE * self.out;
        self.before = Some(sample);
        self.out
    }
}

/// The level of the last hops.
#[derive(Default)]
struct Level {
    /// Energy of the hop so far, and its samples.
    power: f32,
    taken: usize,
    hops: VecDeque<f32>,
}

impl Level {
    /// Mean power of the last hops, if one has just been completed.
    fn end_hop(&mut self) -> Option<f32> {
        if self.taken < HOP {
            return None;
        }
        self.hops.push_back(self.power / HOP as f32);
        if self.hops.len() > AVERAGED {
            self.hops.pop_front();
        }
        (self.power, self.taken) = (0.0, 0);
        Some(self.hops.iter().sum::<f32>() / self.hops.len() as f32)
    }
}

/// The noise floor.
#[derive(Default)]
struct Floor {
    /// Lowest level of each block, the one still growing last.
    minima: VecDeque<f32>,
    hops: usize,
}

impl Floor {
    fn follow(&mut self, level: f32) {
        if self.hops.is_multiple_of(BLOCK) {
            self.minima.push_back(level);
            if self.minima.len() > BLOCKS + 1 {
                self.minima.pop_front();
            }
        }
        self.hops += 1;
        if let Some(minimum) = self.minima.back_mut() {
            *minimum = minimum.min(level);
        }
    }

    /// Power of the floor, `None` while it is not known.
    fn get(&self) -> Option<f32> {
        if self.hops < WARM_UP { None } else { self.minima.iter().copied().reduce(f32::min) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A detector that takes everything for speech and keeps what it is given.
    #[derive(Default)]
    struct Gullible(Vec<f32>);

    impl Vad for Gullible {
        fn push(&mut self, pcm: &[f32]) -> Option<f32> {
            let before = self.0.len() / 512;
            self.0.extend_from_slice(pcm);
            (self.0.len() / 512 > before).then_some(1.0)
        }
    }

    fn noise(level: f32, seconds: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..seconds * 16_000).map(|_| level * 1.73 * uniform()).collect()
    }

    fn tone(level: f32, seconds: usize) -> Vec<f32> {
        (0..seconds * 16_000).map(|n| level * 1.41 * (n as f32 * 0.173).sin()).collect()
    }

    fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + b).collect()
    }

    /// For each 32 ms whether the gate was open.
    fn open(gate: &mut Gate<Gullible>, sound: &[f32]) -> Vec<bool> {
        sound.chunks(320).filter_map(|piece| gate.push(piece)).map(|probability| probability > 0.5).collect()
    }

    fn gate() -> Gate<Gullible> {
        Gate::new(Gullible::default())
    }

    #[test]
    fn what_stays_is_noise() {
        for steady in [noise(0.02, 10), noise(0.3, 10), tone(0.1, 10), add(&tone(0.14, 10), &noise(0.1, 10))] {
            let heard = open(&mut gate(), &steady);
            assert!(heard[40..].iter().all(|open| !open), "closed soon after the first second");
            let mut gate = gate();
            open(&mut gate, &noise(0.001, 5));
            assert!(
                open(&mut gate, &steady)[120..].iter().all(|open| !open),
                "closed within four seconds of its onset"
            );
        }
    }

    #[test]
    fn a_tone_no_louder_than_the_noise_does_not_pass() {
        let mut gate = gate();
        open(&mut gate, &noise(0.02, 4));
        let heard = open(&mut gate, &add(&noise(0.02, 4), &tone(0.016, 4)));
        assert!(heard.iter().all(|open| !open));
    }

    #[test]
    fn offset_and_digital_silence_are_nothing() {
        assert!(open(&mut gate(), &[0.0; 64_000]).iter().all(|open| !open));
        assert!(open(&mut gate(), &[0.5; 64_000]).iter().all(|open| !open));
        assert!(open(&mut gate(), &noise(0.0004, 4)).iter().all(|open| !open));
    }

    #[test]
    fn a_word_is_let_through_from_its_first_window() {
        for before in [vec![], vec![0.0; 48_000], noise(0.001, 1), noise(0.03, 8)] {
            let mut gate = gate();
            open(&mut gate, &before);
            let word = &add(&tone(0.1, 1), &noise(0.03, 1))[..8_000];
            let heard = open(&mut gate, word);
            // The level of a window is known when it has been heard.
            assert!(heard[1..].iter().all(|open| *open), "after {} samples: {heard:?}", before.len());
        }
    }

    #[test]
    fn closures_within_a_word_stay_open_and_its_end_does_not() {
        let mut gate = gate();
        open(&mut gate, &noise(0.01, 5));
        let word = tone(0.1, 1);
        let quiet = noise(0.01, 1);
        open(&mut gate, &word);
        assert!(open(&mut gate, &quiet[..1_600]).iter().all(|open| *open), "100 ms of closure");
        open(&mut gate, &word);
        assert!(open(&mut gate, &quiet)[8..].iter().all(|open| !open), "closed 250 ms after the word, in noise");
    }

    #[test]
    fn quiet_speech_is_brought_up_and_loud_speech_is_left_alone() {
        let heard = |level| {
            let mut gate = gate();
            open(&mut gate, &tone(level, 1));
            gate.detector.0[8_000..].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()))
        };
        assert!((heard(0.005) - 0.005 * 1.41 * LARGEST_GAIN).abs() < 0.002, "{}", heard(0.005));
        assert!((heard(0.03) - PEAK).abs() < 0.005, "{}", heard(0.03));
        assert!((heard(0.5) - 0.5 * 1.41).abs() < 0.02, "{}", heard(0.5));
    }
}
