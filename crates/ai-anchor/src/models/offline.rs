//! Models from a folder instead of the network: another machine's models, or Hugging Face's cache.
//!
//! A copy is checked like a download. In a folder of this program the record knows the checksums; in Hugging Face's
//! cache a file is a link to a blob that is named after its checksum
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::disk::Checksum;
use super::fetch::Part;
use super::hub::Listed;
use super::{FileRecord, Model, ModelError, Progress, Record, Repository, Step, file_error};

/// Most files and folders looked at in a cache: a model has dozens.
const MAX_ENTRIES: usize = 10_000;

/// Deepest folder looked into.
const MAX_DEPTH: usize = 8;

/// Copied at once.
const BLOCK: usize = 1024 * 1024;

/// What to do if a copy is wrong.
const REMEDY: &str = "copy it to the folder again";

/// One model in a folder to copy from.
#[derive(Debug)]
pub(super) struct Offline {
    /// Where its files lie.
    root: PathBuf,
}

impl Offline {
    /// Looks for the model in `from`, and lists its files.
    pub(super) fn open(from: &Path, model: &Model, repository: &Repository) -> Result<(Self, Vec<Listed>), ModelError> {
        let fail = |what: String| ModelError::Offline { folder: from.to_owned(), what };
        let own = model.folder_in(from);
        let record = Record::read(&own);
        if record.complete {
            if record.revision != repository.revision {
                let (has, needed) = (&record.revision, repository.revision);
                return Err(fail(format!("has revision {has} of {}, and {needed} is needed", repository.name)));
            }
            let listed = record.files.iter().map(listed).collect();
            return Ok((Self { root: own }, listed));
        }
        let cache = format!("models--{}", repository.name.replace('/', "--"));
        let snapshot =
            [from.join(&cache), from.join("hub").join(&cache)].iter().find_map(|folder| snapshot(folder, repository));
        if let Some(root) = snapshot {
            let mut listed = Vec::new();
            walk(&root, "", 0, &mut listed).map_err(fail)?;
            return Ok((Self { root }, listed));
        }
        Err(fail(format!(
            "has no {}: neither {} with the record of a finished pull, nor {cache} with revision {} as Hugging Face's \
             cache has it. Pull it on a machine with a network and copy its folder",
            model.name,
            own.file_name().unwrap_or_default().display(),
            repository.revision
        )))
    }

    /// Copies a file to `to` and checks it.
    pub(super) async fn copy(
        &self,
        repository: &Repository,
        file: &Listed,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<FileRecord, ModelError> {
        let from = self.root.join(&file.path);
        let part = Part::beside(to);
        let mut source = tokio::fs::File::open(&from).await.map_err(file_error("read", &from))?;
        let mut out = part.open(file, 0, None).await?;
        let (mut block, mut done) = (vec![0; BLOCK], 0);
        progress.step(Step::Begin { file: &file.path, bytes: file.size, done });
        loop {
            let read = source.read(&mut block).await.map_err(file_error("read", &from))?;
            if read == 0 {
                break;
            }
            out.write_all(&block[..read]).await.map_err(file_error("write", to))?;
            done += read as u64;
            progress.step(Step::Advance { file: &file.path, bytes: file.size, done });
        }
        out.flush().await.map_err(file_error("write", to))?;
        part.finish(repository.name, file, to, REMEDY, progress).await
    }
}

fn listed(file: &FileRecord) -> Listed {
    Listed { path: file.path.clone(), size: file.size, checksum: Checksum::Sha256(file.sha256.clone()) }
}

/// The files of a revision in a repository's folder of the cache.
fn snapshot(cache: &Path, repository: &Repository) -> Option<PathBuf> {
    let commit = std::fs::read_to_string(cache.join("refs").join(repository.revision)).ok();
    let commit = commit.as_deref().map_or(repository.revision, str::trim);
    let plain = commit.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some(cache.join("snapshots").join(commit)).filter(|path| plain && path.is_dir())
}

/// Lists what lies in a snapshot.
fn walk(folder: &Path, prefix: &str, depth: usize, listed: &mut Vec<Listed>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read at {}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        if listed.len() >= MAX_ENTRIES || depth >= MAX_DEPTH {
            return Err(format!("has more than a model's files in {}", folder.display()));
        }
        if entry.file_type().map_err(unreadable)?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), depth + 1, listed)?;
        } else {
            listed.push(blob(&entry, path)?);
        }
    }
    Ok(())
}

/// A file of a snapshot: the blob it links to tells its checksum.
fn blob(entry: &DirEntry, path: String) -> Result<Listed, String> {
    let target = std::fs::read_link(entry.path()).ok();
    let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let checksum = name.and_then(Checksum::parse);
    let size = std::fs::metadata(entry.path()).map(|about| about.len());
    match (checksum, size) {
        (Some(checksum), Ok(size)) => Ok(Listed { path, size, checksum }),
        _ => Err(format!(
            "has {}, which is no link to a blob, so that nothing tells whether it is whole. Copy the cache with its \
             links (cp -a)",
            entry.path().display()
        )),
    }
}
