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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::models::testing::{FakeHub, Fault, access, copy, entry, model, weights};
    use crate::models::{Damage, find, is_here, remove, verify};

    const QUIET: fn(Step<'_>) = |_| {};

    /// A server with the files of a small model, and more.
    async fn hub() -> FakeHub {
        FakeHub::start(&[
            ("README.md", b"read me"),
            ("config.json", b"{}"),
            ("weights/model-1.bin", &weights(300)),
            ("weights/model-2.bin", &weights(200)),
            ("other.bin", &weights(150)),
        ])
        .await
    }

    fn small() -> Model {
        model(&["config.json", "weights/*.bin"], &["LICENSE*"])
    }

    /// What comes of pulling from this server, as text.
    async fn refusal(hub: &FakeHub) -> String {
        let folder = tempfile::tempdir().unwrap();
        let error = pull(&small(), &access(folder.path(), hub), None, &QUIET).await.unwrap_err();
        assert!(!folder.path().join("test--model/config.json").exists());
        error.to_string().replace(&hub.address, "http://hub")
    }

    #[tokio::test]
    async fn what_is_wanted_comes_and_nothing_else() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let (model, access) = (small(), access(folder.path(), &hub));
        assert!(!is_here(&model, &access).await);
        let pulled = pull(&model, &access, None, &QUIET).await.unwrap();
        assert_eq!(pulled, Pulled { files: 3, bytes: 502, already: false });
        assert!(is_here(&model, &access).await);
        let place = folder.path().join("test--model");
        assert_eq!(std::fs::read(place.join("weights/model-1.bin")).unwrap(), weights(300));
        assert!(!place.join("other.bin").exists() && !place.join("README.md").exists());
        assert_eq!(remove(&model, &access).await.unwrap(), 502);
        assert!(!place.exists() && !is_here(&model, &access).await);
        assert_eq!(remove(&model, &access).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_list_may_come_in_pages() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let page = json!([entry("config.json", b"{}"), { "type": "directory", "path": "weights", "oid": "00" }]);
        // A mirror passes on Hugging Face's own address, and is asked itself.
        hub.list(200, page).next_page("https://huggingface.co/api/models/test/model/tree/main?cursor=2");
        hub.list(200, json!([entry("weights/model-1.bin", &weights(300))]));
        let pulled = pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
        assert_eq!(pulled.files, 2);
    }

    #[tokio::test]
    async fn the_token_goes_to_the_mirror_and_to_nobody_else() {
        let (hub, elsewhere, folder) = (hub().await, hub().await, tempfile::tempdir().unwrap());
        // Hugging Face renames on its own host, and sends large files from another one.
        hub.fault(Fault::Redirect("/renamed/model/resolve/main/config.json".into()));
        hub.fault(Fault::Redirect(format!("{}/blob/resolve/main/config.json", elsewhere.address)));
        pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
        let renamed = hub.seen().into_iter().find(|seen| seen.path.starts_with("/renamed/")).unwrap();
        assert_eq!(renamed.authorised.as_deref(), Some("Bearer hf_secret"));
        assert!(hub.seen().iter().all(|seen| seen.authorised.is_some()));
        let seen = elsewhere.seen();
        assert_eq!((seen.len(), &seen[0].authorised), (1, &None));
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("hf_secret\n").unwrap();
        assert_eq!(format!("{token:?} {:?}", token.header()), "Token(...) Sensitive");
        assert!(Token::new("  ").is_none() && Token::new("two\nlines").is_none());
    }

    #[tokio::test]
    async fn a_redirect_in_circles_comes_to_an_end() {
        let hub = hub().await;
        for _ in 0..20 {
            hub.fault(Fault::Redirect("/test/model/resolve/main/config.json".into()));
        }
        insta::assert_snapshot!(refusal(&hub).await, @"http://hub: it redirects more than 8 times. Check models.mirror");
    }

    #[tokio::test]
    async fn refusals_say_what_to_do() {
        let hub = hub().await;
        hub.list(401, Value::Null).list(403, Value::Null).list(404, Value::Null).list(200, json!({ "not": "a list" }));
        let mut texts = Vec::new();
        for _ in 0..4 {
            texts.push(refusal(&hub).await);
        }
        hub.fault(Fault::Status(403, "You have to be in the list of people who accepted"));
        texts.push(refusal(&hub).await);
        hub.fault(Fault::Status(404, ""));
        texts.push(refusal(&hub).await);
        let folder = tempfile::tempdir().unwrap();
        hub.list(401, Value::Null);
        let access = Access { token: None, ..access(folder.path(), &hub) };
        texts.push(pull(&small(), &access, None, &QUIET).await.unwrap_err().to_string());
        insta::assert_snapshot!(texts.join("\n"), @r#"
        test/model: the server answers 401. HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it, unless the repository is gone
        test/model: the server answers 403. HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it
        http://hub does not have test/model at revision main. Check models.mirror; on Hugging Face it may have moved
        http://hub: the list of test/model is not that of Hugging Face: invalid type: map, expected a sequence at line 1 column 0. Check models.mirror
        test/model: the server answers 403 and says "You have to be in the list of people who accepted". HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it
        http://hub does not have config.json of test/model at revision main. Check models.mirror; on Hugging Face it may have moved
        test/model: the server answers 401. Accept its licence at https://huggingface.co/test/model, make a token that may read at https://huggingface.co/settings/tokens, and set it as HF_TOKEN, unless the repository is gone
        "#);
    }

    #[tokio::test]
    async fn evil_and_broken_lists_are_refused_before_anything_is_written() {
        let hub = hub().await;
        let with =
            |path: &str| json!([entry("config.json", b"{}"), entry("weights/a.bin", b"a"), entry(path, b"evil")]);
        let mut texts = Vec::new();
        for path in ["../../.ssh/authorized_keys", "/etc/passwd", "weights/..\\x.bin", "weights/ü.bin", "config.json"]
        {
            hub.list(200, with(path));
            texts.push(refusal(&hub).await);
        }
        hub.list(200, json!([entry("config.json", b"{}")]));
        texts.push(refusal(&hub).await);
        hub.list(200, json!([{ "type": "file", "path": "config.json", "size": 2, "oid": "?" }]));
        texts.push(refusal(&hub).await);
        hub.list(200, (0..10_001).map(|index| entry(&index.to_string(), b"")).collect());
        texts.push(refusal(&hub).await);
        insta::assert_snapshot!(texts.join("\n"), @r#"
        the list of files of test/model is refused: it names "../../.ssh/authorized_keys". Check that models.mirror is a server you trust
        the list of files of test/model is refused: it names "/etc/passwd". Check that models.mirror is a server you trust
        the list of files of test/model is refused: it names "weights/..\\x.bin". Check that models.mirror is a server you trust
        the list of files of test/model is refused: "weights/ü.bin" is no name for a file of a model. Check that models.mirror is a server you trust
        the list of files of test/model is refused: it names config.json twice. Check that models.mirror is a server you trust
        the list of files of test/model is refused: it has no weights/*.bin, so this is not the model that was expected. Check that models.mirror is a server you trust
        the list of files of test/model is refused: config.json has no checksum but "?". Check that models.mirror is a server you trust
        the list of files of test/model is refused: it has more than 10000 files or 100 pages. Check that models.mirror is a server you trust
        "#);
    }

    #[tokio::test]
    async fn without_room_nothing_is_fetched() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let access = Access { free_space: |_| Ok(100_000_000), ..access(folder.path(), &hub) };
        let error = pull(&small(), &access, None, &QUIET).await.unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(folder.path().to_str().unwrap(), "/models"), @"tested needs 536.87 MB more in /models, where 100.00 MB are free. Make room, or choose another folder with models.path");
        assert_eq!(hub.ranges(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn a_licence_is_accepted_once_and_that_is_written_down() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let higgs = find("higgs").unwrap();
        let model = Model { licence: higgs.licence, ..small() };
        let access = access(folder.path(), &hub);
        let refused = pull(&model, &access, None, &QUIET).await.unwrap_err();
        assert!(matches!(refused, ModelError::LicenceNotAccepted { .. }), "{refused}");
        assert!(hub.seen().is_empty());
        hub.fault(Fault::Status(404, ""));
        pull(&model, &access, Some("alex"), &QUIET).await.unwrap_err();
        pull(&model, &access, None, &QUIET).await.unwrap();
        let accepted = Record::read(&folder.path().join("test--model")).licence.unwrap();
        assert_eq!((&*accepted.name, &*accepted.by), (higgs.licence.name, "alex"));
        accepted.at.parse::<jiff::Timestamp>().unwrap();
    }

    #[tokio::test]
    async fn what_verify_finds_the_next_pull_mends() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let (model, access) = (small(), access(folder.path(), &hub));
        pull(&model, &access, None, &QUIET).await.unwrap();
        assert_eq!(verify(&model, &access, &QUIET).await.unwrap(), []);
        let place = folder.path().join("test--model");
        let mut bent = weights(300);
        bent[123] ^= 1;
        std::fs::write(place.join("weights/model-1.bin"), bent).unwrap();
        std::fs::remove_file(place.join("weights/model-2.bin")).unwrap();
        std::fs::write(place.join("config.json"), "{} ").unwrap();
        let found: Vec<String> = verify(&model, &access, &QUIET).await.unwrap().iter().map(Damage::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @"
        config.json is damaged: it has 3 bytes instead of 2
        weights/model-1.bin is damaged: its SHA-256 is 331da66b9cc4bb1a1a024027a748b535c45195eca41c0f1301f8f270b970cde2 instead of b3809bdab490a15cf145409b9c055f4b093b6118ac349fa6817baedf103cac1b
        weights/model-2.bin is missing
        ");
        assert!(!is_here(&model, &access).await);
        let asked = hub.ranges().len();
        pull(&model, &access, None, &QUIET).await.unwrap();
        assert_eq!(hub.ranges().len() - asked, 3);
        assert_eq!(verify(&model, &access, &QUIET).await.unwrap(), []);
        assert_eq!(std::fs::read(place.join("weights/model-1.bin")).unwrap(), weights(300));
    }

    #[tokio::test]
    async fn a_file_that_somebody_put_there_is_used_if_it_is_the_right_one() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let place = folder.path().join("test--model/weights");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("model-1.bin"), weights(300)).unwrap();
        std::fs::write(place.join("model-2.bin"), [0; 200]).unwrap();
        pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
        assert_eq!(hub.ranges().len(), 2);
        assert_eq!(std::fs::read(place.join("model-2.bin")).unwrap(), weights(200));
    }

    #[tokio::test]
    async fn another_pull_of_the_same_model_is_told() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        hub.fault(Fault::Stall);
        let (model, access) = (small(), access(folder.path(), &hub));
        let begun = tokio::sync::Notify::new();
        let progress = |step: Step<'_>| {
            if let Step::Begin { .. } = step {
                begun.notify_one();
            }
        };
        let second = async {
            begun.notified().await;
            pull(&model, &access, None, &QUIET).await
        };
        let (first, second) = tokio::join!(pull(&model, &access, None, &progress), second);
        first.unwrap();
        assert!(matches!(second, Err(ModelError::Busy { .. })), "{second:?}");
    }

    #[tokio::test]
    async fn a_folder_of_models_is_copied_and_checked_without_a_network() {
        let (hub, from, folder) = (hub().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = small();
        pull(&model, &access(from.path(), &hub), None, &QUIET).await.unwrap();
        let asked = hub.seen().len();
        let offline = Access { from: Some(from.path().to_owned()), ..access(folder.path(), &hub) };
        assert_eq!(pull(&model, &offline, None, &QUIET).await.unwrap().bytes, 502);
        assert_eq!(verify(&model, &offline, &QUIET).await.unwrap(), []);
        remove(&model, &offline).await.unwrap();
        std::fs::write(from.path().join("test--model/weights/model-1.bin"), [7; 300]).unwrap();
        let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
        insta::assert_snapshot!(error, @"weights/model-1.bin of test/model is not what was announced: its checksum is d677143e1431e8bb62b612cc7bb2c06a5eabe3d673f93a47113f2621aabaf421 instead of b3809bdab490a15cf145409b9c055f4b093b6118ac349fa6817baedf103cac1b. It was thrown away; copy it to the folder again");
        assert_eq!(hub.seen().len(), asked);
    }

    /// Hugging Face's cache with the files of [`small`].
    fn cache(root: &Path) {
        let commit = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
        let repository = root.join("hub/models--test--model");
        let snapshot = repository.join("snapshots").join(commit);
        std::fs::create_dir_all(snapshot.join("weights")).unwrap();
        std::fs::create_dir_all(repository.join("blobs")).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), commit).unwrap();
        let files = [("config.json", b"{}".to_vec()), ("weights/model-1.bin", weights(300))];
        for (path, content) in files {
            let about = entry(path, &content);
            let name = about["lfs"]["oid"].as_str().or(about["oid"].as_str()).unwrap();
            let blob = repository.join("blobs").join(name);
            std::fs::write(&blob, content).unwrap();
            std::os::unix::fs::symlink(blob, snapshot.join(path)).unwrap();
        }
    }

    #[tokio::test]
    async fn hugging_faces_cache_is_copied_and_checked_by_the_names_of_its_blobs() {
        let (hub, from, folder) = (hub().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (model, name) = (small(), from.path().to_str().unwrap());
        let offline = Access { from: Some(from.path().to_owned()), ..access(folder.path(), &hub) };
        let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(name, "/disk"), @"/disk has no tested: neither test--model with the record of a finished pull, nor models--test--model with revision main as Hugging Face's cache has it. Pull it on a machine with a network and copy its folder");
        cache(from.path());
        assert_eq!(pull(&model, &offline, None, &QUIET).await.unwrap().bytes, 302);
        remove(&model, &offline).await.unwrap();
        let snapshot = from.path().join("hub/models--test--model/snapshots/c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00");
        std::fs::remove_file(snapshot.join("config.json")).unwrap();
        std::fs::write(snapshot.join("config.json"), "{}").unwrap();
        let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(name, "/disk"), @"/disk has /disk/hub/models--test--model/snapshots/c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00/config.json, which is no link to a blob, so that nothing tells whether it is whole. Copy the cache with its links (cp -a)");
        assert!(hub.seen().is_empty());
    }

    #[tokio::test]
    async fn ollamas_models_cannot_be_copied_for_it() {
        let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
        let model = Model { source: Source::Ollama("hf.co/a/b:Q4"), ..copy(find("mistral-small").unwrap()) };
        let tags = axum::Router::new().fallback(|| async { r#"{"models":[]}"# });
        let offline = Access {
            from: Some("/disk".into()),
            ollama: crate::models::testing::serve(tags).await,
            ..access(folder.path(), &hub)
        };
        insta::assert_snapshot!(pull(&model, &offline, None, &QUIET).await.unwrap_err(), @"/disk is not asked for mistral-small, because Ollama keeps its models itself. Copy the folder that OLLAMA_MODELS names (usually ~/.ollama/models) from a machine that has it");
    }

    #[test]
    fn a_pull_can_be_moved_to_another_thread() {
        fn sendable<T: Send>(_: &T) {}
        let config = Config::of(&crate::config::PROFILES[0]);
        let access = Access::of(&config);
        sendable(&pull(find("voxtral").unwrap(), &access, None, &QUIET));
    }
}
