//! The record beside a model's files: what they have to be, and who accepted the licence.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ModelError, file_error};

/// Its name in the model's folder.
pub const RECORD: &str = "ai-anchor.json";

/// Longest record read: a model has a few files, and ten thousand would fit.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// What is known about a model that was pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it came from.
    pub repository: String,
    /// Branch or commit that was asked for.
    pub revision: String,
    /// All files were fetched and checked.
    #[serde(default)]
    pub complete: bool,
    /// The files that were fetched and checked.
    #[serde(default)]
    pub files: Vec<FileRecord>,
    /// Who accepted the licence, if it had to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<Acceptance>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path in the model's folder, with `/` between folders.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// It was found to be something else since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

/// Somebody accepted a licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The licence's name.
    pub name: String,
    /// The user.
    pub by: String,
    /// When, as RFC 3339.
    pub at: String,
}

impl Record {
    /// The record in a model's folder; empty where there is none or where it cannot be understood, because what it says
    /// can be found out again.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join(RECORD);
        let short = std::fs::metadata(&path).is_ok_and(|about| about.len() <= MAX_RECORD);
        let text = if short { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Puts it into a model's folder: the old one or the new one is there at any time.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ModelError> {
        let (path, new) = (folder.join(RECORD), folder.join(format!("{RECORD}.tmp")));
        let text = serde_json::to_vec_pretty(self).expect("a record has no keys but texts");
        std::fs::write(&new, text).map_err(file_error("write", &new))?;
        std::fs::rename(&new, &path).map_err(file_error("write", &path))
    }

    /// What is known of the file at `path`.
    pub(super) fn file(&self, path: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Notes a file that was fetched and checked.
    pub(super) fn note(&mut self, file: FileRecord) {
        self.files.retain(|known| known.path != file.path);
        self.files.push(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), Record::default());
        let mut record = Record { repository: "a/b".into(), revision: "main".into(), ..Record::default() };
        for size in [1, 2] {
            record.note(FileRecord { path: "x".into(), size, sha256: "00".into(), damaged: size == 2 });
        }
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), record);
        assert_eq!(record.files.len(), 1);
        std::fs::write(folder.path().join(RECORD), "{ half a rec").unwrap();
        assert_eq!(Record::read(folder.path()), Record::default());
    }
}
