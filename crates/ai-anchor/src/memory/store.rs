//! Ollama's store: the manifest of a model names the file of its weights.
//!
//! Source: `manifest/paths.go` and `types/model/name.go` of github.com/ollama/ollama.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::files::{ModelError, split};
use super::header::{self, Gguf, HeaderError, Value};
use super::sizes::{Cache, Model, Source};

/// The layer of a manifest that holds the weights.
const WEIGHTS: &str = "application/vnd.ollama.image.model";

/// Where the store of an Ollama that was installed as a service lies.
const OF_THE_SERVICE: &str = "/usr/share/ollama/.ollama/models";

/// The folders in which Ollama may keep its models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    folders: Vec<PathBuf>,
}

impl Store {
    /// The folder given.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folders: vec![folder.into()] }
    }

    /// That of this process's environment: `OLLAMA_MODELS`, else the user's and the service's.
    pub fn of_process() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folders = match (set("OLLAMA_MODELS"), set("HOME")) {
            (Some(folder), _) => vec![folder],
            (None, Some(home)) => vec![home.join(".ollama/models"), OF_THE_SERVICE.into()],
            (None, None) => vec![OF_THE_SERVICE.into()],
        };
        Self { folders }
    }

    /// The model of this name, as `ollama list` shows it; `None` if it is not here.
    ///
    /// # Errors
    /// If the name is none, or the model's manifest or weights are broken.
    pub fn find(&self, name: &str) -> Result<Option<Model>, ModelError> {
        let path = manifest_path(name).ok_or_else(|| ModelError::Name { name: name.into() })?;
        for folder in &self.folders {
            let manifest = folder.join("manifests").join(&path);
            match header::json(&manifest) {
                Ok(value) => return Ok(Some(model(name, &weights(folder, &manifest, &value)?)?)),
                // What this user may not look into is not this user's model.
                Err(HeaderError::Read { source, .. }) if is_absent(&source) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied)
}

/// Host, owner, name and tag as folders.
fn manifest_path(name: &str) -> Option<PathBuf> {
    let (family, tag) = split(name);
    let parts: Vec<&str> = family.split('/').collect();
    let (host, owner, model) = match parts[..] {
        [model] => ("registry.ollama.ai", "library", model),
        [owner, model] => ("registry.ollama.ai", owner, model),
        [host, owner, model] => (host, owner, model),
        _ => return None,
    };
    let parts = [host, owner, model, tag.unwrap_or("latest")];
    parts.iter().all(|part| is_plain(part)).then(|| parts.iter().collect())
}

/// Nothing that leads out of the store.
fn is_plain(part: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
}

/// The file of the weights that a manifest names.
fn weights(folder: &Path, manifest: &Path, value: &Json) -> Result<PathBuf, HeaderError> {
    let layers = value.get("layers").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let layer = layers.iter().find(|layer| layer.get("mediaType").and_then(Json::as_str) == Some(WEIGHTS));
    let layer = layer.ok_or_else(|| HeaderError::broken(manifest, "it names no weights"))?;
    let digest = layer.get("digest").and_then(Json::as_str).and_then(|digest| digest.strip_prefix("sha256:"));
    let digest = digest.filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let digest = digest.ok_or_else(|| HeaderError::broken(manifest, "it names its weights by no SHA-256 digest"))?;
    let file = folder.join("blobs").join(format!("sha256-{digest}"));
    let have = header::length(&file)?;
    let need = layer.get("size").and_then(Json::as_u64).unwrap_or(0);
    if have < need {
        return Err(HeaderError::CutOff { file, have, need });
    }
    Ok(file)
}

/// What a GGUF file tells of its model.
fn model(name: &str, file: &Path) -> Result<Model, HeaderError> {
    let gguf = Gguf::of_file(file)?;
    let kind = gguf.text("general.architecture");
    let kind = kind.ok_or_else(|| HeaderError::broken(file, "it does not say general.architecture"))?;
    let design = Design { gguf: &gguf, kind, file };
    let hidden = design.number("embedding_length", 1 << 20)?;
    let layers = design.number("block_count", 1 << 10)?;
    let heads = design.number("attention.head_count", 1 << 10)?;
    let head = design.optional("attention.key_length", 1 << 13)?.unwrap_or(hidden / heads);
    let value = design.optional("attention.value_length", 1 << 13)?.unwrap_or(head);
    // Heads that keep something: the same number in every layer, or a list.
    let kept = match gguf.get(&design.key("attention.head_count_kv")) {
        Some(Value::List(_, numbers)) => numbers.iter().map(|&heads| heads.min(1 << 10)).sum(),
        _ => layers * design.optional("attention.head_count_kv", 1 << 10)?.unwrap_or(heads),
    };
    let words = match gguf.get("tokenizer.ggml.tokens") {
        Some(Value::List(words, _)) => Some(*words),
        _ => None,
    };
    Ok(Model {
        name: name.into(),
        source: Source::Files(file.display().to_string()),
        parameters: gguf.parameters,
        weights: gguf.bytes,
        step: gguf.bytes,
        cache: Cache { values: kept * (head + value), window: None },
        hidden,
        ffn: design.optional("feed_forward_length", 1 << 20)?.unwrap_or(4 * hidden),
        vocabulary: match words {
            Some(words) => words,
            None => design.number("vocab_size", 1 << 24)?,
        },
        longest: design.number("context_length", 1 << 30)? as u32,
        encoder: None,
    })
}

/// The values of a GGUF file about its architecture.
struct Design<'a> {
    gguf: &'a Gguf,
    kind: &'a str,
    file: &'a Path,
}

impl Design<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.kind)
    }

    fn number(&self, name: &str, most: u64) -> Result<u64, HeaderError> {
        let key = self.key(name);
        self.optional(name, most)?.ok_or_else(|| HeaderError::broken(self.file, format!("it does not say {key}")))
    }

    fn optional(&self, name: &str, most: u64) -> Result<Option<u64>, HeaderError> {
        let key = self.key(name);
        match self.gguf.whole(&key) {
            Some(number) if !(1..=most).contains(&number) => {
                Err(HeaderError::broken(self.file, format!("its {key} is {number}, not a number from 1 to {most}")))
            }
            found => Ok(found),
        }
    }
}
