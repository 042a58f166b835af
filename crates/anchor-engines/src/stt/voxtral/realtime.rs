//! `voxtral-realtime`: Voxtral-Mini-4B-Realtime behind vLLM's WebSocket, which listens while somebody speaks.
//!
//! One connection a turn: the model keeps the sound of a whole connection in its context, and a turn is what it should
//! hear. Source: `vllm/entrypoints/speech_to_text/realtime/` of github.com/vllm-project/vllm (`protocol.py`,
//! `connection.py`, `api_router.py`).

use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{AudioInput, EngineError, EventStream, Later, Stt, SttEvent, SttRequest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::sound::is_audible;
use super::{check_model, two_letters};
use crate::generate::{self, Out};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs};

const NAME: &str = "voxtral-realtime";

/// Its line in the table.
pub const ENTRY: Entry<dyn Stt> = Entry {
    name: NAME,
    about: "Voxtral-Mini-4B-Realtime behind vLLM: listens while somebody speaks, in 13 languages",
    needs: Needs { gpu_bytes: 16_000_000_000, packages: &[], network: true },
    load,
};

const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8000", first_ms: 3_000, between_ms: 2_000 };

/// Longest message taken from the server: a delta is a word, a whole turn a few kilobytes.
const MESSAGE_MAX: usize = 256 * 1024;

/// The model writes one token for 80 ms of sound, so a turn of two minutes has at most 1500 of them.
const TEXT_MAX: usize = 64 * 1024;

/// Silence that is sent before the first sound, in samples: half a second, in which a word can begin softly.
const BEFORE_SPEECH: usize = INPUT_RATE as usize / 2;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What the server calls the model.
    model: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: "mistralai/Voxtral-Mini-4B-Realtime-2602".into() }
    }
}

struct VoxtralRealtime {
    remote: Arc<Remote>,
    model: String,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Stt>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    Ok(Arc::new(VoxtralRealtime { remote: Arc::new(remote), model: options.model }))
}

impl Stt for VoxtralRealtime {
    /// Has to be polled within a tokio runtime.
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let (remote, model) = (self.remote.clone(), self.model.clone());
        generate::stream(move |out| async move {
            let mut lease = remote.least_busy();
            let turn = Turn { remote: &remote, text: String::new() };
            let outcome = turn.run(lease.base(), &model, request.language, audio, out).await;
            match &outcome {
                Ok(()) => lease.succeeded(),
                Err(EngineError::Failed { .. }) => lease.failed(),
                Err(_) => {}
            }
            outcome
        })
    }

    fn probe(&self) -> Later<()> {
        let (remote, model) = (self.remote.clone(), self.model.clone());
        Box::pin(async move { check_model(&remote, &model).await })
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One turn while it is being spoken.
struct Turn<'a> {
    remote: &'a Remote,
    text: String,
}

impl Turn<'_> {
    async fn run(
        mut self,
        base: &str,
        model: &str,
        language: Option<String>,
        mut audio: AudioInput,
        mut out: Out<SttEvent>,
    ) -> Result<(), EngineError> {
        // A turn without anything to hear is no reason for a connection.
        let mut first = match start_of_speech(&mut audio).await {
            Some(sound) => Some(AudioFrame::new(sound)),
            None => return out.give(SttEvent::Final(String::new())).await,
        };
        let (mut speaks, mut hears) = self.connect(base).await?;
        let mut session = json!({ "type": "session.update", "model": model });
        if let Some(language) = language {
            session["language"] = two_letters(&language).into();
        }
        self.send(&mut speaks, session).await?;
        // A commit that is not the last one begins the transcription of what is appended from then on.
        self.send(&mut speaks, json!({ "type": "input_audio_buffer.commit", "final": false })).await?;
        // Set once the turn has ended: when the next word of the server is due.
        let mut due: Option<Instant> = None;
        loop {
            let frame = async {
                match first.take() {
                    Some(frame) => Some(frame),
                    None => audio.next().await,
                }
            };
            let said = tokio::select! {
                frame = frame, if due.is_none() => {
                    let event = match frame {
                        // The server takes no empty piece for sound.
                        Some(frame) if frame.is_empty() => continue,
                        Some(frame) => {
                            json!({ "type": "input_audio_buffer.append", "audio": BASE64_STANDARD.encode(pcm(&frame)) })
                        }
                        None => {
                            due = Some(Instant::now() + self.remote.patience().first);
                            json!({ "type": "input_audio_buffer.commit", "final": true })
                        }
                    };
                    self.send(&mut speaks, event).await?;
                    continue;
                }
                said = next_text(&mut hears) => said,
                () = reach(due) => return Err(self.remote.failed("the end of the transcript did not come in time")),
            };
            let Some(said) = said else {
                return Err(self.remote.failed("the connection ended in the middle of a turn"));
            };
            if due.is_some() {
                due = Some(Instant::now() + self.remote.patience().between);
            }
            if let Some(event) = self.take(&said, model)? {
                let last = matches!(event, SttEvent::Final(_));
                out.give(event).await?;
                if last {
                    return Ok(());
                }
            }
        }
    }

    /// Connects and waits for the server's greeting.
    async fn connect(&self, base: &str) -> Result<(SplitSink<Socket, Message>, SplitStream<Socket>), EngineError> {
        let deadline = Instant::now() + self.remote.patience().first;
        let failed = |reason: String| self.remote.failed(format!("{base}: {reason}"));
        let url = format!("{}/v1/realtime", base.replacen("http", "ws", 1));
        let mut request = url.into_client_request().map_err(|error| failed(error.to_string()))?;
        if let Some(header) = self.remote.authorization() {
            request.headers_mut().insert("authorization", header);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
        let connected = timeout_at(deadline, connect_async_with_config(request, Some(config), true)).await;
        let (socket, _) = connected
            .map_err(|_| failed("no connection in time".into()))?
            .map_err(|error| failed(format!("no connection ({error})")))?;
        let (speaks, mut hears) = socket.split();
        match timeout_at(deadline, next_text(&mut hears)).await {
            Ok(Some(text)) if kind(&text).as_deref() == Some("session.created") => Ok((speaks, hears)),
            Ok(Some(_)) => Err(failed("it did not greet; is this a server of vLLM with a realtime model?".into())),
            Ok(None) => Err(failed("it hung up".into())),
            Err(_) => Err(failed("it did not greet in time".into())),
        }
    }

    async fn send(&self, speaks: &mut SplitSink<Socket, Message>, event: Value) -> Result<(), EngineError> {
        // A server that reads nothing makes this wait.
        let patience: Duration = self.remote.patience().between;
        match tokio::time::timeout(patience, speaks.send(Message::text(event.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.remote.failed(format!("the connection broke ({error})"))),
            Err(_) => Err(self.remote.failed("it takes in no more sound")),
        }
    }

    /// What an event of the server comes to.
    fn take(&mut self, said: &str, model: &str) -> Result<Option<SttEvent>, EngineError> {
        let unreadable = |error| self.remote.failed(format!("the server's answer cannot be read: {error}"));
        let event: Value = serde_json::from_str(said).map_err(unreadable)?;
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        match text("type") {
            // A token for each 80 ms, and most of them have no text.
            "transcription.delta" if text("delta").is_empty() => Ok(None),
            "transcription.delta" => {
                self.text.push_str(text("delta"));
                if self.text.len() > TEXT_MAX {
                    return Err(self.remote.failed("it wrote far more than anybody can have said"));
                }
                Ok(Some(SttEvent::Partial(self.text.trim().to_owned())))
            }
            "transcription.done" => Ok(Some(SttEvent::Final(text("text").trim().to_owned()))),
            "error" if text("code") == "model_not_found" => Err(EngineError::Unavailable {
                engine: NAME,
                reason: format!("the server does not serve the model {model} ({})", text("error")),
                remedy: format!("Start a server of that model, or set `url` and `model` in the options of {NAME}."),
            }),
            "error" => Err(self.remote.failed(match text("error") {
                "" => "an error without a reason",
                reason => reason,
            })),
            _ => Ok(None),
        }
    }
}

/// The first sound of a turn, with a little of the silence before it; `None` if the turn ends without any.
async fn start_of_speech(audio: &mut AudioInput) -> Option<Vec<f32>> {
    let mut sound = Vec::new();
    while let Some(frame) = audio.next().await {
        sound.extend_from_slice(&frame);
        if is_audible(&frame) {
            return Some(sound);
        }
        sound.drain(..sound.len().saturating_sub(BEFORE_SPEECH));
    }
    None
}

/// The next text, `None` once the connection has ended. Pings are answered on the way.
async fn next_text(hears: &mut SplitStream<Socket>) -> Option<String> {
    loop {
        match hears.next().await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

async fn reach(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn kind(text: &str) -> Option<String> {
    let event: Value = serde_json::from_str(text).ok()?;
    event["type"].as_str().map(str::to_owned)
}

/// 16-bit little-endian samples.
fn pcm(samples: &[f32]) -> Vec<u8> {
    let sample = |sample: &f32| (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
    samples.iter().flat_map(|value| sample(value).to_le_bytes()).collect()
}
