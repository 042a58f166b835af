//! The planner: a pure function from a card, models and wishes to a plan, or to a refusal that says what to change.

use super::card::Card;
use super::files::{Models, Quantized};
use super::refusal::{Reason, Refusal};
use super::sizes::{CONTEXT, CacheType, Model, Server, Source};
use super::units::{GIB, gb, thousands};
use super::{Shares, ceiling};

/// Something better than usual is chosen only if this share of the card stays free: the sizes are computed, not
/// measured, and a card that is full to the brim fails at the first surprise.
const SPARE: u64 = 10;

/// vLLM takes its share in hundredths.
const HUNDREDTHS: u64 = 100;

/// What llama.cpp leaves free of a card. Source: `LLAMA_ARG_FIT_TARGET` in `common/arg.cpp` of github.com/ggml-org/llama.cpp.
const FIT: u64 = GIB;

/// What is wanted of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The servers that share the card, in the order they are started in.
    pub servers: Vec<Server>,
    /// Quantisation of the language model; `None` lets the plan choose.
    pub quantization: Option<String>,
    /// Context of the language model in tokens; `None` lets the plan choose.
    pub context: Option<u32>,
    /// Type of its KV cache; `None` lets the plan choose.
    pub cache_type: Option<CacheType>,
    /// What is kept free for the desktop and other programs, in bytes.
    pub reserve: u64,
    /// Conversations at the same time, which are sequences of a step in vLLM.
    pub sequences: u32,
}

/// What one server is planned to take, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which.
    pub server: Server,
    /// Its model.
    pub model: String,
    /// Where the model's numbers come from.
    pub source: Source,
    /// The model's parameters.
    pub weights: u64,
    /// What it remembers.
    pub cache: u64,
    /// What it computes in.
    pub activations: u64,
    /// Parameters of the codec and what that computes in.
    pub codec: u64,
    /// What its processes hold before they do anything.
    pub context: u64,
    /// Its share of the card, in hundredths, where it is a server of vLLM.
    pub hundredths: Option<u64>,
    /// All of it: the sum, and what rounding its share up adds.
    pub planned: u64,
}

/// What fits together, and with which settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The card.
    pub card: Card,
    /// The servers, in the order they are started in.
    pub parts: Vec<Part>,
    /// Quantisation of the language model.
    pub quantization: String,
    /// The language model's name in Ollama, with its quantisation.
    pub llm_model: String,
    /// What is kept free for others, in bytes.
    pub reserve: u64,
    /// What would have been better or comes next, and why it was not chosen.
    pub rejected: Vec<Rejected>,
    /// The most that the memory's speed allows.
    pub ceilings: Vec<ceiling::Ceiling>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    shares: Shares,
    reduced: bool,
}

/// An alternative that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// It, in words.
    pub what: String,
    /// All it needs, in bytes.
    pub needed: u64,
    /// Why not.
    pub why: String,
}

impl Plan {
    /// What the model servers are started with.
    pub fn shares(&self) -> Shares {
        self.shares.clone()
    }

    /// What the server called `ollama`, `higgs` or `voxtral` is planned to take, in bytes; 0 if it is not planned for.
    pub fn planned_bytes(&self, server: &str) -> u64 {
        self.parts.iter().find(|part| part.server.name() == server).map_or(0, |part| part.planned)
    }

    /// What all take together, in bytes.
    pub fn total(&self) -> u64 {
        total(&self.parts)
    }

    /// What is left of the card beside the reserve, in bytes.
    pub fn spare(&self) -> u64 {
        available(&self.card, self.reserve).saturating_sub(self.total())
    }

    /// It has less than the profile is meant to have.
    pub const fn is_reduced(&self) -> bool {
        self.reduced
    }

    /// The share that a server based on vLLM before 0.9.2 is told, such as Boson's image of Higgs: it counts as its own
    /// whatever others hold when it starts. Source: github.com/vllm-project/vllm/pull/18974.
    pub fn share_with_those_before(&self, server: Server) -> Option<f64> {
        let place = self.parts.iter().position(|part| part.server == server)?;
        let held = total(self.parts.get(..=place)?).saturating_add(self.reserve);
        Some(as_share(hundredths(held, self.card.visible())))
    }
}

/// Plans the card's memory.
///
/// # Errors
/// If what is wanted cannot fit, or cannot be at all.
pub fn plan(card: &Card, models: &Models, wishes: &Wishes) -> Result<Plan, Box<Refusal>> {
    choose(card, models, wishes).map_err(|failure| Box::new(Refusal::new(card, models, wishes, failure)))
}

/// Why nothing was chosen, and the least that each server needs.
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) least: Vec<Part>,
}

/// The best choice that fits.
pub(super) fn choose(card: &Card, models: &Models, wishes: &Wishes) -> Result<Plan, Failure> {
    let steps = steps(models, wishes).map_err(|reason| Failure { reason, least: Vec::new() })?;
    let room = available(card, wishes.reserve);
    let mut rejected = Vec::new();
    let mut least = Vec::new();
    for step in &steps {
        let parts = step.parts(card, models, wishes);
        let needed = total(&parts).max(of_ollama_alone(&parts, wishes.reserve));
        let why = if needed > room {
            format!("{} GB too much", gb(needed - room))
        } else if step.rank == Rank::Heavy {
            "twice as slow as Q8_0, and no better to the ear".into()
        } else if step.rank == Rank::Better && room - needed < card.visible() / SPARE {
            format!("leaves {} GB, less than a tenth of the card", gb(room - needed))
        } else {
            return Ok(step.plan(card, models, wishes, parts, rejected));
        };
        rejected.push(Rejected { what: step.words(&wishes.servers), needed, why });
        least = parts;
    }
    Err(Failure {
        reason: Reason::TooSmall { needed: total(&least).max(of_ollama_alone(&least, wishes.reserve)) },
        least,
    })
}

/// What can be shared out of a card, in bytes.
pub(super) fn available(card: &Card, reserve: u64) -> u64 {
    card.visible().saturating_sub(reserve)
}

pub(super) fn total(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.planned))
}

/// What Ollama alone asks of what can be shared out: it leaves layers to the processor rather than fill a card to less
/// than [`FIT`].
fn of_ollama_alone(parts: &[Part], reserve: u64) -> u64 {
    let ollama = parts.iter().find(|part| part.server == Server::Ollama);
    ollama.map_or(0, |part| part.planned.saturating_add(FIT.saturating_sub(reserve)))
}

/// How a choice compares with what the profile is meant to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
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
struct Step {
    rank: Rank,
    /// Place of the quantisation among the models'.
    llm: usize,
    quantization: String,
    context: u32,
    cache_type: CacheType,
    stt_context: u32,
    tts_context: u32,
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
fn steps(models: &Models, wishes: &Wishes) -> Result<Vec<Step>, Reason> {
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
                return Err(Reason::Context { asked: context, longest: model.longest, model: model.name.clone() });
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

    fn words(&self, servers: &[Server]) -> String {
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

    fn parts(&self, card: &Card, models: &Models, wishes: &Wishes) -> Vec<Part> {
        let parts = wishes.servers.iter().map(|server| match server {
            Server::Ollama => self.ollama(models),
            Server::Higgs => self.higgs(card, models, wishes),
            Server::Voxtral => self.voxtral(card, models, wishes),
        });
        parts.collect()
    }

    fn ollama(&self, models: &Models) -> Part {
        let Some(Quantized { model, .. }) = models.llm.get(self.llm) else {
            return Part::of(Server::Ollama, &models.stt);
        };
        let part = Part {
            cache: model.cache.bytes(self.context, self.cache_type),
            activations: model.ollama_activations(),
            ..Part::of(Server::Ollama, model)
        };
        Part { planned: part.sum(), ..part }
    }

    fn voxtral(&self, card: &Card, models: &Models, wishes: &Wishes) -> Part {
        let model = &models.stt;
        let part = Part {
            cache: model.vllm_cache(self.stt_context),
            activations: model.vllm_activations(wishes.sequences),
            ..Part::of(Server::Voxtral, model)
        };
        let share = hundredths(part.sum(), card.visible());
        part.with_share(share, card)
    }

    /// The language model and the codec are two processes, each with a share of its own.
    fn higgs(&self, card: &Card, models: &Models, wishes: &Wishes) -> Part {
        let (model, codec) = (&models.tts, &models.codec);
        let talker = Part {
            cache: model.vllm_cache(self.tts_context),
            activations: model.vllm_activations(wishes.sequences),
            ..Part::of(Server::Higgs, model)
        };
        let decoder = codec.weights.saturating_add(codec.activations());
        let share = hundredths(talker.sum(), card.visible()) + codec_hundredths(card, models);
        Part { codec: decoder, context: 2 * CONTEXT, ..talker }.with_share(share, card)
    }

    fn plan(&self, card: &Card, models: &Models, wishes: &Wishes, parts: Vec<Part>, rejected: Vec<Rejected>) -> Plan {
        let share = |server| parts.iter().find(|part| part.server == server).and_then(|part| part.hundredths);
        let tts = share(Server::Higgs);
        let shares = Shares {
            llm_context: self.context,
            llm_cache_type: self.cache_type.name(),
            stt_utilization: as_share(share(Server::Voxtral).unwrap_or(0)),
            stt_context: self.stt_context,
            tts_utilization: as_share(tts.unwrap_or(0)),
            tts_context: self.tts_context,
            tts_codec_utilization: tts.map_or(0.0, |_| as_share(codec_hundredths(card, models))),
            sequences: wishes.sequences,
        };
        let llm = models.llm.get(self.llm).map(|one| &one.model);
        let mut plan = Plan {
            card: card.clone(),
            quantization: self.quantization.clone(),
            llm_model: llm.map_or_else(String::new, |model| model.name.clone()),
            reserve: wishes.reserve,
            rejected,
            ceilings: ceiling::ceilings(card, models, llm, &wishes.servers),
            notes: models.notes.clone(),
            shares,
            reduced: self.rank == Rank::Reduced,
            parts,
        };
        plan.notes.extend(in_use(&plan));
        plan.notes.extend(not_the_first(card));
        plan
    }
}

impl Part {
    fn of(server: Server, model: &Model) -> Self {
        Self {
            server,
            model: model.name.clone(),
            source: model.source.clone(),
            weights: model.weights,
            cache: 0,
            activations: 0,
            codec: 0,
            context: CONTEXT,
            hundredths: None,
            planned: 0,
        }
    }

    fn sum(&self) -> u64 {
        [self.weights, self.cache, self.activations, self.codec, self.context].into_iter().fold(0, u64::saturating_add)
    }

    fn with_share(self, hundredths: u64, card: &Card) -> Self {
        let planned = (u128::from(card.visible()) * u128::from(hundredths)).div_ceil(u128::from(HUNDREDTHS));
        Self { hundredths: Some(hundredths), planned: planned.try_into().unwrap_or(u64::MAX), ..self }
    }
}

fn codec_hundredths(card: &Card, models: &Models) -> u64 {
    let codec = models.codec.weights.saturating_add(models.codec.activations()).saturating_add(CONTEXT);
    hundredths(codec, card.visible())
}

/// Bytes as a share of a card, rounded up, since vLLM refuses to start with less than it needs.
fn hundredths(bytes: u64, visible: u64) -> u64 {
    let share = (u128::from(bytes) * u128::from(HUNDREDTHS)).div_ceil(u128::from(visible.max(1)));
    share.try_into().unwrap_or(u64::MAX)
}

fn as_share(hundredths: u64) -> f64 {
    hundredths as f64 / HUNDREDTHS as f64
}

/// What others hold of the card now, if the plan does not fit beside them.
fn in_use(plan: &Plan) -> Option<String> {
    let free = plan.card.free?;
    (plan.total() > free).then(|| {
        format!(
            "{} GB of the card are free now, and the plan needs {}. Unless the servers run already, end what else uses \
             the card (nvidia-smi lists it)",
            gb(free),
            gb(plan.total())
        )
    })
}

/// CUDA takes the first card unless it is told.
fn not_the_first(card: &Card) -> Option<String> {
    let index = card.index.filter(|index| *index > 0)?;
    Some(format!(
        "this is GPU {index} of the machine: start the servers with CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={index}"
    ))
}

#[cfg(test)]
mod tests;
