//! Any server with OpenAI's `/v1/audio/speech`: OpenAI itself, Kokoro-FastAPI, Speaches, LocalAI and others
//! (<https://platform.openai.com/docs/api-reference/audio/createSpeech>).
//!
//! Asked for are bare samples, which can be played as they come. A server that does not make them is asked for WAV instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::{EngineError, EventStream, Later, TextInput, Tts, TtsEvent, TtsRequest, Voice};
use serde_json::json;

use super::speech::{self, Expected, Levels, Sound};
use super::{check_speed, failed_stream, no_voice};
use crate::generate::{self, Out};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs};

const NAME: &str = "openai-speech";

/// Its line in the table.
pub const ENTRY: Entry<dyn Tts> = Entry {
    name: NAME,
    about: "Any server with OpenAI's /v1/audio/speech: OpenAI, Kokoro-FastAPI, Speaches, LocalAI",
    needs: Needs { gpu_bytes: 0, packages: &[], network: true },
    load,
};

const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8880", first_ms: 5_000, between_ms: 2_000 };

/// Voices that can be named; a menu of more helps nobody.
const VOICES_MAX: usize = 200;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    model: String,
    /// Names of the server's voices, the default first.
    voices: Vec<String>,
    /// Their language, ISO 639-1.
    language: String,
    /// How to speak, for models that can be told.
    instructions: Option<String>,
    format: Format,
    /// Rate of bare samples, in Hz, where the server does not say.
    sample_rate: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "tts-1".into(),
            voices: vec!["alloy".into()],
            language: "en".into(),
            instructions: None,
            format: Format::Auto,
            sample_rate: OUTPUT_RATE,
        }
    }
}

/// What to ask for.
#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Bare samples, and WAV where the server does not make them.
    Auto,
    Pcm,
    Wav,
}

struct Speech {
    remote: Remote,
    options: Options,
    /// The server is asked for WAV.
    wav: AtomicBool,
    levels: Levels,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Tts>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    let wrong =
        |reason: String, remedy: &str| Err(EngineError::Unavailable { engine: NAME, reason, remedy: remedy.into() });
    if options.voices.is_empty() || options.voices.len() > VOICES_MAX {
        let reason = format!("its list of voices has {} names", options.voices.len());
        return wrong(reason, "Write `voices = [\"alloy\"]` with the names of the server's voices.");
    }
    if options.language.len() != 2 || !options.language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return wrong(format!("`{}` is no language", options.language), "Write its two letters, such as `en`.");
    }
    if !(4_000..=384_000).contains(&options.sample_rate) {
        let reason = format!("`sample_rate` is {}", options.sample_rate);
        return wrong(reason, "Write the rate of the server's bare samples in Hz, such as 24000.");
    }
    let wav = AtomicBool::new(options.format == Format::Wav);
    Ok(Arc::new(Speaking(Arc::new(Speech { remote, options, wav, levels: Levels::default() }))))
}

/// The engine, held by every stream it gives out.
struct Speaking(Arc<Speech>);

impl Tts for Speaking {
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let voices = &self.0.options.voices;
        let voice = match &request.voice {
            None => voices.first(),
            Some(name) => voices.iter().find(|voice| *voice == name),
        };
        let voice = voice.cloned().ok_or_else(|| no_voice(NAME, request.voice.as_deref(), &self.voices()));
        let (voice, speed) = match voice.and_then(|voice| Ok((voice, check_speed(NAME, request.speed)?))) {
            Ok(checked) => checked,
            Err(error) => return failed_stream(error),
        };
        let engine = self.0.clone();
        speech::speak(engine.levels.of(&voice), text, move |text| {
            let (engine, voice) = (engine.clone(), voice.clone());
            generate::stream(|mut out| async move { engine.clause(&text, &voice, speed, &mut out).await })
        })
    }

    fn voices(&self) -> Vec<Voice> {
        let options = &self.0.options;
        let voice = |name: &String| Voice {
            name: name.clone(),
            language: options.language.clone(),
            about: format!("A voice of {}", options.model),
        };
        options.voices.iter().map(voice).collect()
    }

    fn probe(&self) -> Later<()> {
        let engine = self.0.clone();
        Box::pin(async move { engine.remote.answers("/v1/models").await })
    }
}

impl Speech {
    async fn clause(&self, text: &str, voice: &str, speed: f32, out: &mut Out<Vec<f32>>) -> Result<(), EngineError> {
        let wav = self.wav.load(Ordering::Relaxed);
        match self.exchange(text, voice, speed, wav, out).await {
            Err(EngineError::Unsupported { reason, .. }) if !wav && self.options.format == Format::Auto => {
                tracing::debug!(engine = NAME, %reason, "asking for WAV");
                self.wav.store(true, Ordering::Relaxed);
                self.exchange(text, voice, speed, true, out).await
            }
            outcome => outcome,
        }
    }

    async fn exchange(
        &self,
        text: &str,
        voice: &str,
        speed: f32,
        wav: bool,
        out: &mut Out<Vec<f32>>,
    ) -> Result<(), EngineError> {
        let options = &self.options;
        let mut body = json!({
            "model": options.model,
            "input": text,
            "voice": voice,
            "response_format": if wav { "wav" } else { "pcm" },
            "speed": speed,
        });
        if let Some(instructions) = &options.instructions {
            body["instructions"] = instructions.as_str().into();
        }
        let expected = Expected::of(text, speed);
        let sound = || {
            let sound = Sound::new(NAME, expected, options.sample_rate);
            if wav { sound } else { sound.negotiable() }
        };
        self.remote.exchange(|target| target.post("/v1/audio/speech").json(&body), sound, out).await
    }
}
