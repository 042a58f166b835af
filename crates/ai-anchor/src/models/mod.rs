//! The models of the studio profile: which there are, where they come from, and whether they are here and whole.
//!
//! A model of Hugging Face lies in a folder of its own below [`folder`], named after its repository, with a
//! [`record`] of its files. A model of Ollama lies in Ollama's own store; here is only the record of its licence.

mod catalogue;
mod check;
mod disk;
mod error;
mod fetch;
mod hub;
mod licence;
mod names;
mod offline;
pub mod ollama;
mod progress;
mod pull;
mod record;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};

use crate::config::Config;

pub use catalogue::{CATALOGUE, Licence, Model, Repository, Role, Source, find, needed_for};
pub use check::{Damage, Presence, is_here, presence, remove, verify};
pub use disk::free_space;
pub use error::ModelError;
pub use licence::{Answers, consent};
pub use progress::{Progress, Step};
pub use pull::{Access, Patience, Pulled, Token, pull};
pub use record::{Acceptance, FileRecord, RECORD, Record};

/// The folder the models lie in, one folder each.
pub fn folder(config: &Config) -> PathBuf {
    if !config.models.path.is_empty() {
        return PathBuf::from(&config.models.path);
    }
    data_folder().join("models")
}

/// The folder of one model: of its files, and of the record about them. What Ollama keeps has a record there alone.
pub fn path_of(config: &Config, model: &Model) -> PathBuf {
    model.folder_in(&folder(config))
}

/// Where this program keeps what it downloads and builds, by the XDG base directory specification:
/// `$XDG_DATA_HOME/ai-anchor`, which is `~/.local/share/ai-anchor` where that is not set.
pub fn data_folder() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.unwrap_or_else(|| home.join(".local/share")).join("ai-anchor")
}

/// An error about a file or folder.
fn file_error(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ModelError + use<> {
    let path = path.to_owned();
    move |source| ModelError::File { what, path, source }
}
