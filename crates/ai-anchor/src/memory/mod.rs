//! The memory plan: what every model needs of the GPU, what fits together, and with which settings.
//!
//! The planner is a pure function of a card, models and wishes. This file gathers the three: the card from the driver or
//! by name, the models from their files or from the table, the wishes from the configuration. `docs/memory.md` explains
//! the arithmetic.

mod card;
mod ceiling;
mod files;
mod header;
mod known;
mod ladder;
mod parts;
mod planner;
mod refusal;
mod report;
mod sizes;
mod store;
mod units;

use anchor_core::engine::EngineKind;

pub use card::{Card, UnknownCard};
pub use ceiling::Ceiling;
pub use files::{ModelError, Models, Quantized};
pub use header::{Gguf, HeaderError, Tensors, Value};
pub use parts::Part;
pub use planner::{Plan, Rejected, Wishes, plan as plan_for};
pub use refusal::{Reason, Refusal};
pub(crate) use report::json;
pub use sizes::{Cache, CacheType, Codec, Encoder, Model, Server, Source};
pub use store::Store;

use crate::config::Config;
use crate::machine::gpu::{self, GpuError};
use crate::models;

/// The quantisation that the profile is meant to have.
const USUAL_QUANTIZATION: &str = "Q4_K_M";

/// What the model servers are started with, so that together they fit on the card.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Context of the language model in Ollama, in tokens (`num_ctx`).
    pub llm_context: u32,
    /// Type of its KV cache (`OLLAMA_KV_CACHE_TYPE`): `f16`, `q8_0` or `q4_0`.
    pub llm_cache_type: &'static str,
    /// Share of the whole card that the server of Voxtral may fill (`--gpu-memory-utilization`); 0 if it is not planned.
    pub stt_utilization: f64,
    /// Its longest prompt and answer together, in tokens (`--max-model-len`).
    pub stt_context: u32,
    /// Share of the whole card that the server of Higgs may fill; 0 if it is not planned.
    pub tts_utilization: f64,
    /// Its longest prompt and answer together, in tokens.
    pub tts_context: u32,
    /// The part of `tts_utilization` that belongs to the codec where that is a process of its own, as in vLLM-Omni.
    pub tts_codec_utilization: f64,
    /// Sequences in one step of a server of vLLM (`--max-num-seqs`). The plan holds for this many; vLLM's own default of
    /// 256 or more takes half a gigabyte more.
    pub sequences: u32,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It does not fit.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The card is not known.
    #[error(transparent)]
    Card(#[from] UnknownCard),
    /// The driver does not tell the card.
    #[error(
        "{0}. To plan for a card that is not here, name it: ai-anchor plan --gpu rtx6000-48gb, or gpu.card in the settings"
    )]
    Gpu(#[from] GpuError),
    /// A model's size is not known.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The plan for a card, with the models that are on this machine and those of the table for the others.
///
/// # Errors
/// If what is wanted does not fit, or the language model is not known.
pub fn plan(config: &Config, card: &Card, wishes: &Wishes) -> Result<Plan, PlanError> {
    let realtime = chosen(config, EngineKind::Stt, "voxtral-realtime");
    let llm = llm(config).unwrap_or_else(|| format!("{}:{USUAL_QUANTIZATION}", known::MISTRAL));
    let models = Models::find(&models::folder(config), &Store::of_process(), &llm, realtime)?;
    Ok(plan_for(card, &models, wishes)?)
}

/// The card to plan for: the one `named`, else the configured one, else the largest that the driver finds.
///
/// # Errors
/// If the name is of no card, or the driver finds none.
pub fn card(config: &Config, named: Option<&str>) -> Result<Card, PlanError> {
    let configured = Some(config.gpu.card.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = named.or(configured) {
        return Ok(Card::named(name)?);
    }
    let gpus = gpu::list()?;
    let largest = gpus.iter().rev().max_by_key(|gpu| gpu.memory_total);
    Ok(Card::of(largest.ok_or(GpuError::NoGpu)?))
}

impl Wishes {
    /// What the configuration asks for: the language model in the quantisation that its engine uses, and the servers of
    /// the engines chosen; all three where none of those engines needs one.
    pub fn of(config: &Config) -> Self {
        let open = Self::open(config);
        Self { quantization: open.quantization.or_else(|| Some(USUAL_QUANTIZATION.into())), ..open }
            .unless_other_model(config)
    }

    /// The same where the configuration does not say which quantisation, so that the plan may choose.
    pub fn open(config: &Config) -> Self {
        let used = |server: &Server| match server {
            Server::Ollama => chosen(config, EngineKind::Llm, "ollama"),
            Server::Higgs => chosen(config, EngineKind::Tts, "higgs-server"),
            Server::Voxtral => {
                ["voxtral-vllm", "voxtral-realtime"].iter().any(|name| chosen(config, EngineKind::Stt, name))
            }
        };
        let servers: Vec<Server> = Server::ALL.into_iter().filter(used).collect();
        let tag = llm(config).and_then(|name| files::split(&name).1.map(str::to_owned));
        Self {
            servers: if servers.is_empty() { Server::ALL.into() } else { servers },
            quantization: tag,
            context: None,
            cache_type: None,
            reserve: u64::from(config.gpu.reserve_mb) * units::MIB,
            sequences: config.server.max_sessions,
        }
        .unless_other_model(config)
    }

    /// Another model than the known one has one size only.
    fn unless_other_model(self, config: &Config) -> Self {
        let other = llm(config).is_some_and(|name| !files::is_known(&name));
        Self { quantization: self.quantization.filter(|_| !other), ..self }
    }
}

/// The engine stands in the chain of its kind.
fn chosen(config: &Config, kind: EngineKind, engine: &str) -> bool {
    config.engines.chain(kind).iter().any(|name| name == engine)
}

/// Name of the language model in Ollama, where the configuration says one.
fn llm(config: &Config) -> Option<String> {
    config.options(EngineKind::Llm, "ollama").get("model").and_then(toml::Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PROFILES;

    fn config(llm: Option<&str>) -> Config {
        let mut config = Config::of(&PROFILES[0]);
        // No folder that somebody may have filled.
        config.models.path = "/nowhere".into();
        if let Some(name) = llm {
            let options = toml::Table::from_iter([("model".to_owned(), toml::Value::String(name.into()))]);
            config.options.insert((EngineKind::Llm, "ollama".into()), options);
        }
        config
    }

    #[test]
    fn wishes_are_what_is_configured() {
        let mut config = config(None);
        config.gpu.reserve_mb = 2048;
        config.server.max_sessions = 4;
        let wishes = Wishes::of(&config);
        assert_eq!(wishes.servers, Server::ALL, "no engine with a server is chosen, so all are planned for");
        assert_eq!((wishes.reserve, wishes.sequences), (2 * units::GIB, 4));
        assert_eq!(wishes.quantization.as_deref(), Some("Q4_K_M"));
        assert_eq!(Wishes::open(&config).quantization, None);

        config.engines.llm = vec!["ollama".into()];
        config.engines.stt = vec!["voxtral-realtime".into()];
        assert_eq!(Wishes::of(&config).servers, [Server::Ollama, Server::Voxtral]);
    }

    #[test]
    fn a_configured_language_model_is_planned_as_it_is() {
        let known = config(Some(&format!("{}:Q6_K", known::MISTRAL)));
        assert_eq!(Wishes::of(&known).quantization.as_deref(), Some("Q6_K"));
        assert_eq!(Wishes::open(&known).quantization.as_deref(), Some("Q6_K"));
        // Another model comes in one size, whatever its tag says.
        assert_eq!(Wishes::of(&config(Some("qwen3:8b"))).quantization, None);
    }

    #[test]
    fn the_configured_card_is_planned_for_unless_another_is_named() {
        let mut config = config(None);
        config.gpu.card = "24gb".into();
        assert_eq!(card(&config, None).unwrap().memory, 24 * units::GIB);
        assert_eq!(card(&config, Some("48gb")).unwrap().memory, 48 * units::GIB);
        assert!(matches!(card(&config, Some("tpu")), Err(PlanError::Card(_))));
    }

    #[test]
    fn the_plan_follows_the_configuration() {
        let mut config = config(Some(&format!("{}:Q5_K_M", known::MISTRAL)));
        config.engines.stt = vec!["voxtral-realtime".into()];
        config.engines.llm = vec!["ollama".into()];
        let card = Card::named("rtx6000-48gb").unwrap();
        let plan = plan(&config, &card, &Wishes::of(&config)).unwrap();
        assert_eq!(plan.quantization, "Q5_K_M");
        assert_eq!(plan.parts.iter().map(|part| part.server).collect::<Vec<_>>(), [Server::Ollama, Server::Voxtral]);
        assert!(plan.parts.iter().any(|part| part.model.contains("Realtime")));
    }
}
