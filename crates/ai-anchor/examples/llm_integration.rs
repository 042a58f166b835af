//! Holds a conversation in writing: every argument is a turn, and every answer is printed while it is being written.
//!
//! ```sh
//! cargo run --example llm_integration -- "What are the headlines?" "Tell me more about the first" --engine desk
//! cargo run --example llm_integration -- "What are the headlines?" --engine ollama
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::Write;

use ai_anchor::config::Sources;
use ai_anchor::on_air;
use anchor_core::engine::{EngineKind, Llm, LlmEvent, LlmRequest, Message, Role};
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use clap::Parser;
use futures::StreamExt;

#[derive(Parser)]
struct Args {
    /// What is said to the anchor, turn by turn.
    #[arg(required = true)]
    turns: Vec<String>,
    /// The language model, one of `ai-anchor engines`.
    #[arg(long, default_value = "desk")]
    engine: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();

    // An engine is found in the table of its kind and loaded with its options (from anchor.toml) and the rundown on air.
    let options = Sources::default().read()?.options(EngineKind::Llm, &args.engine);
    let context = LoadContext { rundown: on_air::fixed(None)?, options };
    let llm = (find::<dyn Llm>(&args.engine)?.load)(&context)?;

    // The engine keeps nothing between two calls: a request holds the conversation so far.
    let mut request = LlmRequest { instructions: "Your name is Alex.".into(), ..LlmRequest::default() };
    for turn in args.turns {
        println!("> {turn}");
        request.messages.push(Message::new(Role::User, turn));

        // The answer is a stream. Dropping it would stop the engine.
        let mut events = llm.generate(request.clone());
        let mut answer = String::new();
        let mut stories = Vec::new();
        while let Some(event) = events.next().await {
            match event? {
                LlmEvent::Delta(text) => {
                    print!("{text}");
                    std::io::stdout().flush()?;
                    answer.push_str(&text);
                }
                LlmEvent::Source(slug) => stories.push(slug),
                LlmEvent::ToolCall(call) => println!("(calls {} with {})", call.name, call.arguments),
                LlmEvent::LimitReached => println!(" (cut off at the limit)"),
            }
        }
        println!("\n  (from: {})\n", if stories.is_empty() { "no story".into() } else { stories.join(", ") });

        // In a spoken conversation only what was heard goes back into the history; here all of it was read.
        request.messages.push(Message::new(Role::Assistant, answer));
    }
    Ok(())
}
