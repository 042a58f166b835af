//! Why there is no plan, and what to change so that there is one.

use super::card::Card;
use super::files::Models;
use super::parts::Part;
use super::planner::{Failure, Wishes, available, choose};
use super::sizes::Server;
use super::units::{gb, thousands};

/// Sizes that cards are sold in, in GB.
const SOLD: [u32; 8] = [16, 24, 32, 40, 48, 64, 80, 96];

/// What a small language model needs beside its weights: CUDA's context, buffers, and a KV cache of 8,192 tokens.
const BESIDE_WEIGHTS: u64 = 2_000_000_000;

/// Tenths of bits that Q4_K_M takes for a weight.
const TENTHS_OF_BITS: u64 = 49;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It does not fit.
    TooSmall {
        /// The least that is needed, in bytes.
        needed: u64,
    },
    /// The language model does not come in that quantisation.
    Quantization {
        /// The one wished for.
        asked: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// The language model was made for shorter contexts.
    Context {
        /// The one wished for, in tokens.
        asked: u32,
        /// The longest there is, in tokens.
        longest: u32,
        /// The model.
        model: String,
    },
}

/// There is no plan: why, and what to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The card.
    pub card: Card,
    /// What can be shared out of it, in bytes.
    pub available: u64,
    /// Why.
    pub reason: Reason,
    /// The least that each server needs.
    pub least: Vec<Part>,
    /// What to change, the best first.
    pub remedies: Vec<String>,
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub(super) fn new(card: &Card, models: &Models, wishes: &Wishes, failure: Failure) -> Self {
        let Failure { reason, least } = failure;
        let remedies = match &reason {
            Reason::Quantization { known, .. } => vec![format!("choose one of {}", known.join(", "))],
            Reason::Context { longest, .. } => vec![format!("choose at most --context {longest}")],
            Reason::TooSmall { .. } => remedies(card, models, wishes, &least),
        };
        Self { card: card.clone(), available: available(card, wishes.reserve), reason, least, remedies }
    }
}

fn remedies(card: &Card, models: &Models, wishes: &Wishes, least: &[Part]) -> Vec<String> {
    let mut remedies = Vec::new();
    remedies.extend(without_wishes(card, models, wishes));
    remedies.extend(without_reserve(card, models, wishes));
    remedies.extend(smaller_model(card, wishes, least));
    let parties = smaller_parties(card, models, wishes);
    if parties.is_empty() {
        remedies.push("use the engines that need no GPU: --profile embedded".into());
    }
    remedies.extend(parties);
    remedies.extend(larger_card(card, models, wishes));
    remedies
}

fn without_wishes(card: &Card, models: &Models, wishes: &Wishes) -> Option<String> {
    let mut flags = Vec::new();
    flags.extend(wishes.quantization.as_ref().map(|name| format!("--quantization {name}")));
    flags.extend(wishes.context.map(|context| format!("--context {context}")));
    flags.extend(wishes.cache_type.map(|kind| format!("--kv {}", kind.name())));
    if flags.is_empty() {
        return None;
    }
    let open = Wishes { quantization: None, context: None, cache_type: None, ..wishes.clone() };
    let plan = choose(card, models, &open).ok()?;
    let context = thousands(plan.shares().llm_context.into());
    Some(format!(
        "let the plan choose instead of {}: {} with {context} tokens fits",
        flags.join(" "),
        plan.quantization
    ))
}

fn without_reserve(card: &Card, models: &Models, wishes: &Wishes) -> Option<String> {
    let plan = choose(card, models, &Wishes { reserve: 0, ..wishes.clone() }).ok()?;
    let spare = plan.spare() / 1_000_000;
    Some(format!("keep less of the card free for others: gpu.reserve_mb = {spare} or less"))
}

/// The same servers with a language model that is small enough for what the others leave at the least.
fn smaller_model(card: &Card, wishes: &Wishes, least: &[Part]) -> Option<String> {
    let others: u64 = least.iter().filter(|part| part.server != Server::Ollama).map(|part| part.planned).sum();
    if others == 0 || !wishes.servers.contains(&Server::Ollama) {
        return None;
    }
    let left = available(card, wishes.reserve).checked_sub(others)?;
    let billions = left.checked_sub(BESIDE_WEIGHTS)? * 8 / TENTHS_OF_BITS * 10 / 1_000_000_000;
    (billions > 0).then(|| {
        format!(
            "take a smaller language model ([llm.ollama] model): the others leave {} GB, enough for about {billions} \
             billion parameters in Q4_K_M",
            gb(left)
        )
    })
}

/// Fewer servers on the card: those choices that are not part of another that fits, too.
fn smaller_parties(card: &Card, models: &Models, wishes: &Wishes) -> Vec<String> {
    let mut fitting: Vec<Vec<Server>> = Vec::new();
    let mut remedies = Vec::new();
    for servers in parties(&wishes.servers) {
        if fitting.iter().any(|larger| servers.iter().all(|server| larger.contains(server))) {
            continue;
        }
        // A wish about the language model does not bind those who do without it, and fewer may fit without it.
        let open =
            Wishes { servers: servers.clone(), quantization: None, context: None, cache_type: None, ..wishes.clone() };
        let Ok(plan) = choose(card, models, &open) else { continue };
        let left: Vec<&str> =
            wishes.servers.iter().filter(|one| !servers.contains(one)).map(|one| elsewhere(*one)).collect();
        let with = servers.iter().map(|server| match server {
            Server::Ollama => {
                let context = thousands(plan.shares().llm_context.into());
                format!("Ollama ({}, {context} tokens, {} cache)", plan.quantization, plan.shares().llm_cache_type)
            }
            Server::Higgs => "Higgs".into(),
            Server::Voxtral => "Voxtral".into(),
        });
        let with = with.collect::<Vec<_>>().join(" and ");
        remedies.push(format!(
            "{}; then {with} {}: {} GB",
            left.join(", and "),
            if servers.len() == 1 { "fits" } else { "fit" },
            gb(plan.total())
        ));
        fitting.push(servers);
    }
    remedies
}

/// The true parts of a set of servers, the large ones first.
fn parties(all: &[Server]) -> Vec<Vec<Server>> {
    let count = 1_usize << all.len().min(Server::ALL.len());
    let party = |bits: usize| -> Vec<Server> {
        all.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0).map(|(_, server)| *server).collect()
    };
    let mut parties: Vec<Vec<Server>> = (1..count.saturating_sub(1)).map(party).collect();
    parties.sort_by_key(|party| std::cmp::Reverse(party.len()));
    parties
}

/// How to do without a server on this card.
const fn elsewhere(server: Server) -> &'static str {
    match server {
        Server::Ollama => "write with the news desk (--llm desk) or with Ollama on another machine ([llm.ollama] url)",
        Server::Higgs => {
            "speak with an embedded voice (--tts flite) or with Higgs on another machine ([tts.higgs-server] url)"
        }
        Server::Voxtral => {
            "listen with the embedded recogniser (--stt pocketsphinx) or with Voxtral on another machine ([stt.voxtral-vllm] url)"
        }
    }
}

/// The smallest card on which something fits, and the smallest on which it is as the profile is meant to be.
fn larger_card(card: &Card, models: &Models, wishes: &Wishes) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for size in SOLD {
        let Ok(larger) = Card::named(&format!("{size}gb")) else { continue };
        if larger.memory <= card.memory {
            continue;
        }
        let Ok(plan) = choose(&larger, models, wishes) else { continue };
        let usual = !wishes.servers.contains(&Server::Ollama) || !plan.is_reduced();
        if found.is_empty() || usual {
            found.push(match wishes.servers.contains(&Server::Ollama) {
                true => format!(
                    "{size} GB ({} with {} tokens)",
                    plan.quantization,
                    thousands(plan.shares().llm_context.into())
                ),
                false => format!("{size} GB"),
            });
        }
        if usual {
            break;
        }
    }
    (!found.is_empty()).then(|| format!("take a card of {}", found.join(", or of ")))
}
