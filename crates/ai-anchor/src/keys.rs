//! The file of API keys: who may use the server. It holds digests; a key itself is shown once, when it is made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anchor_server::Key;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::Config;
use crate::models::data_folder;

/// How often a running server looks whether the file has changed.
const POLL: Duration = Duration::from_secs(1);

/// Longest name of a key, in characters.
const NAME_MAX: usize = 64;

/// What went wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Their file cannot be read or written.
    #[error("cannot {what} the API keys in {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Their file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what `keys add` writes.
    #[error("the API keys in {} cannot be understood: {reason}. Move the file away and make new ones with: ai-anchor keys add NAME", path.display())]
    Broken {
        /// Their file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The name is taken.
    #[error("there is a key '{0}' already. Take another name, or remove that one first: ai-anchor keys remove {0}")]
    Taken(String),
    /// The name cannot be one.
    #[error("'{0}' cannot be the name of a key: give it 1 to {NAME_MAX} letters, digits, '-', '_' or '.'")]
    Name(String),
    /// There is no such key.
    #[error("there is no key '{0}'. ai-anchor keys list names them")]
    Unknown(String),
    /// Nobody could use the server.
    #[error(
        "the server would listen on {0}, where others can reach it, and there is no API key. Make one with: ai-anchor keys add NAME; or set \
         server.auth = \"off\" to let in everybody who can reach it"
    )]
    None(String),
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops being good; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    key: Vec<Record>,
}

/// Where the keys are kept.
pub fn file(config: &Config) -> PathBuf {
    match &*config.server.keys {
        "" => data_folder().join("keys.toml"),
        path => PathBuf::from(path),
    }
}

/// The keys in a file; none where there is no file.
pub fn read(path: &Path) -> Result<Vec<Record>, KeysError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(KeysError::File { what: "read", path: path.into(), source }),
    };
    let broken = |reason: String| KeysError::Broken { path: path.into(), reason };
    let file: File = toml::from_str(&text).map_err(|error| broken(error.message().to_owned()))?;
    match file.key.iter().find(|record| digest(record).is_none()) {
        Some(record) => Err(broken(format!("the digest of '{}' is none", record.name))),
        None => Ok(file.key),
    }
}

/// Makes a key and keeps its digest. Returns the key, which nobody can find out later.
pub fn add(path: &Path, name: &str, expires: Option<Timestamp>) -> Result<String, KeysError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        return Err(KeysError::Name(name.into()));
    }
    let mut keys = read(path)?;
    if keys.iter().any(|record| record.name == name) {
        return Err(KeysError::Taken(name.into()));
    }
    let key = Key::make();
    let sha256 = Key::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    keys.push(Record { name: name.into(), sha256, created: Timestamp::now(), expires });
    write(path, keys)?;
    Ok(key)
}

/// Removes a key. Whoever has it is let in no longer, within a second.
pub fn remove(path: &Path, name: &str) -> Result<(), KeysError> {
    let mut keys = read(path)?;
    let before = keys.len();
    keys.retain(|record| record.name != name);
    if keys.len() == before {
        return Err(KeysError::Unknown(name.into()));
    }
    write(path, keys)
}

/// The keys that are good, now and whenever their file has changed. Needs a running tokio runtime; ends when nobody
/// listens. A file that cannot be read any more changes nothing.
pub fn follow(path: PathBuf) -> Result<watch::Receiver<Vec<Key>>, KeysError> {
    let (sender, receiver) = watch::channel(good(&read(&path)?));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = sender.closed() => return,
            }
            match read(&path) {
                Ok(records) => {
                    let keys = good(&records);
                    sender.send_if_modified(|known| {
                        *known != keys && {
                            *known = keys;
                            true
                        }
                    });
                }
                Err(error) => tracing::warn!("{error}"),
            }
        }
    });
    Ok(receiver)
}

fn good(records: &[Record]) -> Vec<Key> {
    let key = |record: &Record| {
        let expires_at = record.expires.map(|end| u64::try_from(end.as_second()).unwrap_or(0));
        Some(Key { name: record.name.clone(), digest: digest(record)?, expires_at })
    };
    records.iter().filter_map(key).collect()
}

fn digest(record: &Record) -> Option<[u8; 32]> {
    let byte = |at: usize| u8::from_str_radix(record.sha256.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..32).map_while(byte).collect();
    bytes.try_into().ok().filter(|_| record.sha256.len() == 64)
}

/// Puts a new file, which its owner alone can read, in the place of the old one.
fn write(path: &Path, key: Vec<Record>) -> Result<(), KeysError> {
    let text = toml::to_string(&File { key }).expect("records are plain");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let put = || {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, path)
    };
    put().map_err(|source| KeysError::File { what: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_by_its_digest_alone_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/keys.toml");
        assert_eq!(read(&path).unwrap(), []);
        let key = add(&path, "studio", None).unwrap();
        let other = add(&path, "bot.1", Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert!(key.starts_with("sk-anchor-") && key != other);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&key[10..]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let keys = good(&read(&path).unwrap());
        assert_eq!((keys[0].digest, keys[0].expires_at, keys[1].expires_at), (Key::digest(&key), None, Some(0)));
        assert!(matches!(add(&path, "studio", None), Err(KeysError::Taken(_))));
        assert!(matches!(add(&path, "a b", None), Err(KeysError::Name(_))));
        remove(&path, "studio").unwrap();
        assert!(matches!(remove(&path, "studio"), Err(KeysError::Unknown(_))));
        assert_eq!(read(&path).unwrap().len(), 1);
    }

    #[test]
    fn a_broken_file_is_told_apart_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        for text in ["key = 1", "[[key]]\nname = 'a'\nsha256 = 'zz'\ncreated = '2026-11-24T00:00:00Z'", "\u{0}"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(KeysError::Broken { .. })), "{text}");
            assert!(add(&path, "b", None).is_err(), "it is not written over");
        }
    }
}
