//! The sound of one turn while it is being spoken: as much of it as a server takes, and whether there is anything to hear.

use anchor_core::audio::{INPUT_RATE, level_dbfs};
use anchor_core::engine::EngineError;

use crate::wav;

/// Longest turn, in samples: ten minutes, what vLLM decodes unless it is told otherwise (`VLLM_MAX_AUDIO_DECODE_DURATION_S`
/// in its `vllm/envs.py`).
const LONGEST: usize = 600 * INPUT_RATE as usize;

/// Shortest sound that is sent, in samples: a tenth of a second. OpenAI's own server refuses less; silence fills it up.
const SHORTEST: usize = INPUT_RATE as usize / 10;

/// A turn is silent if no piece of a tenth of a second is louder than this. A whisper has -50 dBFS, the hiss of a poor
/// microphone -65. A model asked about silence writes what often stands under silent films: thanks for watching.
const QUIET_DBFS: f32 = -60.0;

/// Whether something can be heard in these samples.
pub(super) fn is_audible(samples: &[f32]) -> bool {
    samples.chunks(INPUT_RATE as usize / 10).any(|piece| level_dbfs(piece) > QUIET_DBFS)
}

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Sound {
    samples: Vec<f32>,
    audible: bool,
}

impl Sound {
    /// Takes the next samples in.
    pub(super) fn push(&mut self, engine: &'static str, frame: &[f32]) -> Result<(), EngineError> {
        if self.samples.len() + frame.len() > LONGEST {
            let reason = format!("a turn lasts longer than {} s", LONGEST / INPUT_RATE as usize);
            return Err(EngineError::Failed { engine, reason });
        }
        self.samples.extend_from_slice(frame);
        self.audible = self.audible || is_audible(frame);
        Ok(())
    }

    /// Its length in samples.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is anything to hear.
    pub(super) fn is_audible(&self) -> bool {
        self.audible
    }

    /// As a WAV file.
    pub(super) fn wav(&self) -> Vec<u8> {
        if self.samples.len() >= SHORTEST {
            return wav::encode(&self.samples);
        }
        let mut padded = self.samples.clone();
        padded.resize(SHORTEST, 0.0);
        wav::encode(&padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(frames: &[&[f32]]) -> Sound {
        let mut sound = Sound::default();
        frames.iter().for_each(|frame| sound.push("test", frame).unwrap());
        sound
    }

    #[test]
    fn a_whisper_is_audible_and_hiss_is_not() {
        let hiss = [0.0005_f32, -0.0005].repeat(8_000);
        let whisper = [0.003_f32, -0.003].repeat(160);
        assert!(!sound(&[]).is_audible() && !sound(&[&[0.0; 16_000]]).is_audible() && !sound(&[&hiss]).is_audible());
        assert!(sound(&[&hiss, &whisper, &hiss]).is_audible());
    }

    #[test]
    fn very_short_sound_is_filled_up() {
        assert_eq!(sound(&[&[0.1]]).wav().len(), 44 + 2 * SHORTEST);
        assert_eq!(sound(&[&[0.1; SHORTEST + 1]]).wav().len(), 44 + 2 * (SHORTEST + 1));
    }

    #[test]
    fn a_turn_has_a_longest_length() {
        let mut sound = Sound::default();
        let minute = vec![0.0; 60 * INPUT_RATE as usize];
        (0..10).for_each(|_| sound.push("test", &minute).unwrap());
        let error = sound.push("test", &[0.0]).unwrap_err();
        assert_eq!(error.to_string(), "test failed: a turn lasts longer than 600 s");
    }
}
