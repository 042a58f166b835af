//! Memory of the model servers: measured process by process, and compared with the plan.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use crate::machine::gpu::{self, GpuError, ProcessMemory};
use crate::memory::{Plan, Server};

/// A model may take this much more than planned before it is worth a warning: measurements include the driver's own
/// rounding and the allocator's reserve.
const TOLERANCE: f64 = 0.05;

/// A process further from its server than this has gone its own way.
const ANCESTORS_MAX: usize = 16;

/// Memory of one server, planned and measured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// The server.
    pub server: String,
    /// What the plan gives it, in bytes.
    pub planned: u64,
    /// What it takes, in bytes; `None` where that cannot be told.
    pub measured: Option<u64>,
}

impl Taken {
    /// It takes so much more than planned that the plan cannot be relied on.
    pub fn exceeds(&self) -> bool {
        self.measured.is_some_and(|measured| measured as f64 > self.planned as f64 * (1.0 + TOLERANCE))
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        write!(f, "{:8} planned {:6.2} GiB, ", self.server, gib(self.planned))?;
        match self.measured {
            None => write!(f, "not measured"),
            Some(measured) => {
                let share = 100.0 * measured as f64 / self.planned.max(1) as f64;
                write!(f, "measured {:6.2} GiB ({share:.0} %)", gib(measured))
            }
        }
    }
}

/// What each server of the plan takes now.
///
/// # Errors
/// If the driver does not tell.
pub fn taken(plan: &Plan) -> Result<Vec<Taken>, GpuError> {
    Ok(compared(plan, &gpu::memory_by_process()?, owner))
}

fn compared(plan: &Plan, processes: &[ProcessMemory], owner: impl Fn(u32) -> Option<Server>) -> Vec<Taken> {
    let mut measured: BTreeMap<Server, u64> = BTreeMap::new();
    for process in processes {
        if let (Some(server), Some(bytes)) = (owner(process.pid), process.bytes) {
            *measured.entry(server).or_default() += bytes;
        }
    }
    let row = |server: Server| Taken {
        server: server.name().into(),
        planned: plan.planned_bytes(server.name()),
        measured: measured.get(&server).copied(),
    };
    plan.parts.iter().map(|part| row(part.server)).collect()
}

/// The server that a process belongs to, by its own command line or that of a process it descends from: servers compute
/// in children, which name themselves as they like.
fn owner(mut pid: u32) -> Option<Server> {
    for _ in 0..ANCESTORS_MAX {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if let Some(server) = server_of(&String::from_utf8_lossy(&line).replace('\0', " ")) {
            return Some(server);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so the fields are counted from behind it (proc_pid_stat(5)).
        pid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().filter(|&parent| parent > 1)?;
    }
    None
}

fn server_of(command_line: &str) -> Option<Server> {
    let has = |word: &str| command_line.contains(word);
    if has("ollama") || has("llama-server") {
        Some(Server::Ollama)
    } else if has("vllm") && (has("--omni") || has("higgs")) {
        Some(Server::Higgs)
    } else if has("vllm") && has("serve") {
        Some(Server::Voxtral)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, PROFILES};
    use crate::memory::{Card, Wishes, plan};

    #[test]
    fn memory_is_compared_with_the_plan() {
        let taken = |planned, measured| Taken { server: "higgs".into(), planned, measured };
        let gib = |gib: f64| (gib * f64::from(1 << 30)) as u64;
        insta::assert_snapshot!(taken(gib(12.5), Some(gib(11.25))), @"higgs    planned  12.50 GiB, measured  11.25 GiB (90 %)");
        insta::assert_snapshot!(taken(gib(12.5), None), @"higgs    planned  12.50 GiB, not measured");
        assert!(!taken(gib(12.5), Some(gib(13.0))).exceeds());
        assert!(taken(gib(12.5), Some(gib(13.5))).exceeds());
        assert!(!taken(gib(12.5), None).exceeds());
    }

    #[test]
    fn a_server_is_known_by_its_command_line() {
        for (line, server) in [
            ("/env/bin/ollama serve", Some(Server::Ollama)),
            ("/usr/lib/ollama/llama-server --model /blobs/sha256-1 --port 4711", Some(Server::Ollama)),
            ("/env/bin/python /env/bin/vllm serve /models/higgs --omni --port 8001", Some(Server::Higgs)),
            ("python -m vllm.entrypoints.bosonai.api_server --model bosonai/higgs-audio-v2", Some(Server::Higgs)),
            ("/env/bin/python /env/bin/vllm serve mistralai/Voxtral-Mini-3B-2507 --port 8000", Some(Server::Voxtral)),
            ("VLLM::EngineCore", None),
            ("/usr/lib/xorg/Xorg :0", None),
        ] {
            assert_eq!(server_of(line), server, "{line}");
        }
        assert_eq!(owner(std::process::id()), None);
    }

    #[test]
    fn processes_of_one_server_are_added_up() {
        let config = Config::of(&PROFILES[0]);
        let card = Card::named("rtx6000-48gb").unwrap();
        let plan = plan(&config, &card, &Wishes::of(&config)).unwrap();
        let held = |pid, bytes| ProcessMemory { gpu: 0, pid, bytes };
        let processes = [held(1, Some(5)), held(2, Some(7)), held(3, Some(100)), held(4, None)];
        let rows = compared(&plan, &processes, |pid| match pid {
            1 | 2 => Some(Server::Higgs),
            4 => Some(Server::Voxtral),
            _ => None,
        });
        let measured: Vec<_> = rows.iter().map(|row| (row.server.as_str(), row.measured)).collect();
        assert_eq!(measured, [("ollama", None), ("higgs", Some(12)), ("voxtral", None)]);
        assert!(rows.iter().all(|row| row.planned > 1 << 30));
    }
}
