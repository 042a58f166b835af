//! One session of the load: a microphone that never stops, and an ear that reads the times in what it hears.
//!
//! The load shares the machine with the server, so it does as little as it can: what it sends was made beforehand, and
//! of what it gets it reads only the beginning of each frame.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::stamp::{self, FRAME, FRAME_TIME, READABLE};
use super::subject::Dialect;

/// Length of a turn, and of talking over an answer.
const TURN: u32 = frames(1_000);
/// An answer that is interrupted is heard this long before.
const LISTENING: u32 = frames(2_000);
/// Between an answer and the next turn.
const PAUSE: u32 = frames(500);
/// The first turn of a session comes within this time.
const FIRST_PAUSE: u32 = frames(3_000);
/// An answer of which nothing came for so long is over.
const OVER: Duration = Duration::from_millis(600);
/// A turn that is not answered for so long is lost.
const PATIENCE: u32 = frames(10_000);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// A server gets this much longer than the session to take what it is sent.
const HANGING: Duration = Duration::from_secs(5);

/// What a frame's sound takes in base64, and what of that its beginning takes.
const LETTERS: usize = FRAME * 2 / 3 * 4;
const READABLE_LETTERS: usize = READABLE.div_ceil(3) * 4;

const fn frames(milliseconds: u128) -> u32 {
    (milliseconds / FRAME_TIME.as_millis()) as u32
}

/// What a session of the load found. Times are in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// From when a frame was due in the engine to when it was here.
    pub(super) latency: Vec<u32>,
    /// The same of each answer's first frame.
    pub(super) first: Vec<u32>,
    /// From talking over an answer to the last that came of it.
    pub(super) silence: Vec<u32>,
    /// Turns that were not answered.
    pub(super) unanswered: usize,
    /// Frames that did not come between others, or came spoilt.
    pub(super) missing: usize,
    /// The session could not be opened, for this reason.
    pub(super) refused: Option<String>,
    /// The session ended before its time, for this reason.
    pub(super) lost: Option<String>,
}

/// When a session lives and counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Connects.
    pub(super) from: Instant,
    /// What is heard from here on is counted.
    pub(super) counted_from: Instant,
    /// Hangs up.
    pub(super) until: Instant,
}

/// Holds one session. `place` tells it from the others: when it speaks, and which answers it interrupts.
pub(super) async fn talk(url: String, dialect: Dialect, place: usize, span: Span) -> Heard {
    sleep_until(span.from).await;
    let mut person = Person::new(dialect, place, span.counted_from);
    let line = match timeout(CONNECT, connect_async_with_config(url, None, true)).await {
        Ok(Ok((line, _))) => line,
        Ok(Err(error)) => return Heard { refused: Some(error.to_string()), ..person.heard },
        Err(_) => return Heard { refused: Some("it took too long to connect".into()), ..person.heard },
    };
    person.heard.lost = match timeout_at(span.until + HANGING, person.hold(line, span.until)).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("the server takes in no more".into()),
    };
    person.heard
}

struct Person {
    place: usize,
    counted_from: Instant,
    microphone: Microphone,
    doing: Doing,
    /// When the newest frame was due.
    newest: u64,
    answers: usize,
    heard: Heard,
}

/// Messages made beforehand.
struct Microphone {
    loud: Message,
    quiet: Message,
}

/// What a person does, and for how many frames more or already.
enum Doing {
    Pausing { left: u32 },
    Speaking { left: u32, over: Option<Interruption> },
    Waiting { frames: u32, since: u64 },
    Listening { frames: u32, last: Instant },
}

struct Interruption {
    since: Instant,
    last: Instant,
}

impl Person {
    fn new(dialect: Dialect, place: usize, counted_from: Instant) -> Self {
        Self {
            place,
            counted_from,
            microphone: Microphone::new(dialect),
            // 61 is no divisor of the spread, so that places next to each other do not speak together.
            doing: Doing::Pausing { left: place as u32 * 61 % FIRST_PAUSE },
            newest: 0,
            answers: 0,
            heard: Heard::default(),
        }
    }

    async fn hold(
        &mut self,
        mut line: WebSocketStream<MaybeTlsStream<TcpStream>>,
        until: Instant,
    ) -> Result<(), String> {
        let mut tick = interval(FRAME_TIME);
        // A microphone catches up.
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                message = line.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear_event(&text)?,
                    Some(Ok(Message::Binary(pcm))) => self.hear_pcm(&pcm),
                    Some(Ok(Message::Close(why))) => return Err(format!("the server hung up: {why:?}")),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err("the server hung up".into()),
                },
                now = tick.tick() => {
                    if now >= until {
                        // The server may be gone as well.
                        let _ = line.close(None).await;
                        return Ok(());
                    }
                    let message = if self.next_is_loud() { &self.microphone.loud } else { &self.microphone.quiet };
                    line.send(message.clone()).await.map_err(|error| error.to_string())?;
                }
            }
        }
    }

    /// Whether the next frame of the microphone is speech.
    fn next_is_loud(&mut self) -> bool {
        let now = Instant::now();
        match &mut self.doing {
            Doing::Pausing { left: 0 } => self.doing = Doing::Speaking { left: TURN, over: None },
            Doing::Pausing { left } => *left -= 1,
            Doing::Speaking { left: 0, over } => {
                if let Some(Interruption { since, last }) = over
                    && *since >= self.counted_from
                {
                    self.heard.silence.push((*last - *since).as_micros() as u32);
                }
                self.doing = Doing::Waiting { frames: 0, since: stamp::now() };
            }
            Doing::Speaking { left, .. } => *left -= 1,
            Doing::Waiting { frames: PATIENCE, .. } => {
                self.heard.unanswered += 1;
                self.doing = Doing::Pausing { left: 0 };
            }
            Doing::Waiting { frames, .. } => *frames += 1,
            Doing::Listening { frames, .. } if *frames >= LISTENING && self.answers % 2 == self.place % 2 => {
                // The sound that goes out now was picked up during the frame before.
                let since = now.checked_sub(FRAME_TIME).unwrap_or(now);
                let over = Some(Interruption { since, last: since });
                self.doing = Doing::Speaking { left: TURN, over };
            }
            Doing::Listening { last, .. } if now - *last > OVER => self.doing = Doing::Pausing { left: PAUSE },
            Doing::Listening { .. } => {}
        }
        matches!(self.doing, Doing::Speaking { .. })
    }

    /// Takes an event of the Realtime API.
    fn hear_event(&mut self, text: &str) -> Result<(), String> {
        if text.contains("\"type\":\"error\"") {
            return Err(format!("the server complains: {text}"));
        }
        let sound =
            text.split_once("\"response.output_audio.delta\"").and_then(|(_, rest)| rest.split_once("\"delta\":\""));
        let Some((_, sound)) = sound else { return Ok(()) };
        let sound = sound.split('"').next().unwrap_or_default();
        for frame in sound.as_bytes().chunks(LETTERS) {
            let begin = frame.get(..READABLE_LETTERS).and_then(|begin| BASE64_STANDARD.decode(begin).ok());
            self.hear(begin.and_then(|pcm| stamp::read(&pcm)));
        }
        Ok(())
    }

    fn hear_pcm(&mut self, pcm: &[u8]) {
        for frame in pcm.chunks(FRAME * 2) {
            self.hear(stamp::read(frame));
        }
    }

    /// Takes a frame that was due then.
    fn hear(&mut self, due: Option<u64>) {
        let now = Instant::now();
        let counts = now >= self.counted_from;
        let Some(due) = due else {
            self.heard.missing += usize::from(counts);
            return;
        };
        let latency = stamp::now().saturating_sub(due) as u32;
        let step = FRAME_TIME.as_micros() as u64;
        let skipped = (due.saturating_sub(self.newest) / step).saturating_sub(1) as usize;
        self.newest = due;
        match &mut self.doing {
            // What was due before the turn ended belongs to the answer before.
            Doing::Waiting { since, .. } if due >= *since => {
                self.answers += 1;
                self.doing = Doing::Listening { frames: 1, last: now };
                if counts {
                    self.heard.first.push(latency);
                }
            }
            Doing::Listening { frames, last } => {
                (*frames, *last) = (*frames + 1, now);
                self.heard.missing += if counts { skipped } else { 0 };
            }
            Doing::Speaking { over: Some(over), .. } => over.last = now,
            Doing::Speaking { .. } | Doing::Waiting { .. } | Doing::Pausing { .. } => {}
        }
        if counts {
            self.heard.latency.push(latency);
        }
    }
}

impl Microphone {
    fn new(dialect: Dialect) -> Self {
        let message = |amplitude: f32| {
            let tone = |n: usize| (n as f32 * std::f32::consts::TAU / 60.0).sin() * amplitude * 32_767.0;
            let pcm: Vec<u8> = (0..FRAME).flat_map(|n| (tone(n) as i16).to_le_bytes()).collect();
            match dialect {
                Dialect::Pcm => Message::Binary(Bytes::from(pcm)),
                Dialect::Realtime => {
                    let audio = BASE64_STANDARD.encode(pcm);
                    let append = format!("{{\"type\":\"input_audio_buffer.append\",\"audio\":\"{audio}\"}}");
                    Message::Text(Utf8Bytes::from(append))
                }
            }
        };
        Self { loud: message(0.3), quiet: message(0.0) }
    }
}
