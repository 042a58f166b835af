//! Doing what the plan says: step by step, stopping at the first that fails. Run again, it goes on there.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::live::Live;
use super::plan::{SetupPlan, Step, Work};
use crate::machine::{Listener, ports};

/// How long a program may take to end when it is asked to: uv and conda put their files in order first.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long Ollama may take until it answers; it looks for the GPU first.
const OLLAMA_START: Duration = Duration::from_secs(60);

/// A line without an end is cut here.
const MAX_LINE: usize = 4096;

/// Downloads models.
pub trait Pull: Sync {
    /// Downloads one, unless it is here, and tells how far it is. Can be dropped, and called again to go on.
    /// An error says what was wrong and what to do.
    fn pull<'a>(&'a self, model: &'a str, tell: &'a (dyn Fn(&str) + Sync)) -> BoxFuture<'a, Result<(), String>>;
}

/// Why setting up stopped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file cannot be written.
    #[error("cannot write {}: {source}. Make room or give this user the right to write there, then run ai-anchor setup again", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("cannot start {program}: {source}. See that it is there and can be run, then run ai-anchor setup again", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program failed.
    #[error("{what}: the program ended with {status}. It was\n  {command}\nand said last:{last}\nEverything is in {log}. Mend what it names, then run ai-anchor setup again; it goes on here", log = log.display())]
    Failed {
        /// What was done.
        what: String,
        /// How it ended.
        status: String,
        /// Its command line.
        command: String,
        /// Its last lines.
        last: String,
        /// The log.
        log: PathBuf,
    },
    /// A program did not fail, but what it was to bring is not there.
    #[error("{what}: the program said that it succeeded, but what it was to bring is not there. It was\n  {command}\nEverything is in {log}", log = log.display())]
    Missing {
        /// What was done.
        what: String,
        /// Its command line.
        command: String,
        /// The log.
        log: PathBuf,
    },
    /// A model was not downloaded.
    #[error("{what}: {reason}")]
    Model {
        /// What was done.
        what: String,
        /// Why.
        reason: String,
    },
    /// A step is the user's.
    #[error("{what} first. Run\n  {command}\nthen run ai-anchor setup again")]
    Person {
        /// What has to be done.
        what: String,
        /// With this.
        command: String,
    },
    /// The user stopped it.
    #[error("stopped while it was to {what}. Run ai-anchor setup again to go on")]
    Stopped {
        /// What was done.
        what: String,
    },
}

/// Does what is not done yet. `data` is where logs go, `ollama` the port of Ollama; where nobody answers there, the
/// environment's own is run while its models are downloaded. Stops when `stop` completes.
pub async fn apply(
    plan: &SetupPlan,
    data: &Path,
    ollama: u16,
    pull: &dyn Pull,
    stop: impl Future<Output = ()>,
) -> Result<(), ApplyError> {
    let logs = data.join("logs");
    let live = Live::open(&logs, plan.to_do().count()).map_err(|source| ApplyError::File { path: logs, source })?;
    let mut helper = None;
    tokio::pin!(stop);
    for step in plan.to_do() {
        live.begin(&step.what, &step.work.to_string());
        match &step.work {
            Work::Write { folder, files } => {
                for file in files {
                    let path = folder.join(file.name);
                    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, file.text));
                    written.map_err(|source| ApplyError::File { path, source })?;
                }
            }
            Work::Run { .. } => run(step, &live, stop.as_mut()).await?,
            Work::Person { command } => {
                return Err(ApplyError::Person { what: step.what.clone(), command: command.clone() });
            }
            Work::Pull { model, ollama: needs_ollama } => {
                let wrong = |reason| ApplyError::Model { what: step.what.clone(), reason };
                let work = async {
                    if *needs_ollama && helper.is_none() {
                        helper = running(data, ollama, &live).await.map_err(wrong)?;
                    }
                    pull.pull(model, &|line| live.line(line)).await.map_err(wrong)
                };
                tokio::select! {
                    outcome = work => outcome?,
                    () = stop.as_mut() => return Err(ApplyError::Stopped { what: step.what.clone() }),
                }
            }
        }
        live.done();
    }
    if let Some(mut helper) = helper {
        end(&mut helper).await;
    }
    Ok(())
}

async fn run(step: &Step, live: &Live, stop: impl Future<Output = ()>) -> Result<(), ApplyError> {
    let Work::Run { program, arguments, set, unset } = &step.work else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).envs(set.iter().map(|(name, value)| (name, value)));
    unset.iter().for_each(|name| {
        command.env_remove(name);
    });
    // Its own group, so that what it started itself ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| ApplyError::Start { program: program.clone(), source })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = tokio::select! {
        status = finished(&mut child, stdout, stderr, live) => Some(status),
        () = stop => None,
    };
    let Some(status) = status else {
        end(&mut child).await;
        return Err(ApplyError::Stopped { what: step.what.clone() });
    };
    let (what, command, log) = (step.what.clone(), step.work.to_string(), live.log().to_owned());
    match status {
        Ok(status) if status.success() && step.proof.holds() => Ok(()),
        Ok(status) if status.success() => Err(ApplyError::Missing { what, command, log }),
        Ok(status) => Err(ApplyError::Failed { what, status: in_words(status), command, last: live.last(), log }),
        Err(source) => Err(ApplyError::Start { program: program.clone(), source }),
    }
}

async fn finished(
    child: &mut Child,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    live: &Live,
) -> io::Result<ExitStatus> {
    let (status, (), ()) = tokio::join!(child.wait(), lines(stdout, live), lines(stderr, live));
    status
}

/// Hands over lines as they come; progress that is drawn over itself ends its lines with a carriage return.
async fn lines(from: Option<impl AsyncRead + Unpin>, live: &Live) {
    let Some(mut from) = from else { return };
    let (mut line, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        for &byte in &buffer[..length] {
            if matches!(byte, b'\n' | b'\r') || line.len() >= MAX_LINE {
                live.line(&String::from_utf8_lossy(&line));
                line.clear();
            }
            if !matches!(byte, b'\n' | b'\r') {
                line.push(byte);
            }
        }
    }
    live.line(&String::from_utf8_lossy(&line));
}

/// Asks a program and all it started to end, and ends those that do not.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let tell = |signal| group.map(|group| kill_process_group(group, signal));
    tell(Signal::TERM);
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        tell(Signal::KILL);
        let _ = child.wait().await;
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(9)) => "signal 9, as when memory runs out".into(),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    }
}

/// Ollama, started if nobody answers on its port.
async fn running(data: &Path, port: u16, live: &Live) -> Result<Option<Child>, String> {
    let listener = async || ports::look(&[("ollama", port)]).await.pop().map(|port| port.listener);
    match listener().await {
        Some(Listener::Ollama(_)) => return Ok(None),
        Some(Listener::Nobody) | None => {}
        Some(_) => {
            return Err(format!(
                "port {port} is Ollama's, and another program listens there. ss -ltnp 'sport = :{port}' names it"
            ));
        }
    }
    let program = data.join("env/bin/ollama");
    live.line(&format!("starting {}", program.display()));
    let mut command = Command::new(&program);
    command.arg("serve").env("OLLAMA_HOST", format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let deadline = tokio::time::Instant::now() + OLLAMA_START;
    while tokio::time::Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!(
                "Ollama ended with {}. See what it says: {} serve",
                in_words(status),
                program.display()
            ));
        }
        if matches!(listener().await, Some(Listener::Ollama(_))) {
            return Ok(Some(child));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    end(&mut child).await;
    Err(format!(
        "Ollama gave no answer for {} seconds. See what it says: {} serve",
        OLLAMA_START.as_secs(),
        program.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Proof;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    /// Takes note of what was asked for.
    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>, Option<&'static str>);

    impl Pull for Noted {
        fn pull<'a>(&'a self, model: &'a str, tell: &'a (dyn Fn(&str) + Sync)) -> BoxFuture<'a, Result<(), String>> {
            Box::pin(async move {
                tell("half");
                self.0.lock().unwrap().push(model.into());
                self.1.map_or(Ok(()), |reason| Err(reason.into()))
            })
        }
    }

    /// A folder with a script in it, and the step that runs the script to make the file `made`.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("fake");
            fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(folder)
        }

        fn plan(&self) -> SetupPlan {
            let made = self.0.path().join("made");
            let work = Work::Run {
                program: self.0.path().join("fake"),
                arguments: vec!["two words".into()],
                set: vec![("GIVEN", "yes".into())],
                unset: &["HOME"],
            };
            let run = Step {
                what: "make it".into(),
                why: "",
                work,
                done: made.exists(),
                proof: Proof::Program(made),
                bytes: 1,
            };
            let pull = Step {
                what: "download the model m".into(),
                work: Work::Pull { model: "m".into(), ollama: false },
                proof: Proof::Word,
                done: false,
                ..run.clone()
            };
            SetupPlan { findings: Vec::new(), steps: vec![run, pull] }
        }

        async fn apply(&self, pull: &Noted) -> Result<(), String> {
            let outcome = apply(&self.plan(), self.0.path(), 1, pull, std::future::pending()).await;
            outcome.map_err(|error| error.to_string().replace(self.0.path().to_str().unwrap(), "/data"))
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
        }
    }

    #[tokio::test]
    async fn what_is_done_is_not_done_again() {
        let place = Place::new(r#"echo "$1 $GIVEN ${HOME-gone}" >>made; echo working; printf 'on\rit'"#);
        let pull = Noted::default();
        place.apply(&pull).await.unwrap();
        place.apply(&pull).await.unwrap();
        assert_eq!(place.read("made"), "two words yes gone\n");
        assert_eq!(*pull.0.lock().unwrap(), ["m", "m"]);
        let log = place.read("logs/setup.log");
        assert!(log.contains("working\non\nit\n") && log.contains("half\n"), "{log}");
        let mode = fs::metadata(place.0.path().join("logs/setup.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_failure_names_command_last_lines_and_log_and_the_next_run_goes_on() {
        let place = Place::new(
            "if [ -e once ]; then echo >made; else echo >once; seq 30; echo 'no space left' >&2; exit 3; fi",
        );
        let pull = Noted::default();
        let error = place.apply(&pull).await.unwrap_err();
        assert!(pull.0.lock().unwrap().is_empty(), "nothing comes after a failure");
        assert!(error.starts_with("make it: the program ended with code 3. It was\n  env -u HOME GIVEN=yes /data/fake 'two words'\nand said last:\n"), "{error}");
        assert!(
            error.contains("\n  30\n") && error.contains("  no space left\n") && !error.contains("\n  9\n"),
            "{error}"
        );
        assert!(error.ends_with("Everything is in /data/logs/setup.log. Mend what it names, then run ai-anchor setup again; it goes on here"), "{error}");
        place.apply(&pull).await.unwrap();
        assert_eq!(*pull.0.lock().unwrap(), ["m"]);
    }

    #[tokio::test]
    async fn success_is_not_believed_without_its_result() {
        let error = Place::new("exit 0").apply(&Noted::default()).await.unwrap_err();
        assert!(error.contains("what it was to bring is not there"), "{error}");
    }

    #[tokio::test]
    async fn a_model_that_fails_says_why() {
        let pull = Noted(Mutex::default(), Some("the licence has to be accepted"));
        let error = Place::new("echo >made").apply(&pull).await.unwrap_err();
        assert_eq!(error, "download the model m: the licence has to be accepted");
    }

    #[tokio::test]
    async fn stopping_ends_the_program_and_all_it_started() {
        let place = Place::new("sleep 600 & echo $! >child; echo $$ >parent; wait");
        let child = place.0.path().join("child");
        let started = async {
            while !fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = apply(&place.plan(), place.0.path(), 1, &Noted::default(), started).await;
        insta::assert_snapshot!(outcome.unwrap_err().to_string(), @"stopped while it was to make it. Run ai-anchor setup again to go on");
        let pid = place.read("child").trim().to_owned();
        let gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        for _ in 0..200 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(gone(), "process {pid} lives on");
    }
}
