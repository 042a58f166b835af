//! What can go wrong with models.

use std::io;
use std::path::PathBuf;

use indicatif::DecimalBytes;

use super::CATALOGUE;

/// Why a model could not be got, checked or removed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model has the name given.
    #[error("there is no model called '{name}'{}. There is: {}", nearest(name), names())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Nobody accepted its licence.
    #[error(
        "the licence of {model} has to be accepted before it is downloaded: {licence}, {address}. Read it, then run the \
         command at a terminal or with --accept-licence"
    )]
    LicenceNotAccepted {
        /// The model.
        model: &'static str,
        /// Its licence.
        licence: &'static str,
        /// Where that can be read.
        address: &'static str,
    },
    /// Another program is pulling or removing it now.
    #[error("{model} is being changed by another ai-anchor. Wait until it is done; its lock is {}", lock.display())]
    Busy {
        /// The model.
        model: &'static str,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// There is not enough room.
    #[error(
        "{model} needs {} more in {}, where {} are free. Make room, or choose another folder with models.path",
        DecimalBytes(*need), folder.display(), DecimalBytes(*free)
    )]
    NoRoom {
        /// The model.
        model: &'static str,
        /// The folder of the models.
        folder: PathBuf,
        /// Bytes needed, with a reserve.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// The server does not give it to this person.
    #[error("{repository}: the server answers {status}{}. {}", said(message), forbidden(repository, *status, *token))]
    Forbidden {
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// What the server says.
        message: String,
        /// A token was sent.
        token: bool,
    },
    /// The server does not have it.
    #[error(
        "{address} does not have {what} at revision {revision}. Check models.mirror; on Hugging Face it may have moved"
    )]
    NotFound {
        /// The server.
        address: String,
        /// The repository, and the file if only that is missing.
        what: String,
        /// Branch or commit.
        revision: String,
    },
    /// The server answers something that cannot be used, and would again.
    #[error("{address}: {what}")]
    Server {
        /// The server.
        address: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The server was asked often enough.
    #[error(
        "{what} could not be downloaded in {attempts} attempts, the last of which failed because {reason}. Run the same command again to go on where it stopped"
    )]
    GaveUp {
        /// Repository and file.
        what: String,
        /// How often it was tried without getting on.
        attempts: u32,
        /// What happened last.
        reason: String,
    },
    /// What was downloaded or copied is not what was announced.
    #[error(
        "{what} is not what was announced: its checksum is {got} instead of {expected}. It was thrown away; {remedy}"
    )]
    Checksum {
        /// Repository and file.
        what: String,
        /// What its list says.
        expected: String,
        /// What came.
        got: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A server's list of files is one no honest server sends.
    #[error("the list of files of {repository} is refused: {what}. Check that models.mirror is a server you trust")]
    List {
        /// The repository.
        repository: String,
        /// What is wrong with it.
        what: String,
    },
    /// The folder to copy from does not have it.
    #[error("{} {what}", folder.display())]
    Offline {
        /// The folder.
        folder: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Ollama cannot be used.
    #[error("Ollama at {address}: {what}")]
    Ollama {
        /// Where it was asked.
        address: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Files are damaged or missing.
    #[error("damaged or missing: {count} {}. Mend it: ai-anchor models pull {}", if *count == 1 { "file" } else { "files" }, models.join(" "))]
    Damaged {
        /// How many files.
        count: usize,
        /// The models they belong to.
        models: Vec<&'static str>,
    },
    /// Somebody stopped it.
    #[error("stopped. Run the same command again to go on where it stopped")]
    Stopped,
    /// A file or folder cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// `read`, `write`, `lock` or `remove`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn names() -> String {
    CATALOGUE.iter().map(|model| model.name).collect::<Vec<_>>().join(", ")
}

/// A known name so similar that it was probably meant.
fn nearest(name: &str) -> String {
    let similarity = |known: &str| strsim::jaro_winkler(name, known);
    let best = CATALOGUE.iter().map(|model| model.name).max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    // Below this the names merely share some letters.
    best.filter(|best| similarity(best) > 0.8).map_or_else(String::new, |best| format!(" (did you mean '{best}'?)"))
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" and says \"{message}\"") }
}

fn forbidden(repository: &str, status: u16, token: bool) -> String {
    let page = format!("https://huggingface.co/{repository}");
    // Hugging Face does not tell strangers whether a repository exists.
    let unless = if status == 401 { ", unless the repository is gone" } else { "" };
    if token {
        format!("HF_TOKEN was sent: check at {page} that its account has accepted the licence and may read it{unless}")
    } else {
        format!(
            "Accept its licence at {page}, make a token that may read at https://huggingface.co/settings/tokens, and \
             set it as HF_TOKEN{unless}"
        )
    }
}
