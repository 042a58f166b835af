//! A person for the benchmarks: a synthetic voice over the low noise of a quiet room.

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::{EngineError, Tts, TtsEvent, TtsRequest};
use futures::{StreamExt, stream};

use super::ear::audible;

/// Level of the noise in a quiet studio, root mean square.
pub const ROOM_NOISE_DBFS: f32 = -60.0;

/// Something a person says, at [`OUTPUT_RATE`], with the places of its first and last audible samples.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// The sound, without noise.
    pub samples: Vec<f32>,
    /// First audible sample.
    pub first: usize,
    /// Sample behind the last audible one.
    pub last: usize,
}

impl Utterance {
    /// Sound with something audible in it; `None` for silence.
    pub fn new(samples: Vec<f32>) -> Option<Self> {
        let first = audible(&samples).next()?;
        let last = (audible(&samples).last()? + OUTPUT_RATE as usize / 200).min(samples.len());
        Some(Self { samples, first, last })
    }

    /// Has a voice say `text`.
    pub async fn spoken(tts: &dyn Tts, voice: &str, text: &str) -> Result<Self, EngineError> {
        let request = TtsRequest { voice: Some(voice.into()), ..TtsRequest::default() };
        let mut events = tts.speak(request, stream::iter([text.to_owned()]).boxed());
        let mut samples = Vec::new();
        while let Some(event) = events.next().await {
            if let TtsEvent::Audio(frame) = event? {
                samples.extend_from_slice(&frame);
            }
        }
        let silent = || EngineError::Failed { engine: "bench", reason: format!("voice {voice} said nothing audible") };
        Self::new(samples).ok_or_else(silent)
    }
}

/// White noise that is the same in every run.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u32,
    amplitude: f32,
}

impl Noise {
    /// Noise at this root mean square level.
    pub fn new(level_dbfs: f32) -> Self {
        // A uniform distribution's root mean square is its amplitude over the square root of three.
        Self { state: 0x9e37_79b9, amplitude: 10f32.powf(level_dbfs / 20.0) * 3f32.sqrt() }
    }
}

impl Iterator for Noise {
    type Item = f32;

    /// Marsaglia's xorshift32.
    fn next(&mut self) -> Option<f32> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        Some((self.state as f32 / (u32::MAX / 2) as f32 - 1.0) * self.amplitude)
    }
}

#[cfg(test)]
mod tests {
    use anchor_core::audio::level_dbfs;

    use super::*;

    #[test]
    fn noise_has_the_level_asked_for() {
        let noise: Vec<f32> = Noise::new(ROOM_NOISE_DBFS).take(48_000).collect();
        assert!((level_dbfs(&noise) - ROOM_NOISE_DBFS).abs() < 0.2);
    }

    #[test]
    fn an_utterance_knows_where_it_is_audible() {
        let utterance = Utterance::new([vec![0.0; 240], vec![0.1; 480], vec![0.0; 240]].concat()).unwrap();
        assert_eq!((utterance.first, utterance.last), (240, 720));
        assert!(Utterance::new(vec![0.0; 999]).is_none());
    }
}
