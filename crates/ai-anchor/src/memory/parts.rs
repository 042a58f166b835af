//! What each server takes of the card, and as which share of it.

use super::card::Card;
use super::files::{Models, Quantized};
use super::ladder::Step;
use super::planner::Wishes;
use super::sizes::{CONTEXT, Model, Server, Source};

/// vLLM takes its share in hundredths.
const HUNDREDTHS: u64 = 100;

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

/// What all take together, in bytes.
pub(super) fn total(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.planned))
}

impl Step {
    /// What each server takes with this choice.
    pub(super) fn parts(&self, card: &Card, models: &Models, wishes: &Wishes) -> Vec<Part> {
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
        let share = hundredths(talker.sum(), card.visible()).saturating_add(codec_hundredths(card, models));
        Part { codec: decoder, context: 2 * CONTEXT, ..talker }.with_share(share, card)
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

    /// All of it, not rounded.
    pub(super) fn sum(&self) -> u64 {
        [self.weights, self.cache, self.activations, self.codec, self.context].into_iter().fold(0, u64::saturating_add)
    }

    fn with_share(self, hundredths: u64, card: &Card) -> Self {
        let planned = (u128::from(card.visible()) * u128::from(hundredths)).div_ceil(u128::from(HUNDREDTHS));
        Self { hundredths: Some(hundredths), planned: planned.try_into().unwrap_or(u64::MAX), ..self }
    }
}

/// The share of the codec where it is a process of its own.
pub(super) fn codec_hundredths(card: &Card, models: &Models) -> u64 {
    let codec = models.codec.weights.saturating_add(models.codec.activations()).saturating_add(CONTEXT);
    hundredths(codec, card.visible())
}

/// Bytes as a share of a card, rounded up, since vLLM refuses to start with less than it needs.
pub(super) fn hundredths(bytes: u64, visible: u64) -> u64 {
    let share = (u128::from(bytes) * u128::from(HUNDREDTHS)).div_ceil(u128::from(visible.max(1)));
    share.try_into().unwrap_or(u64::MAX)
}

/// The share as vLLM takes it.
pub(super) fn as_share(hundredths: u64) -> f64 {
    hundredths as f64 / HUNDREDTHS as f64
}
