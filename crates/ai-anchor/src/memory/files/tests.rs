use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use super::*;
use crate::memory::header::{Gguf, Tensors};
use crate::memory::sizes::CacheType;

const LLM: &str = "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF";

/// Bytes of a safetensors file with these tensors of bfloat16.
fn tensors(shapes: &[(&str, &[usize])]) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let view = |shape: &[usize]| {
        let bytes = 2 * shape.iter().product::<usize>();
        TensorView::new(Dtype::BF16, shape.to_vec(), &zeros[..bytes]).unwrap()
    };
    let views = shapes.iter().map(|(name, shape)| (*name, view(shape)));
    safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
}

/// The tensors of a recogniser whose language model has two layers.
const HEARS: &[(&str, &[usize])] = &[
    ("audio_tower.conv1.weight", &[64, 128, 3]),
    ("multi_modal_projector.linear_1.weight", &[96, 256]),
    ("language_model.model.embed_tokens.weight", &[512, 96]),
    ("language_model.model.layers.0.mlp.up_proj.weight", &[192, 96]),
    ("language_model.lm_head.weight", &[512, 96]),
];

const HEARS_DESIGN: &str = r#"{
    "audio_config": {"hidden_size": 64, "intermediate_size": 256, "max_source_positions": 100},
    "text_config": {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 512}
}"#;

const SPEAKS: &[(&str, &[usize])] = &[
    ("model.embed_tokens.weight", &[160, 96]),
    ("model.layers.0.mlp.up_proj.weight", &[160, 96]),
    ("model.layers.0.audio_mlp.up_proj.weight", &[160, 96]),
    ("model.embed_audio_tokens.embed_audio_tokens.weight", &[272, 96]),
    ("audio_lm_head.weight", &[272, 96]),
    ("text_lm_head.weight", &[160, 96]),
];

const SPEAKS_DESIGN: &str = r#"{"model_type": "higgs_audio_v2", "hidden_size": 96, "intermediate_size": 160,
    "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 160}"#;

const CODEC_DESIGN: &str =
    r#"{"acoustic_model_config": {"decoder_hidden_size": 96, "upsampling_ratios": [8,5,4,2,3]}}"#;

/// A folder of models and a store of Ollama.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts a model into Ollama's store.
    fn pulled(&self, name: &str, tag: &str, content: &[u8]) {
        let digest = format!("{:064x}", content.len());
        let layer = format!(
            r#"{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{digest}","size":{}}}"#,
            content.len()
        );
        let other = r#"{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:00","size":3}"#;
        self.with(&format!("ollama/manifests/{name}/{tag}"), format!(r#"{{"layers":[{other},{layer}]}}"#));
        self.with(&format!("ollama/blobs/sha256-{digest}"), content);
    }

    fn store(&self) -> Store {
        Store::at(self.0.path().join("ollama"))
    }

    fn models(&self, llm: &str) -> Result<Models, ModelError> {
        Models::find(self.0.path(), &self.store(), llm, false)
    }

    /// Notes and errors without the name of the folder, which is another one every time.
    fn said(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Writes a GGUF file piece by piece.
struct Writer(Vec<u8>);

impl Writer {
    fn new(tensors: u64, values: u64) -> Self {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(values.to_le_bytes());
        Self(bytes)
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn number(self, name: &str, number: u32) -> Self {
        self.text(name).u32(4).u32(number)
    }

    fn words(self, name: &str, words: &[&str]) -> Self {
        let list = self.text(name).u32(9).u32(8).u64(words.len() as u64);
        words.iter().fold(list, |list, word| list.text(word))
    }

    fn tensor(self, name: &str, sides: &[u64], kind: u32, offset: u64) -> Self {
        let tensor = self.text(name).u32(sides.len() as u32);
        sides.iter().fold(tensor, |tensor, side| tensor.u64(*side)).u32(kind).u64(offset)
    }

    /// The tensors' data, behind as many zeros as the alignment wants.
    fn data(mut self, bytes: usize) -> Vec<u8> {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + bytes, 0);
        self.0
    }
}

/// A language model of two layers: a table of 16-bit numbers and a layer in Q4_K.
fn small_llm() -> Vec<u8> {
    Writer::new(2, 9)
        .text("general.architecture")
        .u32(8)
        .text("llama")
        .number("llama.block_count", 2)
        .number("llama.embedding_length", 256)
        .number("llama.attention.head_count", 4)
        .number("llama.attention.head_count_kv", 2)
        .number("llama.attention.key_length", 32)
        .number("llama.context_length", 4096)
        .number("llama.feed_forward_length", 512)
        .words("tokenizer.ggml.tokens", &["<s>", "</s>", "a", "b"])
        .tensor("token_embd.weight", &[256, 4], 1, 0)
        .tensor("blk.0.ffn_up.weight", &[256, 512], 12, 2048)
        .data(2048 + 512 * 144)
}

#[test]
fn nothing_downloaded_is_the_table() {
    let models = Place::new().models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(models, Models::known());
}

#[test]
fn speech_models_are_read_from_their_own_files() {
    let place = Place::new();
    place.with("mistralai--Voxtral-Mini-3B-2507/model.safetensors", tensors(HEARS));
    place.with("mistralai--Voxtral-Mini-3B-2507/config.json", HEARS_DESIGN);
    place.with("bosonai--higgs-audio-v2-generation-3B-base/model.safetensors", tensors(SPEAKS));
    place.with("bosonai--higgs-audio-v2-generation-3B-base/config.json", SPEAKS_DESIGN);
    place.with("bosonai--higgs-audio-v2-tokenizer/model.pth", [0; 1234]);
    place.with("bosonai--higgs-audio-v2-tokenizer/config.json", CODEC_DESIGN);
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(models.notes, Vec::<String>::new());

    let hears = &models.stt;
    let parameters = 64 * 128 * 3 + 96 * 256 + 512 * 96 + 192 * 96 + 512 * 96;
    assert_eq!((hears.parameters, hears.weights), (parameters, 2 * parameters));
    assert_eq!(hears.step, 2 * (192 * 96 + 512 * 96));
    assert_eq!(hears.cache.token_bytes(CacheType::F16), 2 * 2 * 2 * 32 * 2);
    let encoder = hears.encoder.unwrap();
    assert_eq!((encoder.frames, encoder.tokens, encoder.hidden, encoder.ffn), (100, 25, 64, 256));
    assert!(matches!(&hears.source, Source::Files(folder) if folder.ends_with("mistralai--Voxtral-Mini-3B-2507")));

    let speaks = &models.tts;
    assert_eq!(speaks.step, 2 * (160 * 96 + 272 * 96));
    assert_eq!(speaks.cache.token_bytes(CacheType::F16), 2 * 3 * 2 * 16 * 2);
    assert_eq!((speaks.ffn, speaks.longest), (320, 8192));
    assert_eq!((models.codec.weights, models.codec.hop, models.codec.channels), (1234, 960, 3));
}

#[test]
fn mistrals_own_format_is_read() {
    let place = Place::new();
    let names: &[(&str, &[usize])] = &[
        ("mm_whisper_embeddings.whisper_encoder.conv_layers.0.weight", &[64, 128, 3]),
        ("mm_whisper_embeddings.tok_embeddings.weight", &[512, 96]),
        ("layers.0.feed_forward.w1.weight", &[192, 96]),
        ("output.weight", &[512, 96]),
    ];
    place.with("mistralai--Voxtral-Mini-3B-2507/consolidated.safetensors", tensors(names));
    place.with(
        "mistralai--Voxtral-Mini-3B-2507/params.json",
        r#"{"dim": 96, "n_layers": 2, "head_dim": 32, "hidden_dim": 192, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 512,
            "multimodal": {"whisper_model_args": {"encoder_args": {"dim": 64, "hidden_dim": 256}}}}"#,
    );
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(models.notes, Vec::<String>::new());
    assert_eq!(models.stt.step, 2 * (192 * 96 + 512 * 96));
    assert_eq!(models.stt.encoder.unwrap().ffn, 256);
}

/// Where the table of embeddings is the head, too, it is read for every token.
#[test]
fn tied_tables_are_read_as_heads() {
    let place = Place::new();
    let file = place.with("model.safetensors", tensors(&HEARS[..4]));
    assert_eq!(hearing_step(&Tensors::of_file(&file).unwrap()), 2 * (192 * 96 + 512 * 96));
}

#[test]
fn a_model_of_several_files_is_read_by_its_index() {
    let place = Place::new();
    let folder = "bosonai--higgs-tts-2-3b-base";
    place.with(&format!("{folder}/model-00001-of-00002.safetensors"), tensors(&SPEAKS[..3]));
    place.with(&format!("{folder}/model-00002-of-00002.safetensors"), tensors(&SPEAKS[3..]));
    place.with(&format!("{folder}/config.json"), SPEAKS_DESIGN);
    let entry = |(at, (name, _)): (usize, &(&str, &[usize]))| {
        format!(r#""{name}":"model-0000{}-of-00002.safetensors""#, if at < 3 { 1 } else { 2 })
    };
    let entries: Vec<String> = SPEAKS.iter().enumerate().map(entry).collect();
    place.with(
        &format!("{folder}/model.safetensors.index.json"),
        format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")),
    );
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(models.tts.weights, 2 * 96 * (160 * 4 + 272 * 2));

    // One of them gone: the table is taken, and the file named.
    fs::remove_file(place.0.path().join(format!("{folder}/model-00002-of-00002.safetensors"))).unwrap();
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(models.tts, known::higgs());
    insta::assert_snapshot!(place.said(&models.notes.join("\n")), @"cannot read bosonai--higgs-tts-2-3b-base/model-00002-of-00002.safetensors: No such file or directory (os error 2)");
}

#[test]
fn ollamas_model_is_found_by_its_manifest() {
    let place = Place::new();
    place.pulled("hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF", "Q5_K_M", &small_llm());
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    let quantized = models.llm.iter().find(|one| one.quantization == "Q5_K_M").unwrap();
    let model = &quantized.model;
    assert!(matches!(&model.source, Source::Files(file) if file.contains("blobs/sha256-")));
    assert_eq!((model.parameters, model.weights), (256 * 4 + 256 * 512, 2048 + 512 * 144));
    assert_eq!(model.cache.token_bytes(CacheType::F16), 2 * 2 * (32 + 32) * 2);
    assert_eq!((model.hidden, model.ffn, model.vocabulary, model.longest), (256, 512, 4, 4096));
    // The others are known all the same.
    assert_eq!(models.llm.len(), QUANTIZATIONS.len());
}

#[test]
fn another_model_has_to_be_there() {
    let place = Place::new();
    insta::assert_snapshot!(place.models("qwen3:8b").unwrap_err(), @"nothing is known of the language model 'qwen3:8b': Ollama does not have it yet. Get it: ollama pull qwen3:8b; or plan with hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M, which is known");
    insta::assert_snapshot!(place.models("../../etc/passwd").unwrap_err(), @"'../../etc/passwd' is no name of a model in Ollama. Write it as `ollama list` shows it");
    place.pulled("registry.ollama.ai/library/qwen3", "8b", &small_llm());
    let models = place.models("qwen3:8b").unwrap();
    assert_eq!((models.llm.len(), models.llm[0].quantization.as_str()), (1, "8b"));
}

#[test]
fn broken_files_are_named_and_the_table_taken() {
    let place = Place::new();
    let whole = tensors(HEARS);
    place.with("mistralai--Voxtral-Mini-3B-2507/consolidated.safetensors", &whole[..whole.len() - 1]);
    place.with("bosonai--higgs-tts-2-3b-base/model.safetensors", u64::MAX.to_le_bytes());
    // The language model under the codec's name, as one repository has it.
    place.with("bosonai--higgs-audio-v2-tokenizer/config.json", CODEC_DESIGN);
    place.with("bosonai--higgs-audio-v2-tokenizer/model.safetensors", tensors(SPEAKS));
    let name = "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF";
    place.pulled(name, "Q4_K_M", &small_llm()[..100]);
    place.pulled(name, "Q8_0", b"<html>not found</html>");
    let models = place.models(&format!("{LLM}:Q4_K_M")).unwrap();
    assert_eq!(Models { notes: Vec::new(), ..models.clone() }, Models::known());
    insta::assert_snapshot!(place.said(&models.notes.join("\n")), @"
    mistralai--Voxtral-Mini-3B-2507/consolidated.safetensors is cut off: it has 332,303 bytes of at least 332,304. Download it again: ai-anchor models pull
    ollama/blobs/sha256-0000000000000000000000000000000000000000000000000000000000000016 cannot be understood: it does not begin with GGUF. Have Ollama forget the model and get it again: ollama rm, then ollama pull
    ollama/blobs/sha256-0000000000000000000000000000000000000000000000000000000000000064 is cut off: it has 100 bytes of at least 102. Have Ollama forget the model and get it again: ollama rm, then ollama pull
    bosonai--higgs-tts-2-3b-base/model.safetensors cannot be understood: its header should have 18,446,744,073,709,551,615 bytes, and the format allows 100,000,000. Download it again: ai-anchor models pull
    bosonai--higgs-audio-v2-tokenizer/model.safetensors cannot be understood: it is no codec: it has no quantizer. Download it again: ai-anchor models pull
    ");
}

#[test]
fn designs_that_cannot_be_are_refused() {
    let place = Place::new();
    let notes = |design: &str| {
        place.with("bosonai--higgs-tts-2-3b-base/model.safetensors", tensors(SPEAKS));
        place.with("bosonai--higgs-tts-2-3b-base/config.json", design);
        place.said(&place.models(&format!("{LLM}:Q4_K_M")).unwrap().notes.join("\n"))
    };
    let all = [
        notes("{}"),
        notes(&SPEAKS_DESIGN.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 18446744073709551615")),
        notes(&SPEAKS_DESIGN.replace("\"num_attention_heads\": 6", "\"num_attention_heads\": 0")),
        notes("{"),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    bosonai--higgs-tts-2-3b-base/config.json cannot be understood: it does not say hidden_size or dim. Download it again: ai-anchor models pull
    bosonai--higgs-tts-2-3b-base/config.json cannot be understood: its num_hidden_layers is 18446744073709551615, not a number from 1 to 1024. Download it again: ai-anchor models pull
    bosonai--higgs-tts-2-3b-base/config.json cannot be understood: its num_attention_heads is 0, not a number from 1 to 1024. Download it again: ai-anchor models pull
    bosonai--higgs-tts-2-3b-base/config.json cannot be understood: it is no JSON (EOF while parsing an object at line 1 column 1). Download it again: ai-anchor models pull
    ");
}

/// Headers that tell of more than there is, or of more than anybody has.
#[test]
fn hostile_headers_are_refused_by_their_limits() {
    let place = Place::new();
    let gguf = |content: Vec<u8>| place.said(&Gguf::of_file(&place.with("x.gguf", content)).unwrap_err().to_string());
    let nested = (0..10).fold(Writer::new(0, 1).text("deep").u32(9), |list, _| list.u32(9).u64(1));
    let overlapping = (0..40).fold(Writer::new(40, 0), |file, _| file.tensor("t", &[32, 32], 0, 0)).data(4096);
    let all = [
        gguf(b"GGUF".to_vec()),
        gguf(Writer::new(u64::MAX, 0).0),
        gguf(Writer::new(0, 1).u64(u64::MAX).0),
        gguf(Writer::new(0, 1).text("list").u32(9).u32(4).u64(u64::MAX).0),
        gguf(Writer::new(0, 1).text("list").u32(9).u32(0).u64(1 << 23).0),
        gguf(nested.0),
        gguf(Writer::new(0, 1).text("kind").u32(99).0),
        gguf(Writer::new(1, 0).tensor("huge", &[u64::MAX, 2], 0, 0).0),
        gguf(Writer::new(1, 0).tensor("far", &[32], 0, u64::MAX - 3).0),
        gguf(overlapping),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    x.gguf is cut off: it has 4 bytes of at least 8. Download it again: ai-anchor models pull
    x.gguf cannot be understood: it tells of 18,446,744,073,709,551,615 tensors, and at most 100,000 are read. Download it again: ai-anchor models pull
    x.gguf cannot be understood: it tells of 18,446,744,073,709,551,615 bytes in a text, and at most 65,535 are read. Download it again: ai-anchor models pull
    x.gguf cannot be understood: it tells of 18,446,744,073,709,551,615 elements in a list, and at most 16,777,216 are read. Download it again: ai-anchor models pull
    x.gguf is cut off: it has 52 bytes of at least 53. Download it again: ai-anchor models pull
    x.gguf cannot be understood: its lists lie in each other more than 4 deep. Download it again: ai-anchor models pull
    x.gguf cannot be understood: it has a value of the unknown kind 99. Download it again: ai-anchor models pull
    x.gguf cannot be understood: its tensor 'huge' is larger than any file. Download it again: ai-anchor models pull
    x.gguf cannot be understood: its tensor 'far' is larger than any file. Download it again: ai-anchor models pull
    x.gguf cannot be understood: its tensors lie on top of each other. Download it again: ai-anchor models pull
    ");
    let tensors = |header: &str| {
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.extend(header.as_bytes());
        place.said(&Tensors::of_file(&place.with("x.safetensors", content)).unwrap_err().to_string())
    };
    let all = [
        tensors("[]"),
        tensors(r#"{"a":{"dtype":"F32","shape":[18446744073709551615,3],"data_offsets":[0,4]}}"#),
        tensors(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#),
        tensors(r#"{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}"#),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    x.safetensors cannot be understood: its header is wrong (invalid type: sequence, expected struct HashMetadata at line 1 column 0). Download it again: ai-anchor models pull
    x.safetensors cannot be understood: its header is wrong (overflow computing buffer size from shape and/or element type). Download it again: ai-anchor models pull
    x.safetensors cannot be understood: its header is wrong (invalid offset for tensor `a`). Download it again: ai-anchor models pull
    x.safetensors is cut off: it has 74 bytes of at least 4,000,074. Download it again: ai-anchor models pull
    ");
    let index = place.with("model.safetensors.index.json", r#"{"weight_map":{"a":"../../secret.safetensors"}}"#);
    insta::assert_snapshot!(place.said(&Tensors::of_index(&index).unwrap_err().to_string()), @"model.safetensors.index.json cannot be understood: '../../secret.safetensors' is no name of a file beside it. Download it again: ai-anchor models pull");
    assert!(Tensors::of_file(place.0.path()).unwrap_err().to_string().contains("not a plain file"));
}

/// Bytes with a few of them changed, and perhaps the end missing.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    // The header is where damage matters.
    let change = (0..length.min(900), any::<u8>());
    (proptest::collection::vec(change, 0..6), 0..=length).prop_map(move |(changes, keep)| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(keep.max(length * usize::from(keep % 2 == 0)));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damaged files are read or refused by name, and what is read is no more than the file has.
    #[test]
    fn damaged_gguf_files_never_panic(bytes in damaged(small_llm())) {
        let place = Place::new();
        let file = place.with("damaged.gguf", &bytes);
        match Gguf::of_file(&file) {
            Ok(gguf) => prop_assert!(gguf.bytes <= bytes.len() as u64),
            Err(error) => prop_assert!(error.to_string().contains("damaged.gguf"), "{error}"),
        }
        place.pulled("registry.ollama.ai/library/damaged", "latest", &bytes);
        if let Err(error) = place.store().find("damaged") {
            prop_assert!(error.to_string().contains("sha256-"), "{error}");
        }
    }

    #[test]
    fn damaged_safetensors_files_never_panic(bytes in damaged(tensors(SPEAKS))) {
        let place = Place::new();
        let file = place.with("damaged.safetensors", &bytes);
        match Tensors::of_file(&file) {
            Ok(tensors) => prop_assert!(tensors.bytes() <= bytes.len() as u64),
            Err(error) => prop_assert!(error.to_string().contains("damaged.safetensors"), "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let place = Place::new();
        let mut gguf = b"GGUF\x03\0\0\0".to_vec();
        gguf.extend(&bytes);
        let _ = Gguf::of_file(&place.with("any.gguf", gguf));
        let _ = Tensors::of_file(&place.with("any.safetensors", &bytes));
        let _ = header::json(&place.with("any.json", &bytes));
    }
}
