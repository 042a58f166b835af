//! `openai-chat`: any server with OpenAI's chat API: vLLM, llama.cpp's server, LM Studio, a hosted one.

use std::sync::Arc;

use anchor_core::engine::{EngineError, EventStream, Later, Llm, LlmEvent, LlmRequest};
use anchor_core::rundown::OnAir;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};

use super::briefing::briefed;
use super::chat::{self, Answer};
use super::prompt::{Continues, Prompt, Room};
use super::{calls, cannot_hear, failed_stream};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs, generate};

const NAME: &str = "openai-chat";

/// Its line in the table.
pub const ENTRY: Entry<dyn Llm> = Entry {
    name: NAME,
    about: "Any server with OpenAI's chat API: vLLM, llama.cpp, LM Studio, a hosted one",
    needs: Needs { gpu_bytes: 0, packages: &[], network: true },
    load,
};

/// llama.cpp's server listens on this port unless it is told otherwise.
const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8080", first_ms: 4_000, between_ms: 2_000 };

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What the server calls the model; empty takes the first that it lists.
    model: String,
    /// The server's context in tokens: older turns are left out so that the rest fits.
    context: u32,
    /// Longest answer, in tokens.
    max_tokens: u32,
    /// What the server calls that bound: newer models of OpenAI want `max_completion_tokens`.
    max_tokens_name: MaxTokensName,
    temperature: Option<f64>,
    top_p: Option<f64>,
    /// How the model goes on with an answer of another: `ask`, or `prefill` on vLLM and llama.cpp's server.
    continues: Continues,
    /// The model is told the rundown on air.
    rundown: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MaxTokensName {
    MaxTokens,
    MaxCompletionTokens,
}

impl MaxTokensName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: String::new(),
            context: 8192,
            max_tokens: 512,
            max_tokens_name: MaxTokensName::MaxTokens,
            temperature: None,
            top_p: None,
            continues: Continues::Ask,
            rundown: true,
        }
    }
}

struct OpenAiChat {
    remote: Arc<Remote>,
    options: Arc<Options>,
    /// The model asked for, once the server has told it.
    model: Arc<OnceCell<String>>,
    rundown: watch::Receiver<OnAir>,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Llm>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    if options.max_tokens >= options.context {
        return Err(EngineError::Unavailable {
            engine: NAME,
            reason: format!("an answer of {} tokens does not fit into {}", options.max_tokens, options.context),
            remedy: "Make `context` larger or `max_tokens` smaller.".into(),
        });
    }
    let model = OnceCell::new();
    if !options.model.is_empty() {
        // The cell is new.
        let _ = model.set(options.model.clone());
    }
    let (remote, options) = (Arc::new(remote), Arc::new(options));
    Ok(Arc::new(OpenAiChat { remote, options, model: Arc::new(model), rundown: context.rundown.clone() }))
}

impl Llm for OpenAiChat {
    /// Has to be polled within a tokio runtime.
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        if request.sound.is_some() {
            return failed_stream(cannot_hear(NAME));
        }
        let request = if self.options.rundown { briefed(request, &self.rundown) } else { request };
        let answer = self.options.max_tokens.min(request.max_tokens.unwrap_or(u32::MAX));
        let prompt =
            Prompt::new(&request, self.options.continues, Room { context: self.options.context, answer, other: 0 });
        let tools = match calls::offered(NAME, &request) {
            Ok(tools) => tools,
            Err(error) => return failed_stream(error),
        };
        let mut body = self.options.body(&prompt, answer);
        calls::put(&mut body, tools, &request);
        let (remote, model) = (self.remote.clone(), self.model.clone());
        generate::stream(|mut out| async move {
            body["model"] = model_of(&remote, &model).await?.into();
            let decoder = || Answer::new(&prompt, &request);
            remote.exchange(|target| target.post("/v1/chat/completions").json(&body), decoder, &mut out).await
        })
    }

    fn probe(&self) -> Later<()> {
        let (remote, model) = (self.remote.clone(), self.model.clone());
        Box::pin(async move {
            let _ = remote.state::<Models>("/v1/models").await?;
            model_of(&remote, &model).await.map(drop)
        })
    }
}

impl Options {
    /// The body of a request, but for the model and the tools.
    fn body(&self, prompt: &Prompt, answer: u32) -> Value {
        let mut body = json!({ "messages": chat::messages(prompt), "stream": true });
        body[self.max_tokens_name.as_str()] = answer.into();
        for (name, value) in [("temperature", self.temperature), ("top_p", self.top_p)] {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        if prompt.prefilled {
            // vLLM's words for it; llama.cpp's server continues a last message of the assistant by itself
            // (`vllm/entrypoints/openai/protocol.py`, `tools/server/README.md`).
            body["continue_final_message"] = true.into();
            body["add_generation_prompt"] = false.into();
        }
        body
    }
}

/// What `/v1/models` says.
#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// The model to ask: the configured one, or the first that the server lists.
async fn model_of(remote: &Remote, model: &OnceCell<String>) -> Result<String, EngineError> {
    let first = async || {
        let listed: Models = remote.state("/v1/models").await?;
        listed.data.into_iter().next().map(|model| model.id).ok_or_else(|| EngineError::Unavailable {
            engine: NAME,
            reason: format!("the server at {} lists no model", remote.addresses()),
            remedy: "Load a model there, or set `model` in the options of openai-chat.".into(),
        })
    };
    if let Some(model) = model.get() {
        return Ok(model.clone());
    }
    let found = first().await?;
    // Another request may have found it first.
    let _ = model.set(found.clone());
    Ok(found)
}
