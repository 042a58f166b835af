//! What can be set for servers of Higgs Audio.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anchor_core::engine::EngineError;
use serde::Deserialize;

use super::NAME;
use super::dialect::{Chunk, Dialect};

/// How Boson's server cuts its sound by default here; its own 25 and 25 frames begin later and need more lead.
///
/// Its code (`vllm/entrypoints/bosonai/serving_audio.py`, `audio_speech_stream_generator`) gives the first sound after
/// `size + 7` frames, `size - 8` of them, and each next `size` frames once `overlap` more are there. The rest of a clause, which
/// is never shorter than the overlap, gets lost below 11 frames (`utils.py`, `token2wav`), and in a chat becomes an error; so 11
/// is the least overlap. 16 is the least size whose first sound (8 frames, 320 ms) lasts until the second (13 frames later) on a
/// server at 1.6 times real time; each cut costs the codec its context, so that smaller pieces would also sound worse.
const CHUNK: Chunk = Chunk { size: 16, overlap: 11 };

/// Least that works: see [`CHUNK`]. With a size below 9 the first piece would be empty.
const CHUNK_MIN: Chunk = Chunk { size: 9, overlap: 11 };

/// As the model's authors serve it: `boson_multimodal/serve/serve_engine.py`, `generate`.
const TEMPERATURE: f64 = 0.7;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Which server it is; asked where it is not set.
    pub(super) dialect: DialectOption,
    /// The model's name on the server; asked where it is not set.
    pub(super) model: Option<String>,
    /// The voice to speak in where none is asked for.
    pub(super) voice: Option<String>,
    /// Language of the voices whose own is not known, ISO 639-1.
    pub(super) language: String,
    /// How freely the model speaks, 0 to 2.
    pub(super) temperature: f64,
    /// Boson's server: frames of 40 ms in one piece of sound, and frames it looks ahead.
    pub(super) chunk_frames: u32,
    pub(super) overlap_frames: u32,
    /// Voices to clone.
    pub(super) voices: BTreeMap<String, CloneOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dialect: DialectOption::Auto,
            model: None,
            voice: None,
            language: "en".into(),
            temperature: TEMPERATURE,
            chunk_frames: CHUNK.size,
            overlap_frames: CHUNK.overlap,
            voices: BTreeMap::new(),
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<(), EngineError> {
        let wrong = |reason: String, remedy: &str| {
            Err(EngineError::Unavailable { engine: NAME, reason, remedy: remedy.into() })
        };
        let languages = self.voices.values().filter_map(|voice| voice.language.as_ref()).chain([&self.language]);
        for language in languages {
            if language.len() != 2 || !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return wrong(format!("`{language}` is no language"), "Write its two letters, such as `en`.");
            }
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            let reason = format!("its temperature is {}", self.temperature);
            return wrong(reason, "Set `temperature` to something from 0 to 2.");
        }
        if self.chunk_frames < CHUNK_MIN.size || self.overlap_frames < CHUNK_MIN.overlap {
            let reason = format!("pieces of {} and {} frames lose sound", self.chunk_frames, self.overlap_frames);
            return wrong(reason, "Set `chunk_frames` to 9 or more and `overlap_frames` to 11 or more.");
        }
        Ok(())
    }
}

/// Which server it is.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DialectOption {
    Auto,
    Boson,
    VllmOmni,
    SglangOmni,
}

impl DialectOption {
    /// `None` where it has to be asked.
    pub(super) fn given(self) -> Option<Dialect> {
        match self {
            Self::Auto => None,
            Self::Boson => Some(Dialect::Boson),
            Self::VllmOmni => Some(Dialect::VllmOmni),
            Self::SglangOmni => Some(Dialect::SglangOmni),
        }
    }
}

/// A voice to clone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloneOptions {
    /// A WAV file of 1 to 30 s of it.
    pub(super) audio: PathBuf,
    /// What is said in it.
    pub(super) text: String,
    pub(super) language: Option<String>,
    pub(super) about: Option<String>,
}
