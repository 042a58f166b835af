//! `ai-anchor say`

use std::io::IsTerminal;

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::{Tts, TtsEvent, TtsRequest};
use futures::{StreamExt, stream};
use serde_json::json;

use super::{STDIO, stdin_text};
use crate::cli::Context;
use crate::config::Flag;
use crate::error::Error;
use crate::{engines, on_air, wav};

/// Speak a text into a WAV file
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to say; - reads standard input
    #[arg(required_unless_present = "list")]
    text: Option<String>,
    /// The voice, one of --list
    #[arg(long, value_name = "NAME")]
    voice: Option<String>,
    /// Pace, 1.0 as it comes
    #[arg(long, value_name = "FACTOR")]
    speed: Option<String>,
    /// The engine, one of `ai-anchor engines`
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// The WAV file to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = STDIO)]
    output: String,
    /// List the voices instead
    #[arg(long)]
    list: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let flags = [
        args.engine.map(|name| Flag::new("--engine", "engines.tts", name)),
        args.speed.map(|factor| Flag::new("--speed", "anchor.speed", factor)),
    ];
    let config = context.config(flags.into_iter().flatten())?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let tts = engines::load::<dyn Tts>(&config, &rundown)?;
    if args.list {
        return list(&tts, context);
    }
    if args.output == STDIO && std::io::stdout().is_terminal() {
        return Err(Error::Usage("a WAV file would garble the terminal: name a file with -o, or pipe it".into()));
    }
    let text = match args.text.as_deref() {
        None | Some(STDIO) => stdin_text()?,
        Some(text) => text.to_owned(),
    };
    let request = TtsRequest { voice: args.voice.or_else(|| config.session().voice), speed: config.anchor.speed };
    let samples = speak(&tts, request, &text).await?;
    let bytes = wav::write(&samples, OUTPUT_RATE);
    if args.output == STDIO {
        return Ok(context.out.bytes(&bytes)?);
    }
    std::fs::write(&args.output, bytes).map_err(|source| Error::File {
        what: "write",
        file: args.output.clone(),
        source,
    })?;
    let seconds = samples.len() as f64 / f64::from(OUTPUT_RATE);
    Ok(context
        .out
        .result(&json!({ "file": args.output, "seconds": seconds }), format!("{}: {seconds:.1} s", args.output))?)
}

/// The sound of a text, spoken line by line.
async fn speak(tts: &dyn Tts, request: TtsRequest, text: &str) -> Result<Vec<f32>, Error> {
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let mut events = tts.speak(request, stream::iter(lines).boxed());
    let mut samples = Vec::new();
    while let Some(event) = events.next().await {
        if let TtsEvent::Audio(frame) = event? {
            samples.extend_from_slice(&frame);
        }
    }
    Ok(samples)
}

fn list(tts: &dyn Tts, context: &Context) -> Result<(), Error> {
    for voice in tts.voices() {
        let json = json!({ "name": voice.name, "language": voice.language, "about": voice.about });
        context.out.result(&json, format!("{:12} {}  {}", voice.name, voice.language, voice.about))?;
    }
    Ok(())
}
