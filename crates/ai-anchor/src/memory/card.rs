//! The card that the models share: the one the driver finds, a known one by name, or any by its size.

use strsim::jaro_winkler;

use super::units::{GIB, MIB};
use crate::machine::gpu::Gpu;

/// Share of a card's memory that the driver keeps and CUDA does not show: about one percent, taken a little larger. It is
/// an estimate, since it is not known before a program uses the card.
const DRIVER_SHARE: f64 = 0.015;

/// The smallest and the largest card that a size can stand for, in GiB.
const SIZES: std::ops::RangeInclusive<u64> = 1..=1024;

/// A card whose memory is planned.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// Its place in the driver's list, where it is a card of this machine.
    pub index: Option<u32>,
    /// Its memory as the driver tells it, in bytes.
    pub memory: u64,
    /// What of it nobody uses now, in bytes, where it is a card of this machine.
    pub free: Option<u64>,
    /// How much it reads a second, in bytes, where that is known.
    pub bandwidth: Option<u64>,
}

/// A card that is known by name.
struct Known {
    key: &'static str,
    name: &'static str,
    /// Parts of the name that the driver gives it, all of which have to be there.
    driver: &'static [&'static str],
    /// As `nvidia-smi` tells it.
    mib: u64,
    /// From NVIDIA's data sheet, in GB/s.
    bandwidth: u64,
}

/// The known cards. A name that is part of another stands behind it.
static KNOWN: &[Known] = &[
    known("rtx4090-24gb", "GeForce RTX 4090", &["RTX 4090"], 24_564, 1008),
    known("rtx3090-24gb", "GeForce RTX 3090", &["RTX 3090"], 24_576, 936),
    known("rtx5090-32gb", "GeForce RTX 5090", &["RTX 5090"], 32_607, 1792),
    known("l40s-45gb", "L40S", &["L40S"], 46_068, 864),
    known("rtx6000-ada-48gb", "RTX 6000 Ada Generation", &["RTX 6000 Ada"], 49_140, 960),
    known("rtx6000-48gb", "RTX A6000", &["RTX A6000"], 49_140, 768),
    known("a100-pcie-80gb", "A100 80GB PCIe", &["A100", "PCI", "80GB"], 81_920, 1935),
    known("a100-80gb", "A100 80GB SXM", &["A100", "80GB"], 81_920, 2039),
    known("h100-pcie-80gb", "H100 PCIe", &["H100", "PCI"], 81_559, 2039),
    known("h100-80gb", "H100 80GB SXM", &["H100", "80GB"], 81_559, 3350),
    known("rtx6000-pro-96gb", "RTX PRO 6000 Blackwell", &["RTX PRO 6000"], 97_887, 1792),
];

const fn known(
    key: &'static str,
    name: &'static str,
    driver: &'static [&'static str],
    mib: u64,
    bandwidth: u64,
) -> Known {
    Known { key, name, driver, mib, bandwidth }
}

/// The name is of no known card and no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no card '{asked}'.{} Write one of {}, or a size such as 24gb", suggestion(*nearest), keys())]
pub struct UnknownCard {
    /// What was asked for.
    pub asked: String,
    /// The known card that reads most like it.
    pub nearest: Option<&'static str>,
}

impl Card {
    /// The card called `text`: `rtx6000-48gb` and its like, or a size such as `24gb`. A GB on a card's box is a GiB.
    pub fn named(text: &str) -> Result<Self, UnknownCard> {
        let asked = text.trim().to_lowercase();
        if let Some(known) = KNOWN.iter().find(|known| known.key == asked) {
            let memory = known.mib * MIB;
            return Ok(Self { memory, bandwidth: Some(known.bandwidth * GB), ..Self::bare(known.name.into()) });
        }
        match size(&asked) {
            Some(gib) => Ok(Self { memory: gib * GIB, ..Self::bare(format!("a card of {gib} GB")) }),
            None => Err(UnknownCard { nearest: nearest(&asked), asked: text.into() }),
        }
    }

    /// A card of this machine.
    pub fn of(gpu: &Gpu) -> Self {
        let known = KNOWN.iter().find(|known| known.driver.iter().all(|part| gpu.name.contains(part)));
        Self {
            name: gpu.name.clone(),
            index: Some(gpu.index),
            memory: gpu.memory_total,
            free: Some(gpu.memory_free),
            bandwidth: known.map(|known| known.bandwidth * GB),
        }
    }

    fn bare(name: String) -> Self {
        Self { name, index: None, memory: 0, free: None, bandwidth: None }
    }

    /// What programs see of its memory, in bytes. Shares of vLLM are shares of this.
    pub fn visible(&self) -> u64 {
        (self.memory as f64 * (1.0 - DRIVER_SHARE)) as u64
    }
}

const GB: u64 = 1_000_000_000;

fn size(text: &str) -> Option<u64> {
    let digits = ["gib", "gb", "g"].iter().find_map(|unit| text.strip_suffix(unit))?;
    digits.trim().parse().ok().filter(|gib| SIZES.contains(gib))
}

fn nearest(asked: &str) -> Option<&'static str> {
    let likeness = |known: &&Known| jaro_winkler(known.key, asked);
    let best = KNOWN.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) > 0.8).then_some(best.key)
}

fn keys() -> String {
    KNOWN.iter().map(|known| known.key).collect::<Vec<_>>().join(", ")
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!(" Did you mean {key}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_known_by_name_and_by_size() {
        let card = Card::named("RTX6000-48gb").unwrap();
        assert_eq!((card.memory, card.bandwidth), (49_140 * MIB, Some(768 * GB)));
        // The driver keeps some of it, but not much.
        assert!(card.visible() < 49_140 * MIB * 99 / 100 && card.visible() > 49_140 * MIB * 98 / 100);
        assert_eq!(Card::named("24gb").unwrap().memory, 24 * GIB);
        assert_eq!(Card::named(" 45 GiB").unwrap().memory, 45 * GIB);
        for key in KNOWN.iter().map(|known| known.key) {
            assert!(Card::named(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn other_names_are_told_the_right_one() {
        insta::assert_snapshot!(Card::named("rtx4090").unwrap_err(), @"there is no card 'rtx4090'. Did you mean rtx4090-24gb? Write one of rtx4090-24gb, rtx3090-24gb, rtx5090-32gb, l40s-45gb, rtx6000-ada-48gb, rtx6000-48gb, a100-pcie-80gb, a100-80gb, h100-pcie-80gb, h100-80gb, rtx6000-pro-96gb, or a size such as 24gb");
        for wrong in ["", "0gb", "1025gb", "gb", "-3gb", "99999999999999999999gb", "48"] {
            assert!(Card::named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_drivers_names_are_recognised() {
        let gpu = |name: &str| Gpu {
            index: 0,
            name: name.into(),
            memory_total: 1,
            memory_free: 1,
            driver: String::new(),
            cuda: (13, 0),
            compute: (8, 6),
        };
        let bandwidth = |name| Card::of(&gpu(name)).bandwidth.map(|bytes| bytes / GB);
        assert_eq!(bandwidth("NVIDIA RTX A6000"), Some(768));
        assert_eq!(bandwidth("NVIDIA RTX 6000 Ada Generation"), Some(960));
        assert_eq!(bandwidth("NVIDIA A100-SXM4-80GB"), Some(2039));
        assert_eq!(bandwidth("NVIDIA A100 80GB PCIe"), Some(1935));
        assert_eq!(bandwidth("NVIDIA H100 80GB HBM3"), Some(3350));
        assert_eq!(bandwidth("NVIDIA A100-SXM4-40GB"), None);
        // The Turing card of the same number has 24 GB and another bandwidth.
        assert_eq!(bandwidth("Quadro RTX 6000"), None);
    }
}
