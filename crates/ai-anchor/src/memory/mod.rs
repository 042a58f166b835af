//! The memory plan: what every model needs of the GPU, what fits together, and with which settings.

/// What the model servers are started with, so that together they fit on the card.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Context of the language model in Ollama, in tokens (`num_ctx`).
    pub llm_context: u32,
    /// Type of its KV cache (`OLLAMA_KV_CACHE_TYPE`): `f16`, `q8_0` or `q4_0`.
    pub llm_cache_type: &'static str,
    /// Share of the whole card that the server of Voxtral may fill (`--gpu-memory-utilization`).
    pub stt_utilization: f64,
    /// Its longest prompt and answer together, in tokens (`--max-model-len`).
    pub stt_context: u32,
    /// Share of the whole card that the server of Higgs may fill.
    pub tts_utilization: f64,
    /// Its longest prompt and answer together, in tokens.
    pub tts_context: u32,
}
