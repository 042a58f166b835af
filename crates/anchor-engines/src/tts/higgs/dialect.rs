//! The three servers of Higgs Audio: what each says about itself, and what a request to each looks like.

use anchor_core::engine::EngineError;
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use super::clip::Clip;
use crate::http::{Remote, Target};

/// What Boson's server calls its model where it is started as documented: `examples/vllm/README.md` of boson-ai/higgs-audio.
const BOSON_MODEL: &str = "higgs-audio-v2-generation-3B-base";

/// What Boson's server itself puts before a preset's clip: `vllm/entrypoints/bosonai/serving_audio.py`, `TTS_SYSTEM_PROMPT`.
const CLONE_PROMPT: &str = "Convert text to speech with the same voice.";

/// For a voice of the model's own choice: `examples/vllm/run_chat_completion.py` of boson-ai/higgs-audio.
const FREE_PROMPT: &str = "Generate audio following instruction.\n\n<|scene_desc_start|>\n\
    Audio is recorded from a quiet room.\n<|scene_desc_end|>";

/// As above.
const STOP: [&str; 3] = ["<|eot_id|>", "<|end_of_text|>", "<|audio_eos|>"];

/// As above, and the defaults of all three servers.
const TOP_P: f64 = 0.95;
const TOP_K: u32 = 50;

/// Voices that a list of the server may name; those after them are left out.
const PRESETS_MAX: usize = 200;

/// Where all of them list their voices.
const VOICES: &str = "/v1/audio/voices";

/// What the servers that have no presets call the voice of the model's own choice.
pub(super) const DEFAULT_VOICE: &str = "default";

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Boson's own image, `bosonai/higgs-audio-vllm`.
    Boson,
    /// vLLM-Omni.
    VllmOmni,
    /// SGLang-Omni.
    SglangOmni,
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) dialect: Dialect,
    pub(super) model: Option<String>,
    pub(super) presets: Vec<String>,
}

impl Server {
    /// Asks the server what it is. Where dialect or model are given, they are believed.
    pub(super) async fn ask(
        remote: &Remote,
        dialect: Option<Dialect>,
        model: Option<&str>,
    ) -> Result<Self, EngineError> {
        let voices = remote.state::<Value>(VOICES).await;
        let (dialect, presets) = match (voices, dialect) {
            (Ok(voices), given) => {
                let found = given.or_else(|| Dialect::of(&voices)).ok_or_else(|| unknown(remote))?;
                (found, presets(&voices))
            }
            (Err(_), given) => {
                // Whether it has no list of voices, as some builds do, or is in trouble.
                remote.answers(VOICES).await?;
                let found = match given {
                    Some(given) => given,
                    None => Dialect::of_health(remote).await.ok_or_else(|| unknown(remote))?,
                };
                (found, Vec::new())
            }
        };
        let model = match model {
            Some(model) => Some(model.to_owned()),
            None => {
                let models = remote.state::<Value>("/v1/models").await?;
                models["data"][0]["id"].as_str().map(str::to_owned)
            }
        };
        Ok(Self { dialect, model, presets })
    }
}

impl Dialect {
    /// Told by the list of voices: Boson's is bare (`vllm/entrypoints/bosonai/api_server.py`, `get_audio_voices`),
    /// SGLang-Omni's counts its cache (`sglang_omni/serve/protocol.py`, `VoiceListResponse`), vLLM-Omni's does not
    /// (`vllm_omni/entrypoints/openai/api_server.py`, `list_voices`).
    fn of(voices: &Value) -> Option<Self> {
        match voices {
            Value::Array(_) => Some(Self::Boson),
            Value::Object(list) if list.contains_key("cache_stats") => Some(Self::SglangOmni),
            Value::Object(list) if list.contains_key("voices") => Some(Self::VllmOmni),
            _ => None,
        }
    }

    /// Before it kept voices, SGLang-Omni could be told by its health alone.
    async fn of_health(remote: &Remote) -> Option<Self> {
        let health = remote.state::<Value>("/health").await.ok()?;
        health.get("running").map(|_| Self::SglangOmni)
    }

    /// Whether it can speak faster or slower. Boson's server takes a speed and does nothing with it; vLLM-Omni refuses one
    /// for Higgs (`vllm_omni/entrypoints/openai/tts_adapters/higgs_audio_v2.py`).
    pub(super) fn keeps_speed(self) -> bool {
        self == Self::SglangOmni
    }
}

fn unknown(remote: &Remote) -> EngineError {
    EngineError::Unavailable {
        engine: remote.engine(),
        reason: format!("what answers at {} is no server of Higgs Audio that it knows", remote.addresses()),
        remedy: "Set `dialect` to boson, vllm-omni or sglang-omni, or use the engine openai-speech.".into(),
    }
}

/// The names in a list of voices, in its order.
fn presets(voices: &Value) -> Vec<String> {
    let name = |voice: &Value| Some(voice.as_str().or_else(|| voice["name"].as_str())?.to_owned());
    let mut names = Vec::new();
    let lists = [Some(voices), voices.get("voices"), voices.get("uploaded_voices")];
    for voice in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
        let new = name(voice).filter(|name| !name.is_empty() && name != DEFAULT_VOICE && !names.contains(name));
        names.extend(new);
        names.truncate(PRESETS_MAX);
    }
    names
}

/// In whose voice.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaker<'a> {
    /// The model's own choice.
    Any,
    /// A voice that the server has.
    Preset(&'a str),
    /// The voice of a clip.
    Clone(&'a Clip),
}

/// What is to be said, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) text: &'a str,
    pub(super) speaker: Speaker<'a>,
    pub(super) speed: f32,
    pub(super) temperature: f64,
    /// Frames of 40 ms the answer may have.
    pub(super) frames: u32,
    pub(super) seed: u32,
    pub(super) chunk: Chunk,
}

/// How Boson's server cuts its sound into pieces, in frames of 40 ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) size: u32,
    pub(super) overlap: u32,
}

impl Ask<'_> {
    /// Whether the answer comes as events of a chat: the only way Boson's server clones.
    pub(super) fn is_chat(&self, dialect: Dialect) -> bool {
        dialect == Dialect::Boson && !matches!(self.speaker, Speaker::Preset(_))
    }

    pub(super) fn request(&self, server: &Server, target: &Target<'_>) -> RequestBuilder {
        let path = if self.is_chat(server.dialect) { "/v1/chat/completions" } else { "/v1/audio/speech" };
        target.post(path).json(&self.body(server))
    }

    fn body(&self, server: &Server) -> Value {
        let mut body = Map::new();
        let model = server.model.as_deref();
        match server.dialect {
            Dialect::Boson => {
                body.insert("model".into(), model.unwrap_or(BOSON_MODEL).into());
                body.extend(self.sampling());
                if self.is_chat(server.dialect) { self.chat(&mut body) } else { self.boson_speech(&mut body) }
            }
            Dialect::VllmOmni => {
                body.extend(model.map(|model| ("model".into(), model.into())));
                self.omni(&mut body);
            }
            Dialect::SglangOmni => {
                body.extend(model.map(|model| ("model".into(), model.into())));
                body.extend(self.sampling());
                self.omni(&mut body);
                body.insert("speed".into(), self.speed.into());
            }
        }
        Value::Object(body)
    }

    fn sampling(&self) -> [(String, Value); 3] {
        [
            ("temperature".into(), self.temperature.into()),
            ("top_p".into(), TOP_P.into()),
            ("top_k".into(), TOP_K.into()),
        ]
    }

    /// `vllm/entrypoints/openai/protocol.py` of Boson's server, `AudioSpeechRequest`. It takes no seed.
    fn boson_speech(&self, body: &mut Map<String, Value>) {
        body.insert("input".into(), self.text.into());
        if let Speaker::Preset(name) = self.speaker {
            body.insert("voice".into(), name.into());
        }
        body.insert("response_format".into(), "pcm".into());
        body.insert("max_tokens".into(), self.frames.into());
        body.insert("audio_chunk_size".into(), self.chunk.size.into());
        body.insert("audio_chunk_overlap_size".into(), self.chunk.overlap.into());
    }

    /// `examples/vllm/run_chat_completion.py` of boson-ai/higgs-audio, `run_voice_clone`, and `ChatCompletionAudioParam` of
    /// the server's `vllm/entrypoints/openai/protocol.py`.
    fn chat(&self, body: &mut Map<String, Value>) {
        let message = |role: &str, content: Value| json!({"role": role, "content": content});
        let messages = match self.speaker {
            Speaker::Clone(clip) => {
                let sound = json!([{"type": "input_audio", "input_audio": {"data": clip.wav, "format": "wav"}}]);
                vec![
                    message("system", CLONE_PROMPT.into()),
                    message("user", clip.text.as_str().into()),
                    message("assistant", sound),
                    message("user", self.text.into()),
                ]
            }
            _ => vec![message("system", FREE_PROMPT.into()), message("user", self.text.into())],
        };
        let (size, overlap) = (self.chunk.size, self.chunk.overlap);
        let audio = json!({"format": "pcm16", "audio_chunk_size": size, "audio_chunk_overlap_size": overlap});
        body.insert("messages".into(), messages.into());
        body.insert("modalities".into(), json!(["text", "audio"]));
        body.insert("audio".into(), audio);
        body.insert("stream".into(), true.into());
        body.insert("stop".into(), json!(STOP));
        body.insert("max_completion_tokens".into(), self.frames.into());
        body.insert("seed".into(), self.seed.into());
    }

    /// `vllm_omni/entrypoints/openai/protocol/audio.py`, `OpenAICreateSpeechRequest`, and `sglang_omni/serve/protocol.py`,
    /// `CreateSpeechRequest`, which agree on all of this.
    fn omni(&self, body: &mut Map<String, Value>) {
        body.insert("input".into(), self.text.into());
        match self.speaker {
            Speaker::Any => {}
            Speaker::Preset(name) => {
                body.insert("voice".into(), name.into());
            }
            Speaker::Clone(clip) => {
                body.insert("ref_audio".into(), format!("data:audio/wav;base64,{}", clip.wav).into());
                body.insert("ref_text".into(), clip.text.as_str().into());
            }
        }
        body.insert("response_format".into(), "pcm".into());
        body.insert("stream".into(), true.into());
        body.insert("stream_format".into(), "audio".into());
        body.insert("max_new_tokens".into(), self.frames.into());
        body.insert("seed".into(), self.seed.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_by_their_voices() {
        for (voices, dialect, names) in [
            (json!(["belinda", "en_man"]), Some(Dialect::Boson), &["belinda", "en_man"][..]),
            (json!([]), Some(Dialect::Boson), &[]),
            (json!({"voices": ["default"], "uploaded_voices": []}), Some(Dialect::VllmOmni), &[]),
            (
                json!({"voices": ["default", "anna"], "uploaded_voices": [{"name": "anna"}, {"name": "ben"}], "cache_stats": {}}),
                Some(Dialect::SglangOmni),
                &["anna", "ben"],
            ),
            (json!({"detail": "?"}), None, &[]),
        ] {
            assert_eq!(Dialect::of(&voices), dialect, "{voices}");
            assert_eq!(presets(&voices), names, "{voices}");
        }
    }

    #[test]
    fn each_server_gets_what_it_takes_and_nothing_it_refuses() {
        let clip = Clip { wav: "UklGRg==".into(), text: "I am Anna.".into() };
        let body = |dialect, speaker| {
            let chunk = Chunk { size: 16, overlap: 11 };
            let (temperature, seed) = (0.5, 7);
            let ask = Ask { text: "Hello.", speaker, speed: 1.25, temperature, frames: 100, seed, chunk };
            let server = Server { dialect, model: Some("m".into()), presets: Vec::new() };
            format!("{} {}", if ask.is_chat(dialect) { "chat" } else { "speech" }, ask.body(&server))
        };
        insta::assert_snapshot!(body(Dialect::Boson, Speaker::Preset("belinda")), @r#"speech {"audio_chunk_overlap_size":11,"audio_chunk_size":16,"input":"Hello.","max_tokens":100,"model":"m","response_format":"pcm","temperature":0.5,"top_k":50,"top_p":0.95,"voice":"belinda"}"#);
        insta::assert_snapshot!(body(Dialect::Boson, Speaker::Clone(&clip)), @r#"chat {"audio":{"audio_chunk_overlap_size":11,"audio_chunk_size":16,"format":"pcm16"},"max_completion_tokens":100,"messages":[{"content":"Convert text to speech with the same voice.","role":"system"},{"content":"I am Anna.","role":"user"},{"content":[{"input_audio":{"data":"UklGRg==","format":"wav"},"type":"input_audio"}],"role":"assistant"},{"content":"Hello.","role":"user"}],"modalities":["text","audio"],"model":"m","seed":7,"stop":["<|eot_id|>","<|end_of_text|>","<|audio_eos|>"],"stream":true,"temperature":0.5,"top_k":50,"top_p":0.95}"#);
        insta::assert_snapshot!(body(Dialect::VllmOmni, Speaker::Clone(&clip)), @r#"speech {"input":"Hello.","max_new_tokens":100,"model":"m","ref_audio":"data:audio/wav;base64,UklGRg==","ref_text":"I am Anna.","response_format":"pcm","seed":7,"stream":true,"stream_format":"audio"}"#);
        insta::assert_snapshot!(body(Dialect::VllmOmni, Speaker::Any), @r#"speech {"input":"Hello.","max_new_tokens":100,"model":"m","response_format":"pcm","seed":7,"stream":true,"stream_format":"audio"}"#);
        insta::assert_snapshot!(body(Dialect::SglangOmni, Speaker::Preset("ben")), @r#"speech {"input":"Hello.","max_new_tokens":100,"model":"m","response_format":"pcm","seed":7,"speed":1.25,"stream":true,"stream_format":"audio","temperature":0.5,"top_k":50,"top_p":0.95,"voice":"ben"}"#);
    }
}
