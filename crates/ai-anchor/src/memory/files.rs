//! The models as they lie on this machine: their sizes from their own files, or from the table where they are not here.

use std::path::Path;

use serde_json::Value;

use super::header::{self, HeaderError, Tensors};
use super::known::{self, HIGGS, HIGGS_CODEC, MISTRAL, QUANTIZATIONS, VOXTRAL, VOXTRAL_REALTIME};
use super::sizes::{Cache, Codec, Encoder, Model, Source};
use super::store::Store;

/// Where Higgs may lie: under its name of today, that of its first year, and in a copy in another format.
const HIGGS_FOLDERS: &[&str] =
    &[HIGGS, "bosonai/higgs-audio-v2-generation-3B-base", "eustlb/higgs-audio-v2-generation-3B-base"];

/// Where its codec may lie. The second is inside another model.
const CODEC_FOLDERS: &[&str] = &[HIGGS_CODEC, "k2-fsa/OmniVoice/audio_tokenizer", "eustlb/higgs-audio-v2-tokenizer"];

/// Part of every name under which the known language model goes.
const MISTRAL_FAMILY: &str = "mistral-small-24b";

/// The language model in one quantisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantized {
    /// Name of the quantisation, such as `Q4_K_M`.
    pub quantization: String,
    /// The model.
    pub model: Model,
}

/// The models whose memory is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    /// The recogniser.
    pub stt: Model,
    /// The language model in every quantisation there is to choose from, the best first.
    pub llm: Vec<Quantized>,
    /// The voice.
    pub tts: Model,
    /// Its codec.
    pub codec: Codec,
    /// What is wrong with files that could not be used.
    pub notes: Vec<String>,
}

/// Nothing is known of a language model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is neither here nor in the table.
    #[error(
        "nothing is known of the language model '{name}': Ollama does not have it yet. Get it: ollama pull {name}; \
         or plan with {MISTRAL}:Q4_K_M, which is known"
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// Its name leads nowhere.
    #[error("'{name}' is no name of a model in Ollama. Write it as `ollama list` shows it")]
    Name {
        /// The name.
        name: String,
    },
    /// Its file cannot be used, and it is not in the table.
    #[error(transparent)]
    File(#[from] HeaderError),
}

impl Models {
    /// The known models, from the table alone.
    pub fn known() -> Self {
        Self {
            stt: known::voxtral(),
            llm: QUANTIZATIONS.iter().map(|&(name, weights)| Quantized::known(name, weights)).collect(),
            tts: known::higgs(),
            codec: known::higgs_codec(),
            notes: Vec::new(),
        }
    }

    /// The models in `folder`, one folder each, and the language model `llm` in Ollama's `store`; those of the table
    /// for what is not there. A file that is broken is noted, and the table taken instead.
    ///
    /// # Errors
    /// If the language model is neither in the store nor in the table.
    pub fn find(folder: &Path, store: &Store, llm: &str, realtime: bool) -> Result<Self, ModelError> {
        let mut notes = Vec::new();
        let (repository, table) =
            if realtime { (VOXTRAL_REALTIME, known::voxtral_realtime()) } else { (VOXTRAL, known::voxtral()) };
        Ok(Self {
            stt: first(folder, &[repository], &mut notes, |place| speech(place, &table, hearing_step)).unwrap_or(table),
            llm: language_models(store, llm, &mut notes)?,
            tts: first(folder, HIGGS_FOLDERS, &mut notes, |place| speech(place, &known::higgs(), speaking_step))
                .map_or_else(known::higgs, with_both_layers),
            codec: first(folder, CODEC_FOLDERS, &mut notes, codec).unwrap_or_else(known::higgs_codec),
            notes,
        })
    }
}

impl Quantized {
    fn known(name: &str, weights: u64) -> Self {
        Self { quantization: name.into(), model: known::mistral(name, weights) }
    }
}

/// What `read` makes of the first of the repositories that is there and whole.
fn first<T>(
    folder: &Path,
    repositories: &[&str],
    notes: &mut Vec<String>,
    read: impl Fn(&Path) -> Result<T, HeaderError>,
) -> Option<T> {
    for repository in repositories {
        let (owner, rest) = repository.split_once('/').unwrap_or(("", repository));
        let place = folder.join(format!("{owner}--{rest}"));
        match read(&place) {
            Ok(found) => return Some(found),
            Err(error) if error.missing() && !place.exists() => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    None
}

/// A recogniser or a voice: its tensors, and the numbers of its design.
fn speech(place: &Path, table: &Model, step: fn(&Tensors) -> u64) -> Result<Model, HeaderError> {
    let tensors = tensors(place)?;
    let hugging_face = place.join("config.json");
    let file = if hugging_face.exists() { hugging_face } else { place.join("params.json") };
    let design = Design { value: &header::json(&file)?, file: &file };
    let text = design.inner("text_config");
    let hidden = text.number(&["hidden_size", "dim"], 1 << 20)?;
    let heads = text.number(&["num_attention_heads", "n_heads"], 1 << 10)?;
    let cache = Cache::of(
        text.number(&["num_hidden_layers", "n_layers"], 1 << 10)?,
        text.optional(&["num_key_value_heads", "n_kv_heads"], 1 << 10)?.unwrap_or(heads),
        text.optional(&["head_dim"], 1 << 13)?.unwrap_or(hidden / heads),
    );
    Ok(Model {
        name: table.name.clone(),
        source: Source::Files(place.display().to_string()),
        parameters: tensors.parameters(),
        weights: tensors.bytes(),
        step: step(&tensors),
        cache: Cache { window: text.optional(&["sliding_window"], 1 << 24)?.or(table.cache.window), ..cache },
        hidden,
        ffn: text.number(&["intermediate_size", "hidden_dim"], 1 << 20)?,
        vocabulary: text.number(&["vocab_size"], 1 << 23)?,
        // What the design says of the length is not what the servers allow: Higgs says 2,048 and speaks 8,192.
        longest: table.longest,
        encoder: table.encoder.map(|known| encoder(&design, known)).transpose()?,
    })
}

fn tensors(place: &Path) -> Result<Tensors, HeaderError> {
    let index = place.join("model.safetensors.index.json");
    let consolidated = place.join("consolidated.safetensors");
    if consolidated.exists() {
        Tensors::of_file(&consolidated)
    } else if index.exists() {
        Tensors::of_index(&index)
    } else {
        Tensors::of_file(&place.join("model.safetensors"))
    }
}

fn encoder(design: &Design<'_>, known: Encoder) -> Result<Encoder, HeaderError> {
    let own = design.inner("audio_config").inner("multimodal").inner("whisper_model_args").inner("encoder_args");
    if std::ptr::eq(own.value, design.value) {
        return Ok(known);
    }
    let frames = own.optional(&["max_source_positions"], 1 << 16)?.unwrap_or(known.frames);
    Ok(Encoder {
        frames,
        // Four frames become one token.
        tokens: (frames / 4).max(1),
        hidden: own.number(&["hidden_size", "dim"], 1 << 20)?,
        ffn: own.number(&["intermediate_size", "hidden_dim"], 1 << 20)?,
        state: known.state,
    })
}

/// What is read for a token: the language model without its table of embeddings, of which one row is read, unless the
/// table is also the head.
fn hearing_step(tensors: &Tensors) -> u64 {
    let hears = |name: &str| {
        ["audio_tower", "multi_modal_projector", "mm_whisper", "mm_streams"].iter().any(|part| name.contains(part))
    };
    let embeds = |name: &str| name.contains("embed_tokens") || name.contains("tok_embeddings");
    let head = |name: &str| name.contains("lm_head") || name == "output.weight";
    let tied = tensors.bytes_of(head) == 0;
    tensors.bytes_of(|name| if embeds(name) { tied } else { !hears(name) })
}

/// What is read for a frame: no table, no feed-forward layer for text, and no head for text.
fn speaking_step(tensors: &Tensors) -> u64 {
    tensors.bytes_of(|name| !["embed", ".mlp.", "text_lm_head"].iter().any(|part| name.contains(part)))
}

/// Higgs computes a second feed-forward layer beside the one its design names.
fn with_both_layers(model: Model) -> Model {
    Model { ffn: 2 * model.ffn, ..model }
}

fn codec(place: &Path) -> Result<Codec, HeaderError> {
    let table = known::higgs_codec();
    let file = place.join("config.json");
    let value = header::json(&file)?;
    let acoustic = Design { value: &value, file: &file }.inner("acoustic_model_config");
    let ratios = acoustic.value.get("upsampling_ratios").and_then(Value::as_array);
    let ratios = ratios.map(|ratios| ratios.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
    let hop = ratios.as_ref().map(|ratios| ratios.iter().fold(1, |product: u64, &ratio| product.saturating_mul(ratio)));
    // Every layer of the decoder halves the channels.
    let halvings = ratios.map_or(0, |ratios| ratios.len().min(63));
    let widest = acoustic.optional(&["decoder_hidden_size"], 1 << 16)?;
    Ok(Codec {
        name: table.name,
        source: Source::Files(place.display().to_string()),
        weights: codec_weights(place)?,
        hop: hop.filter(|hop| (1..=1 << 16).contains(hop)).unwrap_or(table.hop),
        channels: widest.map_or(table.channels, |widest| (widest >> halvings).max(1)),
    })
}

fn codec_weights(place: &Path) -> Result<u64, HeaderError> {
    // The original is a file of PyTorch, whose length is that of its numbers.
    let original = place.join("model.pth");
    if original.exists() {
        return header::length(&original);
    }
    let file = place.join("model.safetensors");
    let tensors = Tensors::of_file(&file)?;
    // One repository carries the language model under this name.
    if tensors.bytes_of(|name| name.contains("quantizer")) == 0 {
        return Err(HeaderError::broken(&file, "it is no codec: it has no quantizer"));
    }
    Ok(tensors.bytes())
}

fn language_models(store: &Store, name: &str, notes: &mut Vec<String>) -> Result<Vec<Quantized>, ModelError> {
    let (family, tag) = split(name);
    if !is_known(name) {
        let model = store.find(name)?.ok_or_else(|| ModelError::Unknown { name: name.into() })?;
        return Ok(vec![Quantized { quantization: tag.unwrap_or("latest").into(), model }]);
    }
    let mut found = Vec::new();
    for &(quantization, weights) in &QUANTIZATIONS {
        let model = match store.find(&format!("{family}:{quantization}")) {
            Ok(model) => model,
            Err(ModelError::File(error)) => {
                notes.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let known = Quantized::known(quantization, weights);
        let model = model.unwrap_or(Model { name: format!("{family}:{quantization}"), ..known.model });
        found.push(Quantized { quantization: quantization.into(), model });
    }
    if let Some(tag) = tag
        && !found.iter().any(|quantized| quantized.quantization.eq_ignore_ascii_case(tag))
    {
        let model = store.find(name)?.ok_or_else(|| ModelError::Unknown { name: name.into() })?;
        found.push(Quantized { quantization: tag.into(), model });
    }
    Ok(found)
}

/// The language model is the one that the table tells of.
pub(super) fn is_known(name: &str) -> bool {
    split(name).0.to_lowercase().contains(MISTRAL_FAMILY)
}

/// A name in Ollama without and with what stands behind its colon.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    // A colon in front of a slash belongs to a host's port.
    match name.rsplit_once(':') {
        Some((family, tag)) if !tag.contains('/') => (family, Some(tag)),
        _ => (name, None),
    }
}

/// A part of a model's design file.
struct Design<'a> {
    value: &'a Value,
    file: &'a Path,
}

impl<'a> Design<'a> {
    /// The part called so, or this one where there is none.
    fn inner(&self, name: &str) -> Design<'a> {
        let value = self.value.get(name).filter(|value| value.is_object()).unwrap_or(self.value);
        Design { value, file: self.file }
    }

    /// A whole number from one to `most` under one of the names.
    fn number(&self, names: &[&str], most: u64) -> Result<u64, HeaderError> {
        self.optional(names, most)?
            .ok_or_else(|| HeaderError::broken(self.file, format!("it does not say {}", names.join(" or "))))
    }

    fn optional(&self, names: &[&str], most: u64) -> Result<Option<u64>, HeaderError> {
        let found = names.iter().find_map(|name| Some((name, self.value.get(*name).filter(|value| !value.is_null())?)));
        let Some((name, value)) = found else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(HeaderError::broken(self.file, format!("its {name} is {value}, not a number from 1 to {most}"))),
        }
    }
}

#[cfg(test)]
mod tests;
