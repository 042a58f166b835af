//! The flags and the environment each model server is started with, and where they are documented.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use serde_json::json;

use super::recipe::{Change, Order, Proof};
use crate::memory::Shares;

/// How long a server may take until it answers: reading 14 GB from a hard disk and compiling kernels for the first time
/// takes minutes.
pub(super) const START: Duration = Duration::from_secs(15 * 60);

/// What the kinds of servers differ in.
pub(super) struct Own {
    pub(super) program: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, Change)>,
    pub(super) proof: Proof,
    pub(super) share: String,
}

/// Ollama is told everything by its environment. Source: `envconfig/config.go` of github.com/ollama/ollama.
pub(super) fn ollama(order: &Order, shares: &Shares) -> Own {
    let (context, cache) = (shares.llm_context, shares.llm_cache_type);
    let set = |name: &str, value: String| (name.to_owned(), Change::Set(value));
    Own {
        program: "ollama",
        arguments: vec!["serve".into()],
        environment: vec![
            set("OLLAMA_HOST", format!("{}:{}", order.url.host_str().unwrap_or_default(), port(&order.url))),
            // Requests that name another context make it load the model anew; those that name none get this one.
            set("OLLAMA_CONTEXT_LENGTH", context.to_string()),
            set("OLLAMA_KEEP_ALIVE", "-1".into()),
            set("OLLAMA_KV_CACHE_TYPE", cache.into()),
            // A cache of another type than f16 needs it.
            set("OLLAMA_FLASH_ATTENTION", "1".into()),
            // Each further request at a time would take a cache of its own, which is not in the plan.
            set("OLLAMA_NUM_PARALLEL", "1".into()),
            set("OLLAMA_MAX_LOADED_MODELS", "1".into()),
            // By itself it gives up after five minutes.
            set("OLLAMA_LOAD_TIMEOUT", format!("{}s", START.as_secs())),
            // Debugging prints what is said into the log.
            ("OLLAMA_DEBUG".into(), Change::Gone),
        ],
        proof: Proof::Ollama { model: order.model.clone(), context },
        share: format!("a context of {context} tokens (num_ctx) with a cache of type {cache}"),
    }
}

/// Higgs Audio v2 on vLLM-Omni, in two stages: the language model that writes codes of sound, and the codec. Each takes
/// a share of the card of its own. Sources: `vllm_omni/deploy/higgs_audio_v2.yaml` and
/// `docs/configuration/stage_configs.md` of github.com/vllm-project/vllm-omni.
pub(super) fn higgs(order: &Order, shares: &Shares) -> Own {
    let codec = hundredths(shares.tts_codec_utilization);
    let talker = hundredths(shares.tts_utilization - codec);
    let stages = json!({
        "0": { "gpu_memory_utilization": talker, "max_model_len": shares.tts_context },
        "1": { "gpu_memory_utilization": codec },
    });
    let mut arguments = vllm(order, shares);
    arguments.extend(["--omni".into(), "--stage-overrides".into(), stages.to_string()]);
    // By itself it gives up on a stage after five minutes (`vllm_omni/entrypoints/cli/serve.py`).
    for flag in ["--stage-init-timeout", "--init-timeout"] {
        arguments.extend([flag.to_owned(), START.as_secs().to_string()]);
    }
    Own {
        program: "vllm",
        arguments,
        environment: vllm_environment(),
        proof: Proof::Speech { model: order.model.clone() },
        share: format!("{talker} and {codec} of the card for its two stages (gpu_memory_utilization)"),
    }
}

/// Voxtral on vLLM. Source: the model's own page, huggingface.co/mistralai/Voxtral-Mini-3B-2507.
pub(super) fn voxtral(order: &Order, shares: &Shares) -> Own {
    let utilization = hundredths(shares.stt_utilization);
    let mut arguments = vllm(order, shares);
    for (flag, value) in [
        ("--tokenizer-mode", "mistral".to_owned()),
        ("--config-format", "mistral".to_owned()),
        ("--load-format", "mistral".to_owned()),
        ("--max-model-len", shares.stt_context.to_string()),
        ("--gpu-memory-utilization", utilization.to_string()),
        ("--limit-mm-per-prompt", r#"{"audio":1}"#.to_owned()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    Own {
        program: "vllm",
        arguments,
        environment: vllm_environment(),
        proof: Proof::Transcription { model: order.model.clone() },
        share: format!("{utilization} of the card (--gpu-memory-utilization)"),
    }
}

/// What every server of vLLM is told. Source: docs.vllm.ai/en/stable/cli/serve.
fn vllm(order: &Order, shares: &Shares) -> Vec<String> {
    let mut arguments = vec!["serve".to_owned(), order.source.clone()];
    for (flag, value) in [
        ("--host", host(&order.url)),
        ("--port", port(&order.url).to_string()),
        // The engine's name for it, wherever the files lie.
        ("--served-model-name", order.model.clone()),
        ("--max-num-seqs", shares.sequences.to_string()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    // Requests hold what people say, and a line for each of them would push out of the log what matters.
    arguments.extend(["--no-enable-log-requests".into(), "--disable-uvicorn-access-log".into()]);
    arguments
}

fn vllm_environment() -> Vec<(String, Change)> {
    // By default vLLM reports its use to its makers (docs.vllm.ai/en/stable/usage/usage_stats).
    let quiet = ("VLLM_NO_USAGE_STATS".into(), Change::Set("1".into()));
    // By itself it gives up after ten minutes (`vllm/envs.py`).
    let patient = ("VLLM_ENGINE_READY_TIMEOUT_S".into(), Change::Set(START.as_secs().to_string()));
    // Debugging prints what is said into the log.
    vec![quiet, patient, ("VLLM_LOGGING_LEVEL".into(), Change::Gone)]
}

/// A conda environment as `conda activate` makes it, and nothing of another Python environment.
pub(super) fn in_environment(environment: &Path) -> Vec<(String, Change)> {
    let folder = |name: &str| Change::First(environment.join(name).display().to_string());
    let mut changes = vec![
        ("CONDA_PREFIX".to_owned(), Change::Set(environment.display().to_string())),
        ("PATH".to_owned(), folder("bin")),
        ("LD_LIBRARY_PATH".to_owned(), folder("lib")),
    ];
    changes.extend(["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"].map(|name| (name.to_owned(), Change::Gone)));
    changes
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned()
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(80)
}

/// Rounded down to what the flags are written with, so that the shares together never grow.
fn hundredths(share: f64) -> f64 {
    // 0.29 * 100.0 is 28.999...
    (share * 100.0 + 1e-6).floor() / 100.0
}
