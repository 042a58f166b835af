//! Plans and refusals, written for people and for machines.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::{Value, json};

use super::card::Card;
use super::ceiling::Ceiling;
use super::parts::{Part, total};
use super::planner::{Plan, available};
use super::refusal::{Reason, Refusal};
use super::sizes::{Server, Source};
use super::units::{GIB, gb, thousands};

/// What people are told that the three need, in tenths of a GB: Voxtral, Higgs, and the language model from and to.
const TOLD: (u64, u64, u64, u64) = (95, 240, 140, 160);

/// Alternatives that are shown; `--json` tells all.
const SHOWN: usize = 6;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", card_line(&self.card, self.reserve))?;
        writeln!(f)?;
        write!(f, "{}", Table(&self.parts))?;
        writeln!(f, "{:8} {:>56}", "left", gb(self.spare()))?;
        writeln!(f, "\nSettings, in the order of starting, each when the one before answers:")?;
        for part in &self.parts {
            writeln!(f, "  {:8} {}", part.server.name(), self.settings(part))?;
        }
        if let Some(comparison) = self.comparison() {
            writeln!(f, "\n{comparison}")?;
        }
        if !self.ceilings.is_empty() {
            writeln!(f, "\nCeilings, computed from the memory's speed and not measured, each model alone:")?;
        }
        for ceiling in &self.ceilings {
            writeln!(f, "  {}", ceiling_line(ceiling))?;
        }
        // The nearest to the plan are the most interesting.
        let shown = self.rejected.iter().skip(self.rejected.len().saturating_sub(SHOWN));
        if !self.rejected.is_empty() {
            writeln!(f, "\nNot chosen:")?;
        }
        for rejected in shown {
            writeln!(f, "  {}: {} GB, {}", rejected.what, gb(rejected.needed), rejected.why)?;
        }
        writeln!(f, "\nSizes: {}", sources(&self.parts))?;
        for note in &self.notes {
            writeln!(f, "Note: {note}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// What a server is started with.
    fn settings(&self, part: &Part) -> String {
        let shares = self.shares();
        match part.server {
            Server::Ollama => format!(
                "{}\n{:11}OLLAMA_CONTEXT_LENGTH={} OLLAMA_KV_CACHE_TYPE={} OLLAMA_FLASH_ATTENTION=1 OLLAMA_NUM_PARALLEL=1",
                self.llm_model, "", shares.llm_context, shares.llm_cache_type
            ),
            Server::Higgs => format!(
                "--gpu-memory-utilization {:.2} --max-model-len {} --max-num-seqs {}\n{:11}\
                 in vLLM-Omni {:.2} for the language model and {:.2} for the codec; in Boson's image, which counts \
                 what others hold, {:.2}",
                shares.tts_utilization,
                shares.tts_context,
                shares.sequences,
                "",
                shares.tts_utilization - shares.tts_codec_utilization,
                shares.tts_codec_utilization,
                self.share_with_those_before(Server::Higgs).unwrap_or_default()
            ),
            Server::Voxtral => format!(
                "--gpu-memory-utilization {:.2} --max-model-len {} --max-num-seqs {}",
                shares.stt_utilization, shares.stt_context, shares.sequences
            ),
        }
    }

    /// How the plan compares with what people are told, if all three are on the card.
    fn comparison(&self) -> Option<String> {
        if self.parts.len() != Server::ALL.len() {
            return None;
        }
        let (voxtral, higgs, from, to) = TOLD;
        let (from_all, to_all) = (voxtral + higgs + from, voxtral + higgs + to);
        let tenths = |tenths: u64| gb(tenths * 100_000_000);
        let planned = |server: Server| self.planned_bytes(server.name());
        Some(format!(
            "As people are told: Voxtral {} + Higgs {} + LLM {} to {} = {} to {} GB.\n\
             Planned here:       Voxtral {} + Higgs {} + LLM {} ({}) = {} GB, {}; Higgs alone {}.",
            tenths(voxtral),
            tenths(higgs),
            from / 10,
            to / 10,
            tenths(from_all),
            tenths(to_all),
            gb(planned(Server::Voxtral)),
            gb(planned(Server::Higgs)),
            gb(planned(Server::Ollama)),
            self.quantization,
            gb(self.total()),
            difference(self.total(), from_all, to_all),
            difference(planned(Server::Higgs), higgs, higgs)
        ))
    }
}

/// How much less than from so many to so many tenths of a GB.
fn difference(bytes: u64, from: u64, to: u64) -> String {
    let tenths = |tenths: u64| i128::from(tenths) * 100_000_000 - i128::from(bytes);
    let text = |bytes: i128| gb(bytes.unsigned_abs().try_into().unwrap_or(u64::MAX));
    let (least, most) = (tenths(from), tenths(to));
    match (least >= 0, most >= 0) {
        (true, _) if from == to => format!("{} GB less", text(least)),
        (true, _) => format!("{} to {} GB less", text(least), text(most)),
        (false, true) => format!("up to {} GB less", text(most)),
        (false, false) => format!("{} GB more", text(most)),
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::TooSmall { needed } => writeln!(
                f,
                "the models do not fit on {}: of its {} GB, {} can be shared out, and the least they need is {}.\n\n{}",
                self.card.name,
                gb(self.card.memory),
                gb(self.available),
                gb(*needed),
                Table(&self.least)
            )?,
            Reason::Quantization { asked, .. } => writeln!(f, "the language model does not come in {asked}.")?,
            Reason::Context { asked, longest, model } => writeln!(
                f,
                "a context of {} tokens is too long for {model}, which was made for {}.",
                thousands(u64::from(*asked)),
                thousands(u64::from(*longest))
            )?,
        }
        write!(f, "What to change:")?;
        self.remedies.iter().try_for_each(|remedy| write!(f, "\n  - {remedy}"))
    }
}

fn card_line(card: &Card, reserve: u64) -> String {
    format!(
        "{}: {} GB ({:.1} GiB), of which programs see {}; {} kept free for others, {} to share out",
        card.name,
        gb(card.memory),
        card.memory as f64 / GIB as f64,
        gb(card.visible()),
        gb(reserve),
        gb(available(card, reserve))
    )
}

/// What each server takes, in columns.
struct Table<'a>(&'a [Part]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:8} {:>8} {:>9} {:>12} {:>6} {:>8} {:>8}",
            "in GB", "weights", "KV cache", "activations", "codec", "context", "planned"
        )?;
        for part in self.0 {
            let codec = if part.codec == 0 { "-".into() } else { gb(part.codec) };
            writeln!(
                f,
                "{:8} {:>8} {:>9} {:>12} {:>6} {:>8} {:>8}",
                part.server.name(),
                gb(part.weights),
                gb(part.cache),
                gb(part.activations),
                codec,
                gb(part.context),
                gb(part.planned)
            )?;
        }
        writeln!(f, "{:8} {:>56}", "all", gb(total(self.0)))
    }
}

fn ceiling_line(ceiling: &Ceiling) -> String {
    let mut line = format!("{:8} {} {} a second", ceiling.server.name(), ceiling.per_second, ceiling.unit);
    if let Some(needed) = ceiling.needed {
        let _ = write!(line, ", and speech needs {needed}");
    }
    line
}

/// Which sizes are read from files, and which are from the table.
fn sources(parts: &[Part]) -> String {
    let mut lines = Vec::new();
    let unknown: Vec<&str> =
        parts.iter().filter(|part| part.source == Source::Table).map(|part| part.server.name()).collect();
    for part in parts {
        if let Source::Files(place) = &part.source {
            lines.push(format!("{} from {place}", part.server.name()));
        }
    }
    if !unknown.is_empty() {
        lines.push(format!("{} from the table of known models, as the files are not here", unknown.join(", ")));
    }
    lines.join("; ")
}

/// A plan or a refusal as one object.
pub(crate) fn json(outcome: Result<&Plan, &Refusal>) -> Value {
    match outcome {
        Ok(plan) => {
            let shares = plan.shares();
            json!({
                "fits": true,
                "card": card(&plan.card, plan.reserve),
                "servers": parts(&plan.parts),
                "total": plan.total(),
                "spare": plan.spare(),
                "settings": {
                    "llm_model": plan.llm_model,
                    "llm_quantization": plan.quantization,
                    "llm_context": shares.llm_context,
                    "llm_cache_type": shares.llm_cache_type,
                    "stt_utilization": shares.stt_utilization,
                    "stt_context": shares.stt_context,
                    "tts_utilization": shares.tts_utilization,
                    "tts_codec_utilization": shares.tts_codec_utilization,
                    "tts_utilization_counting_others": plan.share_with_those_before(Server::Higgs),
                    "tts_context": shares.tts_context,
                    "sequences": shares.sequences,
                },
                "ceilings_computed": plan.ceilings.iter().map(|ceiling| json!({
                    "server": ceiling.server.name(),
                    "per_second": ceiling.per_second,
                    "unit": ceiling.unit,
                })).collect::<Vec<_>>(),
                "rejected": plan.rejected.iter().map(|rejected| json!({
                    "what": rejected.what,
                    "needed": rejected.needed,
                    "why": rejected.why,
                })).collect::<Vec<_>>(),
                "notes": plan.notes,
            })
        }
        Err(refusal) => {
            let reserve = refusal.card.visible().saturating_sub(refusal.available);
            json!({
                "fits": false,
                "card": card(&refusal.card, reserve),
                "least": parts(&refusal.least),
                "remedies": refusal.remedies,
            })
        }
    }
}

fn card(card: &Card, reserve: u64) -> Value {
    json!({
        "name": card.name,
        "memory": card.memory,
        "visible": card.visible(),
        "free": card.free,
        "reserve": reserve,
        "available": available(card, reserve),
    })
}

fn parts(parts: &[Part]) -> Vec<Value> {
    let part = |part: &Part| {
        json!({
            "server": part.server.name(),
            "model": part.model,
            "from_files": matches!(part.source, Source::Files(_)),
            "weights": part.weights,
            "cache": part.cache,
            "activations": part.activations,
            "codec": part.codec,
            "context": part.context,
            "planned": part.planned,
        })
    };
    parts.iter().map(part).collect()
}
