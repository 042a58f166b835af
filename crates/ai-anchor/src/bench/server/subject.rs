//! The server that is measured, in a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anchor_core::SessionConfig;
use anchor_core::rundown::OnAir;
use anchor_server::{Access, App, Limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};

use super::generators::engines;

/// Longest wait until a server listens: Python reads many modules.
const PATIENCE: Duration = Duration::from_secs(120);

/// No number of sessions is too many for the server; the machine decides.
const MANY: usize = 1_000_000;

/// The server of others, which plays the part of the generators, too.
const PIPECAT: &str = include_str!("../../../assets/bench/pipecat_server.py");

/// What can be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The anchor's server, in this program.
    Anchor(PathBuf),
    /// Pipecat, with this Python.
    Pipecat(PathBuf),
}

/// How a client speaks with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// JSON of the OpenAI Realtime API.
    Realtime,
    /// Nothing but sound: 16-bit little-endian samples at 24 kHz, both ways.
    Pcm,
}

/// A running server. Dropping it ends it.
pub struct Subject {
    /// Its process.
    pub pid: u32,
    /// Where to call.
    pub url: String,
    /// How to speak with it.
    pub dialect: Dialect,
    _child: Child,
    /// The server ends once nobody holds this, however this process ends.
    _stdin: Option<ChildStdin>,
}

/// Why a server to be measured did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// Its path.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended, or listened nowhere in time.
    #[error("{program} was started to be measured and did not say where it listens; what it complains of stands above")]
    Silent {
        /// Its path.
        program: String,
    },
}

impl Kind {
    /// The server of others, where it was installed.
    pub fn pipecat() -> Option<Self> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
        let python = cache.join("ai-anchor/bench-pipecat/bin/python");
        python.is_file().then_some(Self::Pipecat(python))
    }

    /// Its name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Anchor(_) => "AI Anchor",
            Self::Pipecat(_) => "Pipecat",
        }
    }

    /// Starts it and waits until it listens.
    pub async fn start(&self) -> Result<Subject, StartError> {
        let program = match self {
            Self::Anchor(program) | Self::Pipecat(program) => program,
        };
        let mut command = Command::new(program);
        match self {
            Self::Anchor(_) => command.args(["bench", "server", "--under-test"]),
            Self::Pipecat(_) => command.args(["-c", PIPECAT]).env("LOGURU_LEVEL", "ERROR"),
        };
        let (child, stdin, port) = spawn(command, program).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (url, dialect) = match self {
            Self::Anchor(_) => (format!("ws://{address}/v1/realtime"), Dialect::Realtime),
            Self::Pipecat(_) => (format!("ws://{address}/"), Dialect::Pcm),
        };
        Ok(Subject { pid: child.id().unwrap_or(0), url, dialect, _child: child, _stdin: stdin })
    }
}

/// Starts a server that prints its port on a line of its own.
async fn spawn(mut command: Command, program: &Path) -> Result<(Child, Option<ChildStdin>, u16), StartError> {
    let name = || program.display().to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| StartError::Spawn { program: name(), source })?;
    let stdin = child.stdin.take();
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Whatever goes wrong leaves the line without a port.
        let _ = tokio::time::timeout(PATIENCE, BufReader::new(stdout).read_line(&mut line)).await;
    }
    let port = line.trim().parse().map_err(|_| StartError::Silent { program: name() })?;
    Ok((child, stdin, port))
}

/// Raises the number of files this process may have open as far as it may: a session is one.
pub fn allow_many_sessions() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, sessions are refused, and the benchmark says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The anchor's server with generators for engines, until standard input ends. `listening` is told the port.
pub async fn serve(listening: impl FnOnce(u16) -> std::io::Result<()>) -> Result<(), anchor_server::ServeError> {
    allow_many_sessions();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (over, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = over.send(());
    });
    listening(port)?;
    let shutdown = async {
        let _ = ended.await;
    };
    anchor_server::serve(listener, app(), shutdown).await
}

fn app() -> App {
    let engines = engines();
    App {
        name: "Generator".into(),
        voices: engines.tts.voices(),
        engines,
        engine_status: watch::Sender::default().subscribe(),
        notices: watch::Sender::default().subscribe(),
        rundown: watch::Sender::new(OnAir::default()).subscribe(),
        session: SessionConfig::default(),
        calls: None,
        access: Access::default(),
        limits: Limits { sessions: MANY, sessions_per_caller: MANY, ..Limits::default() },
    }
}
