//! `ai-anchor transcribe`

use std::fs::File;
use std::io::{self, BufReader, Read};

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{Stt, SttEvent, SttRequest};
use futures::{StreamExt, stream};
use serde_json::json;

use super::STDIO;
use crate::cli::Context;
use crate::config::Flag;
use crate::error::Error;
use crate::{engines, on_air, wav};

/// Samples handed to the recogniser at once: 20 ms, as in a conversation.
const FRAME: usize = INPUT_RATE as usize / 50;

/// Write down what is said in a WAV file
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The WAV file, of any rate, depth and number of channels; - reads standard input
    file: String,
    /// The engine, one of `ai-anchor engines`
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let flag = args.engine.map(|value| Flag::new("--engine", "engines.stt", value));
    let config = context.config(flag)?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let stt = engines::load::<dyn Stt>(&config, &rundown)?;
    let samples =
        wav::read(open(&args.file)?, INPUT_RATE).map_err(|source| Error::Wav { file: args.file.clone(), source })?;
    let frames: Vec<_> = samples.chunks(FRAME).map(AudioFrame::new).collect();
    let request = SttRequest { language: config.session().language, prompt: None };
    let mut events = stt.transcribe(request, stream::iter(frames).boxed());
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event? {
            SttEvent::Partial(_) => {}
            SttEvent::Final(all) => text = all,
        }
    }
    let seconds = samples.len() as f64 / f64::from(INPUT_RATE);
    Ok(context.out.result(&json!({ "file": args.file, "text": text, "seconds": seconds }), &text)?)
}

fn open(file: &str) -> Result<Box<dyn Read>, Error> {
    if file == STDIO {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).map_err(|source| Error::File { what: "read", file: file.into(), source })?;
    Ok(Box::new(BufReader::new(opened)))
}
