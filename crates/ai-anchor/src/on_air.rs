//! The rundown on air: read from its file, and read again whenever the file changes.
//!
//! A broken edit never goes on air. The last good rundown stays, with the problem beside it, until the edit is mended.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anchor_core::rundown::{MAX_BYTES, OnAir, Problem, Rundown};
use tokio::sync::watch;

/// The rundown that is on air when none is configured: eight invented stories.
pub const SAMPLE: &str = include_str!("../../../rundowns/evening.md");

/// How often the file is looked at. Reading it is cheaper than being clever: file systems differ in how they report
/// changes, and editors in whether they rewrite a file or put another in its place.
const POLL: Duration = Duration::from_millis(500);

/// Why a rundown cannot go on air.
#[derive(Debug, thiserror::Error)]
pub enum RundownError {
    /// Its file cannot be read.
    #[error("cannot read the rundown {}: {source}. Give the path of a Markdown file of stories with --rundown", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It breaks the rules of the format.
    #[error("the rundown {} cannot go on air:\n{}", path.display(), Lines(problems))]
    Broken {
        /// Its file.
        path: PathBuf,
        /// What is wrong, by line.
        problems: Vec<Problem>,
    },
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}  {problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Reads a rundown; without a path, the sample.
pub fn read(path: Option<&Path>) -> Result<Rundown, RundownError> {
    let Some(path) = path else {
        return parse(SAMPLE, Path::new("built in"));
    };
    parse(&text(path).map_err(|source| RundownError::Unreadable { path: path.into(), source })?, path)
}

/// The number of its stories, in words.
pub(crate) fn count(rundown: &Rundown) -> String {
    match rundown.stories.len() {
        1 => "1 story".into(),
        many => format!("{many} stories"),
    }
}

/// A rundown that stays as it is, for commands that end soon.
pub fn fixed(path: Option<&Path>) -> Result<watch::Receiver<OnAir>, RundownError> {
    Ok(watch::Sender::new(OnAir { rundown: Arc::new(read(path)?), version: 1, problem: None }).subscribe())
}

/// A rundown that follows its file from now on. Needs a running tokio runtime; ends when nobody listens.
pub fn follow(path: &Path) -> Result<watch::Receiver<OnAir>, RundownError> {
    let text = text(path).map_err(|source| RundownError::Unreadable { path: path.into(), source })?;
    let rundown = parse(&text, path)?;
    let (sender, receiver) = watch::channel(OnAir { rundown: Arc::new(rundown), version: 1, problem: None });
    tokio::spawn(poll(path.to_owned(), text, sender));
    Ok(receiver)
}

async fn poll(path: PathBuf, mut seen: String, sender: watch::Sender<OnAir>) {
    let mut missing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = sender.closed() => return,
        }
        match text(&path) {
            Ok(now) if now == seen && !missing => {}
            Ok(now) => {
                missing = false;
                take_over(&sender, parse(&now, &path));
                seen = now;
            }
            // An editor that puts a new file in place of the old one leaves a gap: complain at the second look only.
            Err(_) if !missing => missing = true,
            Err(source) => take_over(&sender, Err(RundownError::Unreadable { path: path.clone(), source })),
        }
    }
}

/// Puts a good edit on air, or says what is wrong with a bad one.
fn take_over(sender: &watch::Sender<OnAir>, edit: Result<Rundown, RundownError>) {
    sender.send_if_modified(|on_air| match edit {
        Ok(rundown) => {
            let mended = on_air.problem.take().is_some();
            let changed = *on_air.rundown != rundown;
            if changed {
                on_air.version += 1;
                tracing::info!(version = on_air.version, stories = rundown.stories.len(), "the rundown changed");
                on_air.rundown = Arc::new(rundown);
            }
            changed || mended
        }
        Err(error) => {
            let problem = error.to_string();
            let news = on_air.problem.as_ref() != Some(&problem);
            if news {
                tracing::warn!("{problem}\nThe last good rundown stays on air.");
                on_air.problem = Some(problem);
            }
            news
        }
    });
}

fn parse(text: &str, path: &Path) -> Result<Rundown, RundownError> {
    Rundown::parse(text).map_err(|problems| RundownError::Broken { path: path.into(), problems })
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than one mebibyte"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not a text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# News\n\n## One\nslug: one\n\nThe first story.\n";

    #[tokio::test]
    async fn follows_edits_and_keeps_the_last_good_one() {
        let path = std::env::temp_dir().join(format!("anchor-rundown-{}.md", std::process::id()));
        std::fs::write(&path, GOOD).unwrap();
        let mut on_air = follow(&path).unwrap();
        assert_eq!(on_air.borrow_and_update().rundown.stories[0].slug, "one");

        std::fs::write(&path, GOOD.replace("one", "two")).unwrap();
        on_air.changed().await.unwrap();
        assert_eq!(on_air.borrow_and_update().rundown.stories[0].slug, "two");

        std::fs::write(&path, "").unwrap();
        on_air.changed().await.unwrap();
        {
            let broken = on_air.borrow_and_update();
            assert_eq!((broken.rundown.stories[0].slug.as_str(), broken.version), ("two", 2));
            assert!(broken.problem.as_ref().unwrap().contains("line 1: the file is empty"), "{:?}", broken.problem);
        }

        // As editors do it: a new file in place of the old one.
        let new = path.with_extension("new");
        std::fs::write(&new, GOOD.replace("one", "three")).unwrap();
        std::fs::rename(&new, &path).unwrap();
        on_air.changed().await.unwrap();
        assert_eq!(on_air.borrow_and_update().problem, None);
        assert_eq!(on_air.borrow().rundown.stories[0].slug, "three");

        std::fs::remove_file(&path).unwrap();
        on_air.changed().await.unwrap();
        assert!(on_air.borrow_and_update().problem.as_ref().unwrap().contains("cannot read the rundown"));

        std::fs::write(&path, GOOD.replace("one", "three")).unwrap();
        on_air.changed().await.unwrap();
        assert_eq!(on_air.borrow_and_update().problem, None);
        assert_eq!(on_air.borrow().version, 3);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_sample_can_go_on_air() {
        assert_eq!(read(None).unwrap().stories.len(), 8);
    }

    #[test]
    fn a_missing_file_says_how_to_give_another() {
        let message = read(Some(Path::new("/nowhere/tonight.md"))).unwrap_err().to_string();
        assert!(message.starts_with("cannot read the rundown /nowhere/tonight.md: "), "{message}");
        assert!(message.ends_with("--rundown"), "{message}");
    }
}
