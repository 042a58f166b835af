//! Listens to a WAV file as if it came from a microphone, and prints what is understood while it is being said.
//!
//! ```sh
//! ./anchor say "What are the headlines?" -o question.wav
//! cargo run --example stt_integration -- question.wav --engine pocketsphinx
//! cargo run --example stt_integration -- question.wav --engine voxtral-vllm
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ai_anchor::config::Sources;
use ai_anchor::{on_air, wav};
use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{EngineKind, Stt, SttEvent, SttRequest};
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use clap::Parser;
use futures::StreamExt;
use futures::channel::mpsc;

#[derive(Parser)]
struct Args {
    /// What to listen to.
    file: PathBuf,
    /// The recogniser, one of `ai-anchor engines`.
    #[arg(long, default_value = "pocketsphinx")]
    engine: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();

    // An engine is found in the table of its kind and loaded with its options (from anchor.toml) and the rundown on air.
    let options = Sources::default().read()?.options(EngineKind::Stt, &args.engine);
    let context = LoadContext { rundown: on_air::fixed(None)?, options };
    let stt = (find::<dyn Stt>(&args.engine)?.load)(&context)?;

    // The sound of one turn is a stream of frames, mono at 16 kHz. The turn ends where the stream ends.
    let samples = wav::read(File::open(args.file)?, INPUT_RATE)?;
    let (microphone, audio) = mpsc::unbounded();
    tokio::spawn(async move {
        for frame in samples.chunks(INPUT_RATE as usize / 50) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if microphone.unbounded_send(AudioFrame::new(frame)).is_err() {
                break;
            }
        }
    });

    // What is understood is a stream, too. Dropping it would stop the recogniser.
    let start = Instant::now();
    let mut events = stt.transcribe(SttRequest::default(), audio.boxed());
    while let Some(event) = events.next().await {
        let at = start.elapsed().as_secs_f32();
        match event? {
            SttEvent::Partial(text) => println!("{at:6.2} s  ... {text}"),
            SttEvent::Final(text) => println!("{at:6.2} s  {text}"),
        }
    }
    Ok(())
}
