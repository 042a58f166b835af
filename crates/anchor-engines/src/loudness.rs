//! One loudness for all voices: a gain found once for each voice, and a limiter so that nothing clips.

use std::collections::VecDeque;

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::SPEECH_LOUDNESS_LUFS;
use ebur128::{EbuR128, Mode};

/// Highest sample given out: -2 dBFS, which leaves 1 dB for the peaks between samples under a true peak of -1 dBTP.
const CEILING: f32 = 0.794;

/// How far the limiter looks ahead, and how long it takes to turn down: 2 ms.
const LOOKAHEAD: usize = OUTPUT_RATE as usize / 500;

/// How fast it turns up again: 1/e of the way is left after 50 ms.
const RELEASE: f32 = 1.0 / (0.05 * OUTPUT_RATE as f32);

/// Gains beyond this would lift noise rather than a voice.
const LARGEST_GAIN_DB: f64 = 30.0;

/// Integrated loudness of mono sound in LUFS (ITU-R BS.1770); `None` where everything is silent or shorter than the
/// 400 ms of one measuring block.
pub fn integrated(samples: &[f32], rate: u32) -> Option<f64> {
    let mut meter = EbuR128::new(1, rate, Mode::I).ok()?;
    meter.add_frames_f32(samples).ok()?;
    meter.loudness_global().ok().filter(|lufs| lufs.is_finite())
}

/// Highest peak of mono sound in dBTP, those between the samples included (ITU-R BS.1770); `None` for silence.
pub fn true_peak(samples: &[f32], rate: u32) -> Option<f64> {
    let mut meter = EbuR128::new(1, rate, Mode::TRUE_PEAK).ok()?;
    meter.add_frames_f32(samples).ok()?;
    meter.true_peak(0).ok().filter(|peak| *peak > 0.0).map(|peak| 20.0 * peak.log10())
}

/// The factor that brings a voice to [`SPEECH_LOUDNESS_LUFS`], measured on speech of it. 1 where it has no loudness.
pub fn gain(speech: &[f32], rate: u32) -> f32 {
    let Some(lufs) = integrated(speech, rate) else { return 1.0 };
    let decibels = (SPEECH_LOUDNESS_LUFS - lufs).clamp(-LARGEST_GAIN_DB, LARGEST_GAIN_DB);
    10f64.powf(decibels / 20.0) as f32
}

/// Gain and peak limiter for one stretch of speech at [`OUTPUT_RATE`].
///
/// The limiter takes for each sample the gain that the loudest of the samples around it needs, lets it rise again
/// slowly, and smooths it over its look-ahead; each mean is over gains that all suffice, so no sample passes the
/// ceiling.
pub struct Leveller {
    gain: f32,
    /// Samples not yet given out, newest last.
    ahead: VecDeque<f32>,
    /// Gains needed by the samples ahead, those left out that an equal or smaller one follows: position, gain.
    needed: VecDeque<(u64, f32)>,
    position: u64,
    released: f32,
    /// The last `LOOKAHEAD` gains and their sum, in `f64` so that it does not drift within a clause.
    smoothing: VecDeque<f32>,
    sum: f64,
}

impl Leveller {
    /// For a voice that needs this gain.
    pub fn new(gain: f32) -> Self {
        Self {
            gain,
            ahead: VecDeque::new(),
            needed: VecDeque::new(),
            position: 0,
            released: 1.0,
            smoothing: std::iter::repeat_n(1.0, LOOKAHEAD).collect(),
            sum: LOOKAHEAD as f64,
        }
    }

    /// Takes the next samples and returns those that left the look-ahead.
    pub fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        samples.iter().filter_map(|sample| self.step(sample * self.gain)).collect()
    }

    /// Ends the stretch and returns the rest, so that as much came out as went in.
    pub fn finish(mut self) -> Vec<f32> {
        (0..self.ahead.len()).filter_map(|_| self.step(0.0)).collect()
    }

    fn step(&mut self, sample: f32) -> Option<f32> {
        let need = if sample.abs() > CEILING { CEILING / sample.abs() } else { 1.0 };
        while self.needed.pop_back_if(|(_, gain)| *gain >= need).is_some() {}
        self.needed.push_back((self.position, need));
        self.needed.pop_front_if(|(at, _)| *at + (LOOKAHEAD as u64) <= self.position);
        self.position += 1;

        let least = self.needed.front().map_or(1.0, |(_, gain)| *gain);
        self.released = least.min(self.released + (1.0 - self.released) * RELEASE);
        let oldest = self.smoothing.pop_front().unwrap_or(1.0);
        self.smoothing.push_back(self.released);
        self.sum += f64::from(self.released) - f64::from(oldest);

        self.ahead.push_back(sample);
        if self.ahead.len() < LOOKAHEAD {
            return None;
        }
        let smooth = (self.sum / LOOKAHEAD as f64) as f32;
        // Rounding may exceed the ceiling by a hair.
        self.ahead.pop_front().map(|sample| (sample * smooth).clamp(-CEILING, CEILING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(samples: &[f32], gain: f32, piece: usize) -> Vec<f32> {
        let mut leveller = Leveller::new(gain);
        let mut out: Vec<f32> = samples.chunks(piece).flat_map(|piece| leveller.push(piece)).collect();
        out.extend(leveller.finish());
        out
    }

    fn sine(amplitude: f32, ms: usize) -> Vec<f32> {
        let step = std::f32::consts::TAU * 997.0 / OUTPUT_RATE as f32;
        (0..OUTPUT_RATE as usize * ms / 1000).map(|n| amplitude * (step * n as f32).sin()).collect()
    }

    #[test]
    fn what_is_quiet_enough_is_only_amplified() {
        let quiet = sine(0.1, 100);
        let doubled: Vec<f32> = quiet.iter().map(|s| s * 2.0).collect();
        assert_eq!(level(&quiet, 2.0, 480), doubled);
    }

    #[test]
    fn nothing_passes_the_ceiling_and_nothing_is_lost() {
        let mut burst = sine(0.05, 100);
        burst[1000] = 1.0;
        burst.extend(sine(1.0, 50));
        burst.extend([1.0, -1.0].repeat(100));
        for piece in [1, 7, 480, 100_000] {
            let out = level(&burst, 8.0, piece);
            assert_eq!(out.len(), burst.len());
            assert!(out.iter().all(|s| s.abs() <= CEILING));
            assert_eq!(out, level(&burst, 8.0, 333));
        }
        assert_eq!(
            level(&burst, 8.0, 480)[..900],
            level(&burst[..1200], 8.0, 480)[..900],
            "turning down starts 2 ms ahead"
        );
    }

    #[test]
    fn a_voice_of_any_level_reaches_the_target() {
        for amplitude in [0.01, 0.1, 0.9] {
            let voice = sine(amplitude, 2000);
            let out = level(&voice, gain(&voice, OUTPUT_RATE), 480);
            let lufs = integrated(&out, OUTPUT_RATE).unwrap();
            assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() < 0.1, "{amplitude}: {lufs}");
        }
    }

    #[test]
    fn silence_has_no_loudness() {
        assert_eq!(integrated(&[0.0; 48_000], OUTPUT_RATE), None);
        assert_eq!(integrated(&[0.5; 100], OUTPUT_RATE), None);
        assert_eq!(gain(&[], OUTPUT_RATE), 1.0);
    }
}
