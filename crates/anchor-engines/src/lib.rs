//! Speech recognisers, language models, voices and voice activity detectors.
//!
//! An engine is one file and one line: the file ends with its entry, the line stands in one of the four tables below.
//! The tables feed the command line, the studio's menus, config errors and the behaviour suite every engine must pass.

use std::sync::Arc;

use anchor_core::engine::{EngineError, Llm, Stt, Tts, VadModel};
use anchor_core::rundown::OnAir;
use tokio::sync::watch;

pub mod blocking;
mod board;
pub mod breaker;
pub mod chain;
mod generate;
mod http;
pub mod llm;
pub mod loudness;
pub mod numbers;
pub mod options;
pub mod slot;
pub mod stt;
pub mod tts;
pub mod vad;
mod wav;

/// One line of a table: an engine, what it needs, and how to load it.
pub struct Entry<E: ?Sized + 'static> {
    /// The name used on the command line and in the configuration.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What has to be there before it can be loaded.
    pub needs: Needs,
    /// Loads it. May take long: call it where blocking is allowed.
    pub load: fn(&LoadContext) -> Result<Arc<E>, EngineError>,
}

/// What an engine needs from the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of GPU memory.
    pub gpu_bytes: u64,
    /// Debian packages that bring its libraries, programs and data.
    pub packages: &'static [&'static str],
    /// It talks to a server over the network.
    pub network: bool,
}

/// What an engine is loaded with.
#[derive(Clone)]
pub struct LoadContext {
    /// The rundown on air, now and later.
    pub rundown: watch::Receiver<OnAir>,
    /// The engine's own table of the configuration, empty where there is none.
    pub options: toml::Table,
}

/// The recognisers.
pub static STT: &[Entry<dyn Stt>] =
    &[stt::pocketsphinx::ENTRY, stt::voxtral::vllm::ENTRY, stt::voxtral::realtime::ENTRY];

/// The language models.
pub static LLM: &[Entry<dyn Llm>] =
    &[llm::desk::ENTRY, llm::ollama::ENTRY, llm::openai_chat::ENTRY, llm::voxtral_vllm::ENTRY];

/// The voices.
pub static TTS: &[Entry<dyn Tts>] =
    &[tts::flite::ENTRY, tts::espeak::ENTRY, tts::higgs::ENTRY, tts::openai_speech::ENTRY];

/// The voice activity detectors.
pub static VAD: &[Entry<dyn VadModel>] = &[vad::silero::ENTRY];
