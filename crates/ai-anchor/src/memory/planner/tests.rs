use proptest::prelude::*;

use super::*;
use crate::memory::units::{GIB, MIB};

fn wishes() -> Wishes {
    Wishes {
        servers: Server::ALL.into(),
        quantization: None,
        context: None,
        cache_type: None,
        reserve: 1024 * MIB,
        sequences: 16,
    }
}

fn planned(card: &str, wishes: &Wishes) -> Plan {
    wishes.on(card).unwrap()
}

impl Wishes {
    fn on(&self, card: &str) -> Result<Plan, Box<Refusal>> {
        plan(&Card::named(card).unwrap(), &Models::known(), self)
    }
}

fn refused(card: &str, wishes: &Wishes) -> String {
    wishes.on(card).unwrap_err().to_string()
}

#[test]
fn a_card_of_48_gb_holds_the_studio_profile() {
    let plan = planned("rtx6000-48gb", &wishes());
    // What the documentation shows is what is printed.
    assert!(include_str!("../../../../../docs/memory.md").contains(&plan.to_string()), "docs/memory.md is stale");
    insta::assert_snapshot!(plan, @"
    RTX A6000: 51.5 GB (48.0 GiB), of which programs see 50.8; 1.1 kept free for others, 49.7 to share out

    in GB     weights  KV cache  activations  codec  context  planned
    ollama       14.3       1.3          0.5      -      0.5     16.7
    higgs        11.5       0.5          1.3    1.3      1.1     16.2
    voxtral       9.4       1.0          1.6      -      0.5     12.7
    all                                                          45.7
    left                                                          4.0

    Settings, in the order of starting, each when the one before answers:
      ollama   hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M
               OLLAMA_CONTEXT_LENGTH=8192 OLLAMA_KV_CACHE_TYPE=f16 OLLAMA_FLASH_ATTENTION=1 OLLAMA_NUM_PARALLEL=1
      higgs    --gpu-memory-utilization 0.32 --max-model-len 4096 --max-num-seqs 16
               in vLLM-Omni 0.28 for the language model and 0.04 for the codec; in Boson's image, which counts what others hold, 0.68
      voxtral  --gpu-memory-utilization 0.25 --max-model-len 8192 --max-num-seqs 16

    As people are told: Voxtral 9.5 + Higgs 24.0 + LLM 14 to 16 = 47.5 to 49.5 GB.
    Planned here:       Voxtral 12.7 + Higgs 16.2 + LLM 16.7 (Q4_K_M) = 45.7 GB, 1.8 to 3.8 GB less; Higgs alone 7.8 GB less.

    Ceilings, computed from the memory's speed and not measured, each model alone:
      ollama   53 tokens a second
      higgs    135 frames a second, and speech needs 25
      voxtral  106 tokens a second

    Not chosen:
      Q8_0 with 32,768 tokens, f16 cache, Higgs 4,096, Voxtral 16,384: 61.4 GB, 11.8 GB too much
      Q8_0 with 16,384 tokens, f16 cache, Higgs 4,096, Voxtral 16,384: 58.8 GB, 9.1 GB too much
      Q6_K with 32,768 tokens, f16 cache, Higgs 4,096, Voxtral 16,384: 55.7 GB, 6.1 GB too much
      Q6_K with 16,384 tokens, f16 cache, Higgs 4,096, Voxtral 8,192: 52.0 GB, 2.4 GB too much
      Q5_K_M with 16,384 tokens, f16 cache, Higgs 4,096, Voxtral 8,192: 49.5 GB, leaves 0.2 GB, less than a tenth of the card
      Q4_K_M with 16,384 tokens, f16 cache, Higgs 4,096, Voxtral 8,192: 47.0 GB, leaves 2.7 GB, less than a tenth of the card

    Sizes: ollama, higgs, voxtral from the table of known models, as the files are not here
    ");
}

#[test]
fn a_card_of_80_gb_holds_more_context_and_a_better_quantisation() {
    insta::assert_snapshot!(planned("a100-80gb", &wishes()), @"
    A100 80GB SXM: 85.9 GB (80.0 GiB), of which programs see 84.6; 1.1 kept free for others, 83.5 to share out

    in GB     weights  KV cache  activations  codec  context  planned
    ollama       25.1       5.4          0.5      -      0.5     31.5
    higgs        11.5       0.5          1.3    1.3      1.1     16.9
    voxtral       9.4       2.0          1.6      -      0.5     13.5
    all                                                          62.0
    left                                                         21.6

    Settings, in the order of starting, each when the one before answers:
      ollama   hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q8_0
               OLLAMA_CONTEXT_LENGTH=32768 OLLAMA_KV_CACHE_TYPE=f16 OLLAMA_FLASH_ATTENTION=1 OLLAMA_NUM_PARALLEL=1
      higgs    --gpu-memory-utilization 0.20 --max-model-len 4096 --max-num-seqs 16
               in vLLM-Omni 0.17 for the language model and 0.03 for the codec; in Boson's image, which counts what others hold, 0.59
      voxtral  --gpu-memory-utilization 0.16 --max-model-len 16384 --max-num-seqs 16

    As people are told: Voxtral 9.5 + Higgs 24.0 + LLM 14 to 16 = 47.5 to 49.5 GB.
    Planned here:       Voxtral 13.5 + Higgs 16.9 + LLM 31.5 (Q8_0) = 62.0 GB, 12.5 GB more; Higgs alone 7.1 GB less.

    Ceilings, computed from the memory's speed and not measured, each model alone:
      ollama   81 tokens a second
      higgs    358 frames a second, and speech needs 25
      voxtral  282 tokens a second

    Not chosen:
      F16 with 32,768 tokens, f16 cache, Higgs 4,096, Voxtral 16,384: 84.1 GB, 0.5 GB too much

    Sizes: ollama, higgs, voxtral from the table of known models, as the files are not here
    ");
}

#[test]
fn a_card_of_32_gb_is_told_what_fits_instead() {
    insta::assert_snapshot!(refused("rtx5090-32gb", &wishes()), @"
    the models do not fit on GeForce RTX 5090: of its 34.2 GB, 32.6 can be shared out, and the least they need is 37.8.

    in GB     weights  KV cache  activations  codec  context  planned
    ollama        8.9       0.2          0.5      -      0.5     10.1
    higgs        11.5       0.2          1.3    1.3      1.1     15.8
    voxtral       9.4       0.3          1.6      -      0.5     11.8
    all                                                          37.8

    What to change:
      - take a smaller language model ([llm.ollama] model): the others leave 5.0 GB, enough for about 4 billion parameters in Q4_K_M
      - listen with the embedded recogniser (--stt pocketsphinx) or with Voxtral on another machine ([stt.voxtral-vllm] url); then Ollama (Q4_K_M, 8,192 tokens, q8_0 cache) and Higgs fit: 32.3 GB
      - speak with an embedded voice (--tts flite) or with Higgs on another machine ([tts.higgs-server] url); then Ollama (Q4_K_M, 8,192 tokens, f16 cache) and Voxtral fit: 29.5 GB
      - write with the news desk (--llm desk) or with Ollama on another machine ([llm.ollama] url); then Higgs and Voxtral fit: 29.0 GB
      - take a card of 40 GB (Q2_K with 4,096 tokens), or of 48 GB (Q4_K_M with 8,192 tokens)
    ");
}

#[test]
fn a_card_of_24_gb_is_told_what_fits_instead() {
    insta::assert_snapshot!(refused("rtx4090-24gb", &wishes()), @"
    the models do not fit on GeForce RTX 4090: of its 25.8 GB, 24.3 can be shared out, and the least they need is 37.8.

    in GB     weights  KV cache  activations  codec  context  planned
    ollama        8.9       0.2          0.5      -      0.5     10.1
    higgs        11.5       0.2          1.3    1.3      1.1     15.7
    voxtral       9.4       0.3          1.6      -      0.5     11.9
    all                                                          37.8

    What to change:
      - speak with an embedded voice (--tts flite) or with Higgs on another machine ([tts.higgs-server] url); then Ollama (Q2_K, 4,096 tokens, q8_0 cache) and Voxtral fit: 22.5 GB
      - write with the news desk (--llm desk) or with Ollama on another machine ([llm.ollama] url), and listen with the embedded recogniser (--stt pocketsphinx) or with Voxtral on another machine ([stt.voxtral-vllm] url); then Higgs fits: 16.0 GB
      - take a card of 40 GB (Q2_K with 4,096 tokens), or of 48 GB (Q4_K_M with 8,192 tokens)
    ");
}

#[test]
fn a_card_on_which_nothing_fits_is_refused() {
    insta::assert_snapshot!(refused("8gb", &wishes()), @"
    the models do not fit on a card of 8 GB: of its 8.6 GB, 7.4 can be shared out, and the least they need is 37.4.

    in GB     weights  KV cache  activations  codec  context  planned
    ollama        8.9       0.2          0.5      -      0.5     10.1
    higgs        11.5       0.2          1.3    1.3      1.1     15.5
    voxtral       9.4       0.3          1.6      -      0.5     11.8
    all                                                          37.4

    What to change:
      - use the engines that need no GPU: --profile embedded
      - take a card of 40 GB (Q2_K with 4,096 tokens), or of 48 GB (Q4_K_M with 8,192 tokens)
    ");
}

#[test]
fn wishes_that_cannot_be_are_refused_by_name() {
    let with = |change: fn(&mut Wishes)| {
        let mut wishes = wishes();
        change(&mut wishes);
        refused("rtx6000-48gb", &wishes)
    };
    insta::assert_snapshot!(with(|wishes| wishes.quantization = Some("Q9".into())), @"
    the language model does not come in Q9.
    What to change:
      - choose one of F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K
    ");
    insta::assert_snapshot!(with(|wishes| wishes.context = Some(65_536)), @"
    a context of 65,536 tokens is too long for hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF, which was made for 32,768.
    What to change:
      - choose at most --context 32768
    ");
    let large = with(|wishes| {
        wishes.quantization = Some("F16".into());
        wishes.context = Some(32_768);
    });
    assert!(
        large.contains(
            "let the plan choose instead of --quantization F16 --context 32768: Q4_K_M with 8,192 tokens fits"
        ),
        "{large}"
    );
    let reserved = with(|wishes| wishes.reserve = 16 * GIB);
    assert!(reserved.contains("gpu.reserve_mb = "), "{reserved}");
}

/// What a refusal proposes is true.
#[test]
fn a_smaller_reserve_that_is_proposed_is_small_enough() {
    let reserved = Wishes { reserve: 16 * GIB, ..wishes() };
    let text = refused("rtx6000-48gb", &reserved);
    let (_, rest) = text.split_once("gpu.reserve_mb = ").unwrap();
    let reserve: u64 = rest.split(' ').next().unwrap().parse().unwrap();
    planned("rtx6000-48gb", &Wishes { reserve: reserve * MIB, ..wishes() });
}

#[test]
fn a_part_alone_fits_a_small_card() {
    let alone = Wishes { servers: vec![Server::Ollama], ..wishes() };
    let plan = planned("rtx4090-24gb", &alone);
    assert_eq!((plan.quantization.as_str(), plan.shares().llm_context), ("Q5_K_M", 16_384));
    assert_eq!(plan.planned_bytes("higgs"), 0);
    assert_eq!(plan.shares().tts_utilization, 0.0);
    // And all of Ollama: weights, 16,384 tokens, a step's logits, CUDA.
    let sum = 16_763_983_552 + 16_384 * 163_840 + 1024 * 131_072 * 4 + GIB / 2;
    assert_eq!(plan.planned_bytes("ollama"), sum);
}

#[test]
fn a_plan_that_hardly_fits_says_so() {
    let plan = planned("l40s-45gb", &wishes());
    assert_eq!((plan.quantization.as_str(), plan.shares().llm_context), ("Q4_K_M", 8192));
    insta::assert_snapshot!(plan.notes.join("\n"), @"only 0.7 GB are left, and the estimates may be wrong by more. If a server does not start, plan with --context 4096 --kv q8_0, or with a smaller --quantization");
    // And what it proposes leaves more.
    let smaller = Wishes { context: Some(4096), cache_type: Some(CacheType::Q8_0), ..wishes() };
    assert!(planned("l40s-45gb", &smaller).spare() > plan.spare() + GIB / 2);
}

/// llama.cpp would leave layers to the processor, and say nothing of it.
#[test]
fn ollama_is_left_what_it_wants_free() {
    let alone = |card| Wishes { servers: vec![Server::Ollama], reserve: 0, ..wishes() }.on(card);
    let plan = alone("16gb").unwrap();
    assert!(plan.planned_bytes("ollama") + GIB <= plan.card.visible());
    assert!(alone("10gb").is_err());
}

#[test]
fn the_recogniser_that_hears_while_one_speaks_has_a_plan_of_its_own() {
    let models = Models { stt: crate::memory::known::voxtral_realtime(), ..Models::known() };
    let plan = plan(&Card::named("rtx6000-48gb").unwrap(), &models, &wishes()).unwrap();
    assert_eq!((plan.quantization.as_str(), plan.shares().llm_context), ("Q4_K_M", 8192));
    let part = plan.parts.iter().find(|part| part.server == Server::Voxtral).unwrap();
    // 8,192 tokens of 26 layers, and 750 frames of its encoder's 32 layers for each of four.
    assert_eq!(part.cache, 8192 * 106_496 + 4 * 750 * 262_144);
}

#[test]
fn wishes_are_fulfilled_where_they_fit() {
    let asked = Wishes {
        quantization: Some("q5_k_m".into()),
        context: Some(4096),
        cache_type: Some(CacheType::Q4_0),
        ..wishes()
    };
    let plan = planned("rtx6000-48gb", &asked);
    assert_eq!(plan.quantization, "Q5_K_M");
    assert_eq!((plan.shares().llm_context, plan.shares().llm_cache_type), (4096, "q4_0"));
}

#[test]
fn shares_are_hundredths_that_hold_what_is_needed() {
    let plan = planned("rtx6000-48gb", &wishes());
    let shares = plan.shares();
    assert_eq!((shares.stt_utilization, shares.tts_utilization, shares.tts_codec_utilization), (0.25, 0.32, 0.04));
    for part in plan.parts.iter().filter(|part| part.hundredths.is_some()) {
        assert!(part.planned >= part.sum(), "{part:?}");
    }
    // Higgs' own 32, after Ollama's 33 and the 3 that are kept free.
    assert_eq!(plan.share_with_those_before(Server::Higgs), Some(0.68));
}

#[test]
fn what_others_hold_and_another_place_are_noted() {
    let card = Card { free: Some(40 * GIB), index: Some(1), ..Card::named("rtx6000-48gb").unwrap() };
    let plan = plan(&card, &Models::known(), &wishes()).unwrap();
    insta::assert_snapshot!(plan.notes.join("\n"), @"
    42.9 GB of the card are free now, and the plan needs 45.7. Unless the servers run already, end what else uses the card (nvidia-smi lists it)
    this is GPU 1 of the machine: start the servers with CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1
    ");
    let free = Card { free: Some(48 * GIB), index: Some(0), ..card };
    assert_eq!(super::plan(&free, &Models::known(), &wishes()).unwrap().notes, Vec::<String>::new());
}

proptest! {
    /// On any card with any wishes: a plan keeps the reserve free and fulfils the wishes, or the refusal says what to do.
    #[test]
    fn every_plan_fits_and_every_refusal_has_a_remedy(
        gib in 1_u64..=200,
        reserve in 0_u64..=64 * GIB,
        chosen in 1_usize..8,
        quantization in proptest::option::of(0_usize..7),
        context in proptest::option::of(512_u32..40_000),
        cache in proptest::option::of(0_usize..3),
        sequences in 1_u32..=1000,
    ) {
        let models = Models::known();
        let card = Card::named(&format!("{gib}gb")).unwrap();
        let wishes = Wishes {
            servers: Server::ALL.into_iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0).map(|(_, one)| one).collect(),
            quantization: quantization.map(|place| models.llm[place].quantization.clone()),
            context,
            cache_type: cache.map(|place| CacheType::ALL[place]),
            reserve,
            sequences,
        };
        match plan(&card, &models, &wishes) {
            Ok(plan) => {
                prop_assert!(plan.total() + reserve <= card.visible());
                prop_assert_eq!(plan.parts.iter().map(|part| part.server).collect::<Vec<_>>(), wishes.servers);
                prop_assert!(context.is_none_or(|context| plan.shares().llm_context == context));
                prop_assert!(wishes.quantization.is_none_or(|name| plan.quantization == name));
                prop_assert!(plan.parts.iter().all(|part| part.planned >= part.sum()));
                // vLLM finds its share free when it starts.
                let mut free = card.visible() - reserve;
                for part in &plan.parts {
                    prop_assert!(part.planned <= free);
                    free -= part.planned;
                }
            }
            Err(refusal) => {
                prop_assert!(!refusal.remedies.is_empty());
                prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }
}
