//! The commands, one file each.

pub(crate) mod ask;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod engines;
pub(crate) mod keys;
mod load_check;
mod model_servers;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod rundown;
pub(crate) mod say;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod transcribe;

use std::fs::File;
use std::io::{self, BufReader, Read};

use anchor_core::audio::INPUT_RATE;

use crate::error::Error;
use crate::wav;

/// Stands for standard input or output where a file is expected.
pub(crate) const STDIO: &str = "-";

/// Longest text read from standard input: more than anybody listens to.
const MAX_TEXT: u64 = 1024 * 1024;

/// All of standard input as text.
pub(crate) fn stdin_text() -> Result<String, Error> {
    let mut text = String::new();
    let outcome = std::io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text);
    outcome.map_err(|source| Error::File { what: "read", file: "standard input".into(), source })?;
    Ok(text)
}

/// The sound of a WAV file, or of standard input, as recognisers take it.
pub(crate) fn sound(file: &str) -> Result<Vec<f32>, Error> {
    let read: Box<dyn Read> = if file == STDIO {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file).map_err(|source| Error::File { what: "read", file: file.into(), source })?;
        Box::new(BufReader::new(opened))
    };
    wav::read(read, INPUT_RATE).map_err(|source| Error::Wav { file: file.into(), source })
}
