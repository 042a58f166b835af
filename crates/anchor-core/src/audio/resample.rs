//! Rate conversion for streams: any rate in, any rate out, whatever the size of the pieces.

use std::collections::VecDeque;

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

/// Lowest and highest rate accepted, in Hz: from telephony to studio converters.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Louder than this is no sound, but a mistake that a transform would turn into infinities: 18 dB above full scale.
const LOUDEST: f32 = 8.0;

/// Work is done in pieces of this many milliseconds, which bounds the delay that buffering adds.
const CHUNK_MS: u32 = 10;

/// Converts one mono stream from one rate to another.
///
/// The filter's delay is removed from the front, so that sample 0 out is sample 0 in; a few milliseconds therefore
/// stay inside until [`finish`](Self::finish).
pub struct Resampler {
    /// `None` where both rates are equal.
    converter: Option<Fft<f32>>,
    pending: VecDeque<f32>,
    /// Output samples still to be dropped: the filter's delay.
    skip: usize,
    ratio: f64,
    taken: u64,
    given: u64,
}

/// The rate a stream was given in lies outside 4 to 384 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample rate of {0} Hz cannot be converted: use one between 4000 and 384000")]
pub struct UnsupportedRate(pub u32);

impl Resampler {
    /// A converter from `from` Hz to `to` Hz.
    pub fn new(from: u32, to: u32) -> Result<Self, UnsupportedRate> {
        for rate in [from, to] {
            if !RATES.contains(&rate) {
                return Err(UnsupportedRate(rate));
            }
        }
        let converter = if from == to {
            None
        } else {
            let chunk = (from * CHUNK_MS / 1000) as usize;
            Some(Fft::new(from as usize, to as usize, chunk, 1, FixedSync::Input).map_err(|_| UnsupportedRate(from))?)
        };
        let skip = converter.as_ref().map_or(0, |c| c.output_delay());
        let ratio = f64::from(to) / f64::from(from);
        Ok(Self { converter, pending: VecDeque::new(), skip, ratio, taken: 0, given: 0 })
    }

    /// Takes the next samples and returns what can be given out by now. A file may hold samples that are no numbers; they
    /// count as silence.
    pub fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.taken += samples.len() as u64;
        let Some(converter) = &mut self.converter else {
            self.given += samples.len() as u64;
            return samples.iter().map(|sample| tame(*sample)).collect();
        };
        self.pending.extend(samples.iter().map(|sample| tame(*sample)));
        let mut out = Vec::new();
        while self.pending.len() >= converter.input_frames_next() {
            let chunk: Vec<f32> = self.pending.drain(..converter.input_frames_next()).collect();
            convert(converter, &chunk, &mut self.skip, &mut out);
        }
        self.given += out.len() as u64;
        out
    }

    /// Ends the stream and returns the rest, so that the whole is as long as the input was (times the ratio).
    pub fn finish(mut self) -> Vec<f32> {
        let due = ((self.taken as f64 * self.ratio).round() as u64).saturating_sub(self.given) as usize;
        let mut out = Vec::with_capacity(due);
        if let Some(converter) = &mut self.converter {
            let mut chunk: Vec<f32> = self.pending.drain(..).collect();
            while out.len() < due {
                chunk.truncate(converter.input_frames_next());
                convert(converter, &chunk, &mut self.skip, &mut out);
                chunk.clear();
            }
        }
        out.truncate(due);
        out
    }
}

fn tame(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

/// Runs one chunk, padded with silence where it is short, and appends what lies behind the filter's delay.
fn convert(converter: &mut Fft<f32>, chunk: &[f32], skip: &mut usize, out: &mut Vec<f32>) {
    let padded;
    let needed = converter.input_frames_next();
    let (frames, indexing) = if chunk.len() < needed {
        padded = [chunk, &vec![0.0; needed - chunk.len()]].concat();
        (&padded[..], Indexing::new().partial_len(chunk.len()))
    } else {
        (chunk, Indexing::new())
    };
    let input = InterleavedSlice::new(frames, 1, frames.len()).expect("one channel as long as its samples");
    let converted = converter
        .process(&input, Some(&indexing))
        .expect("the chunk has the length the converter asked for")
        .take_data();
    let dropped = converted.len().min(*skip);
    *skip -= dropped;
    out.extend_from_slice(&converted[dropped..]);
}

/// Converts a whole clip at once.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, UnsupportedRate> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out = resampler.push(samples);
    out.extend(resampler.finish());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hz: f32, ms: u32) -> Vec<f32> {
        let step = std::f32::consts::TAU * hz / rate as f32;
        (0..rate * ms / 1000).map(|n| 0.5 * (step * n as f32).sin()).collect()
    }

    #[test]
    fn keeps_length_and_shape_at_every_common_rate() {
        for from in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000] {
            for to in [16_000, 24_000] {
                let out = resample(&sine(from, 440.0, 480), from, to).unwrap();
                let want = sine(to, 440.0, 480);
                assert_eq!(out.len(), want.len(), "{from} to {to}");
                // The filter rings where the tone sets in: up to a block of 40 ms at odd ratios.
                let edge = to as usize / 20;
                let worst = (edge..want.len() - edge).map(|n| (out[n] - want[n]).abs()).fold(0.0, f32::max);
                // Blocks of an odd length are centred between two samples.
                let half_a_sample = 0.5 * std::f32::consts::TAU * 440.0 * 0.5 / from.min(to) as f32;
                assert!(worst < half_a_sample + 0.01, "{from} to {to}: off by {worst}");
            }
        }
    }

    #[test]
    fn pieces_of_any_size_give_what_the_whole_gives() {
        let clip = sine(22_050, 300.0, 333);
        let whole = resample(&clip, 22_050, 24_000).unwrap();
        for size in [1, 7, 441, 5_000] {
            let mut resampler = Resampler::new(22_050, 24_000).unwrap();
            let mut out: Vec<f32> = clip.chunks(size).flat_map(|piece| resampler.push(piece)).collect();
            out.extend(resampler.finish());
            assert_eq!(out, whole, "pieces of {size}");
        }
    }

    #[test]
    fn samples_that_are_no_numbers_are_silence() {
        let clip = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.5].repeat(400);
        for from in [16_000, 24_000] {
            let out = resample(&clip, from, 16_000).unwrap();
            assert!(out.iter().all(|sample| sample.abs() < 2.0 * LOUDEST), "{from}");
            assert!(resample(&[f32::NAN; 2_400], from, 16_000).unwrap().iter().all(|&sample| sample == 0.0), "{from}");
        }
    }

    #[test]
    fn refuses_rates_no_device_has() {
        assert_eq!(Resampler::new(0, 16_000).err(), Some(UnsupportedRate(0)));
        assert_eq!(Resampler::new(16_000, 1_000_000).err(), Some(UnsupportedRate(1_000_000)));
    }
}
