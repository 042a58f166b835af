//! Sound as the core knows it: mono `f32` in -1..1, at one rate for what is heard and one for what is said.

use std::fmt;
use std::ops::{Add, Deref, Sub};
use std::sync::Arc;
use std::time::Duration;

mod resample;

pub use resample::{Resampler, UnsupportedRate, resample};

/// Rate of everything a session hears, in Hz. Recognisers and voice activity detectors are trained at 16 kHz.
pub const INPUT_RATE: u32 = 16_000;

/// Rate of everything a session says, in Hz. The rate of the OpenAI Realtime API and of most neural voices.
pub const OUTPUT_RATE: u32 = 24_000;

/// A piece of mono sound, cheap to clone. Its rate is [`INPUT_RATE`] on the way in and [`OUTPUT_RATE`] on the way out.
#[derive(Clone, PartialEq)]
pub struct AudioFrame(Arc<[f32]>);

impl AudioFrame {
    /// Wraps samples in -1..1. Values that are not finite become silence, so that no later stage meets a NaN.
    pub fn new(samples: impl Into<Vec<f32>>) -> Self {
        let mut samples = samples.into();
        for sample in &mut samples {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        Self(samples.into())
    }
}

impl Deref for AudioFrame {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl fmt::Debug for AudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AudioFrame({} samples)", self.len())
    }
}

/// A position in what the session hears: samples at [`INPUT_RATE`] since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleTime(pub u64);

impl SampleTime {
    /// The position reached after `milliseconds`.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds * INPUT_RATE as u64 / 1000)
    }

    /// Whole milliseconds since the session began.
    pub const fn as_ms(self) -> u64 {
        self.0 * 1000 / INPUT_RATE as u64
    }

    /// How long this many samples last.
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.0 * 1_000_000 / u64::from(INPUT_RATE))
    }

    /// The distance to an earlier position, nothing if that position is later.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for SampleTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

/// A length of what the session says: samples at [`OUTPUT_RATE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Samples(pub u64);

impl Samples {
    /// The number of samples that last `milliseconds`.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds * OUTPUT_RATE as u64 / 1000)
    }

    /// The number of samples that last `duration`.
    pub fn from_duration(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / u64::from(OUTPUT_RATE));
        Self(micros * u64::from(OUTPUT_RATE) / 1_000_000)
    }

    /// Whole milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0 * 1000 / OUTPUT_RATE as u64
    }

    /// How long this many samples last.
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.0 * 1_000_000 / u64::from(OUTPUT_RATE))
    }
}

impl Add for Samples {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Samples {
    type Output = Self;

    /// Saturates at nothing.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Root mean square of `samples` in dB relative to full scale; `-120` for digital silence or nothing.
pub fn level_dbfs(samples: &[f32]) -> f32 {
    const SILENCE: f32 = -120.0;
    if samples.is_empty() {
        return SILENCE;
    }
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
    (10.0 * power.log10()).max(SILENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_convert_both_ways() {
        assert_eq!(SampleTime::from_ms(20).0, 320);
        assert_eq!(SampleTime(320).as_ms(), 20);
        assert_eq!(Samples::from_ms(20).0, 480);
        assert_eq!(Samples::from_duration(Duration::from_millis(20)).0, 480);
        assert_eq!(Samples(480).duration(), Duration::from_millis(20));
    }

    #[test]
    fn a_frame_holds_no_nan() {
        let frame = AudioFrame::new(vec![f32::NAN, f32::INFINITY, 0.5]);
        assert_eq!(&*frame, &[0.0, 0.0, 0.5]);
    }

    #[test]
    fn levels_are_in_decibels_of_full_scale() {
        assert_eq!(level_dbfs(&[]), -120.0);
        assert_eq!(level_dbfs(&[0.0; 16]), -120.0);
        assert!((level_dbfs(&[0.1; 16]) + 20.0).abs() < 1e-3);
    }
}
