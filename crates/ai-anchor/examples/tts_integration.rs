//! Speaks clauses as they arrive, prints when each word is heard, and writes the sound into a WAV file.
//!
//! ```sh
//! cargo run --example tts_integration -- "Good evening." "The bridge is open again." --engine flite -o evening.wav
//! cargo run --example tts_integration -- "Good evening." --engine higgs-server
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use ai_anchor::config::Sources;
use ai_anchor::{on_air, wav};
use anchor_core::audio::{OUTPUT_RATE, Samples};
use anchor_core::engine::{EngineKind, Tts, TtsEvent, TtsRequest};
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use clap::Parser;
use futures::{StreamExt, stream};

#[derive(Parser)]
struct Args {
    /// What to say, clause by clause.
    #[arg(required = true)]
    clauses: Vec<String>,
    /// The engine, one of `ai-anchor engines`.
    #[arg(long, default_value = "flite")]
    engine: String,
    /// The voice; without it, the engine's first.
    #[arg(long)]
    voice: Option<String>,
    /// Where to write the sound.
    #[arg(short, long, default_value = "speech.wav")]
    output: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();

    // An engine is found in the table of its kind and loaded with its options (from anchor.toml) and the rundown on air.
    let options = Sources::default().read()?.options(EngineKind::Tts, &args.engine);
    let context = LoadContext { rundown: on_air::fixed(None)?, options };
    let tts = (find::<dyn Tts>(&args.engine)?.load)(&context)?;
    println!("voices: {}", tts.voices().iter().map(|voice| voice.name.as_str()).collect::<Vec<_>>().join(", "));

    // The text is a stream of clauses, in a conversation still being written while the first are heard.
    let text = stream::iter(args.clauses.clone()).boxed();
    let start = Instant::now();
    let mut events = tts.speak(TtsRequest { voice: args.voice, speed: 1.0 }, text);

    // The sound is a stream of frames, mono at 24 kHz, with the times of the words between them.
    let mut samples: Vec<f32> = Vec::new();
    let mut clauses = args.clauses.iter();
    let mut clause = clauses.next();
    let mut clause_start = Samples(0);
    let mut word_start = 0;
    while let Some(event) = events.next().await {
        match event? {
            TtsEvent::Audio(frame) => {
                if samples.is_empty() {
                    println!("first sound after {} ms", start.elapsed().as_millis());
                }
                samples.extend_from_slice(&frame);
            }
            TtsEvent::Word(word) => {
                let text = clause.and_then(|clause| clause.get(word_start..word.text_end)).unwrap_or_default();
                println!("{:6} ms  {}", (clause_start + word.end).as_ms(), text.trim());
                word_start = word.text_end;
            }
            TtsEvent::ClauseEnd => {
                clause = clauses.next();
                clause_start = Samples(samples.len() as u64);
                word_start = 0;
            }
        }
    }
    std::fs::write(&args.output, wav::write(&samples, OUTPUT_RATE))?;
    println!("{}: {} ms", args.output.display(), Samples(samples.len() as u64).as_ms());
    Ok(())
}
