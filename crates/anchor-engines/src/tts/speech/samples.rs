//! Bytes to sound, and sound to what a listener should hear of it.

use anchor_core::audio::{OUTPUT_RATE, Resampler, Samples, UnsupportedRate};

use super::container::Layout;

/// Samples whose values stay within this (-54 dBFS) are silence, codec noise included.
const AUDIBLE: f32 = 0.002;

/// Silence left before the first sound of a clause: more would only be heard as delay.
const LEAD: Samples = Samples::from_ms(10);

/// Silence left behind the last sound of a clause, and the longest that is given out before it is known to be a pause.
const TAIL: Samples = Samples::from_ms(300);

/// Voices pause for a second at most; one that is silent for longer has stopped speaking.
pub(super) const PAUSE_MAX: Samples = Samples::from_ms(3_000);

/// Bytes to samples at [`OUTPUT_RATE`].
pub(super) struct Decoder {
    channels: usize,
    /// Bytes of samples that still belong to the file, if it says.
    remaining: Option<usize>,
    /// Bytes that are no whole frame yet.
    odd: Vec<u8>,
    /// `None` at the end.
    resampler: Option<Resampler>,
}

impl Decoder {
    pub(super) fn new(layout: Layout, length: Option<usize>) -> Result<Self, UnsupportedRate> {
        let resampler = Some(Resampler::new(layout.rate, OUTPUT_RATE)?);
        Ok(Self { channels: layout.channels, remaining: length, odd: Vec::new(), resampler })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<f32> {
        let wanted = self.remaining.map_or(bytes.len(), |remaining| remaining.min(bytes.len()));
        self.remaining = self.remaining.map(|remaining| remaining - wanted);
        self.odd.extend_from_slice(&bytes[..wanted]);
        let frame = 2 * self.channels;
        let whole = self.odd.len() / frame * frame;
        let bytes: Vec<u8> = self.odd.drain(..whole).collect();
        let mix = |frame: &[u8]| {
            let samples = frame.as_chunks::<2>().0;
            let sum: f32 = samples.iter().map(|sample| f32::from(i16::from_le_bytes(*sample))).sum();
            sum / (32_768.0 * samples.len() as f32)
        };
        let mono: Vec<f32> = bytes.chunks_exact(frame).map(mix).collect();
        self.resampler.as_mut().map(|resampler| resampler.push(&mono)).unwrap_or_default()
    }

    pub(super) fn finish(&mut self) -> Vec<f32> {
        self.resampler.take().map(Resampler::finish).unwrap_or_default()
    }
}

/// Holds silence back until sound follows it.
#[derive(Default)]
pub(super) struct Pauses {
    begun: bool,
    /// Length of the silence at the moment.
    length: u64,
    held: Vec<f32>,
}

impl Pauses {
    /// What can be given out with this sound, and whether the silence at its end is no pause any more.
    pub(super) fn pass(&mut self, sound: &[f32]) -> (Vec<f32>, bool) {
        let mut out = Vec::with_capacity(sound.len());
        for &sample in sound {
            if sample.abs() > AUDIBLE {
                let start = if self.begun { 0 } else { self.held.len().saturating_sub(LEAD.0 as usize) };
                out.extend_from_slice(&self.held[start..]);
                out.push(sample);
                self.held.clear();
                (self.begun, self.length) = (true, 0);
                continue;
            }
            self.length += 1;
            if self.length > PAUSE_MAX.0 {
                return (out, true);
            }
            if self.begun && self.length <= TAIL.0 { out.push(sample) } else { self.held.push(sample) }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_mixed_and_bytes_beyond_the_file_left_out() {
        let layout = Layout { rate: OUTPUT_RATE, channels: 2 };
        let mut decoder = Decoder::new(layout, Some(8)).unwrap();
        assert!(decoder.push(&[0x00, 0x40, 0x00]).is_empty());
        assert_eq!(decoder.push(&[0x20, 0, 0, 0, 0x40, 1, 2, 3, 4, 5]), [0.375, 0.25]);
        assert!(decoder.finish().is_empty());
    }

    #[test]
    fn silence_waits_for_the_sound_behind_it() {
        let mut pauses = Pauses::default();
        let silence = |ms: usize| vec![0.0; 24 * ms];
        assert_eq!(pauses.pass(&silence(1_000)), (Vec::new(), false));
        assert_eq!(pauses.pass(&[0.5]).0.len(), 241);
        assert_eq!(pauses.pass(&silence(1_000)).0.len(), 24 * 300);
        assert_eq!(pauses.pass(&[0.5]).0.len(), 24 * 700 + 1);
        assert!(!pauses.pass(&silence(3_000)).1);
        assert!(pauses.pass(&[0.0]).1);
    }
}
