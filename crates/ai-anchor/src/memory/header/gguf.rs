//! The header of a GGUF file: named values and a list of tensors.
//!
//! Source: `docs/gguf.md` of github.com/ggml-org/ggml, versions 2 and 3, little-endian.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{HeaderError, open, thousands};

/// Longest header read, in bytes: twenty times what a vocabulary of 131,072 words with its merges takes.
const MAX_HEADER: u64 = 256 * 1024 * 1024;

/// Most named values, and most tensors: a hundred times what models have.
const MAX_ENTRIES: u64 = 100_000;

/// Longest name, in bytes; the format allows this much.
const MAX_NAME: u64 = 65_535;

/// Longest text read, in bytes. Templates of conversations are the longest.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// Most elements of a list. Vocabularies are the longest.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// Longest list that is kept; longer ones are only counted, since nobody asks for a whole vocabulary.
const MAX_KEPT: u64 = 1024;

/// Lists in lists are followed this deep.
const MAX_DEPTH: u32 = 4;

/// Most dimensions of a tensor; GGML has four.
const MAX_DIMENSIONS: u32 = 8;

/// Where the tensors' data begin unless the file says otherwise: at a multiple of this.
const ALIGNMENT: u64 = 32;

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number without a fraction that is not negative.
    Whole(u64),
    /// Any other number, or a yes or no.
    Other,
    /// A text.
    Text(String),
    /// A list: how long it is, and its numbers if it is short.
    List(u64, Vec<u64>),
}

/// What the header of a GGUF file tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    values: BTreeMap<String, Value>,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
}

impl Gguf {
    /// Reads the header.
    ///
    /// # Errors
    /// If the file is not whole, or not a GGUF file of a known version.
    pub fn of_file(path: &Path) -> Result<Self, HeaderError> {
        let (file, length) = open(path)?;
        let mut reader = Reader { path, length, at: 0, file: BufReader::new(file) };
        if reader.array::<4>()? != *b"GGUF" {
            return Err(reader.broken("it does not begin with GGUF"));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(reader.broken(format!("it has version {version}, and 2 and 3 are known")));
        }
        let tensors = reader.count("tensors")?;
        let entries = reader.count("values")?;
        let mut values = BTreeMap::new();
        for _ in 0..entries {
            let name = reader.text(MAX_NAME)?;
            let kind = reader.u32()?;
            values.insert(name, reader.value(kind, 0)?);
        }
        let alignment = match values.get("general.alignment") {
            Some(Value::Whole(alignment @ 1..)) => *alignment,
            _ => ALIGNMENT,
        };
        let (parameters, sized) = reader.tensors(tensors)?;
        let start = reader.at.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        let bytes = match sized {
            Some(Sized { bytes, end }) => {
                let need = start.saturating_add(end);
                if reader.length < need {
                    return Err(HeaderError::CutOff { file: path.into(), have: reader.length, need });
                }
                if bytes > reader.length {
                    return Err(reader.broken("its tensors lie on top of each other"));
                }
                bytes
            }
            // A kind of number that was invented since: the rest of the file is the tensors.
            None => reader.length.saturating_sub(start),
        };
        Ok(Self { values, parameters, bytes })
    }

    /// A named value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A named whole number.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// A named text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Bytes of all tensors together, and where the last ends.
struct Sized {
    bytes: u64,
    end: u64,
}

/// Reads a file from front to back and never past its end.
struct Reader<'a> {
    path: &'a Path,
    length: u64,
    at: u64,
    file: BufReader<File>,
}

impl Reader<'_> {
    fn broken(&self, what: impl Into<String>) -> HeaderError {
        HeaderError::broken(self.path, what)
    }

    fn failed(&self, source: io::Error) -> HeaderError {
        HeaderError::read(self.path, source)
    }

    /// The next `bytes` are there.
    fn advance(&mut self, bytes: u64) -> Result<(), HeaderError> {
        let need = self.at.saturating_add(bytes);
        if need > self.length {
            return Err(HeaderError::CutOff { file: self.path.into(), have: self.length, need });
        }
        if need > MAX_HEADER {
            return Err(
                self.broken(format!("its header is longer than the {} bytes that are read", thousands(MAX_HEADER)))
            );
        }
        self.at = need;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.array().map(u64::from_le_bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), HeaderError> {
        self.advance(bytes)?;
        let step = i64::try_from(bytes).map_err(|_| self.broken("a length is beyond every file"))?;
        self.file.seek_relative(step).map_err(|source| self.failed(source))
    }

    /// How many of something there are.
    fn count(&mut self, what: &str) -> Result<u64, HeaderError> {
        let count = self.u64()?;
        self.at_most(count, MAX_ENTRIES, what)
    }

    fn at_most(&self, count: u64, most: u64, what: &str) -> Result<u64, HeaderError> {
        if count > most {
            let (count, most) = (thousands(count), thousands(most));
            return Err(self.broken(format!("it tells of {count} {what}, and at most {most} are read")));
        }
        Ok(count)
    }

    fn text(&mut self, most: u64) -> Result<String, HeaderError> {
        let length = self.u64()?;
        let length = self.at_most(length, most, "bytes in a text")?;
        self.advance(length)?;
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take(length).read_to_end(&mut bytes).map_err(|source| self.failed(source))?;
        if read as u64 != length {
            return Err(HeaderError::CutOff { file: self.path.into(), have: self.length, need: self.at });
        }
        String::from_utf8(bytes).map_err(|_| self.broken("a text is not UTF-8"))
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, HeaderError> {
        Ok(match kind {
            // Whole numbers of 8, 16, 32 and 64 bits, without and with a sign.
            0 | 1 => whole(i128::from(self.array::<1>()?[0])),
            2 => whole(i128::from(u16::from_le_bytes(self.array()?))),
            3 => whole(i128::from(i16::from_le_bytes(self.array()?))),
            4 => whole(i128::from(self.u32()?)),
            5 => whole(i128::from(i32::from_le_bytes(self.array()?))),
            10 => whole(i128::from(self.u64()?)),
            11 => whole(i128::from(i64::from_le_bytes(self.array()?))),
            // Fractions of 32 and 64 bits, and yes or no.
            6 => self.skip(4).map(|()| Value::Other)?,
            12 => self.skip(8).map(|()| Value::Other)?,
            7 => self.skip(1).map(|()| Value::Other)?,
            8 => Value::Text(self.text(MAX_TEXT)?),
            9 => self.list(depth)?,
            other => return Err(self.broken(format!("it has a value of the unknown kind {other}"))),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Value, HeaderError> {
        if depth == MAX_DEPTH {
            return Err(self.broken(format!("its lists lie in each other more than {MAX_DEPTH} deep")));
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        let length = self.at_most(length, MAX_LIST, "elements in a list")?;
        let mut kept = Vec::new();
        for _ in 0..length {
            // Every element has a byte at least, so a list that is longer than the file ends here.
            if kind == 8 {
                let text = self.u64()?;
                let text = self.at_most(text, MAX_TEXT, "bytes in a text")?;
                self.skip(text)?;
            } else if let Value::Whole(number) = self.value(kind, depth + 1)?
                && length <= MAX_KEPT
            {
                kept.push(number);
            }
        }
        Ok(Value::List(length, kept))
    }

    /// Parameters and sizes of the tensors; no sizes if one is of an unknown kind.
    fn tensors(&mut self, count: u64) -> Result<(u64, Option<Sized>), HeaderError> {
        let mut parameters = 0_u64;
        let mut sized = Some(Sized { bytes: 0, end: 0 });
        for _ in 0..count {
            let name = self.text(MAX_NAME)?;
            let dimensions = self.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(self.broken(format!("its tensor '{name}' has {dimensions} dimensions")));
            }
            let mut elements = 1_u64;
            for _ in 0..dimensions {
                elements = self.u64().map(|side| elements.checked_mul(side))?.ok_or_else(|| self.too_large(&name))?;
            }
            let kind = self.u32()?;
            let offset = self.u64()?;
            parameters = parameters.checked_add(elements).ok_or_else(|| self.too_large(&name))?;
            sized = match (sized, block(kind)) {
                (Some(sized), Some((block_elements, block_bytes))) => {
                    let bytes = elements.div_ceil(block_elements).checked_mul(block_bytes);
                    let bytes = bytes.ok_or_else(|| self.too_large(&name))?;
                    let end = offset.checked_add(bytes).ok_or_else(|| self.too_large(&name))?;
                    let sum = sized.bytes.checked_add(bytes).ok_or_else(|| self.too_large(&name))?;
                    Some(Sized { bytes: sum, end: end.max(sized.end) })
                }
                _ => None,
            };
        }
        Ok((parameters, sized))
    }

    fn too_large(&self, tensor: &str) -> HeaderError {
        self.broken(format!("its tensor '{tensor}' is larger than any file"))
    }
}

fn whole(number: i128) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Whole)
}

/// Elements and bytes of a block of each kind of number. Source: `ggml/src/ggml-common.h` and the list in `docs/gguf.md`.
const fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),      // F32, I32
        1 | 25 | 30 => (1, 2), // F16, I16, BF16
        24 => (1, 1),          // I8
        27 | 28 => (1, 8),     // I64, F64
        2 | 20 => (32, 18),    // Q4_0, IQ4_NL
        3 => (32, 20),         // Q4_1
        6 => (32, 22),         // Q5_0
        7 => (32, 24),         // Q5_1
        8 => (32, 34),         // Q8_0
        9 => (32, 36),         // Q8_1
        10 => (256, 84),       // Q2_K
        11 | 21 => (256, 110), // Q3_K, IQ3_S
        12 => (256, 144),      // Q4_K
        13 => (256, 176),      // Q5_K
        14 => (256, 210),      // Q6_K
        15 => (256, 292),      // Q8_K
        16 | 35 => (256, 66),  // IQ2_XXS, TQ2_0
        17 => (256, 74),       // IQ2_XS
        18 => (256, 98),       // IQ3_XXS
        19 => (256, 50),       // IQ1_S
        22 => (256, 82),       // IQ2_S
        23 => (256, 136),      // IQ4_XS
        34 => (256, 54),       // TQ1_0
        39 => (32, 17),        // MXFP4
        29 => (256, 56),       // IQ1_M
        _ => return None,
    })
}
