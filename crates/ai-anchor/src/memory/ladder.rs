//! The choices there are, from the best to the least, and what wishes make of them.

use super::files::{Models, Quantized, split};
use super::planner::Wishes;
use super::refusal::Reason;
use super::sizes::{CacheType, Server};
use super::units::thousands;

/// How a choice compares with what the profile is meant to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// It fits some cards and gains nothing.
    Heavy,
    /// Better than usual.
    Better,
    /// As it is meant to be.
    Usual,
    /// Less than that.
    Reduced,
}

impl Rank {
    /// The rank of a choice that is both. Nothing is demanded of what is usual, and nothing makes the usual less.
    fn without_demand(self, other: Self) -> Self {
        if matches!(self, Self::Usual | Self::Reduced) { self } else { other }
    }
}

/// One choice of everything that can be chosen.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) rank: Rank,
    /// Place of the quantisation among the models'.
    pub(super) llm: usize,
    pub(super) quantization: String,
    pub(super) context: u32,
    pub(super) cache_type: CacheType,
    pub(super) stt_context: u32,
    pub(super) tts_context: u32,
}

/// Rank, quantisation, context and cache type of the language model, contexts of the recogniser and of the voice; the
/// best first. In 8,192 tokens the recogniser hears ten minutes, and in 4,096 the voice speaks more than two; a KV cache
/// of 8 bits costs less quality than a coarser quantisation, and of 4 bits more, so that it is never chosen unasked.
static LADDER: &[(Rank, &str, u32, CacheType, u32, u32)] = &[
    (Rank::Heavy, "F16", 32_768, CacheType::F16, 16_384, 4096),
    (Rank::Better, "Q8_0", 32_768, CacheType::F16, 16_384, 4096),
    (Rank::Better, "Q8_0", 16_384, CacheType::F16, 16_384, 4096),
    (Rank::Better, "Q6_K", 32_768, CacheType::F16, 16_384, 4096),
    (Rank::Better, "Q6_K", 16_384, CacheType::F16, 8192, 4096),
    (Rank::Better, "Q5_K_M", 16_384, CacheType::F16, 8192, 4096),
    (Rank::Better, "Q4_K_M", 16_384, CacheType::F16, 8192, 4096),
    (Rank::Usual, "Q4_K_M", 8192, CacheType::F16, 8192, 4096),
    (Rank::Reduced, "Q4_K_M", 8192, CacheType::Q8_0, 8192, 4096),
    (Rank::Reduced, "Q4_K_M", 8192, CacheType::Q8_0, 4096, 2048),
    (Rank::Reduced, "Q4_K_M", 4096, CacheType::Q8_0, 4096, 2048),
    (Rank::Reduced, "Q3_K_M", 8192, CacheType::Q8_0, 4096, 2048),
    (Rank::Reduced, "Q3_K_M", 4096, CacheType::Q8_0, 4096, 2048),
    (Rank::Reduced, "Q2_K", 4096, CacheType::Q8_0, 4096, 2048),
    (Rank::Reduced, "Q2_K", 2048, CacheType::Q8_0, 2048, 2048),
];

/// The ladder with what is wished put in its place, every choice once.
pub(super) fn steps(models: &Models, wishes: &Wishes) -> Result<Vec<Step>, Reason> {
    let place = |name: &str| models.llm.iter().position(|one| one.quantization.eq_ignore_ascii_case(name));
    let fixed = match (&wishes.quantization, models.llm.len()) {
        (Some(name), _) => Some(place(name).ok_or_else(|| Reason::Quantization {
            asked: name.clone(),
            known: models.llm.iter().map(|one| one.quantization.clone()).collect(),
        })?),
        // There is nothing to choose from.
        (None, 1) => Some(0),
        (None, _) => None,
    };
    let mut steps: Vec<Step> = Vec::new();
    for &(rank, quantization, context, cache_type, stt_context, tts_context) in LADDER {
        let Some(llm) = fixed.or_else(|| place(quantization)) else { continue };
        let Some(Quantized { quantization, model }) = models.llm.get(llm) else { continue };
        let context = match wishes.context {
            Some(context) if context > model.longest => {
                let (family, _) = split(&model.name);
                return Err(Reason::Context { asked: context, longest: model.longest, model: family.into() });
            }
            Some(context) => context,
            None => context.min(model.longest),
        };
        let step = Step {
            // Who asks for it gets it.
            rank: if rank == Rank::Heavy && fixed.is_some() { Rank::Better } else { rank },
            llm,
            quantization: quantization.clone(),
            context,
            cache_type: wishes.cache_type.unwrap_or(cache_type),
            stt_context: stt_context.min(models.stt.longest),
            tts_context: tts_context.min(models.tts.longest),
        };
        match steps.iter_mut().find(|known| known.is_like(&step, &wishes.servers)) {
            // What is wished for needs not leave more free than usual.
            Some(known) => known.rank = known.rank.without_demand(step.rank),
            None => steps.push(step),
        }
    }
    Ok(steps)
}

impl Step {
    /// The two differ in nothing that matters to these servers.
    fn is_like(&self, other: &Self, servers: &[Server]) -> bool {
        servers.iter().all(|server| match server {
            Server::Ollama => (self.llm, self.context, self.cache_type) == (other.llm, other.context, other.cache_type),
            Server::Higgs => self.tts_context == other.tts_context,
            Server::Voxtral => self.stt_context == other.stt_context,
        })
    }

    /// It in words, as far as these servers are concerned.
    pub(super) fn words(&self, servers: &[Server]) -> String {
        let words = servers.iter().map(|server| match server {
            Server::Ollama => {
                let context = thousands(self.context.into());
                format!("{} with {context} tokens, {} cache", self.quantization, self.cache_type.name())
            }
            Server::Higgs => format!("Higgs {}", thousands(self.tts_context.into())),
            Server::Voxtral => format!("Voxtral {}", thousands(self.stt_context.into())),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
