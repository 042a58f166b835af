//! `ai-anchor transcribe`

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{Stt, SttEvent, SttRequest};
use futures::{StreamExt, stream};
use serde_json::json;

use super::sound;
use crate::cli::Context;
use crate::config::Flag;
use crate::error::Error;
use crate::{engines, on_air};

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
    let samples = sound(&args.file)?;
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
