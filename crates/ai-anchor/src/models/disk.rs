//! The disk: how much room there is, who may write, and what a file's checksum is.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;

use super::{Model, ModelError, Progress, Step, file_error};

/// Left free for others, so that a download does not stop the machine.
const RESERVE: u64 = 512 * 1024 * 1024;

/// Read at once while hashing: enough that asking the system costs nothing beside it.
const BLOCK: usize = 1024 * 1024;

/// Bytes this user can still write at `path`, or at the nearest folder above it that exists.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let about = rustix::fs::statvfs(there)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Fails if `bytes` more do not fit.
pub(super) fn check_room(
    model: &Model,
    folder: &Path,
    bytes: u64,
    free: fn(&Path) -> io::Result<u64>,
) -> Result<(), ModelError> {
    if bytes == 0 {
        return Ok(());
    }
    let free = free(folder).map_err(file_error("read", folder))?;
    let need = bytes.saturating_add(RESERVE);
    if free < need {
        return Err(ModelError::NoRoom { model: model.name, folder: folder.to_owned(), need, free });
    }
    Ok(())
}

/// The right to change a model's files, until it is dropped or the process ends, however it does.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, and let go when dropped")] File);

impl Lock {
    /// Takes it, or says that somebody else has it. The models' folder is made if there is none.
    pub(super) fn take(model: &Model, models: &Path) -> Result<Self, ModelError> {
        std::fs::create_dir_all(models).map_err(file_error("write", models))?;
        let path = models.join(format!(".{}.lock", model.name));
        let file = File::create(&path).map_err(file_error("lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(ModelError::Busy { model: model.name, lock: path }),
            Err(TryLockError::Error(source)) => Err(ModelError::File { what: "lock", path, source }),
        }
    }
}

/// What a file's content has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// SHA-256 of the content, as Git LFS names large files.
    Sha256(String),
    /// SHA-1 of the content after a header with its length, as git names small files.
    GitBlob(String),
}

impl Checksum {
    /// A checksum as hexadecimal digits. The length tells which.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.len() {
            64 if hexadecimal => Some(Self::Sha256(digits)),
            40 if hexadecimal => Some(Self::GitBlob(digits)),
            _ => None,
        }
    }

    pub(super) fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }
}

/// Both checksums of a file.
#[derive(Debug)]
pub(super) struct Checksums {
    pub(super) size: u64,
    pub(super) sha256: String,
    git_blob: String,
}

impl Checksums {
    /// Reads all of the file at `path`, called `name` before people.
    pub(super) async fn of(path: &Path, name: &str, progress: &dyn Progress) -> Result<Self, ModelError> {
        let failed = file_error("read", path);
        Self::read(path, name, progress).await.map_err(failed)
    }

    async fn read(path: &Path, name: &str, progress: &dyn Progress) -> io::Result<Self> {
        let mut file = tokio::fs::File::open(path).await?;
        let size = file.metadata().await?.len();
        let (mut sha256, mut git_blob) = (Sha256::new(), Sha1::new());
        git_blob.update(format!("blob {size}\0"));
        let (mut block, mut done) = (vec![0; BLOCK], 0);
        loop {
            progress.step(Step::Check { file: name, bytes: size, done });
            let read = file.read(&mut block).await?;
            if read == 0 {
                break;
            }
            sha256.update(&block[..read]);
            git_blob.update(&block[..read]);
            done += read as u64;
        }
        Ok(Self { size: done, sha256: hexadecimal(&sha256.finalize()), git_blob: hexadecimal(&git_blob.finalize()) })
    }

    /// The one of them that `expected` is about.
    pub(super) fn like(&self, expected: &Checksum) -> &str {
        match expected {
            Checksum::Sha256(_) => &self.sha256,
            Checksum::GitBlob(_) => &self.git_blob,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::CATALOGUE;

    #[tokio::test]
    async fn checksums_are_those_of_sha256sum_and_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        let sums = Checksums::of(&path, "hello", &|_: Step<'_>| {}).await.unwrap();
        // `printf 'hello\n' | sha256sum`, and `printf 'hello\n' | git hash-object --stdin`
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!((sums.size, sums.like(&Checksum::parse(git).unwrap()), &*sums.sha256), (6, git, sha256));
        assert_eq!(sums.like(&Checksum::parse(&format!("sha256:{sha256}")).unwrap()), sha256);
        for wrong in ["", "ce01", &"g".repeat(40), &"a".repeat(41)] {
            assert_eq!(Checksum::parse(wrong), None);
        }
    }

    #[test]
    fn a_full_disk_is_told_in_numbers() {
        let folder = Path::new("/models");
        let check = |bytes, free| check_room(&CATALOGUE[0], folder, bytes, free);
        insta::assert_snapshot!(check(9_370_000_000, |_| Ok(4_000_000_000)).unwrap_err(), @"voxtral needs 9.91 GB more in /models, where 4.00 GB are free. Make room, or choose another folder with models.path");
        check(1000, |_| Ok(600 * 1024 * 1024)).unwrap();
        check(0, |_| Ok(0)).unwrap();
        assert!(free_space(Path::new("/nowhere/at/all")).unwrap() > 0);
    }

    #[test]
    fn one_at_a_time_changes_a_model() {
        let models = tempfile::tempdir().unwrap();
        let held = Lock::take(&CATALOGUE[0], models.path()).unwrap();
        let refused = Lock::take(&CATALOGUE[0], models.path()).unwrap_err().to_string();
        insta::assert_snapshot!(refused.replace(models.path().to_str().unwrap(), "/models"), @"voxtral is being changed by another ai-anchor. Wait until it is done; its lock is /models/.voxtral.lock");
        Lock::take(&CATALOGUE[1], models.path()).unwrap();
        drop(held);
        Lock::take(&CATALOGUE[0], models.path()).unwrap();
    }
}
