//! The configuration: what can be set, where it comes from, and what it means.
//!
//! Later layers win: defaults, profile, file, environment, flags. Every setting is one line of the table in
//! `settings.rs`; from that line come the file's keys, the environment's names, the checks and the commented example.

mod example;
mod layers;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anchor_core::engine::EngineKind;
use anchor_core::{SessionConfig, TurnDetection};

pub use example::example;
pub use layers::{ConfigError, Flag, Mistake, Sources};

/// A choice of engines that fit together.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    stt: &'static [&'static str],
    llm: &'static [&'static str],
    tts: &'static [&'static str],
    vad: &'static str,
    voice: &'static str,
    language: &'static str,
}

/// The profiles, the default first.
pub static PROFILES: &[Profile] = &[
    Profile {
        name: "embedded",
        about: "no GPU, no downloads, English; understands commands and the topics of the rundown",
        stt: &["pocketsphinx"],
        llm: &["desk"],
        tts: &["flite"],
        vad: "silero",
        voice: "rms",
        language: "en",
    },
    Profile {
        name: "studio",
        about: "Voxtral, Mistral Small and Higgs Audio on one GPU of 48 GB, eight languages; `ai-anchor setup` prepares it",
        stt: &["voxtral-vllm", "pocketsphinx"],
        llm: &["ollama", "desk"],
        tts: &["higgs-server", "flite", "espeak"],
        vad: "silero",
        voice: "",
        language: "",
    },
];

/// All settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of the profile the settings started from.
    pub profile: &'static str,
    /// `[server]`
    pub server: Server,
    /// `[anchor]`
    pub anchor: Anchor,
    /// `[turn]`
    pub turn: Turn,
    /// `[engines]`
    pub engines: Engines,
    /// `[rundown]`
    pub rundown: RundownFile,
    /// `[models]`
    pub models: Models,
    /// `[servers]`
    pub servers: Servers,
    /// `[gpu]`
    pub gpu: GpuCard,
    /// The engines' own tables, such as `[stt.pocketsphinx]`.
    pub options: BTreeMap<(EngineKind, String), toml::Table>,
}

/// Where the server listens and how much it takes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Conversations at the same time.
    pub max_sessions: u32,
    /// Conversations over WebRTC are taken too.
    pub webrtc: bool,
    /// UDP port of their sound; `None` takes the number of `port`, 0 lets the system choose.
    pub webrtc_port: Option<u16>,
    /// The address at which clients elsewhere reach this machine, where it is none of its own; else empty.
    pub public_ip: String,
}

/// Who the anchor is.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    /// Its name.
    pub name: String,
    /// Its standing instructions.
    pub instructions: String,
    /// Its voice; empty takes the engine's first.
    pub voice: String,
    /// The pace of its voice.
    pub speed: f32,
    /// ISO 639-1 code of the language spoken to it; empty lets the recogniser find out.
    pub language: String,
}

/// When a turn is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Probability from which sound counts as speech.
    pub threshold: f32,
    /// Sound kept from before the speech was noticed.
    pub prefix_padding_ms: u32,
    /// A pause this long ends the turn.
    pub silence_duration_ms: u32,
    /// The anchor stops when somebody talks over it.
    pub interrupt_response: bool,
}

/// Which engines to use. Of several of one kind, the best first, the next takes over from one that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Engines {
    /// The recognisers.
    pub stt: Vec<String>,
    /// The language models.
    pub llm: Vec<String>,
    /// The voices.
    pub tts: Vec<String>,
    /// The voice activity detector.
    pub vad: String,
    /// A recogniser that gives no transcript for this long after the turn has failed, if there is another.
    pub stt_patience_ms: u32,
    /// A language model that writes nothing for this long has failed, if there is another.
    pub llm_patience_ms: u32,
    /// A voice that owes sound and gives none for this long has failed, if there is another.
    pub tts_patience_ms: u32,
    /// Load them at the start rather than when they are first used.
    pub preload: bool,
}

impl Engines {
    /// The engines of a kind, the best first.
    pub fn chain(&self, kind: EngineKind) -> &[String] {
        match kind {
            EngineKind::Stt => &self.stt,
            EngineKind::Llm => &self.llm,
            EngineKind::Tts => &self.tts,
            EngineKind::Vad => std::slice::from_ref(&self.vad),
        }
    }
}

/// What is on air.
#[derive(Clone, Debug, PartialEq)]
pub struct RundownFile {
    /// The Markdown file of stories; empty takes the sample that is built in.
    pub path: String,
}

/// Where the models are.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    /// The folder; empty takes that of the user's own data.
    pub path: String,
    /// Base address of Hugging Face, or of a mirror that answers like it.
    pub mirror: String,
    /// A folder to copy models from instead of asking the network; empty asks the network.
    pub offline: String,
}

/// The model servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Servers {
    /// `serve` starts the servers of the engines chosen, unless they run already.
    pub start: bool,
    /// Command line, for `/bin/sh`, that runs Ollama; empty takes the environment's own.
    pub ollama_command: String,
    /// Start it when it is first used rather than with the program.
    pub ollama_lazy: bool,
    /// Stop it after this long without use; 0 never.
    pub ollama_idle_minutes: u32,
    /// Command line that serves Higgs; empty takes the environment's own.
    pub higgs_command: String,
    /// Start it when it is first used rather than with the program.
    pub higgs_lazy: bool,
    /// Stop it after this long without use; 0 never.
    pub higgs_idle_minutes: u32,
    /// Command line that serves Voxtral; empty takes the environment's own.
    pub voxtral_command: String,
    /// Start it when it is first used rather than with the program.
    pub voxtral_lazy: bool,
    /// Stop it after this long without use; 0 never.
    pub voxtral_idle_minutes: u32,
}

/// The card that the model servers share.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuCard {
    /// A known card such as `rtx6000-48gb`, or a size such as `24gb`; empty asks the driver.
    pub card: String,
    /// What of its memory the model servers leave to the desktop and other programs.
    pub reserve_mb: u32,
}

impl Config {
    /// The settings of a profile before anybody changed them.
    pub fn of(profile: &Profile) -> Self {
        let turn = TurnDetection::default();
        Self {
            profile: profile.name,
            server: Server {
                host: "127.0.0.1".into(),
                port: 8090,
                max_sessions: 16,
                webrtc: true,
                webrtc_port: None,
                public_ip: String::new(),
            },
            anchor: Anchor {
                name: "Alex".into(),
                instructions: "Answer in short spoken sentences, from the rundown alone.".into(),
                voice: profile.voice.into(),
                speed: 1.0,
                language: profile.language.into(),
            },
            turn: Turn {
                threshold: turn.threshold,
                prefix_padding_ms: turn.prefix_padding.as_millis() as u32,
                silence_duration_ms: turn.silence_duration.as_millis() as u32,
                interrupt_response: turn.interrupt_response,
            },
            engines: Engines {
                stt: names(profile.stt),
                llm: names(profile.llm),
                tts: names(profile.tts),
                vad: profile.vad.into(),
                stt_patience_ms: 1000,
                llm_patience_ms: 1200,
                tts_patience_ms: 1200,
                preload: true,
            },
            rundown: RundownFile { path: String::new() },
            models: Models { path: String::new(), mirror: "https://huggingface.co".into(), offline: String::new() },
            servers: Servers {
                start: true,
                ollama_command: String::new(),
                ollama_lazy: false,
                ollama_idle_minutes: 0,
                higgs_command: String::new(),
                higgs_lazy: false,
                higgs_idle_minutes: 0,
                voxtral_command: String::new(),
                voxtral_lazy: false,
                voxtral_idle_minutes: 0,
            },
            gpu: GpuCard { card: String::new(), reserve_mb: 1024 },
            options: BTreeMap::new(),
        }
    }

    /// What a new session starts with.
    pub fn session(&self) -> SessionConfig {
        SessionConfig {
            instructions: format!("Your name is {}. {}", self.anchor.name, self.anchor.instructions),
            voice: set(&self.anchor.voice),
            speed: self.anchor.speed,
            language: set(&self.anchor.language),
            turn_detection: Some(TurnDetection {
                threshold: self.turn.threshold,
                prefix_padding: Duration::from_millis(self.turn.prefix_padding_ms.into()),
                silence_duration: Duration::from_millis(self.turn.silence_duration_ms.into()),
                interrupt_response: self.turn.interrupt_response,
                ..TurnDetection::default()
            }),
            ..SessionConfig::default()
        }
    }

    /// The rundown's file; `None` is the sample.
    pub fn rundown_path(&self) -> Option<PathBuf> {
        set(&self.rundown.path).map(PathBuf::from)
    }

    /// The own table of an engine, empty where there is none.
    pub fn options(&self, kind: EngineKind, engine: &str) -> toml::Table {
        self.options.get(&(kind, engine.to_owned())).cloned().unwrap_or_default()
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn set(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
