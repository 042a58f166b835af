//! `voxtral-vllm` as a language model: Voxtral-Mini-3B-2507 behind vLLM answers in writing, and answers questions about
//! sound.
//!
//! Source: the model's own page, huggingface.co/mistralai/Voxtral-Mini-3B-2507, and `docs/features/multimodal_inputs.md` of
//! github.com/vllm-project/vllm (`input_audio`).

use std::sync::Arc;

use anchor_core::audio::INPUT_RATE;
use anchor_core::engine::{EngineError, EventStream, Later, Llm, LlmEvent, LlmRequest, ToolChoice};
use anchor_core::rundown::OnAir;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::briefing::briefed;
use super::chat::{self, Answer};
use super::prompt::{Continues, Prompt, Room};
use super::{calls, failed_stream};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs, generate, wav};

const NAME: &str = "voxtral-vllm";

/// Its line in the table.
pub const ENTRY: Entry<dyn Llm> = Entry {
    name: NAME,
    about: "Voxtral-Mini-3B-2507 behind vLLM: a small model that also answers questions about sound",
    needs: Needs { gpu_bytes: 12_700_000_000, packages: &[], network: true },
    load,
};

const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8000", first_ms: 5_000, between_ms: 2_000 };

/// Tokens that half a minute of sound takes, begun or whole.
const WINDOW_TOKENS: u32 = 375;

/// Samples in half a minute.
const WINDOW: usize = 30 * INPUT_RATE as usize;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What the server calls the model.
    model: String,
    /// The server's context in tokens (`--max-model-len`).
    context: u32,
    /// Longest answer, in tokens.
    max_tokens: u32,
    /// The model's page suggests 0.2 and 0.95 for conversations.
    temperature: f64,
    top_p: f64,
    /// The model may call tools as it sees fit. vLLM refuses that unless it was started with `--enable-auto-tool-choice`
    /// and `--tool-call-parser mistral` (its `docs/features/tool_calling.md`); calls that must be made it always takes.
    auto_tools: bool,
    /// The model is told the rundown on air.
    rundown: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "mistralai/Voxtral-Mini-3B-2507".into(),
            context: 8192,
            max_tokens: 512,
            temperature: 0.2,
            top_p: 0.95,
            auto_tools: false,
            rundown: true,
        }
    }
}

struct VoxtralChat {
    remote: Arc<Remote>,
    options: Options,
    rundown: watch::Receiver<OnAir>,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Llm>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    Ok(Arc::new(VoxtralChat { remote: Arc::new(remote), options, rundown: context.rundown.clone() }))
}

impl Llm for VoxtralChat {
    /// Has to be polled within a tokio runtime.
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        let options = &self.options;
        let mut request = if options.rundown { briefed(request, &self.rundown) } else { request };
        if !options.auto_tools && request.tool_choice == ToolChoice::Auto {
            request.tools.clear();
        }
        let tools = match calls::offered(NAME, &request) {
            Ok(tools) => tools,
            Err(error) => return failed_stream(error),
        };
        let sound = request.sound.as_ref().map(|sound| sound.len()).unwrap_or_default();
        let room = Room {
            context: options.context,
            answer: options.max_tokens.min(request.max_tokens.unwrap_or(u32::MAX)),
            other: sound.div_ceil(WINDOW) as u32 * WINDOW_TOKENS,
        };
        if room.answer + room.other >= room.context {
            let most = (room.context.saturating_sub(room.answer) / WINDOW_TOKENS) * 30;
            let reason = format!("the sound is longer than the {most} s that fit into its context");
            return failed_stream(EngineError::Unsupported { engine: NAME, reason });
        }
        let mut prompt = Prompt::new(&request, Continues::Ask, room);
        if request.sound.is_some() {
            // Its template takes no instructions beside sound.
            prompt.fold_instructions();
        }
        let mut messages = chat::messages(&prompt);
        if let Some(sound) = &request.sound {
            add_sound(&mut messages, sound);
        }
        let mut body = json!({
            "model": options.model,
            "messages": messages,
            "stream": true,
            "max_tokens": room.answer,
            "temperature": options.temperature,
            "top_p": options.top_p,
        });
        calls::put(&mut body, tools, &request);
        let remote = self.remote.clone();
        generate::stream(|mut out| async move {
            let decoder = || Answer::new(&prompt, &request);
            remote.exchange(|target| target.post("/v1/chat/completions").json(&body), decoder, &mut out).await
        })
    }

    fn probe(&self) -> Later<()> {
        let remote = self.remote.clone();
        Box::pin(async move { remote.answers("/health").await })
    }
}

/// Puts the sound before the text of the last message of the user.
fn add_sound(messages: &mut [Value], sound: &[f32]) {
    let Some(last) = messages.iter_mut().rev().find(|message| message["role"] == "user") else { return };
    let text = last["content"].as_str().unwrap_or_default().to_owned();
    let data = BASE64_STANDARD.encode(wav::encode(sound));
    let mut content = vec![json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } })];
    if !text.is_empty() {
        content.push(json!({ "type": "text", "text": text }));
    }
    last["content"] = content.into();
}
