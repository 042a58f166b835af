//! The models of the studio profile in numbers, for when their files are not here.

use super::sizes::{Cache, CacheType, Codec, Encoder, Model, Source};

/// Repository of the recogniser.
pub(super) const VOXTRAL: &str = "mistralai/Voxtral-Mini-3B-2507";
/// Repository of the recogniser that listens while the sound comes in.
pub(super) const VOXTRAL_REALTIME: &str = "mistralai/Voxtral-Mini-4B-Realtime-2602";
/// Repository of the voice, under the name it has now.
pub(super) const HIGGS: &str = "bosonai/higgs-tts-2-3b-base";
/// Repository of the voice's codec.
pub(super) const HIGGS_CODEC: &str = "bosonai/higgs-audio-v2-tokenizer";
/// The language model in Ollama, without its quantisation.
pub(super) const MISTRAL: &str = "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF";

/// Voxtral-Mini-3B-2507. Source: `config.json` of its repository; its encoder is that of Whisper large v3.
pub(super) fn voxtral() -> Model {
    Model {
        name: VOXTRAL.into(),
        source: Source::Table,
        parameters: 4_676_271_104,
        weights: 2 * 4_676_271_104,
        // Thirty layers of 106,960,896 parameters, the last norm and the head of 131,072 words.
        step: 2 * (30 * 106_960_896 + 3072 + 131_072 * 3072),
        cache: Cache::of(30, 8, 128),
        hidden: 3072,
        ffn: 8192,
        vocabulary: 131_072,
        longest: 131_072,
        encoder: Some(Encoder { frames: 1500, tokens: 375, hidden: 1280, ffn: 5120, state: 0 }),
    }
}

/// Voxtral-Mini-4B-Realtime-2602. Source: `params.json` and model card of its repository. Its encoder slides over 750
/// frames in 32 layers of 32 heads of 64 numbers, and its language model over 8,192 tokens.
pub(super) fn voxtral_realtime() -> Model {
    Model {
        name: VOXTRAL_REALTIME.into(),
        source: Source::Table,
        parameters: 4_435_000_000,
        weights: 8_870_000_000,
        step: 2 * (26 * 116_397_056 + 131_072 * 3072),
        cache: Cache { window: Some(8192), ..Cache::of(26, 8, 128) },
        hidden: 3072,
        ffn: 9216,
        vocabulary: 131_072,
        longest: 131_072,
        encoder: Some(Encoder {
            frames: 750,
            tokens: 188,
            hidden: 1280,
            ffn: 5120,
            state: 750 * Cache::of(32, 32, 64).token_bytes(CacheType::F16),
        }),
    }
}

/// Higgs Audio v2. Source: `config.json` of its repository. Twice the feed-forward layers of Llama 3.2 3B, of which
/// only the second is used for sound.
pub(super) fn higgs() -> Model {
    Model {
        name: HIGGS.into(),
        source: Source::Table,
        parameters: 5_771_283_456,
        weights: 2 * 5_771_283_456,
        // Attention, the feed-forward layer for sound and the norms of 28 layers, and the head for sound.
        step: 2 * (28 * (25_165_824 + 75_497_472 + 2 * 3072) + 3072 + 8208 * 3072),
        cache: Cache::of(28, 8, 128),
        hidden: 3072,
        ffn: 2 * 8192,
        vocabulary: 128_256,
        longest: 8192,
        encoder: None,
    }
}

/// The codec of Higgs Audio v2, 200.3 million parameters of 32 bits. Source: `config.json` of its repository.
pub(super) fn higgs_codec() -> Codec {
    Codec { name: HIGGS_CODEC.into(), source: Source::Table, weights: 801_200_000, hop: 960, channels: 32 }
}

/// The quantisations of the language model and the bytes of their files, the best first.
/// Source: the file list of the repository; the twin of the same recipe without "abliterated" where that is not listed.
pub(super) static QUANTIZATIONS: [(&str, u64); 7] = [
    ("F16", 47_150_000_000),
    ("Q8_0", 25_054_779_072),
    ("Q6_K", 19_345_938_112),
    ("Q5_K_M", 16_763_983_552),
    ("Q4_K_M", 14_333_908_672),
    ("Q3_K_M", 11_474_081_472),
    ("Q2_K", 8_890_324_672),
];

/// Mistral Small 24B Instruct 2501 in one of its quantisations. Source: `config.json` of the original. Its heads have
/// 128 numbers, not the 160 that its width divided by its heads would give.
pub(super) fn mistral(quantization: &str, weights: u64) -> Model {
    Model {
        name: format!("{MISTRAL}:{quantization}"),
        source: Source::Table,
        parameters: 23_572_403_200,
        weights,
        step: weights,
        cache: Cache::of(40, 8, 128),
        hidden: 5120,
        ffn: 32_768,
        vocabulary: 131_072,
        longest: 32_768,
        encoder: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_published() {
        assert_eq!((voxtral().parameters, voxtral().weights), (4_676_271_104, 9_352_542_208));
        assert_eq!((higgs().parameters, higgs().weights), (5_771_283_456, 11_542_566_912));
        let (name, weights) = QUANTIZATIONS[4];
        assert_eq!((name, weights), ("Q4_K_M", 14_333_908_672));
        // 4.865 bits a weight, and all of them ordered.
        let bits = weights as f64 * 8.0 / mistral(name, weights).parameters as f64;
        assert!((bits - 4.865).abs() < 0.001, "{bits}");
        assert!(QUANTIZATIONS.is_sorted_by(|one, other| one.1 > other.1));
    }

    /// What is read for a step: 7.2 GB by Voxtral and 5.7 GB by Higgs.
    #[test]
    fn a_step_reads_what_it_uses() {
        assert_eq!(voxtral().step, 7_222_966_272);
        assert_eq!(higgs().step, 5_687_924_736);
    }
}
