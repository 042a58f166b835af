//! How loud a voice behind a server is, which nobody knows before it has spoken.
//!
//! Flite and eSpeak NG read a sentence to have themselves measured; a network's voice would take seconds for it, and each
//! clone is as loud as its clip. So a voice is measured while it is on air: its first 400 ms wait until they are measured,
//! what was heard so far sets the gain of the next clause, and after half a minute the gain is final.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anchor_core::audio::{OUTPUT_RATE, Samples};
use anchor_core::engine::SPEECH_LOUDNESS_LUFS;
use ebur128::{EbuR128, Mode};

use crate::loudness::Leveller;

/// One measuring block of ITU-R BS.1770, before which there is no measure.
const FIRST: Samples = Samples::from_ms(400);

/// A clause that has no loudness after this is let go unlevelled: it is all but silent.
const FIRST_MAX: Samples = Samples::from_ms(1000);

/// From here on a measure is of speech, not of a syllable.
const SURE: Samples = Samples::from_ms(3_000);

/// The measure of as much speech no longer changes audibly.
const FINAL: Samples = Samples::from_ms(30_000);

/// Largest gain in dB on the word of a syllable, and on that of speech. A breath must not be lifted to the level of speech;
/// turning down does no harm.
const GAIN_DB: (f64, f64) = (12.0, 24.0);

/// Voices whose level is kept. Beyond it, all are measured anew.
const VOICES_MAX: usize = 256;

/// What is known of the voices of one engine.
#[derive(Default)]
pub(crate) struct Levels(Mutex<HashMap<String, Arc<Level>>>);

impl Levels {
    /// The voice of this name.
    pub(crate) fn of(&self, voice: &str) -> Arc<Level> {
        let mut voices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if voices.len() >= VOICES_MAX && !voices.contains_key(voice) {
            voices.clear();
        }
        voices.entry(voice.to_owned()).or_default().clone()
    }
}

/// What is known of one voice.
#[derive(Default)]
pub(crate) struct Level(Mutex<Measured>);

#[derive(Default)]
struct Measured {
    meter: Option<EbuR128>,
    heard: u64,
    gain: Option<f32>,
}

impl Level {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What brings the voice to [`SPEECH_LOUDNESS_LUFS`], as far as is known.
    fn gain(&self) -> Option<f32> {
        self.measured().gain
    }

    /// Takes in sound of the voice at [`OUTPUT_RATE`], as it comes.
    fn listen(&self, sound: &[f32]) {
        let mut measured = self.measured();
        if measured.heard >= FINAL.0 {
            measured.meter = None;
            return;
        }
        measured.heard += sound.len() as u64;
        if measured.meter.is_none() {
            measured.meter = EbuR128::new(1, OUTPUT_RATE, Mode::I).ok();
        }
        let Some(meter) = &mut measured.meter else { return };
        let loudness = meter.add_frames_f32(sound).and_then(|()| meter.loudness_global());
        let Some(loudness) = loudness.ok().filter(|lufs| lufs.is_finite()) else { return };
        let most = if measured.heard < SURE.0 { GAIN_DB.0 } else { GAIN_DB.1 };
        let decibels = (SPEECH_LOUDNESS_LUFS - loudness).clamp(-GAIN_DB.1, most);
        measured.gain = Some(10f64.powf(decibels / 20.0) as f32);
    }
}

/// The sound of one clause on its way to the listener. Its gain stays as it is from its first sample to its last.
pub(super) struct Levelled {
    level: Arc<Level>,
    /// Sound that waits for the first measure.
    waiting: Vec<f32>,
    leveller: Option<Leveller>,
}

impl Levelled {
    pub(super) fn new(level: Arc<Level>) -> Self {
        Self { level, waiting: Vec::new(), leveller: None }
    }

    /// Takes the next sound and returns what can be given out by now.
    pub(super) fn push(&mut self, sound: &[f32]) -> Vec<f32> {
        // Before listening: sound that has come already must not wait for more, nor change what was decided by others.
        let known = self.level.gain();
        self.level.listen(sound);
        if let Some(leveller) = &mut self.leveller {
            return leveller.push(sound);
        }
        self.waiting.extend_from_slice(sound);
        let heard = self.waiting.len() as u64;
        let gain = known.or_else(|| self.level.gain().filter(|_| heard >= FIRST.0));
        match gain.or((heard >= FIRST_MAX.0).then_some(1.0)) {
            Some(gain) => self.start(gain),
            None => Vec::new(),
        }
    }

    /// Ends the clause and returns the rest.
    pub(super) fn finish(mut self) -> Vec<f32> {
        let mut rest = Vec::new();
        if self.leveller.is_none() {
            rest = self.start(self.level.gain().unwrap_or(1.0));
        }
        rest.extend(self.leveller.map(Leveller::finish).unwrap_or_default());
        rest
    }

    fn start(&mut self, gain: f32) -> Vec<f32> {
        self.leveller.insert(Leveller::new(gain)).push(&std::mem::take(&mut self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loudness::integrated;

    fn voice(amplitude: f32, ms: u64) -> Vec<f32> {
        let step = std::f32::consts::TAU * 300.0 / OUTPUT_RATE as f32;
        (0..Samples::from_ms(ms).0).map(|n| amplitude * (step * n as f32).sin()).collect()
    }

    fn clause(level: &Arc<Level>, sound: &[f32], piece: usize) -> Vec<f32> {
        let mut levelled = Levelled::new(level.clone());
        let mut out: Vec<f32> = sound.chunks(piece).flat_map(|piece| levelled.push(piece)).collect();
        out.extend(levelled.finish());
        out
    }

    #[test]
    fn a_voice_of_any_level_reaches_the_target_within_its_first_clause() {
        for (amplitude, piece) in [(0.05, 480), (0.9, 480), (0.05, 777), (0.3, 100_000)] {
            let level = Arc::new(Level::default());
            for _ in 0..3 {
                let sound = voice(amplitude, 1500);
                let out = clause(&level, &sound, piece);
                assert_eq!(out.len(), sound.len());
                let lufs = integrated(&out, OUTPUT_RATE).unwrap();
                assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() < 0.5, "{amplitude}: {lufs}");
            }
        }
    }

    #[test]
    fn the_gain_never_changes_within_a_clause() {
        let level = Arc::new(Level::default());
        let sound = [voice(0.1, 1000), voice(0.02, 2000)].concat();
        let out = clause(&level, &sound, 480);
        let gain = out[100] / sound[100];
        let same = out.iter().zip(&sound).all(|(out, sound)| (out - sound * gain).abs() < 1e-5);
        assert!(same);
        // The next clause knows more of the voice.
        let next = clause(&level, &sound, 480);
        assert!(next[100].abs() > out[100].abs());
    }

    #[test]
    fn only_the_first_sound_of_a_voice_waits() {
        let level = Arc::new(Level::default());
        let mut levelled = Levelled::new(level.clone());
        assert!(levelled.push(&voice(0.1, 300)).is_empty());
        assert!(levelled.push(&voice(0.1, 200)).len() > 11_000);
        assert!(!Levelled::new(level).push(&voice(0.1, 100)).is_empty());
        assert_eq!(clause(&Arc::new(Level::default()), &[0.0001; 100], 10), [0.0001; 100]);
    }

    #[test]
    fn a_breath_is_not_lifted_to_speech_and_measuring_comes_to_an_end() {
        let level = Arc::new(Level::default());
        level.listen(&voice(0.002, 500));
        assert!((level.gain().unwrap() - 3.98).abs() < 0.01);
        level.listen(&voice(0.2, 31_000));
        let settled = level.gain();
        level.listen(&voice(0.01, 60_000));
        assert_eq!(level.gain(), settled);
        assert!(level.measured().meter.is_none());
    }
}
