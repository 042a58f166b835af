//! How fast it can be at the most: every token and every frame reads its weights from the card's memory once.

use super::card::Card;
use super::files::Models;
use super::sizes::{Model, Server};

/// The most that a card's memory allows for one model alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Whose.
    pub server: Server,
    /// Tokens or frames a second.
    pub per_second: u64,
    /// What is made: `tokens` or `frames`.
    pub unit: &'static str,
    /// What of it is needed a second to keep up with speech, where that is known.
    pub needed: Option<u64>,
}

/// Frames that Higgs makes of a second of speech. Source: hop of 960 samples at 24 kHz in the codec's `config.json`.
const FRAMES_OF_A_SECOND: u64 = 25;

/// The ceilings, none if the card's bandwidth is not known.
pub(super) fn ceilings(card: &Card, models: &Models, llm: Option<&Model>, servers: &[Server]) -> Vec<Ceiling> {
    let Some(bandwidth) = card.bandwidth else { return Vec::new() };
    let ceiling = |server: &Server| {
        let (step, unit, needed) = match server {
            Server::Ollama => (llm?.step, "tokens", None),
            Server::Higgs => (models.tts.step, "frames", Some(FRAMES_OF_A_SECOND)),
            Server::Voxtral => (models.stt.step, "tokens", None),
        };
        Some(Ceiling { server: *server, per_second: bandwidth.checked_div(step)?, unit, needed })
    };
    servers.iter().filter_map(ceiling).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_bandwidth_divided_by_what_a_step_reads() {
        let models = Models::known();
        let llm = models.llm.iter().find(|one| one.quantization == "Q4_K_M").map(|one| &one.model);
        let of = |card| ceilings(&Card::named(card).unwrap(), &models, llm, &Server::ALL);
        let numbers = |card| of(card).iter().map(|ceiling| ceiling.per_second).collect::<Vec<_>>();
        assert_eq!(numbers("rtx4090-24gb"), [70, 177, 139]);
        assert_eq!(numbers("rtx6000-48gb"), [53, 135, 106]);
        assert_eq!(numbers("h100-80gb"), [233, 588, 463]);
        assert!(of("24gb").is_empty());
    }
}
