//! `ollama`: a model in Ollama, over its own API.
//!
//! Not over its OpenAI-compatible one, which swallows errors in the middle of an answer and cannot set the context.
//! Sources: `docs/api.md` and `server/routes.go` of github.com/ollama/ollama.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anchor_core::engine::{EngineError, EventStream, Later, Llm, LlmEvent, LlmRequest, ToolCall};
use anchor_core::rundown::OnAir;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::briefing::briefed;
use super::prompt::{Continues, NO_RESULT, Prompt, Room, Turn};
use super::spoken::Spoken;
use super::{calls, cannot_hear, failed_stream, wordless};
use crate::http::{self, Decode, Defaults, Fault, Lines, Remote, cut_short, error_in, message};
use crate::{Entry, LoadContext, Needs, generate};

const NAME: &str = "ollama";

/// Its line in the table.
pub const ENTRY: Entry<dyn Llm> = Entry {
    name: NAME,
    about: "A model in Ollama, Mistral Small 24B unless another is chosen",
    needs: Needs { gpu_bytes: 16_700_000_000, packages: &[], network: true },
    load,
};

/// A model of 24 billion parameters reads a prompt of 2000 tokens in about a second on one card of 48 GB, and only what is
/// new of it after that.
const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:11434", first_ms: 4_000, between_ms: 2_000 };

/// How long Ollama may take to load a model: its own limit (`OLLAMA_LOAD_TIMEOUT`).
const LOAD_MAX: Duration = Duration::from_secs(5 * 60);

/// Asks for a call of a tool: Ollama's own API has no choice of tools (`docs/api.md`, "Generate a chat completion").
const MUST_CALL: &str = "[Do not answer in words. Call one of the tools.]";

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    model: String,
    /// Context in tokens. Always the same, because another one makes Ollama load the model anew.
    num_ctx: u32,
    /// Longest answer, in tokens.
    num_predict: u32,
    temperature: Option<f64>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    seed: Option<i64>,
    stop: Vec<String>,
    /// How the model goes on with an answer of another: `prefill` or `ask`.
    continues: Continues,
    /// With less of the model on the GPU, in percent, it does not count as usable: it answers at a tenth of its speed.
    min_gpu_percent: u64,
    /// The model is told the rundown on air.
    rundown: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M".into(),
            num_ctx: 8192,
            num_predict: 512,
            temperature: Some(0.4),
            top_p: None,
            min_p: None,
            seed: None,
            stop: Vec::new(),
            continues: Continues::Prefill,
            // Ollama's two sizes are estimates, so that a whole model may seem to have a little less.
            min_gpu_percent: 99,
            rundown: true,
        }
    }
}

struct Ollama {
    remote: Arc<Remote>,
    options: Arc<Options>,
    rundown: watch::Receiver<OnAir>,
    loading: Arc<Mutex<Loading>>,
}

/// How far loading the model is.
#[derive(Clone, Debug, Default)]
enum Loading {
    #[default]
    NotBegun,
    Since(Instant),
    Failed(String),
}

fn load(context: &LoadContext) -> Result<Arc<dyn Llm>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    if options.num_predict >= options.num_ctx {
        return Err(EngineError::Unavailable {
            engine: NAME,
            reason: format!("an answer of {} tokens does not fit into {}", options.num_predict, options.num_ctx),
            remedy: "Make `num_ctx` larger or `num_predict` smaller.".into(),
        });
    }
    Ok(Arc::new(Ollama {
        remote: Arc::new(remote),
        options: Arc::new(options),
        rundown: context.rundown.clone(),
        loading: Arc::default(),
    }))
}

impl Llm for Ollama {
    /// Has to be polled within a tokio runtime.
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        if request.sound.is_some() {
            return failed_stream(cannot_hear(NAME));
        }
        let request = if self.options.rundown { briefed(request, &self.rundown) } else { request };
        let answer = self.options.num_predict.min(request.max_tokens.unwrap_or(u32::MAX));
        let room = Room { context: self.options.num_ctx, answer, other: 0 };
        let prompt = Prompt::new(&request, self.options.continues, room);
        let body = match self.options.body(&prompt, &request, answer) {
            Ok(body) => body,
            Err(error) => return failed_stream(error),
        };
        let (remote, options) = (self.remote.clone(), self.options.clone());
        generate::stream(|mut out| async move {
            let decoder = || Answer {
                model: options.model.clone(),
                spoken: Spoken::new(&prompt, &request.so_far),
                offered: calls::names(&request),
                lines: Lines::default(),
                wordless: request.so_far.is_empty(),
                done: false,
            };
            remote.exchange(|target| target.post("/api/chat").json(&body), decoder, &mut out).await
        })
    }

    fn probe(&self) -> Later<()> {
        let probe = Probe { remote: self.remote.clone(), options: self.options.clone(), loading: self.loading.clone() };
        Box::pin(async move { probe.run().await })
    }
}

impl Options {
    /// The body of a request.
    fn body(&self, prompt: &Prompt, request: &LlmRequest, answer: u32) -> Result<Value, EngineError> {
        let mut body = json!({
            "model": self.model,
            "messages": messages(prompt),
            "stream": true,
            "keep_alive": -1,
            "options": self.sampling(answer),
        });
        let tools = calls::offered(NAME, request)?;
        if !tools.is_empty() {
            body["tools"] = tools.into();
        }
        if calls::must_call(request) {
            ask_for_a_call(&mut body["messages"]);
        }
        Ok(body)
    }

    fn sampling(&self, answer: u32) -> Map<String, Value> {
        let mut sampling = Map::new();
        sampling.insert("num_ctx".into(), self.num_ctx.into());
        sampling.insert("num_predict".into(), answer.into());
        let numbers = [("temperature", self.temperature), ("top_p", self.top_p), ("min_p", self.min_p)];
        for (name, value) in numbers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            sampling.insert(name.into(), value.into());
        }
        if let Some(seed) = self.seed {
            sampling.insert("seed".into(), seed.into());
        }
        if !self.stop.is_empty() {
            sampling.insert("stop".into(), self.stop.clone().into());
        }
        sampling
    }
}

/// Asks for a call in words, behind the last message of the user.
fn ask_for_a_call(messages: &mut Value) {
    let mut messages = messages.as_array_mut().into_iter().flatten().rev();
    if let Some(last) = messages.find(|message| message["role"] == "user") {
        last["content"] = format!("{}\n{MUST_CALL}", last["content"].as_str().unwrap_or_default()).into();
    }
}

fn messages(prompt: &Prompt) -> Vec<Value> {
    let mut messages = Vec::new();
    if !prompt.instructions.is_empty() {
        messages.push(json!({ "role": "system", "content": prompt.instructions }));
    }
    for turn in &prompt.turns {
        match turn {
            Turn::User(text) => messages.push(json!({ "role": "user", "content": text })),
            Turn::Assistant(text, calls) => {
                let made = |call: &ToolCall| {
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                    json!({ "function": { "name": call.name, "arguments": arguments } })
                };
                let mut message = json!({ "role": "assistant", "content": text });
                if !calls.is_empty() {
                    message["tool_calls"] = calls.iter().map(made).collect();
                }
                messages.push(message);
                for call in calls {
                    let result = call.result.as_deref().unwrap_or(NO_RESULT);
                    messages.push(json!({ "role": "tool", "tool_name": call.name, "content": result }));
                }
            }
        }
    }
    messages
}

/// Reads an answer: one JSON object a line.
struct Answer {
    model: String,
    spoken: Spoken,
    offered: Vec<String>,
    lines: Lines,
    /// Nothing was said so far, and nothing was there to go on with.
    wordless: bool,
    done: bool,
}

impl Answer {
    fn line(&mut self, line: &str, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        let line: Value = serde_json::from_str(line).map_err(|_| cut_short())?;
        if let Some(reason) = error_in(&line) {
            return Err(Fault::Broken(reason));
        }
        let message = &line["message"];
        if let Some(text) = message["content"].as_str() {
            events.extend(self.spoken.push(text).map(LlmEvent::Delta));
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let function = &call["function"];
            let arguments = match &function["arguments"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let made = calls::call(&self.offered, &text(&call["id"]), &text(&function["name"]), &arguments)?;
            events.extend(made.map(LlmEvent::ToolCall));
        }
        if line["done"] == true {
            self.done = true;
            events.extend(self.spoken.finish().map(LlmEvent::Delta));
            self.wordless &= events.is_empty();
            // Whoever has said nothing at all has not met a bound, but failed.
            let limited = line["done_reason"] == "length" && !self.wordless;
            events.extend(limited.then_some(LlmEvent::LimitReached));
        }
        Ok(())
    }
}

impl Decode for Answer {
    type Event = LlmEvent;

    fn push(&mut self, bytes: &[u8], events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        let lines = self.lines.push(bytes)?;
        let outcome = lines.iter().try_for_each(|line| self.line(line, events));
        self.wordless &= events.is_empty();
        outcome.and(if self.done && self.wordless { Err(wordless()) } else { Ok(()) })
    }

    fn finish(&mut self, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        if let Some(line) = self.lines.finish() {
            self.line(&line, events)?;
            self.wordless &= events.is_empty();
        }
        if self.done && self.wordless {
            return Err(wordless());
        }
        if self.done { Ok(()) } else { Err(cut_short()) }
    }

    fn is_complete(&self) -> bool {
        self.done
    }

    fn refused(&self, engine: &'static str, status: StatusCode, body: &str) -> Fault {
        match status {
            StatusCode::NOT_FOUND => Fault::Final(missing(&self.model, message(body).as_deref())),
            _ => http::refused(engine, status, body),
        }
    }
}

/// The error for a model that Ollama does not have.
fn missing(model: &str, said: Option<&str>) -> EngineError {
    let said = said.map_or_else(String::new, |said| format!(" ({said})"));
    let remedy = if model == Options::default().model {
        "Download it: ai-anchor models pull mistral-small".to_owned()
    } else {
        format!("Download it: ollama pull {model}")
    };
    EngineError::Unavailable { engine: NAME, reason: format!("Ollama does not have the model {model}{said}"), remedy }
}

/// Whether the model is there, in memory, and on the GPU as a whole.
struct Probe {
    remote: Arc<Remote>,
    options: Arc<Options>,
    loading: Arc<Mutex<Loading>>,
}

/// What `/api/ps` says.
#[derive(Deserialize)]
struct Running {
    #[serde(default)]
    models: Vec<RunningModel>,
}

#[derive(Deserialize)]
struct RunningModel {
    #[serde(default)]
    name: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    size_vram: u64,
}

/// What `/api/show` says.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    template: String,
}

impl Probe {
    async fn run(self) -> Result<(), EngineError> {
        let running: Running = self.remote.state("/api/ps").await?;
        let is_it = |running: &&RunningModel| {
            same(&running.model, &self.options.model) || same(&running.name, &self.options.model)
        };
        let Some(model) = running.models.iter().find(is_it) else { return self.load().await };
        *self.lock() = Loading::NotBegun;
        let percent = (u128::from(model.size_vram) * 100 / u128::from(model.size.max(1))) as u64;
        if percent >= self.options.min_gpu_percent {
            return Ok(());
        }
        Err(EngineError::Unavailable {
            engine: NAME,
            reason: format!("only {percent} % of the model lie on the GPU, the rest in main memory, which is slow"),
            remedy: "Make room on the GPU (ai-anchor plan tells what fits), or set `min_gpu_percent = 0`.".into(),
        })
    }

    /// Has the model loaded, which goes on when nobody asks any more.
    async fn load(self) -> Result<(), EngineError> {
        let before = self.lock().clone();
        match before {
            Loading::Since(since) if since.elapsed() < LOAD_MAX => return Err(self.waits(since)),
            // It is said once, and tried again with the next probe.
            Loading::Failed(reason) => {
                *self.lock() = Loading::NotBegun;
                return Err(self.remote.failed(reason));
            }
            Loading::NotBegun | Loading::Since(_) => {}
        }
        self.check_template().await?;
        let now = Instant::now();
        *self.lock() = Loading::Since(now);
        let waits = self.waits(now);
        tokio::spawn(async move {
            let body = json!({
                "model": self.options.model,
                "messages": [],
                "stream": false,
                "keep_alive": -1,
                "options": { "num_ctx": self.options.num_ctx },
            });
            let asked = (0..self.remote.endpoints()).map(|endpoint| {
                self.remote.reply_at(endpoint, LOAD_MAX, |target| target.post("/api/chat").json(&body))
            });
            let replies = futures::future::join_all(asked).await;
            let failure = replies.into_iter().find_map(|reply| match reply {
                Ok(reply) if reply.status.is_success() => None,
                Ok(reply) => Some(message(&reply.body).unwrap_or_else(|| reply.status.to_string())),
                Err(Fault::Broken(reason)) => Some(reason),
                Err(Fault::Final(error)) => Some(error.to_string()),
            });
            *self.lock() = match failure {
                None => Loading::NotBegun,
                Some(reason) => Loading::Failed(format!("the model could not be loaded: {reason}")),
            };
        });
        Err(waits)
    }

    /// A template that knows no instructions or no turns makes a model talk to itself.
    async fn check_template(&self) -> Result<(), EngineError> {
        let shown = self.remote.reply_at(0, self.remote.patience().first, |target| {
            target.post("/api/show").json(&json!({ "model": self.options.model }))
        });
        let reply = match shown.await {
            Ok(reply) => reply,
            Err(Fault::Broken(reason)) => {
                return Err(self.remote.failed(format!("{}: {reason}", self.remote.address(0))));
            }
            Err(Fault::Final(error)) => return Err(error),
        };
        if reply.status == StatusCode::NOT_FOUND {
            return Err(missing(&self.options.model, message(&reply.body).as_deref()));
        }
        let template = reply.json::<Shown>().map(|shown| shown.template.to_lowercase()).unwrap_or_default();
        let knows = |word: &str| template.contains(word);
        if !template.is_empty() && !(knows("system") && (knows("user") || knows(".prompt") || knows("[inst]"))) {
            tracing::warn!(model = self.options.model, "its template knows no instructions or no turns of a user");
        }
        Ok(())
    }

    fn waits(&self, since: Instant) -> EngineError {
        EngineError::Unavailable {
            engine: NAME,
            reason: format!("the model is being loaded ({} s so far)", since.elapsed().as_secs()),
            remedy: "It takes up to a few minutes.".into(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loading> {
        // Nothing panics while it is held.
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two names mean the same model: Ollama adds `:latest` where a name has no tag.
fn same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    bare(one) == bare(other)
}
