//! `ai-anchor ask`

use anchor_core::audio::AudioFrame;
use anchor_core::engine::{Llm, LlmEvent, LlmRequest, Message, Role};
use futures::StreamExt;
use serde_json::json;

use super::{STDIO, sound, stdin_text};
use crate::cli::Context;
use crate::config::Flag;
use crate::error::Error;
use crate::{engines, on_air};

/// Ask the anchor in writing
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to ask, one argument for each turn of the conversation; - reads standard input, a turn a line
    #[arg(required = true)]
    text: Vec<String>,
    /// The engine, one of `ai-anchor engines`
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// A WAV file that the questions are about, for an engine that can hear, such as voxtral-vllm
    #[arg(long, value_name = "FILE")]
    sound: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let flag = args.engine.map(|value| Flag::new("--engine", "engines.llm", value));
    let config = context.config(flag)?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let llm = engines::load::<dyn Llm>(&config, &rundown)?;
    let turns = match &args.text[..] {
        [only] if only == STDIO => stdin_text()?.lines().map(str::to_owned).collect(),
        _ => args.text,
    };
    let sound = args.sound.as_deref().map(sound).transpose()?.map(AudioFrame::new);
    let mut request = LlmRequest { instructions: config.session().instructions, sound, ..LlmRequest::default() };
    for question in turns.iter().filter(|turn| !turn.trim().is_empty()) {
        request.messages.push(Message::new(Role::User, question));
        let (text, stories) = answer(&llm, request.clone(), context).await?;
        context.out.whole(&json!({ "question": question, "answer": text, "stories": stories }))?;
        request.messages.push(Message::new(Role::Assistant, text));
    }
    Ok(())
}

/// The answer, shown while it is written, and the slugs of the stories it rests on.
async fn answer(llm: &dyn Llm, request: LlmRequest, context: &Context) -> Result<(String, Vec<String>), Error> {
    let mut events = llm.generate(request);
    let mut text = String::new();
    let mut stories = Vec::new();
    while let Some(event) = events.next().await {
        match event? {
            LlmEvent::Delta(delta) => {
                context.out.piece(&delta)?;
                text.push_str(&delta);
            }
            LlmEvent::Source(story) => stories.push(story),
            LlmEvent::ToolCall(_) | LlmEvent::LimitReached => {}
        }
    }
    context.out.piece("\n")?;
    Ok((text, stories))
}
