//! Pulling a model: what is missing is brought here and checked, what is here is left alone.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use reqwest::header::HeaderValue;

use super::disk::{Checksum, Checksums, Lock, check_room, free_space};
use super::fetch::{Part, fetch, pause};
use super::hub::{Hub, Listed, Trouble, refused};
use super::offline::Offline;
use super::{
    Acceptance, FileRecord, Model, ModelError, Presence, Progress, Record, Repository, Source, Step, file_error, names,
    ollama,
};
use crate::config::Config;
use crate::servers;

/// Where models are looked for, and how long for.
#[derive(Clone, Debug)]
pub struct Access {
    /// The folder the models lie in.
    pub folder: PathBuf,
    /// Base address of Hugging Face or of a mirror.
    pub mirror: String,
    /// What opens repositories that want an account.
    pub token: Option<Token>,
    /// A folder to copy from instead of asking the network.
    pub from: Option<PathBuf>,
    /// Address of Ollama.
    pub ollama: String,
    /// How long to wait, and how often to try.
    pub patience: Patience,
    /// How many bytes can be written to a folder.
    pub free_space: fn(&Path) -> io::Result<u64>,
}

impl Access {
    /// As the configuration and the variable `HF_TOKEN` say.
    pub fn of(config: &Config) -> Self {
        let offline = &config.models.offline;
        Self {
            folder: super::folder(config),
            mirror: config.models.mirror.clone(),
            token: std::env::var("HF_TOKEN").ok().and_then(|token| Token::new(&token)),
            from: (!offline.is_empty()).then(|| PathBuf::from(offline)),
            ollama: servers::ollama(config),
            patience: Patience::default(),
            free_space,
        }
    }
}

/// A token of Hugging Face. It is never shown.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// `None` if there is nothing in it, or something that cannot be sent.
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| !token.is_empty())?;
        header.set_sensitive(true);
        Some(Self(header))
    }

    /// The value of `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

/// How long to wait for a server, and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Nothing heard for this long means that the connection is dead.
    pub stall: Duration,
    /// Attempts in a row that bring nothing before it is given up.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles each time, up to half a minute.
    pub first_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), attempts: 6, first_wait: Duration::from_secs(1) }
    }
}

/// What a pull came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Files the model has; 0 for what Ollama keeps.
    pub files: usize,
    /// Bytes the model has.
    pub bytes: u64,
    /// It was here before.
    pub already: bool,
}

/// Brings a model here, unless it is here. Where its licence has to be accepted, `accepted_by` names the user who did
/// that now; an earlier acceptance is remembered. Can be dropped at any time: the next call goes on where it stopped.
pub async fn pull(
    model: &Model,
    access: &Access,
    accepted_by: Option<&str>,
    progress: &dyn Progress,
) -> Result<Pulled, ModelError> {
    let folder = model.folder_in(&access.folder);
    let _lock = Lock::take(model, &access.folder)?;
    let record = licensed(model, &folder, accepted_by)?;
    match &model.source {
        Source::Ollama(name) => ollama_pull(model, name, access, progress).await,
        Source::HuggingFace(repository) => {
            if let Presence::Here { bytes } = super::check::presence_of(repository, &folder) {
                return Ok(Pulled { files: record.files.len(), bytes, already: true });
            }
            files(model, repository, &folder, record, access, progress).await
        }
    }
}

/// The model's record, with who accepted the licence written down.
fn licensed(model: &Model, folder: &Path, accepted_by: Option<&str>) -> Result<Record, ModelError> {
    let mut record = Record::read(folder);
    let licence = model.licence;
    if !licence.must_be_accepted || record.licence.as_ref().is_some_and(|accepted| accepted.name == licence.name) {
        return Ok(record);
    }
    let Some(by) = accepted_by else {
        return Err(ModelError::LicenceNotAccepted {
            model: model.name,
            licence: licence.name,
            address: licence.address,
        });
    };
    record.licence =
        Some(Acceptance { name: licence.name.into(), by: by.into(), at: jiff::Timestamp::now().to_string() });
    std::fs::create_dir_all(folder).map_err(file_error("write", folder))?;
    record.write(folder)?;
    Ok(record)
}

async fn ollama_pull(
    model: &Model,
    name: &str,
    access: &Access,
    progress: &dyn Progress,
) -> Result<Pulled, ModelError> {
    if let Some(bytes) = ollama::size_of(&access.ollama, name, access.patience).await? {
        return Ok(Pulled { files: 0, bytes, already: true });
    }
    if let Some(from) = &access.from {
        let what = format!(
            "is not asked for {}, because Ollama keeps its models itself. Copy the folder that OLLAMA_MODELS names (usually \
             ~/.ollama/models) from a machine that has it",
            model.name
        );
        return Err(ModelError::Offline { folder: from.clone(), what });
    }
    ollama::pull(&access.ollama, name, access.patience, progress).await?;
    let bytes = ollama::size_of(&access.ollama, name, access.patience).await?.unwrap_or(model.bytes);
    Ok(Pulled { files: 0, bytes, already: false })
}

/// Where the files come from.
enum Origin<'a> {
    Network(Hub<'a>),
    Folder(Offline),
}

async fn files(
    model: &Model,
    repository: &Repository,
    folder: &Path,
    mut record: Record,
    access: &Access,
    progress: &dyn Progress,
) -> Result<Pulled, ModelError> {
    progress.step(Step::List { model: model.name });
    let (origin, listed) = match &access.from {
        Some(from) => {
            let (offline, listed) = Offline::open(from, model, repository)?;
            (Origin::Folder(offline), listed)
        }
        None => {
            let hub = Hub::new(access)?;
            let listed = list(&hub, repository, progress).await?;
            (Origin::Network(hub), listed)
        }
    };
    let wanted = wanted(repository, &listed)?;
    let bytes = wanted.iter().fold(0_u64, |sum, (file, _)| sum.saturating_add(file.size));

    begin(&mut record, repository, folder)?;
    let mut missing = Vec::new();
    for (file, path) in wanted.iter().cloned() {
        let to = folder.join(path);
        match in_place(&file, &to, &record, progress).await? {
            Some(known) => record.note(known),
            None => missing.push((file, to)),
        }
    }
    let here = |file: &Listed, to: &Path| Part::beside(to).length_of(file);
    let more = missing.iter().fold(0_u64, |sum, (file, to)| sum.saturating_add(file.size - here(file, to)));
    check_room(model, &access.folder, more, access.free_space)?;
    for (file, to) in &missing {
        make_folder_of(to)?;
        let known = match &origin {
            Origin::Network(hub) => fetch(hub, repository, file, to, progress).await?,
            Origin::Folder(offline) => offline.copy(repository, file, to, progress).await?,
        };
        record.note(known);
        record.write(folder)?;
    }
    record.files.retain(|file| wanted.iter().any(|(wanted, _)| wanted.path == file.path));
    record.complete = true;
    record.write(folder)?;
    Ok(Pulled { files: wanted.len(), bytes, already: false })
}

/// The list of a server, asked for until it comes.
async fn list(hub: &Hub<'_>, repository: &Repository, progress: &dyn Progress) -> Result<Vec<Listed>, ModelError> {
    let mut attempts = 0;
    loop {
        let reason = match hub.list(repository).await {
            Ok(listed) => return Ok(listed),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => reason,
        };
        attempts += 1;
        let Patience { first_wait, attempts: enough, .. } = hub.patience();
        if attempts >= enough {
            let what = format!("the list of files of {}", repository.name);
            return Err(ModelError::GaveUp { what, attempts, reason });
        }
        pause(first_wait, attempts, repository.name, &reason, progress).await;
    }
}

/// The files to bring, each with its path on this disk.
fn wanted(repository: &Repository, listed: &[Listed]) -> Result<Vec<(Listed, PathBuf)>, ModelError> {
    let matches = |pattern: &&str| listed.iter().any(|file| names::matches(pattern, &file.path));
    if let Some(pattern) = repository.required.iter().find(|pattern| !matches(pattern)) {
        let what = format!("it has no {pattern}, so this is not the model that was expected");
        return Err(refused(repository, what));
    }
    let patterns = || repository.required.iter().chain(repository.optional);
    let mut wanted: Vec<(Listed, PathBuf)> = Vec::new();
    for file in listed.iter().filter(|file| patterns().any(|pattern| names::matches(pattern, &file.path))) {
        let path = names::plain(&file.path);
        let path =
            path.ok_or_else(|| refused(repository, format!("{:?} is no name for a file of a model", file.path)))?;
        if wanted.iter().any(|(_, other)| *other == path) {
            return Err(refused(repository, format!("it names {} twice", file.path)));
        }
        wanted.push((file.clone(), path));
    }
    Ok(wanted)
}

/// Marks the model as unfinished.
fn begin(record: &mut Record, repository: &Repository, folder: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(folder).map_err(file_error("write", folder))?;
    record.repository = repository.name.into();
    record.revision = repository.revision.into();
    record.complete = false;
    record.write(folder)
}

/// What is known of a file that is here and whole. One that the record vouches for is not read again.
async fn in_place(
    file: &Listed,
    to: &Path,
    record: &Record,
    progress: &dyn Progress,
) -> Result<Option<FileRecord>, ModelError> {
    if !std::fs::metadata(to).is_ok_and(|about| about.is_file() && about.len() == file.size) {
        return Ok(None);
    }
    let vouched = record.file(&file.path).filter(|known| !known.damaged && known.size == file.size);
    if let (Some(known), Checksum::Sha256(expected)) = (vouched, &file.checksum)
        && known.sha256 == *expected
    {
        return Ok(Some(known.clone()));
    }
    let sums = Checksums::of(to, &file.path, progress).await?;
    let whole = sums.like(&file.checksum) == file.checksum.digits();
    Ok(whole.then(|| FileRecord { path: file.path.clone(), size: sums.size, sha256: sums.sha256, damaged: false }))
}

fn make_folder_of(file: &Path) -> Result<(), ModelError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(file_error("write", folder))
}

#[cfg(test)]
mod tests;
