//! Higgs Audio behind any of its servers: Boson's image of vLLM, vLLM-Omni, SGLang-Omni.
//!
//! Which one it is, which model it has and which voices is asked when it is first needed, and asked again after a failure,
//! because another may have been started in its place. Several addresses have to be servers of one kind.

mod chat;
mod clip;
mod dialect;
mod options;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::{EngineError, EventStream, Later, TextInput, Tts, TtsEvent, TtsRequest, Voice};

use super::speech::{self, Expected, Levels, Sound};
use super::{check_speed, failed_stream, no_voice};
use crate::generate::{self, Out};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs};
use chat::ChatSound;
use clip::Clip;
use dialect::{Ask, Chunk, DEFAULT_VOICE, Server, Speaker};
use options::{CloneOptions, Options};

const NAME: &str = "higgs-server";

/// Its line in the table.
pub const ENTRY: Entry<dyn Tts> = Entry {
    name: NAME,
    about: "Higgs Audio on a server of Boson's, vLLM-Omni or SGLang-Omni: expressive, clones voices",
    needs: Needs { gpu_bytes: 0, packages: &[], network: true },
    load,
};

/// The first sound of a clause that is spoken in one piece, as vLLM-Omni's first Higgs does, takes as long as the clause
/// takes to compute.
const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8001", first_ms: 5_000, between_ms: 2_000 };

/// Frames of the model's codec in a second (`config.json` of bosonai/higgs-audio-v2-tokenizer: 24 kHz, hop 960).
const FRAMES_PER_SECOND: f32 = 25.0;

/// Frames the model may write beyond the longest sound expected, so that one that does not find its end is noticed here
/// instead of being cut off as if it had: the 8 of the delay between its codebooks, and one second.
const FRAMES_BEYOND: f32 = 33.0;

/// Languages a voice's name may begin with, such as `zh_man_sichuan`: those Higgs Audio was trained for.
const LANGUAGES: [&str; 5] = ["en", "zh", "de", "ko", "es"];

struct Higgs {
    remote: Remote,
    options: Options,
    clips: BTreeMap<String, Clip>,
    /// What the server said about itself when it was last asked.
    server: Mutex<Option<Arc<Server>>>,
    levels: Levels,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Tts>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    options.check()?;
    let read =
        |(name, clone): (&String, &CloneOptions)| Ok((name.clone(), Clip::read(name, &clone.audio, &clone.text)?));
    let clips = options.voices.iter().map(read).collect::<Result<_, EngineError>>()?;
    let engine = Higgs { remote, options, clips, server: Mutex::default(), levels: Levels::default() };
    Ok(Arc::new(Speaking(Arc::new(engine))))
}

/// The engine, held by every stream it gives out.
struct Speaking(Arc<Higgs>);

impl Tts for Speaking {
    /// Speed is kept by SGLang-Omni alone; the other servers speak at their voices' own pace, whatever is asked for.
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let speed = match check_speed(NAME, request.speed) {
            Ok(speed) => speed,
            Err(error) => return failed_stream(error),
        };
        let engine = self.0.clone();
        let voice = request.voice.or_else(|| engine.options.voice.clone());
        let level = engine.levels.of(voice.as_deref().unwrap_or(DEFAULT_VOICE));
        speech::speak(level, text, move |text| {
            let (engine, voice) = (engine.clone(), voice.clone());
            generate::stream(|mut out| async move { engine.clause(&text, voice.as_deref(), speed, &mut out).await })
        })
    }

    /// The configured ones, then those of the server, as far as it was asked.
    fn voices(&self) -> Vec<Voice> {
        self.0.voices(self.0.known().as_deref())
    }

    fn probe(&self) -> Later<()> {
        let engine = self.0.clone();
        Box::pin(async move {
            engine.remote.answers("/health").await?;
            engine.ask_server().await.map(|_| ())
        })
    }
}

impl Higgs {
    async fn clause(
        &self,
        text: &str,
        voice: Option<&str>,
        speed: f32,
        out: &mut Out<Vec<f32>>,
    ) -> Result<(), EngineError> {
        let server = match self.known() {
            Some(server) => server,
            None => self.ask_server().await?,
        };
        let speaker = self.speaker(&server, voice)?;
        let outcome = self.exchange(&server, text, speaker, speed, out).await;
        if let Err(EngineError::Failed { .. } | EngineError::Unavailable { .. }) = outcome {
            *self.server() = None;
        }
        outcome
    }

    async fn exchange(
        &self,
        server: &Server,
        text: &str,
        speaker: Speaker<'_>,
        speed: f32,
        out: &mut Out<Vec<f32>>,
    ) -> Result<(), EngineError> {
        let kept = server.dialect.keeps_speed();
        if speed != 1.0 && !kept {
            tracing::debug!(engine = NAME, speed, dialect = ?server.dialect, "spoken at the voice's own pace");
        }
        let expected = Expected::of(text, if kept { speed } else { 1.0 });
        let chunk = Chunk { size: self.options.chunk_frames, overlap: self.options.overlap_frames };
        let (temperature, frames) =
            (self.options.temperature, expected.most_seconds() * FRAMES_PER_SECOND + FRAMES_BEYOND);
        let seed = seed(speaker);
        let ask = Ask { text, speaker, speed, temperature, frames: frames as u32, seed, chunk };
        // The same seed would go wrong in the same way again.
        let tries = AtomicU32::new(0);
        let build = |target: &http::Target<'_>| {
            let seed = seed.wrapping_add(tries.fetch_add(1, Ordering::Relaxed));
            Ask { seed, ..ask }.request(server, target)
        };
        let sound = || Sound::new(NAME, expected, OUTPUT_RATE);
        if ask.is_chat(server.dialect) {
            self.remote.exchange(build, || ChatSound::new(sound()), out).await
        } else {
            self.remote.exchange(build, sound, out).await
        }
    }

    /// Who speaks where this voice is asked for.
    fn speaker<'a>(&'a self, server: &'a Server, asked: Option<&'a str>) -> Result<Speaker<'a>, EngineError> {
        let preset =
            |name: &str| server.presets.iter().find(|preset| *preset == name).map(|name| Speaker::Preset(name));
        let clone = |name: &str| self.clips.get(name).map(Speaker::Clone);
        let default = || {
            let clone = self.clips.values().next().map(Speaker::Clone);
            let first = || server.presets.first().map(|name| Speaker::Preset(name));
            clone.or_else(first).unwrap_or(Speaker::Any)
        };
        match asked {
            None => Ok(default()),
            Some(name) => clone(name)
                .or_else(|| preset(name))
                .or_else(|| (name == DEFAULT_VOICE).then(default))
                .ok_or_else(|| no_voice(NAME, asked, &self.voices(Some(server)))),
        }
    }

    fn voices(&self, server: Option<&Server>) -> Vec<Voice> {
        let mut voices: Vec<Voice> = self
            .options
            .voices
            .iter()
            .map(|(name, clone)| Voice {
                name: name.clone(),
                language: clone.language.clone().unwrap_or_else(|| self.options.language.clone()),
                about: clone.about.clone().unwrap_or_else(|| "Cloned from a clip".into()),
            })
            .collect();
        let presets = server.map(|server| &server.presets[..]).unwrap_or_default();
        voices.extend(presets.iter().filter(|name| !self.clips.contains_key(*name)).map(|name| Voice {
            name: name.clone(),
            language: self.language_of(name),
            about: "A voice of the server".into(),
        }));
        if voices.is_empty() {
            let about = "The server's own choice".into();
            voices.push(Voice { name: DEFAULT_VOICE.into(), language: self.options.language.clone(), about });
        }
        // The default stands first.
        if let Some(at) = voices.iter().position(|voice| Some(&voice.name) == self.options.voice.as_ref()) {
            voices[..=at].rotate_right(1);
        }
        voices
    }

    fn language_of(&self, preset: &str) -> String {
        let prefix = preset.split(['_', '-']).next().unwrap_or_default();
        if LANGUAGES.contains(&prefix) { prefix.into() } else { self.options.language.clone() }
    }

    fn server(&self) -> MutexGuard<'_, Option<Arc<Server>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> Option<Arc<Server>> {
        self.server().clone()
    }

    async fn ask_server(&self) -> Result<Arc<Server>, EngineError> {
        let dialect = self.options.dialect.given();
        let server = Arc::new(Server::ask(&self.remote, dialect, self.options.model.as_deref()).await?);
        *self.server() = Some(server.clone());
        Ok(server)
    }
}

/// One seed for each voice, so that it sounds the same in every clause: FNV-1a of its name or of its clip's words.
fn seed(speaker: Speaker<'_>) -> u32 {
    let name = match speaker {
        Speaker::Any => "",
        Speaker::Preset(name) => name,
        Speaker::Clone(clip) => &clip.text,
    };
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash >> 1
}
