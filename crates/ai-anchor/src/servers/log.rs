//! What a model server prints: kept in a file that cannot fill the disk, with the newest lines at hand.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Size at which a log is put aside. A vLLM server prints about 100 KiB while it starts and a line every ten seconds
/// after that: months.
pub(super) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Logs put aside that are kept: enough to still have the first of a row of crashes.
pub(super) const KEPT: u32 = 3;

/// Lines at hand: a Python traceback with its cause fits.
const TAIL_LINES: usize = 120;

/// Longest line at hand, in bytes; the rest of a longer one is in the file alone.
const TAIL_LINE: usize = 600;

/// Most bytes moved at once.
const PIECE: usize = 8 * 1024;

/// The newest lines of a server, without colours. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// The newest line that says something; empty where there is none.
    pub(super) fn last(&self) -> String {
        self.lock().iter().rev().find(|line| says_something(line)).cloned().unwrap_or_default()
    }

    /// The newest lines, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves what a server prints into its log until it has nothing open any more. Blocks.
///
/// A disk that refuses to take more never stops the server: what it prints is still read, and the newest lines are kept.
pub(super) fn pump(mut from: impl Read, mut log: Option<Log>, tail: &Tail) {
    let mut piece = vec![0; PIECE];
    let mut line = Vec::new();
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Some(Err(error)) = log.as_mut().map(|log| log.write(&piece[..count])) {
            tracing::warn!(%error, "a model server's log cannot be written any more");
            log = None;
        }
        for &byte in &piece[..count] {
            // Progress bars redraw their line with a carriage return.
            if matches!(byte, b'\n' | b'\r') {
                end_line(&mut line, tail);
            } else if line.len() < TAIL_LINE {
                line.push(byte);
            }
        }
    }
    end_line(&mut line, tail);
}

fn end_line(line: &mut Vec<u8>, tail: &Tail) {
    if !line.is_empty() {
        tail.push(plain(line));
        line.clear();
    }
}

/// A log that is put aside when it is full: `NAME.log`, before it `NAME.log.1`, up to `NAME.log.3`.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl Log {
    /// Goes on with the log at `path`.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        // A server that crashes may print what it was working on.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, limit })
    }

    /// Appends `bytes`, which are less than the limit.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size + bytes.len() as u64 > self.limit {
            self.put_aside()?;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for older in (1..KEPT).rev() {
            // The first logs have none before them.
            let _ = std::fs::rename(self.aside(older), self.aside(older + 1));
        }
        std::fs::rename(&self.path, self.aside(1))?;
        *self = Self::open(&self.path, self.limit)?;
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Whether a line is more than a rule or the edge of a frame.
pub(super) fn says_something(line: &str) -> bool {
    line.chars().any(char::is_alphanumeric)
}

/// A line as people read it: without the escape sequences of a terminal.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // ESC [ parameters letter, ECMA-48 section 5.4.
            '\u{1b}' => {
                letters.next();
                letters.by_ref().find(|letter| ('@'..='~').contains(letter));
            }
            letter if letter.is_control() && letter != '\t' => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_newest_bytes_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("voxtral.log");
        let mut log = Log::open(&path, 100).unwrap();
        for number in 0..100 {
            log.write(format!("line {number:3}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["voxtral.log", "voxtral.log.1", "voxtral.log.2", "voxtral.log.3"]);
        for name in &names {
            assert!(folder.path().join(name).metadata().unwrap().len() <= 100);
        }
        let newest = std::fs::read_to_string(path).unwrap();
        assert!(newest.ends_with("line  99\n"), "{newest}");
        let before = std::fs::read_to_string(folder.path().join("voxtral.log.1")).unwrap();
        let (first, last) = (newest.lines().next().unwrap(), before.lines().last().unwrap());
        assert_eq!(first[5..].trim().parse::<u32>().unwrap(), last[5..].trim().parse::<u32>().unwrap() + 1);
    }

    #[test]
    fn a_log_goes_on_where_the_last_run_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("higgs.log");
        Log::open(&path, 100).unwrap().write(&[b'a'; 90]).unwrap();
        Log::open(&path, 100).unwrap().write(&[b'b'; 20]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [b'b'; 20]);
    }

    #[test]
    fn the_newest_lines_are_plain_and_bounded() {
        let tail = Tail::default();
        let mut printed = String::new();
        for number in 0..500 {
            printed += &format!("line {number}\n");
        }
        printed += "\u{1b}[36mLoading\u{1b}[0m:  10%\rLoading:  90%\r\n";
        printed += &"x".repeat(5000);
        printed += "\n-----------\n";
        pump(printed.as_bytes(), None, &tail);
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[TAIL_LINES - 4..TAIL_LINES - 2], ["Loading:  10%", "Loading:  90%"]);
        assert_eq!(tail.last().len(), TAIL_LINE);
    }
}
