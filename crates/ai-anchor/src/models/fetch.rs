//! One file, fetched as a whole or from where it stopped, and checked before it gets its name.
//!
//! What has come lies in `FILE.part`; `FILE.part.json` says of which content it is a part. A file that changed on the
//! server in between is never stitched: the checksum in the server's list and the entity tag both have to be the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::disk::Checksums;
use super::hub::{Hub, Listed, Trouble, reason};
use super::{FileRecord, ModelError, Progress, Repository, Step, file_error};

/// An attempt that brought this much counts as success, however it ended, so that a large file comes over a bad line.
const GETTING_ON: u64 = 16 * 1024 * 1024;

/// Longest pause between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// What to do about a wrong checksum.
const REMEDY: &str = "if another pull ends like this, the copy on the server is damaged or was tampered with";

/// Brings `file` to `to`.
pub(super) async fn fetch(
    hub: &Hub<'_>,
    repository: &Repository,
    file: &Listed,
    to: &Path,
    progress: &dyn Progress,
) -> Result<FileRecord, ModelError> {
    let part = Part::beside(to);
    let (mut failures, mut mismatched) = (0, false);
    loop {
        let before = part.length();
        let reason = match attempt(hub, repository, file, &part, progress).await {
            Ok(()) => match part.finish(repository.name, file, to, REMEDY, progress).await {
                // What was stitched from two attempts may be wrong where the whole is not.
                Err(error @ ModelError::Checksum { .. }) if !mismatched => {
                    mismatched = true;
                    error.to_string()
                }
                finished => return finished,
            },
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => reason,
        };
        failures = if part.length() >= before + GETTING_ON { 1 } else { failures + 1 };
        let patience = hub.patience();
        if failures >= patience.attempts {
            let what = format!("{} of {}", file.path, repository.name);
            return Err(ModelError::GaveUp { what, attempts: failures, reason });
        }
        pause(patience.first_wait, failures, &file.path, &reason, progress).await;
    }
}

/// Waits before the next attempt, twice as long each time.
pub(super) async fn pause(first: Duration, failures: u32, file: &str, reason: &str, progress: &dyn Progress) {
    // More doublings than this are longer than the longest wait.
    let wait = (first * 2_u32.pow((failures - 1).min(10))).min(MAX_WAIT);
    progress.step(Step::Retry { file, reason, wait_ms: wait.as_millis() as u64 });
    tokio::time::sleep(wait).await;
}

/// Asks for what is missing, and appends it.
async fn attempt(
    hub: &Hub<'_>,
    repository: &Repository,
    file: &Listed,
    part: &Part,
    progress: &dyn Progress,
) -> Result<(), Trouble> {
    let known = part.of(file);
    let done = if known.is_some() { part.length() } else { 0 };
    if known.is_some() && done == file.size {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    let tag = known.and_then(|known| known.etag);
    if done > 0 {
        headers.insert(RANGE, HeaderValue::from_str(&format!("bytes={done}-")).expect("a number can be sent"));
        if let Some(tag) = tag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(IF_RANGE, tag);
        }
    }
    let response = hub.file(repository, &file.path, headers).await?;
    let start = start_of(&response, file, done, tag.as_deref(), part)?;
    let mut out = part.open(file, start, strong_tag(&response)).await?;
    progress.step(Step::Begin { file: &file.path, bytes: file.size, done: start });
    let outcome = append(response, file, start, &mut out, &part.path, hub.patience().stall, progress).await;
    if matches!(outcome, Err(Overflow::TooMuch)) {
        part.discard();
    }
    Ok(outcome?)
}

/// Where in the file the answer begins, or why it cannot be appended. A part that does not go with it is thrown away.
fn start_of(response: &Response, file: &Listed, done: u64, tag: Option<&str>, part: &Part) -> Result<u64, Trouble> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let expected = format!("bytes {done}-{}/{}", file.size.saturating_sub(1), file.size);
        if range != expected {
            part.discard();
            return Err(Trouble::Passing(format!("the server sends \"{range}\" instead of \"{expected}\"")));
        }
        if let (Some(new), Some(old)) = (strong_tag(response), tag)
            && new != old
        {
            part.discard();
            return Err(Trouble::Passing("the file changed on the server".into()));
        }
        return Ok(done);
    }
    if response.status() != StatusCode::OK {
        part.discard();
        return Err(Trouble::Passing(format!("the server answers {}", response.status())));
    }
    // The server ignores ranges, or the file is another one now: from the beginning.
    match response.content_length() {
        Some(length) if length != file.size => {
            let what = format!("the server announces {length} bytes, and its list says {}", file.size);
            Err(Trouble::Passing(what))
        }
        _ => Ok(0),
    }
}

/// Why nothing more is appended.
enum Overflow {
    /// More came than the file is long.
    TooMuch,
    Other(Trouble),
}

impl From<Overflow> for Trouble {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::TooMuch => Self::Passing("the server sends more than its list says".into()),
            Overflow::Other(trouble) => trouble,
        }
    }
}

async fn append(
    mut response: Response,
    file: &Listed,
    start: u64,
    out: &mut File,
    path: &Path,
    stall: Duration,
    progress: &dyn Progress,
) -> Result<(), Overflow> {
    let passing = |what: String| Overflow::Other(Trouble::Passing(what));
    let mut done = start;
    loop {
        let bytes = match tokio::time::timeout(stall, response.chunk()).await {
            Err(_) => return Err(passing(format!("nothing came for {} seconds", stall.as_secs_f32()))),
            Ok(Err(error)) => return Err(passing(reason(&error))),
            Ok(Ok(None)) if done < file.size => {
                return Err(passing(format!("the connection ended after {done} of {} bytes", file.size)));
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(bytes))) => bytes,
        };
        done += bytes.len() as u64;
        if done > file.size {
            return Err(Overflow::TooMuch);
        }
        // Flushed, because what is handed over and not written is lost if the download is stopped.
        let written = write(out, &bytes).await.map_err(file_error("write", path));
        written.map_err(|error| Overflow::Other(error.into()))?;
        progress.step(Step::Advance { file: &file.path, bytes: file.size, done });
    }
}

async fn write(out: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    out.write_all(bytes).await?;
    out.flush().await
}

/// The entity tag, if it promises that equal tags mean equal bytes (RFC 9110, section 8.8.1).
fn strong_tag(response: &Response) -> Option<String> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    (!tag.starts_with("W/")).then(|| tag.to_owned())
}

/// A file that is not whole yet.
pub(super) struct Part {
    path: PathBuf,
    about: PathBuf,
}

/// What it is a part of.
#[derive(Serialize, Deserialize)]
struct About {
    checksum: String,
    etag: Option<String>,
}

impl Part {
    pub(super) fn beside(to: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self { path: with(".part"), about: with(".part.json") }
    }

    /// Its length in bytes; 0 if there is none.
    pub(super) fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |about| about.len())
    }

    /// What it is known to be a part of, if that is `file`.
    fn of(&self, file: &Listed) -> Option<About> {
        let about: About = serde_json::from_slice(&std::fs::read(&self.about).ok()?).ok()?;
        (about.checksum == file.checksum.digits() && self.length() <= file.size).then_some(about)
    }

    /// How much of `file` it holds.
    pub(super) fn length_of(&self, file: &Listed) -> u64 {
        self.of(file).map_or(0, |_| self.length())
    }

    /// Opened to be written from `start` on, with nothing behind.
    pub(super) async fn open(&self, file: &Listed, start: u64, etag: Option<String>) -> Result<File, ModelError> {
        let about = About { checksum: file.checksum.digits().to_owned(), etag };
        let about = serde_json::to_vec(&about).expect("a record has no keys but texts");
        if start == 0 {
            // First, so that a part is never taken for one of something else.
            self.discard();
        }
        std::fs::write(&self.about, about).map_err(file_error("write", &self.about))?;
        let opened = OpenOptions::new().create(true).append(true).open(&self.path).await;
        opened.map_err(file_error("write", &self.path))
    }

    pub(super) fn discard(&self) {
        // Not there is as good.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.about);
    }

    /// Checks it and gives it its name, or throws it away.
    pub(super) async fn finish(
        &self,
        repository: &str,
        file: &Listed,
        to: &Path,
        remedy: &'static str,
        progress: &dyn Progress,
    ) -> Result<FileRecord, ModelError> {
        let sums = Checksums::of(&self.path, &file.path, progress).await?;
        let (got, expected) = (sums.like(&file.checksum), file.checksum.digits());
        if got != expected {
            self.discard();
            let what = format!("{} of {repository}", file.path);
            return Err(ModelError::Checksum { what, expected: expected.into(), got: got.into(), remedy });
        }
        std::fs::rename(&self.path, to).map_err(file_error("write", to))?;
        self.discard();
        progress.step(Step::Whole { file: &file.path, bytes: file.size });
        Ok(FileRecord { path: file.path.clone(), size: sums.size, sha256: sums.sha256, damaged: false })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::models::testing::{FakeHub, Fault, access, model, weights};
    use crate::models::{Pulled, pull};

    /// One file of 1000 bytes behind these faults: what came of pulling it, what was asked for, and the retries' reasons.
    struct Run {
        outcome: Result<Pulled, String>,
        ranges: Vec<String>,
        retries: Vec<String>,
        folder: tempfile::TempDir,
    }

    impl Run {
        async fn through(faults: &[Fault]) -> Self {
            let hub = FakeHub::start(&[("model.bin", &weights(1000))]).await;
            for fault in faults {
                hub.fault(fault.clone());
            }
            let folder = tempfile::tempdir().unwrap();
            let retries = Mutex::new(Vec::new());
            let progress = |step: Step<'_>| {
                if let Step::Retry { reason, .. } = step {
                    retries.lock().unwrap().push(reason.to_owned());
                }
            };
            let model = model(&["model.bin"], &[]);
            let outcome = pull(&model, &access(folder.path(), &hub), None, &progress).await;
            let outcome = outcome.map_err(|error| error.to_string());
            Self { outcome, ranges: hub.ranges(), retries: retries.into_inner().unwrap(), folder }
        }

        /// It came in the end, whole, leaving nothing else behind.
        #[track_caller]
        fn whole(&self) -> &Self {
            assert_eq!(self.outcome, Ok(Pulled { files: 1, bytes: 1000, already: false }), "{:?}", self.retries);
            let folder = self.folder.path().join("test--model");
            assert_eq!(std::fs::read(folder.join("model.bin")).unwrap(), weights(1000));
            let mut names: Vec<_> =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["ai-anchor.json", "model.bin"]);
            self
        }
    }

    #[tokio::test]
    async fn a_broken_download_goes_on_where_it_stopped() {
        let run = Run::through(&[Fault::Half, Fault::Half]).await;
        assert_eq!(run.whole().ranges, ["all", "bytes=500-", "bytes=750-"]);
        let run = Run::through(&[Fault::Stall]).await;
        assert_eq!(run.whole().ranges, ["all", "bytes=500-"]);
        assert_eq!(run.retries, ["nothing came for 0.3 seconds"]);
    }

    #[tokio::test]
    async fn a_server_that_ignores_ranges_is_read_from_the_start() {
        let run = Run::through(&[Fault::Half, Fault::IgnoreRange]).await;
        assert_eq!(run.whole().ranges, ["all", "bytes=500-"]);
        let run = Run::through(&[Fault::Half, Fault::WrongRange]).await;
        assert_eq!(run.whole().ranges, ["all", "bytes=500-", "all"]);
        insta::assert_snapshot!(run.retries[1], @r#"the server sends "bytes 499-999/1000" instead of "bytes 500-999/1000""#);
    }

    #[tokio::test]
    async fn errors_of_the_moment_are_tried_again() {
        let run = Run::through(&[Fault::Status(500, ""), Fault::Status(429, "")]).await;
        run.whole();
        insta::assert_debug_snapshot!(run.retries, @r#"
        [
            "the server answers 500 Internal Server Error",
            "the server answers 429 Too Many Requests",
        ]
        "#);
        let run = Run::through(&[Fault::Status(503, ""), Fault::Status(503, ""), Fault::Status(503, "")]).await;
        insta::assert_snapshot!(run.outcome.unwrap_err(), @"model.bin of test/model could not be downloaded in 3 attempts, the last of which failed because the server answers 503 Service Unavailable. Run the same command again to go on where it stopped");
    }

    #[tokio::test]
    async fn a_length_that_is_not_the_listed_one_is_not_believed() {
        for length in [999, 1001, 1] {
            let run = Run::through(&[Fault::Lie(length)]).await;
            assert_eq!(run.whole().retries, [format!("the server announces {length} bytes, and its list says 1000")]);
        }
        let run = Run::through(&[Fault::TooMuch]).await;
        assert_eq!(run.whole().retries, ["the server sends more than its list says"]);
    }

    #[tokio::test]
    async fn a_file_that_changes_in_between_is_never_stitched() {
        const OTHER: &str = another();
        // The server notices by If-Range and sends the new file whole; its checksum is not the listed one.
        let run = Run::through(&[Fault::Half, Fault::Change(OTHER)]).await;
        assert_eq!(run.ranges, ["all", "bytes=500-", "all"]);
        let outcome = run.outcome.unwrap_err();
        assert!(
            outcome.starts_with("model.bin of test/model is not what was announced: its checksum is "),
            "{outcome}"
        );
        assert!(!run.folder.path().join("test--model/model.bin").exists());
        assert!(!run.folder.path().join("test--model/model.bin.part").exists());
        // The server does not notice, and the client does, by the entity tag.
        let run = Run::through(&[Fault::Half, Fault::ChangeUnnoticed(OTHER)]).await;
        assert_eq!(run.retries[1], "the file changed on the server");
        assert!(run.outcome.unwrap_err().contains("is not what was announced"));
    }

    /// Another thousand bytes.
    const fn another() -> &'static str {
        const BYTES: [u8; 1000] = [b'x'; 1000];
        match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    #[tokio::test]
    async fn a_wrong_checksum_is_told_and_nothing_is_kept() {
        let hub = FakeHub::start(&[("model.bin", &weights(1000)), ("config.json", b"{}")]).await;
        let mut lying = crate::models::testing::entry("model.bin", &weights(1000));
        lying["lfs"]["oid"] = "0".repeat(64).into();
        let config = crate::models::testing::entry("config.json", b"{}");
        hub.list(200, serde_json::json!([lying, config]));
        let folder = tempfile::tempdir().unwrap();
        let error = pull(&model(&["*.json", "model.bin"], &[]), &access(folder.path(), &hub), None, &|_: Step<'_>| {})
            .await
            .unwrap_err();
        insta::assert_snapshot!(error, @"model.bin of test/model is not what was announced: its checksum is 1fc5d253afbcfa513e578376426755539827de93ebb93944a6966de00daa8c2b instead of 0000000000000000000000000000000000000000000000000000000000000000. It was thrown away; if another pull ends like this, the copy on the server is damaged or was tampered with");
        assert_eq!(hub.ranges(), ["all", "all"]);
        assert!(!folder.path().join("test--model/model.bin").exists());
    }

    #[tokio::test]
    async fn a_pull_that_is_dropped_goes_on_at_the_next() {
        let hub = FakeHub::start(&[("model.bin", &weights(1000))]).await;
        hub.fault(Fault::Stall);
        let folder = tempfile::tempdir().unwrap();
        let (model, mut access) = (model(&["model.bin"], &[]), access(folder.path(), &hub));
        access.patience.stall = Duration::from_secs(60);
        let half = tokio::sync::Notify::new();
        let progress = |step: Step<'_>| {
            if let Step::Advance { done: 500, .. } = step {
                half.notify_one();
            }
        };
        tokio::select! {
            outcome = pull(&model, &access, None, &progress) => panic!("{outcome:?}"),
            () = half.notified() => {}
        }
        let pulled = pull(&model, &access, None, &|_: Step<'_>| {}).await.unwrap();
        assert_eq!((pulled.bytes, hub.ranges()), (1000, vec!["all".into(), "bytes=500-".into()]));
        // What is here is not asked for again.
        let again = pull(&model, &access, None, &|_: Step<'_>| {}).await.unwrap();
        assert_eq!((again.already, hub.seen().len()), (true, 4));
    }
}
