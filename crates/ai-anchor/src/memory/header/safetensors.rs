//! The header of a safetensors file: eight bytes of length and a JSON object of tensors.
//!
//! Source: the format as described at github.com/huggingface/safetensors.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata;

use super::{HeaderError, json, open, thousands};

/// Bytes of the length in front of the header.
const PREFIX: u64 = 8;

/// Longest header read, in bytes; the format allows no longer one.
const MAX_HEADER: u64 = 100_000_000;

/// Most files of one model.
const MAX_FILES: usize = 1000;

/// The tensors of a model: name to number of elements and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tensors(BTreeMap<String, Size>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    elements: u64,
    bytes: u64,
}

impl Tensors {
    /// Those of one file.
    ///
    /// # Errors
    /// If the file is not whole, or not a safetensors file.
    pub fn of_file(path: &Path) -> Result<Self, HeaderError> {
        let (mut file, length) = open(path)?;
        let mut prefix = [0; PREFIX as usize];
        if length < PREFIX {
            return Err(HeaderError::CutOff { file: path.into(), have: length, need: PREFIX });
        }
        file.read_exact(&mut prefix).map_err(|source| HeaderError::read(path, source))?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > MAX_HEADER {
            let most = thousands(MAX_HEADER);
            let what =
                format!("its header should have {} bytes, and the format allows {most}", thousands(header_length));
            return Err(HeaderError::broken(path, what));
        }
        let start = PREFIX + header_length;
        if length < start {
            return Err(HeaderError::CutOff { file: path.into(), have: length, need: start });
        }
        let mut header = Vec::new();
        file.take(header_length).read_to_end(&mut header).map_err(|source| HeaderError::read(path, source))?;
        // The library checks that the tensors lie one behind the other and are as large as their shapes say.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| HeaderError::broken(path, format!("its header is wrong ({error})")))?;
        let need = start.saturating_add(metadata.data_len() as u64);
        if length < need {
            return Err(HeaderError::CutOff { file: path.into(), have: length, need });
        }
        Ok(Self(metadata.tensors().into_iter().map(|(name, tensor)| (name, Size::of(tensor))).collect()))
    }

    /// Those of a model of several files, which an index such as `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// If the index or one of its files is not there, not whole, or not what it should be.
    pub fn of_index(path: &Path) -> Result<Self, HeaderError> {
        let index = json(path)?;
        let map = index.get("weight_map").and_then(serde_json::Value::as_object);
        let map = map.ok_or_else(|| HeaderError::broken(path, "it has no weight_map"))?;
        let mut files: Vec<&str> = map.values().filter_map(serde_json::Value::as_str).collect();
        files.sort_unstable();
        files.dedup();
        if files.len() > MAX_FILES {
            return Err(HeaderError::broken(path, format!("it lists {} files, and {MAX_FILES} are read", files.len())));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut all = BTreeMap::new();
        for file in files {
            // A name with a path in it could lead anywhere.
            if file.contains(['/', '\\']) || file.starts_with('.') {
                return Err(HeaderError::broken(path, format!("'{file}' is no name of a file beside it")));
            }
            all.extend(Self::of_file(&folder.join(file))?.0);
        }
        match map.keys().find(|name| !all.contains_key(*name)) {
            Some(name) => Err(HeaderError::broken(path, format!("its tensor '{name}' is in none of its files"))),
            None => Ok(Self(all)),
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.0.values().fold(0, |sum, size| sum.saturating_add(size.elements))
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.bytes_of(|_| true)
    }

    /// Bytes of the tensors whose names are wanted.
    pub fn bytes_of(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let wanted = self.0.iter().filter(|(name, _)| wanted(name));
        wanted.fold(0, |sum, (_, size)| sum.saturating_add(size.bytes))
    }
}

impl Size {
    fn of(tensor: &safetensors::tensor::TensorInfo) -> Self {
        let elements = tensor.shape.iter().fold(1_u64, |product, &side| product.saturating_mul(side as u64));
        let (begin, end) = tensor.data_offsets;
        Self { elements, bytes: end.saturating_sub(begin) as u64 }
    }
}
