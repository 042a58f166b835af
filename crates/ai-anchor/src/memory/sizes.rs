//! How large a model is, and how large what it remembers and computes: pure arithmetic on a few numbers of its design.

use anchor_core::engine::EngineKind;

use super::units::GIB;

/// What a server of vLLM may compute in one step, in tokens. vLLM takes 2,048 on small cards and 8,192 on large ones.
/// Source: `max_num_batched_tokens` in `vllm/engine/arg_utils.py`.
const STEP_TOKENS: u64 = 8192;

/// What Ollama may compute in one step, in tokens: the middle of the 512, 1,024 and 2,048 that it chooses from.
const OLLAMA_STEP_TOKENS: u64 = 1024;

/// What the recorded CUDA graphs of a model of three to four billion parameters hold: an estimate.
const GRAPHS: u64 = GIB / 2;

/// What a process holds of the card before it does anything: CUDA's context and its libraries. An estimate; 0.3 to 0.6
/// GiB are usual.
pub(super) const CONTEXT: u64 = GIB / 2;

/// Copies of the logits that exist while a token is drawn: logits, sorted, probabilities, their sums.
const LOGIT_COPIES: u64 = 4;

/// People whose speech is heard while it comes in, at the same time. Others wait a moment.
const HEARD_AT_ONCE: u64 = 4;

/// Sound that the codec decodes at a time at most, in frames: vLLM-Omni decodes an answer as a whole, and its answers
/// have at most 1,024 frames. Source: `vllm_omni/deploy/higgs_audio_v2.yaml`.
const CODEC_FRAMES: u64 = 1024;

/// Copies of the decoder's last and largest activation that exist at a time: input, snake, convolution, residual.
const CODEC_COPIES: u64 = 4;

/// How the keys and values of a language model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// 16 bits a value.
    F16,
    /// 8 bits a value and a scale for every 32: 34 bytes for 32 values.
    Q8_0,
    /// 4 bits a value and a scale for every 32: 18 bytes for 32 values.
    Q4_0,
}

impl CacheType {
    /// All, the best first.
    pub const ALL: [Self; 3] = [Self::F16, Self::Q8_0, Self::Q4_0];

    /// Its name in `OLLAMA_KV_CACHE_TYPE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Bytes of 32 values.
    const fn bytes_of_32(self) -> u64 {
        match self {
            Self::F16 => 64,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
        }
    }
}

/// What a model remembers of every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Numbers for one token: keys and values of all heads of all layers.
    pub values: u64,
    /// Only so many of the newest tokens are remembered, where the attention slides.
    pub window: Option<u64>,
}

impl Cache {
    /// Of a model with the same number of heads in every layer.
    pub const fn of(layers: u64, heads: u64, head: u64) -> Self {
        Self { values: 2 * layers * heads * head, window: None }
    }

    /// Bytes of one token.
    pub const fn token_bytes(&self, kind: CacheType) -> u64 {
        self.values.saturating_mul(kind.bytes_of_32()).div_ceil(32)
    }

    /// Bytes of so many tokens.
    pub fn bytes(&self, tokens: u32, kind: CacheType) -> u64 {
        let tokens = u64::from(tokens);
        self.token_bytes(kind).saturating_mul(self.window.map_or(tokens, |window| tokens.min(window)))
    }
}

/// The part of a recogniser that hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Frames it computes at a time, such as the 1,500 of thirty seconds.
    pub frames: u64,
    /// What they become for the language model, in tokens.
    pub tokens: u64,
    /// Its width.
    pub hidden: u64,
    /// Width of its feed-forward layers.
    pub ffn: u64,
    /// What it remembers of each sound that it hears while it comes in, in bytes; 0 where it hears whole sounds.
    pub state: u64,
}

/// Where the numbers about a model come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its own files.
    Files(String),
    /// The table of known models.
    Table,
}

/// A language model, of words or of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its repository, or its name in Ollama.
    pub name: String,
    /// Where the numbers come from.
    pub source: Source,
    /// Its parameters.
    pub parameters: u64,
    /// Their bytes.
    pub weights: u64,
    /// What of them is read for every token or frame that it makes, in bytes.
    pub step: u64,
    /// What it remembers of every token.
    pub cache: Cache,
    /// Its width.
    pub hidden: u64,
    /// Width of its feed-forward layers.
    pub ffn: u64,
    /// Tokens it knows.
    pub vocabulary: u64,
    /// The longest context it was made for, in tokens.
    pub longest: u32,
    /// How it hears, if it does.
    pub encoder: Option<Encoder>,
}

impl Model {
    /// What vLLM computes in, in bytes: the widest layer for a full step, the logits of everybody who is answered at a
    /// time, the sounds heard in one step, and the recorded graphs.
    pub fn vllm_activations(&self, sequences: u32) -> u64 {
        let sequences = u64::from(sequences);
        let layers = STEP_TOKENS * (2 * self.ffn + 4 * self.hidden) * 2;
        let logits = sequences * self.vocabulary * 4 * LOGIT_COPIES;
        let heard = self.encoder.map_or(0, |encoder| {
            let sounds = (STEP_TOKENS / encoder.tokens.max(1)).clamp(1, sequences);
            let layers = sounds * encoder.frames * (encoder.ffn + 4 * encoder.hidden) * 2;
            layers + STEP_TOKENS * self.hidden * 2
        });
        layers + logits + heard + GRAPHS
    }

    /// What vLLM remembers, in bytes: one conversation of the longest length, which is many of the usual length.
    pub fn vllm_cache(&self, tokens: u32) -> u64 {
        let heard = self.encoder.map_or(0, |encoder| HEARD_AT_ONCE * encoder.state);
        self.cache.bytes(tokens, CacheType::F16).saturating_add(heard)
    }

    /// What llama.cpp computes in, in bytes: the logits of a full step are its largest buffer.
    pub const fn ollama_activations(&self) -> u64 {
        OLLAMA_STEP_TOKENS * self.vocabulary * 4
    }
}

/// The part of a voice that turns frames into sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Its repository.
    pub name: String,
    /// Where the numbers come from.
    pub source: Source,
    /// Bytes of its parameters.
    pub weights: u64,
    /// Samples of a frame.
    pub hop: u64,
    /// Channels of the decoder's last layer.
    pub channels: u64,
}

impl Codec {
    /// What it computes in, in bytes: the decoder's last layer has as many places as the answer has samples.
    pub const fn activations(&self) -> u64 {
        CODEC_FRAMES * self.hop * self.channels * 4 * CODEC_COPIES
    }
}

/// The model servers of the studio profile in the order they are started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Writes.
    Ollama,
    /// Speaks.
    Higgs,
    /// Listens.
    Voxtral,
}

impl Server {
    /// All, in the order they are started in.
    pub const ALL: [Self; 3] = [Self::Ollama, Self::Higgs, Self::Voxtral];

    /// What its engine does.
    pub const fn engine_kind(self) -> EngineKind {
        match self {
            Self::Ollama => EngineKind::Llm,
            Self::Higgs => EngineKind::Tts,
            Self::Voxtral => EngineKind::Stt,
        }
    }

    /// Its name, as in settings and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Higgs => "higgs",
            Self::Voxtral => "voxtral",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::known::{higgs, higgs_codec, mistral, voxtral, voxtral_realtime};
    use crate::memory::units::MIB;

    #[test]
    fn cache_is_what_the_design_says() {
        let bytes = |cache: Cache| CacheType::ALL.map(|kind| cache.token_bytes(kind));
        assert_eq!(bytes(higgs().cache), [114_688, 60_928, 32_256]);
        assert_eq!(bytes(voxtral().cache), [122_880, 65_280, 34_560]);
        assert_eq!(bytes(mistral("Q4_K_M", 0).cache), [163_840, 87_040, 46_080]);
        assert_eq!(mistral("Q4_K_M", 0).cache.bytes(32_768, CacheType::F16), 5 * GIB);
    }

    #[test]
    fn a_window_bounds_what_is_remembered() {
        let cache = voxtral_realtime().cache;
        assert_eq!(cache.bytes(8192, CacheType::F16), cache.bytes(32_768, CacheType::F16));
    }

    /// About one and a half gibibytes for Voxtral beside weights and cache, less for the others.
    #[test]
    fn activations_are_of_the_order_that_is_known() {
        let mib = |bytes: u64| bytes / MIB;
        assert_eq!(mib(voxtral().vllm_activations(16)), 1508);
        assert_eq!(mib(higgs().vllm_activations(16)), 1247);
        assert_eq!(mib(mistral("Q4_K_M", 0).ollama_activations()), 512);
        assert_eq!(mib(higgs_codec().activations()), 480);
    }
}
