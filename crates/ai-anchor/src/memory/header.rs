//! Headers of model files: which tensors there are and how large they are. Nothing but the header is read.
//!
//! The files come from elsewhere and may be cut off, broken or made to do harm. Every length is checked against a
//! limit and against the file before it is believed.

mod gguf;
mod safetensors;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::units::thousands;

pub use gguf::{Gguf, Value};
pub use safetensors::Tensors;

/// Longest configuration read, in bytes: thousands of times what any model has.
const MAX_JSON: u64 = 4 * 1024 * 1024;

/// A model's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It ends too early, as after a download that was broken off.
    #[error(
        "{} is cut off: it has {} bytes of at least {}. {}",
        file.display(), thousands(*have), thousands(*need), remedy(file)
    )]
    CutOff {
        /// The file.
        file: PathBuf,
        /// Bytes it has.
        have: u64,
        /// Bytes it should have.
        need: u64,
    },
    /// It is not what its name says.
    #[error("{} cannot be understood: {what}. {}", file.display(), remedy(file))]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl HeaderError {
    pub(super) fn broken(file: &Path, what: impl Into<String>) -> Self {
        Self::Broken { file: file.into(), what: what.into() }
    }

    fn read(file: &Path, source: io::Error) -> Self {
        Self::Read { file: file.into(), source }
    }

    /// The file is not there at all.
    pub(super) fn missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// How a broken file becomes whole again.
fn remedy(file: &Path) -> &'static str {
    let of_ollama =
        |part: std::path::Component<'_>| ["blobs", "manifests"].iter().any(|name| part.as_os_str() == *name);
    if file.components().any(of_ollama) {
        // Ollama does not look again at what it has got.
        "Have Ollama forget the model and get it again: ollama rm, then ollama pull"
    } else {
        "Download it again: ai-anchor models pull"
    }
}

/// Opens a file and tells how long it is. Only plain files are opened, because a pipe could be waited for forever.
fn open(path: &Path) -> Result<(File, u64), HeaderError> {
    let known = std::fs::metadata(path).map_err(|source| HeaderError::read(path, source))?;
    if !known.is_file() {
        return Err(HeaderError::broken(path, "it is not a plain file"));
    }
    let file = File::open(path).map_err(|source| HeaderError::read(path, source))?;
    Ok((file, known.len()))
}

/// A small JSON file, such as a model's `config.json`.
pub(super) fn json(path: &Path) -> Result<serde_json::Value, HeaderError> {
    let (file, length) = open(path)?;
    if length > MAX_JSON {
        let what = format!("it has {} bytes, and at most {} are read", thousands(length), thousands(MAX_JSON));
        return Err(HeaderError::broken(path, what));
    }
    let mut text = Vec::new();
    file.take(MAX_JSON).read_to_end(&mut text).map_err(|source| HeaderError::read(path, source))?;
    serde_json::from_slice(&text).map_err(|error| HeaderError::broken(path, format!("it is no JSON ({error})")))
}

/// Length of a plain file, in bytes.
pub(super) fn length(path: &Path) -> Result<u64, HeaderError> {
    open(path).map(|(_, length)| length)
}
