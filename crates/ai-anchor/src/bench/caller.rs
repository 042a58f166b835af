//! A caller: a client of the anchor with a microphone that never stops and an ear.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anchor_core::audio::OUTPUT_RATE;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::ear::Ear;
use super::person::{Noise, ROOM_NOISE_DBFS, Utterance};

/// The microphone gives frames of this length.
const FRAME_MS: u64 = 20;
const FRAME: usize = (OUTPUT_RATE as u64 * FRAME_MS / 1000) as usize;

/// A client on the line. Dropping it hangs up.
pub struct Caller {
    events: mpsc::UnboundedReceiver<(Instant, Value)>,
    commands: mpsc::UnboundedSender<Value>,
    microphone: Arc<Mutex<Microphone>>,
    ear: Ear,
    _tasks: JoinSet<()>,
}

/// What the microphone picks up: speech that waits to be said, over noise.
struct Microphone {
    origin: Instant,
    given: u64,
    speech: VecDeque<f32>,
    noise: Noise,
}

/// When something was said.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// The first audible sample.
    pub first: Instant,
    /// The last audible sample.
    pub last: Instant,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The line could not be opened or broke.
    #[error("the line to the anchor broke: {0}")]
    Line(#[from] Box<WsError>),
    /// The anchor did not do what was waited for.
    #[error("{what} did not come within {seconds} s; last came {last}", seconds = .waited.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// Types of the last events.
        last: String,
    },
}

impl Caller {
    /// Calls the anchor at `url` and keeps the microphone open.
    pub async fn call(url: &str) -> Result<Self, CallError> {
        let (line, _) = connect_async(url).await.map_err(Box::new)?;
        let (events_in, events) = mpsc::unbounded_channel();
        let (commands, commands_out) = mpsc::unbounded_channel();
        let microphone = Arc::new(Mutex::new(Microphone {
            origin: Instant::now(),
            given: 0,
            speech: VecDeque::new(),
            noise: Noise::new(ROOM_NOISE_DBFS),
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(line, commands_out, events_in, microphone.clone()));
        Ok(Self { events, commands, microphone, ear: Ear::default(), _tasks: tasks })
    }

    /// Says something, behind what is still being said.
    pub fn say(&self, utterance: &Utterance) -> Said {
        let mut microphone = self.microphone.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = microphone.given + microphone.speech.len() as u64;
        let origin = microphone.origin;
        microphone.speech.extend(&utterance.samples);
        let at = |sample: usize| {
            origin + Duration::from_micros((begin + sample as u64) * 1_000_000 / u64::from(OUTPUT_RATE))
        };
        Said { first: at(utterance.first), last: at(utterance.last) }
    }

    /// Sends an event.
    pub fn send(&self, event: Value) {
        // A broken line shows when the next event is waited for.
        let _ = self.commands.send(event);
    }

    /// What was heard since the ear was last cleared.
    pub fn ear(&self) -> &Ear {
        &self.ear
    }

    /// Forgets what was heard.
    pub fn clear_ear(&mut self) {
        self.ear = Ear::default();
    }

    /// The next event within `patience`, and when it came. Sound goes to the ear, and what the anchor takes back is
    /// dropped from it.
    pub async fn next(&mut self, patience: Duration) -> Option<(Instant, Value)> {
        let (at, event) = tokio::time::timeout(patience, self.events.recv()).await.ok()??;
        match event["type"].as_str() {
            Some("response.output_audio.delta") => {
                let bytes = event["delta"].as_str().and_then(|delta| BASE64_STANDARD.decode(delta).ok());
                self.ear.hear(at, from_pcm(&bytes.unwrap_or_default()));
            }
            Some("input_audio_buffer.speech_started" | "anchor.playout.cleared") => self.ear.flush(at),
            _ => {}
        }
        Some((at, event))
    }

    /// Waits until `wanted` says yes to an event.
    pub async fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Value, &Ear) -> bool,
    ) -> Result<(Instant, Value), CallError> {
        let until = Instant::now() + patience;
        let mut last = VecDeque::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some((at, event)) = self.next(left).await else {
                let last = Vec::from(last).join(", ");
                return Err(CallError::Late { what: what.into(), waited: patience, last });
            };
            if wanted(&event, &self.ear) {
                return Ok((at, event));
            }
            last.push_back(event["type"].as_str().unwrap_or_default().to_owned());
            if last.len() > 8 {
                last.pop_front();
            }
        }
    }

    /// Waits for an event of this type.
    pub async fn wait_for(&mut self, kind: &str, patience: Duration) -> Result<Value, CallError> {
        Ok(self.wait(kind, patience, |event, _| event["type"] == kind).await?.1)
    }
}

impl Microphone {
    /// The frames that are due by `now`.
    fn frames(&mut self, now: Instant) -> Vec<Vec<f32>> {
        let passed = now.saturating_duration_since(self.origin).as_secs_f64() * f64::from(OUTPUT_RATE);
        let mut frames = Vec::new();
        while self.given + FRAME as u64 <= passed as u64 {
            let frame = (0..FRAME).map(|_| self.speech.pop_front().unwrap_or(0.0) + self.noise.next().unwrap_or(0.0));
            frames.push(frame.collect());
            self.given += FRAME as u64;
        }
        frames
    }
}

/// Keeps the line: microphone and commands out, events in, until either side hangs up.
async fn run(
    line: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut commands: mpsc::UnboundedReceiver<Value>,
    events: mpsc::UnboundedSender<(Instant, Value)>,
    microphone: Arc<Mutex<Microphone>>,
) {
    let (mut out, mut back) = line.split();
    let mut tick = interval(Duration::from_millis(FRAME_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            message = back.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let event = serde_json::from_str(&text).unwrap_or(Value::Null);
                    if events.send((Instant::now(), event)).is_err() { return }
                    Ok(())
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
            command = commands.recv() => match command {
                Some(command) => out.send(Message::text(command.to_string())).await,
                None => return,
            },
            _ = tick.tick() => {
                let frames = microphone.lock().unwrap_or_else(PoisonError::into_inner).frames(Instant::now());
                let mut sent = Ok(());
                for frame in frames {
                    let append = json!({ "type": "input_audio_buffer.append", "audio": BASE64_STANDARD.encode(pcm(&frame)) });
                    sent = out.send(Message::text(append.to_string())).await;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// 16-bit little-endian samples.
fn pcm(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|s| ((s.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes()).collect()
}

fn from_pcm(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect()
}
