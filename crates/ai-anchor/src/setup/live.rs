//! What is seen of a program while it runs: its last lines and a bar on standard error, and everything in a log file.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Lines that are seen on a terminal while a program runs.
const SEEN: usize = 5;

/// Lines that are told when a program failed: enough for what a solver or a compiler has to say.
pub(super) const TOLD: usize = 20;

/// Characters of a line that are kept: what is longer was not written for people.
const MAX_LINE: usize = 300;

/// A log larger than this is begun anew: an installation writes some hundred kilobytes.
const MAX_LOG: u64 = 20 << 20;

/// The view of one run of setting up.
pub(super) struct Live {
    path: PathBuf,
    bar: ProgressBar,
    inner: Mutex<Inner>,
}

struct Inner {
    log: File,
    title: String,
    last: VecDeque<String>,
}

impl Live {
    /// Opens the log in `folder` for its owner alone, and shows a bar of so many steps.
    pub(super) fn open(folder: &Path, steps: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("setup.log");
        let large = fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG);
        let mut options = File::options();
        options.create(true).append(!large).write(true).truncate(large);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let log = options.open(&path)?;
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Self { path, bar, inner: Mutex::new(Inner { log, title: String::new(), last: VecDeque::new() }) })
    }

    /// Where everything is written.
    pub(super) fn log(&self) -> &Path {
        &self.path
    }

    /// The next step begins.
    pub(super) fn begin(&self, title: &str, command: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.title = title.to_owned();
        inner.last.clear();
        // A log that cannot be written to, as on a full disk, is no reason to stop before the step itself fails.
        let _ = writeln!(inner.log, "\n== {title}\n$ {command}");
        if self.bar.is_hidden() {
            let _ = writeln!(io::stderr(), "{title}");
        }
        self.bar.set_message(title.to_owned());
    }

    /// A line of the step.
    pub(super) fn line(&self, line: &str) {
        let line: String = line.trim_end().chars().filter(|char| !char.is_control()).take(MAX_LINE).collect();
        if line.is_empty() {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(inner.log, "{line}");
        if inner.last.len() == TOLD {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
        let seen = inner.last.iter().skip(inner.last.len().saturating_sub(SEEN));
        let text = seen.fold(inner.title.clone(), |text, line| format!("{text}\n    {line:.100}"));
        self.bar.set_message(text);
    }

    /// The step is done.
    pub(super) fn done(&self) {
        self.bar.inc(1);
    }

    /// The last lines of the step.
    pub(super) fn last(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last.iter().fold(String::new(), |text, line| text + "\n  " + line)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
