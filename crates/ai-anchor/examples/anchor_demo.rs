//! A whole spoken conversation without a server: a question from a WAV file goes through voice activity detection,
//! recogniser, language model and voice; the timeline is printed, and what is heard of the anchor becomes a WAV file.
//!
//! ```sh
//! ./anchor say "What is the weather going to be?" --voice awb -o question.wav
//! cargo run --example anchor_demo -- question.wav -o answer.wav --engine tts=flite
//! cargo run --example anchor_demo -- question.wav --engine voxtral-vllm --engine ollama --engine higgs-server
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use ai_anchor::config::{Flag, Sources};
use ai_anchor::engines::Crew;
use ai_anchor::{on_air, wav};
use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, Samples};
use anchor_core::engine::{Llm, Stt, Tts};
use anchor_core::{Conversation, Event};
use anchor_engines::slot::find;
use anchor_server::session;
use anchor_server::transport::{ClientMessage, Disconnected, ServerMessage, Transport};
use clap::Parser;
use tokio::time::Instant;

#[derive(Parser)]
struct Args {
    /// The question.
    file: PathBuf,
    /// An engine to use instead of the profile's: its name, or kind=name where two kinds have the name.
    #[arg(long)]
    engine: Vec<String>,
    /// Where to write what is heard of the anchor, in time with the question.
    #[arg(short, long, default_value = "answer.wav")]
    output: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let flags = args.engine.iter().map(|choice| chosen(choice)).collect::<Result<_, _>>()?;
    let config = Sources { flags, ..Sources::default() }.read()?;
    let crew = Crew::of(&config, &on_air::fixed(None)?)?;
    crew.preload();

    let question = wav::read(File::open(&args.file)?, INPUT_RATE)?;
    let mut transport = Tape { start: Instant::now(), question, sent: 0, answer: Vec::new(), done: false };
    session::run(&crew.engines()?, Conversation::new("demo", config.session()), &mut transport).await?;

    Ok(std::fs::write(&args.output, wav::write(&transport.answer, OUTPUT_RATE))?)
}

/// The setting that an engine's name, or kind and name, stands for.
fn chosen(choice: &str) -> Result<Flag, String> {
    let kind = |name: &str| match name {
        name if find::<dyn Stt>(name).is_ok() => Some("stt"),
        name if find::<dyn Llm>(name).is_ok() => Some("llm"),
        name if find::<dyn Tts>(name).is_ok() => Some("tts"),
        _ => None,
    };
    let (kind, name) = match choice.split_once('=') {
        Some(choice) => choice,
        None => (kind(choice).ok_or_else(|| format!("there is no engine called '{choice}'"))?, choice),
    };
    Ok(Flag::new("--engine", format!("engines.{kind}"), name))
}

/// Plays the question as a microphone would, silence after it, and records the answer as a listener hears it.
struct Tape {
    start: Instant,
    question: Vec<f32>,
    /// Samples given to the session.
    sent: usize,
    /// What is heard of the anchor, from the start of the question on.
    answer: Vec<f32>,
    /// The answer is complete.
    done: bool,
}

impl Transport for Tape {
    async fn recv(&mut self) -> Option<ClientMessage> {
        const FRAME: usize = INPUT_RATE as usize / 50;
        const PATIENCE: usize = INPUT_RATE as usize * 20;
        let due = self.start + Duration::from_secs_f64(self.sent as f64 / f64::from(INPUT_RATE));
        tokio::time::sleep_until(due).await;
        let heard = self.answer.len() <= self.now();
        let given_up = self.answer.is_empty() && self.sent > self.question.len() + PATIENCE;
        if (self.done && heard) || given_up {
            return None;
        }
        let mut frame: Vec<f32> = self.question.iter().skip(self.sent).take(FRAME).copied().collect();
        frame.resize(FRAME, 0.0);
        self.sent += FRAME;
        Some(ClientMessage::Audio(AudioFrame::new(frame)))
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), Disconnected> {
        match message {
            ServerMessage::Play(_, frame) => {
                self.answer.resize(self.answer.len().max(self.now()), 0.0);
                self.answer.extend_from_slice(&frame);
            }
            ServerMessage::ClearPlayout => self.answer.truncate(self.now()),
            ServerMessage::Event(event) => {
                self.done |= matches!(event, Event::ResponseDone { .. });
                told(self.start.elapsed().as_secs_f32(), &event);
            }
        }
        Ok(())
    }
}

impl Tape {
    /// The sample being heard now.
    fn now(&self) -> usize {
        Samples::from_duration(self.start.elapsed()).0 as usize
    }
}

/// Prints an event as a line of the timeline.
fn told(at: f32, event: &Event) {
    match event {
        Event::SpeechStopped { at: end, .. } => println!("{at:6.2} s  the question ended at {} ms", end.as_ms()),
        Event::TranscriptDone { text, .. } => println!("{at:6.2} s  heard: {text}"),
        Event::AnswerSource { story, .. } => println!("{at:6.2} s  rests on: {story}"),
        Event::AnswerText { delta, .. } => println!("{at:6.2} s  says: {}", delta.trim()),
        Event::TurnMeasured { latency, .. } => println!("{at:6.2} s  waited {} ms", latency.total().as_millis()),
        Event::ResponseDone { outcome, .. } => println!("{at:6.2} s  answer: {outcome:?}"),
        _ => {}
    }
}
