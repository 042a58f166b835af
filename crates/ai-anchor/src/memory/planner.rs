//! The planner: a pure function from a card, models and wishes to a plan, or to a refusal that says what to change.

use super::card::Card;
use super::files::Models;
use super::ladder::{Rank, Step, steps};
use super::parts::{Part, as_share, codec_hundredths, hundredths, total};
use super::refusal::{Reason, Refusal};
use super::sizes::{CacheType, Server};
use super::units::{GIB, gb};
use super::{Shares, ceiling};

/// Something better than usual is chosen only if this share of the card stays free: the sizes are computed, not
/// measured, and a card that is full to the brim fails at the first surprise.
const SPARE: u64 = 10;

/// By this share of the card the estimates may be wrong.
const DOUBT: u64 = 25;

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

/// What Ollama alone asks of what can be shared out: it leaves layers to the processor rather than fill a card to less
/// than [`FIT`].
fn of_ollama_alone(parts: &[Part], reserve: u64) -> u64 {
    let ollama = parts.iter().find(|part| part.server == Server::Ollama);
    ollama.map_or(0, |part| part.planned.saturating_add(FIT.saturating_sub(reserve)))
}

impl Step {
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
        plan.notes.extend(tight(&plan));
        plan
    }
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

/// The plan fits only if the estimates are right.
fn tight(plan: &Plan) -> Option<String> {
    (plan.spare() < plan.card.visible() / DOUBT).then(|| {
        format!(
            "only {} GB are left, and the estimates may be wrong by more. If a server does not start, plan with \
             --context 4096 --kv q8_0, or with a smaller --quantization",
            gb(plan.spare())
        )
    })
}

#[cfg(test)]
mod tests;
