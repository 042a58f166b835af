//! One model server as a child process: in a process group of its own, its output in a log, never left behind.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::log::{self, Log, Tail};
use super::recipe::{Change, Recipe};
use super::record::{self, Record};

/// How long the last lines of a server that is gone may take to be read. Reading ends later only where a process that left
/// the group still holds the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Between two looks whether they are read.
const LOOK: Duration = Duration::from_millis(5);

/// Where the supervisor keeps its files.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The record of a server that runs.
    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.0.join("run").join(format!("{name}.json"))
    }

    /// What a server prints.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    fn create(&self) -> io::Result<()> {
        ["run", "logs"].iter().try_for_each(|name| std::fs::create_dir_all(self.0.join(name)))
    }
}

/// The process groups that run now, so that a program about to end can end them all at once. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Groups(Arc<Mutex<Alive>>);

#[derive(Default)]
struct Alive {
    closed: bool,
    groups: Vec<Pid>,
}

impl Groups {
    /// Kills all there are, and all that would come.
    pub(super) fn kill(&self) {
        let mut alive = self.lock();
        alive.closed = true;
        alive.groups.drain(..).for_each(kill);
    }

    /// Takes one in, or kills it where all are killed.
    fn add(&self, group: Pid) {
        let mut alive = self.lock();
        if alive.closed { kill(group) } else { alive.groups.push(group) }
    }

    /// Forgets one that is gone; whether it was still there.
    fn remove(&self, group: Pid) -> bool {
        let groups = &mut self.lock().groups;
        let before = groups.len();
        groups.retain(|other| *other != group);
        groups.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill(group: Pid) {
    // It may be gone already.
    let _ = kill_process_group(group, Signal::KILL);
}

/// A running server. Dropping it kills it with all its children; [`end`](Self::end) is kinder.
pub(super) struct Process {
    child: Child,
    group: Pid,
    path: PathBuf,
    record: Option<Record>,
    tail: Tail,
    pump: JoinHandle<()>,
    groups: Groups,
}

impl Process {
    /// Starts the server. Blocks for as long as the system takes to start a program.
    pub(super) fn spawn(recipe: &Recipe, folder: &Folder, groups: &Groups) -> io::Result<Self> {
        let path = folder.log(&recipe.name);
        let log = folder.create().and_then(|()| Log::open(&path, log::MAX_BYTES));
        let log =
            log.map_err(|error| io::Error::other(format!("its log {} cannot be written: {error}", path.display())))?;
        let tail = Tail::default();
        let (output, writer) = io::pipe()?;
        let mut command = Command::new(&recipe.program);
        command.args(&recipe.arguments).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command.process_group(0);
        for (name, change) in &recipe.environment {
            match change {
                Change::Set(value) => command.env(name, value),
                Change::First(value) => command.env(name, with_first(value, std::env::var_os(name))),
                Change::Gone => command.env_remove(name),
            };
        }
        if let Some(directory) = &recipe.directory {
            command.current_dir(directory);
        }
        let child = command.spawn()?;
        // It holds the writing end of the pipe, without whose end the reader below would never end.
        drop(command);
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = group.ok_or_else(|| io::Error::other("the system gave the program no number"))?;
        let pumped = tail.clone();
        // A thread, as pipes are read blockingly. It ends with the last process that can write.
        let pump = std::thread::Builder::new()
            .name(format!("log of {}", recipe.name))
            .spawn(move || log::pump(output, Some(log), &pumped))
            .inspect_err(|_| kill(group))?;
        let path = folder.record(&recipe.name);
        let mut process = Self { child, group, path, record: None, tail, pump, groups: groups.clone() };
        process.groups.add(group);
        process.note();
        Ok(process)
    }

    /// Notes which processes the server consists of by now, for whoever finds them after a crash of this program.
    pub(super) fn note(&mut self) {
        let record = Record::of(self.group);
        // Another AI Anchor that failed to start the same server has removed it.
        let there = self.path.exists();
        if record.is_none() || (there && record == self.record) {
            return;
        }
        if let Some(Err(error)) = record.as_ref().map(|record| record.write(&self.path)) {
            tracing::warn!(%error, path = %self.path.display(), "which processes a model server has cannot be noted");
        }
        self.record = record;
    }

    /// Completes when the server's first process has ended by itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its newest lines.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Ends the server and all its children: asks, waits for `patience`, kills. Its first process is reaped.
    pub(super) async fn end(&mut self, patience: Duration) {
        let child = &mut self.child;
        let gone = record::end_group(self.group, patience, || drop(child.try_wait())).await;
        self.groups.remove(self.group);
        if gone {
            record::remove(&self.path);
            // What it printed last says why it ended.
            let start = Instant::now();
            while !self.pump.is_finished() && start.elapsed() < LAST_WORDS {
                tokio::time::sleep(LOOK).await;
            }
        } else {
            tracing::error!(group = self.group.as_raw_nonzero(), "a model server does not end even when it is killed");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.groups.remove(self.group) {
            // The child is reaped by the runtime; the record is removed by who finds it next.
            kill(self.group);
        }
    }
}

/// A list of folders with one more in front.
fn with_first(first: &str, rest: Option<OsString>) -> OsString {
    let mut list = OsString::from(first);
    if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
        list.push(":");
        list.push(rest);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_never_gets_an_empty_folder() {
        // An empty entry of LD_LIBRARY_PATH or PATH means the current folder.
        assert_eq!(with_first("/env/bin", None), "/env/bin");
        assert_eq!(with_first("/env/bin", Some("".into())), "/env/bin");
        assert_eq!(with_first("/env/bin", Some("/bin".into())), "/env/bin:/bin");
    }
}
