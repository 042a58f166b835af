//! Whether models are here and whole, and how to be rid of them.

use std::io;
use std::path::Path;

use super::disk::{Checksums, Lock};
use super::{Access, Model, ModelError, Progress, Record, Repository, Source, file_error, ollama};

/// Whether a model is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// All of it.
    Here {
        /// Its bytes.
        bytes: u64,
    },
    /// Something of it: a pull was stopped, or a file is damaged or gone.
    Partly {
        /// Bytes that are here.
        bytes: u64,
    },
    /// Nothing.
    Missing,
    /// Nobody knows, because Ollama cannot be asked.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is gone.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// It is another one.
    #[error("{file} is damaged: {what}")]
    Changed {
        /// The file.
        file: String,
        /// What differs.
        what: String,
    },
    /// The model was never pulled to its end.
    #[error("the pull was not finished")]
    Unfinished,
}

/// Whether a model is here, told by the names and lengths of its files; [`verify`] reads them.
pub async fn presence(model: &Model, access: &Access) -> Presence {
    match &model.source {
        Source::HuggingFace(repository) => presence_of(repository, &model.folder_in(&access.folder)),
        Source::Ollama(name) => match ollama::size_of(&access.ollama, name, access.patience).await {
            Ok(Some(bytes)) => Presence::Here { bytes },
            Ok(None) => Presence::Missing,
            Err(error) => Presence::Unknown { reason: error.to_string() },
        },
    }
}

/// Whether all of a model is here.
pub async fn is_here(model: &Model, access: &Access) -> bool {
    matches!(presence(model, access).await, Presence::Here { .. })
}

pub(super) fn presence_of(repository: &Repository, folder: &Path) -> Presence {
    let record = Record::read(folder);
    let length = |path: &str| std::fs::metadata(folder.join(path)).map(|about| about.len());
    let whole = |file: &super::FileRecord| !file.damaged && length(&file.path).is_ok_and(|length| length == file.size);
    let this = record.repository == repository.name && record.revision == repository.revision;
    if this && record.complete && record.files.iter().all(whole) {
        return Presence::Here { bytes: record.files.iter().map(|file| file.size).sum() };
    }
    match bytes_in(folder) {
        0 => Presence::Missing,
        bytes => Presence::Partly { bytes },
    }
}

/// Bytes of the model's files in its folder, finished or not.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_in(&entry.path()),
            Ok(about)
                if about.is_file() && name != super::RECORD && !name.to_string_lossy().ends_with(".part.json") =>
            {
                about.len()
            }
            _ => 0,
        }
    };
    entries.flatten().map(size).sum()
}

/// Reads every file of a model and says what is wrong. The record remembers it, so that the next pull mends it.
/// Ollama checks its own files when it pulls them; of those only the presence is known.
pub async fn verify(model: &Model, access: &Access, progress: &dyn Progress) -> Result<Vec<Damage>, ModelError> {
    let Source::HuggingFace(_) = &model.source else {
        return match presence(model, access).await {
            Presence::Unknown { reason } => Err(ModelError::Ollama { address: access.ollama.clone(), what: reason }),
            Presence::Here { .. } => Ok(Vec::new()),
            Presence::Missing | Presence::Partly { .. } => Ok(vec![Damage::Missing { file: model.origin().into() }]),
        };
    };
    let folder = model.folder_in(&access.folder);
    let _lock = Lock::take(model, &access.folder)?;
    let mut record = Record::read(&folder);
    let mut found = Vec::new();
    for file in &mut record.files {
        let path = super::names::plain(&file.path).map(|path| folder.join(path));
        let damage = match path.filter(|path| path.is_file()) {
            None => Some(Damage::Missing { file: file.path.clone() }),
            Some(path) => {
                let sums = Checksums::of(&path, &file.path, progress).await?;
                let what = difference(file, &sums);
                what.map(|what| Damage::Changed { file: file.path.clone(), what })
            }
        };
        file.damaged = damage.is_some();
        found.extend(damage);
    }
    if !record.complete {
        found.push(Damage::Unfinished);
    }
    if folder.is_dir() {
        record.write(&folder)?;
    }
    Ok(found)
}

fn difference(file: &super::FileRecord, sums: &Checksums) -> Option<String> {
    if sums.size != file.size {
        return Some(format!("it has {} bytes instead of {}", sums.size, file.size));
    }
    (sums.sha256 != file.sha256).then(|| format!("its SHA-256 is {} instead of {}", sums.sha256, file.sha256))
}

/// Removes a model's files and says how many bytes that freed. 0 if there were none.
pub async fn remove(model: &Model, access: &Access) -> Result<u64, ModelError> {
    let _lock = Lock::take(model, &access.folder)?;
    let folder = model.folder_in(&access.folder);
    let mut freed = bytes_in(&folder);
    if let Source::Ollama(name) = &model.source {
        freed = ollama::remove(&access.ollama, name, access.patience).await?;
    }
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", &folder)(error)),
        _ => Ok(freed),
    }
}
