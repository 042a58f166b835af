//! Which process is which, over crashes and reboots.
//!
//! A process number alone says little: the system uses it again. Together with the time the process started and the boot it
//! started in it names one process for ever. What the supervisor starts is written down so, and whoever finds the note
//! later ends exactly that and nothing else.
//!
//! The kernel's own means, a signal to a child when its parent dies (`PR_SET_PDEATHSIG`), was left out on purpose: it
//! fires when the *thread* that started the child ends, and children of the child do not inherit it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// Between two looks whether a process group is gone.
const LOOK: Duration = Duration::from_millis(25);

/// How long a group may take to vanish after it was killed. Only a process that waits for a disk or a driver takes any
/// time at all.
const KILLED: Duration = Duration::from_secs(5);

/// Names one process for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pid: i32,
    /// When it started, in clock ticks since the boot.
    start: u64,
}

impl Identity {
    /// The process that has the number `pid` now. `None` where there is none, or on a system without `/proc`.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// This process.
    pub(super) fn own() -> Option<Self> {
        i32::try_from(std::process::id()).ok().and_then(Self::of)
    }

    fn stat(self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.start == self.start && stat.runs())
    }
}

/// What is noted of a server that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    boot: String,
    /// Number of its process group.
    group: i32,
    /// The processes of the group, as last seen. The first may end before the others.
    members: Vec<Identity>,
    /// The program that started it.
    owner: Identity,
}

/// What a record says of the server it is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing of it runs any more.
    Nothing,
    /// It runs, and who started it is gone.
    Orphan(Pid),
    /// It runs, and belongs to another program that runs: this one.
    Held(i32),
}

impl Record {
    /// The note on the process group `group` as it is now. `None` where processes cannot be told apart.
    pub(super) fn of(group: Pid) -> Option<Self> {
        let group = group.as_raw_nonzero().get();
        Some(Self { boot: boot()?, group, members: members(group), owner: Identity::own()? })
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut unfinished = path.to_owned();
        unfinished.set_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(unfinished, path)
    }

    /// Reads what is left of the server whose record is at `path`. A record of nothing is removed.
    pub(super) fn look(path: &Path) -> Left {
        let left = match fs::read(path) {
            Ok(text) => serde_json::from_slice::<Self>(&text).map_or(Left::Nothing, |record| record.left()),
            Err(_) => return Left::Nothing,
        };
        if left == Left::Nothing {
            remove(path);
        }
        left
    }

    fn left(&self) -> Left {
        // One process that is surely the old one makes the group surely the old one: a number is not given to a new
        // group while the old group has anybody in it.
        let known = |member: &Identity| member.stat().is_some_and(|stat| stat.group == self.group);
        let group = if self.group > 1 { Pid::from_raw(self.group) } else { None };
        match group {
            Some(group) if boot().as_ref() == Some(&self.boot) && self.members.iter().any(known) => {
                let mine = Identity::own() == Some(self.owner);
                if self.owner.stat().is_some() && !mine { Left::Held(self.owner.pid) } else { Left::Orphan(group) }
            }
            _ => Left::Nothing,
        }
    }
}

/// Removes a record; that it is not there is fine.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "the record of a model server cannot be removed");
    }
}

/// Ends a process group: asks, waits for `patience`, kills. `reap` is called between looks, to reap its first process
/// where that is a child of this one. Whether the group is gone.
pub(super) async fn end_group(group: Pid, patience: Duration, mut reap: impl FnMut()) -> bool {
    for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, KILLED)] {
        let start = Instant::now();
        let mut told = false;
        loop {
            reap();
            // Looked at first: the number of a group that is gone may be another's.
            if !runs(group) {
                return true;
            }
            if !told {
                // It may have gone since.
                let _ = kill_process_group(group, signal);
                told = true;
            }
            if start.elapsed() >= patience {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    false
}

/// Whether anybody in the group runs. One who ended and was not reaped does not.
fn runs(group: Pid) -> bool {
    if cfg!(target_os = "linux") {
        !members(group.as_raw_nonzero().get()).is_empty()
    } else {
        rustix::process::test_kill_process_group(group).is_ok()
    }
}

fn members(group: i32) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut members: Vec<Identity> = pids
        .filter_map(|pid| Stat::of(pid).map(|stat| (pid, stat)))
        .filter(|(_, stat)| stat.group == group && stat.runs())
        .map(|(pid, stat)| Identity { pid, start: stat.start })
        .collect();
    members.sort_by_key(|member| member.pid);
    members
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)): fields 3, 5 and 22.
struct Stat {
    state: char,
    group: i32,
    start: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // Field 2 is the name in parentheses, which may itself hold spaces and parentheses.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, start })
    }

    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").process_group(0).spawn().unwrap()
    }

    fn group(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// An owner that cannot be: this process, started at another time.
    fn gone() -> Identity {
        let own = Identity::own().unwrap();
        Identity { start: own.start + 1, ..own }
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let text = "42 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1000 1 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.group, stat.start), ('S', 7, 123_456));
    }

    #[test]
    fn a_server_without_its_owner_is_an_orphan_and_one_with_it_is_not() {
        let child = sleeper();
        let mut record = Record::of(group(&child)).unwrap();
        assert_eq!(record.left(), Left::Orphan(group(&child)), "what this process left behind is its own to end");
        record.owner = gone();
        assert_eq!(record.left(), Left::Orphan(group(&child)));
        let other = sleeper();
        record.owner = Identity::of(i32::try_from(other.id()).unwrap()).unwrap();
        assert_eq!(record.left(), Left::Held(i32::try_from(other.id()).unwrap()));
        end(other);
        end(child);
        assert_eq!(record.left(), Left::Nothing);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_the_server() {
        let child = sleeper();
        let mut record = Record { owner: gone(), ..Record::of(group(&child)).unwrap() };
        record.members[0].start += 1;
        assert_eq!(record.left(), Left::Nothing);
        record.members[0].start -= 1;
        record.boot = "another".into();
        assert_eq!(record.left(), Left::Nothing, "after a reboot nothing of it runs");
        record.boot = boot().unwrap();
        record.group += 1;
        assert_eq!(record.left(), Left::Nothing, "it has left the group");
        end(child);
    }

    #[test]
    fn a_record_that_makes_no_sense_is_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("higgs.json");
        for text in ["", "{}", r#"{"boot":"x","group":-1,"members":[],"owner":{"pid":1,"start":1}}"#] {
            fs::write(&path, text).unwrap();
            assert_eq!(Record::look(&path), Left::Nothing);
            assert!(!path.exists());
        }
    }
}
