//! Asks a model server whether it works, with real requests.

use std::time::Duration;

use anchor_core::audio::INPUT_RATE;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::recipe::Proof;
use crate::wav;

/// Longest answer that is read. A word of speech is 100 KB.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How long a connection on this machine may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Length of the silence that is transcribed: 0.5 s at 16 kHz.
const SILENCE: usize = 8000;

/// How well a server works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Works {
    /// As it should.
    Well,
    /// Not as well as it should, for this reason.
    Badly(String),
    /// It runs, but lacks something that only the operator can give it.
    Lacks(String),
}

/// Why a server does not work, as far as it says so. The text completes "asked, ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It may come yet.
    NotYet(String),
    /// It answers, and refuses the real request.
    Refused(String),
}

/// Asks one server.
#[derive(Clone)]
pub(super) struct Check {
    client: Client,
    url: Url,
    proof: Proof,
}

impl Check {
    /// Asks the server at `url`.
    pub(super) fn new(url: Url, proof: Proof) -> Result<Self, reqwest::Error> {
        // A proxy of the environment is not for servers on this machine.
        let client = Client::builder().no_proxy().connect_timeout(CONNECT).build()?;
        Ok(Self { client, url, proof })
    }

    /// Whether anybody at all takes connections there.
    pub(super) async fn listens(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or_default();
        let connecting = tokio::net::TcpStream::connect((host, port));
        matches!(tokio::time::timeout(CONNECT, connecting).await, Ok(Ok(_)))
    }

    /// A cheap look: whether the server answers, and is of the kind it should be. The error completes "asked, ...".
    pub(super) async fn answers(&self, patience: Duration) -> Result<(), String> {
        match &self.proof {
            Proof::Ollama { .. } => {
                let version: Value = self.json(self.get("/api/version"), patience).await?;
                version.get("version").map(|_| ()).ok_or_else(|| "/api/version names no version".into())
            }
            Proof::Transcription { .. } | Proof::Speech { .. } => {
                self.send(self.get("/health"), patience).await.map(|_| ())
            }
        }
    }

    /// Whether the server, which answers, is the one that is wanted: of this kind, with this model.
    pub(super) async fn is_it(&self, patience: Duration) -> Result<(), String> {
        self.answers(patience).await?;
        match &self.proof {
            Proof::Ollama { .. } => Ok(()),
            Proof::Transcription { model } | Proof::Speech { model } => {
                let models: Models = self.json(self.get("/v1/models"), patience).await?;
                if models.data.iter().any(|listed| listed.id == *model) {
                    return Ok(());
                }
                let listed: Vec<_> = models.data.iter().map(|listed| listed.id.as_str()).collect();
                Err(format!("/v1/models lists {} and not {model}", listed.join(", ")))
            }
        }
    }

    /// The proof: a real request, answered within `patience`.
    pub(super) async fn works(&self, answer: Duration, patience: Duration) -> Result<Works, Doubt> {
        self.answers(answer).await.map_err(Doubt::NotYet)?;
        match &self.proof {
            Proof::Ollama { model, context } => self.loaded(model, *context, patience).await,
            Proof::Transcription { model } => self.transcribes(model, patience).await,
            Proof::Speech { model } => self.speaks(model, patience).await,
        }
    }

    /// No messages at all load the model without a word written (`docs/api.md` of Ollama, "Load a model").
    async fn loaded(&self, model: &str, context: u32, patience: Duration) -> Result<Works, Doubt> {
        let body = json!({
            "model": model, "messages": [], "stream": false, "keep_alive": -1, "options": { "num_ctx": context },
        });
        let request = self.client.post(self.at("/api/chat")).json(&body).timeout(patience);
        let (status, answer) = self.answer("/api/chat", request).await.map_err(Doubt::NotYet)?;
        if status == StatusCode::NOT_FOUND {
            let pull = "`ai-anchor models pull ollama` downloads it";
            return Ok(Works::Lacks(format!("Ollama does not have the model {model}. {pull}")));
        }
        proved("/api/chat", status, &answer)?;
        let running: Running = self.json(self.get("/api/ps"), patience).await.map_err(Doubt::NotYet)?;
        let named = |name: &str| name == model || name.strip_suffix(":latest") == Some(model);
        let loaded = running.models.iter().find(|loaded| named(&loaded.model) || named(&loaded.name));
        Ok(match loaded {
            Some(loaded) if loaded.size_vram < loaded.size => {
                let outside = 100.0 * (1.0 - loaded.size_vram as f64 / loaded.size as f64);
                Works::Badly(format!(
                    "{outside:.0} % of the language model lies in main memory instead of on the GPU, so that answers \
                     come late. `ai-anchor plan` tells what fits"
                ))
            }
            _ => Works::Well,
        })
    }

    async fn transcribes(&self, model: &str, patience: Duration) -> Result<Works, Doubt> {
        let path = "/v1/audio/transcriptions";
        let sound = Part::bytes(wav::write(&[0.0; SILENCE], INPUT_RATE)).file_name("silence.wav").mime_str("audio/wav");
        let sound = sound.map_err(|error| Doubt::Refused(format!("{path} cannot be asked: {error}")))?;
        let form = Form::new().part("file", sound).text("model", model.to_owned()).text("response_format", "json");
        let form = form.text("temperature", "0").text("language", "en");
        let request = self.client.post(self.at(path)).multipart(form).timeout(patience);
        let (status, answer) = self.answer(path, request).await.map_err(Doubt::NotYet)?;
        proved(path, status, &answer)?;
        let text = serde_json::from_slice::<Value>(&answer).ok().filter(|answer| answer.get("text").is_some());
        text.map(|_| Works::Well).ok_or_else(|| Doubt::Refused(format!("{path} answers without a text")))
    }

    async fn speaks(&self, model: &str, patience: Duration) -> Result<Works, Doubt> {
        let path = "/v1/audio/speech";
        let mut body = json!({ "model": model, "input": "Hello.", "response_format": "pcm" });
        // Boson's own server demands one of its voices; vLLM-Omni has none for this model and refuses any.
        if let Ok(voices) = self.json::<Vec<String>>(self.get("/v1/audio/voices"), CONNECT).await
            && let Some(voice) = voices.into_iter().next()
        {
            body["voice"] = voice.into();
        }
        let request = self.client.post(self.at(path)).json(&body).timeout(patience);
        let (status, answer) = self.answer(path, request).await.map_err(Doubt::NotYet)?;
        proved(path, status, &answer)?;
        // Sound that begins like JSON is an error that came after the status was sent.
        if answer.is_empty() || serde_json::from_slice::<Value>(&answer).is_ok() {
            return Err(Doubt::Refused(format!("{path} gives no sound: {}", short(&answer))));
        }
        Ok(Works::Well)
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    fn get(&self, path: &str) -> (String, RequestBuilder) {
        (path.to_owned(), self.client.get(self.at(path)))
    }

    async fn send(&self, (path, request): (String, RequestBuilder), patience: Duration) -> Result<Vec<u8>, String> {
        let (status, answer) = self.answer(&path, request.timeout(patience)).await?;
        succeeded(&path, status, &answer).map(|()| answer)
    }

    async fn json<T: for<'a> Deserialize<'a>>(
        &self,
        request: (String, RequestBuilder),
        patience: Duration,
    ) -> Result<T, String> {
        let path = request.0.clone();
        let answer = self.send(request, patience).await?;
        serde_json::from_slice(&answer).map_err(|_| format!("{path} does not answer as it should: {}", short(&answer)))
    }

    async fn answer(&self, path: &str, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
        let failed = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                "does not answer in time"
            } else if error.is_connect() {
                "takes no connection"
            } else {
                "does not answer in HTTP"
            };
            format!("{path} {why}")
        };
        let mut response = request.send().await.map_err(failed)?;
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            answer.extend_from_slice(&piece);
            if answer.len() > MAX_ANSWER {
                return Err(format!("{path} answers without end"));
            }
        }
        Ok((response.status(), answer))
    }
}

/// What `/v1/models` says.
#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// What `/api/ps` says.
#[derive(Deserialize)]
struct Running {
    #[serde(default)]
    models: Vec<Loaded>,
}

#[derive(Deserialize)]
struct Loaded {
    #[serde(default)]
    name: String,
    #[serde(default)]
    model: String,
    size: u64,
    size_vram: u64,
}

fn succeeded(path: &str, status: StatusCode, answer: &[u8]) -> Result<(), String> {
    if status.is_success() { Ok(()) } else { Err(format!("{path} answers {}: {}", status.as_u16(), short(answer))) }
}

/// The same of a real request. A server that is busy or still loads says 503.
fn proved(path: &str, status: StatusCode, answer: &[u8]) -> Result<(), Doubt> {
    let doubt = if status == StatusCode::SERVICE_UNAVAILABLE { Doubt::NotYet } else { Doubt::Refused };
    succeeded(path, status, answer).map_err(doubt)
}

/// The beginning of an answer, for a message.
fn short(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(400)]);
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
