//! What can go wrong, in words, and the exit code it ends with.

use std::io;
use std::net::IpAddr;

use anchor_core::engine::EngineError;
use anchor_engines::slot::UnknownEngine;

use crate::bench::caller::CallError;
use crate::bench::server::subject::StartError;
use crate::config::ConfigError;
use crate::keys::KeysError;
use crate::memory::{self, PlanError};
use crate::models::ModelError;
use crate::on_air::RundownError;
use crate::setup::ApplyError;
use crate::wav::WavError;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments make no sense together. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// No engine has the name given. Exit code 2.
    #[error(transparent)]
    UnknownEngine(#[from] UnknownEngine),
    /// The settings cannot be used. Exit code 2 if the command line alone is to blame, 3 otherwise.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rundown cannot be used. Exit code 3.
    #[error(transparent)]
    Rundown(#[from] RundownError),
    /// An engine gave no answer. Exit code 4 if it cannot be used on this machine, 2 if it was asked for something it
    /// does not have, 1 otherwise.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Somebody else listens there. Exit code 5.
    #[error("port {port} on {host} is in use by another program. Choose another with --port{}", suggestion(*free))]
    PortInUse {
        /// Address asked for.
        host: String,
        /// Port asked for.
        port: u16,
        /// The next port nobody listens on.
        free: Option<u16>,
    },
    /// The address cannot be listened on. Exit code 5.
    #[error("cannot listen on {host} port {port}: {source}. Use an address of this machine, such as --host 127.0.0.1")]
    Listen {
        /// Address asked for.
        host: String,
        /// Port asked for.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The UDP port for WebRTC calls cannot be had. Exit code 5.
    #[error(
        "cannot take WebRTC calls on UDP port {port} of {ip}: {source}. Choose another with server.webrtc_port (0 takes any that is free), \
         or do without calls with server.webrtc = false"
    )]
    CallPort {
        /// Address asked for.
        ip: IpAddr,
        /// Port asked for.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The API keys cannot be used. Exit code 3 if the server cannot start without, 2 for a name, 1 otherwise.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A model cannot be got, checked or removed. Exit code 2 if the command was given too little, 1 otherwise.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The rehearsal showed what has to be mended first; it was told as the result. Exit code 1.
    #[error("the anchor is not ready to go live; what is wrong stands above")]
    NotReady,
    /// A benchmark's call to the anchor failed. Exit code 1.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A server to be measured did not start. Exit code 1.
    #[error(transparent)]
    Subject(#[from] StartError),
    /// Sound cannot be read. Exit code 1.
    #[error("{file}: {source}")]
    Wav {
        /// Where the sound came from.
        file: String,
        /// What is wrong with it.
        source: WavError,
    },
    /// A file cannot be read or written. Exit code 1.
    #[error("cannot {what} {file}: {source}")]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output cannot be written to. Exit code 1, but 0 and silence where its reader simply went away.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// The system does not give what every program needs. Exit code 1.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The models do not fit on the GPU, or it is not there: exit code 4. The card or the language model is not
    /// known: 2. A model's file is broken: 1.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Setting up stopped. Exit code 1.
    #[error(transparent)]
    Setup(#[from] ApplyError),
    /// Something is wrong with this machine. Exit code 4 if an engine or the GPU cannot be used, 1 otherwise.
    #[error("{}", problems(*count))]
    Machine {
        /// How many problems there are; all have been told.
        count: usize,
        /// An engine or the GPU cannot be used.
        unusable: bool,
    },
    /// The server ended. Exit code 1.
    #[error("the server stopped: {0}")]
    Server(#[from] anchor_server::ServeError),
}

impl Error {
    /// The process's exit code. 0 is never an error; documented in `docs/configuration.md`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Model(ModelError::Unknown { .. } | ModelError::LicenceNotAccepted { .. }) => 2,
            Self::Usage(_) | Self::UnknownEngine(_) | Self::Engine(EngineError::Unsupported { .. }) => 2,
            Self::Config(error) if error.of_flags_alone() => 2,
            Self::Keys(KeysError::Taken(_) | KeysError::Name(_) | KeysError::Unknown(_)) => 2,
            Self::Config(_) | Self::Rundown(_) | Self::Keys(KeysError::None(_) | KeysError::Broken { .. }) => 3,
            Self::Engine(EngineError::Unavailable { .. }) | Self::Machine { unusable: true, .. } => 4,
            Self::PortInUse { .. } | Self::Listen { .. } | Self::CallPort { .. } => 5,
            Self::Plan(PlanError::Refused(_) | PlanError::Gpu(_)) => 4,
            Self::Plan(PlanError::Model(memory::ModelError::File(_))) => 1,
            Self::Plan(_) => 2,
            Self::Engine(_)
            | Self::Model(_)
            | Self::Keys(_)
            | Self::NotReady
            | Self::Call(_)
            | Self::Subject(_)
            | Self::Wav { .. }
            | Self::File { .. }
            | Self::Output(_)
            | Self::System { .. }
            | Self::Setup(_)
            | Self::Machine { .. }
            | Self::Server(_) => 1,
        }
    }
}

fn suggestion(free: Option<u16>) -> String {
    free.map_or_else(String::new, |port| format!("; {port} is free"))
}

fn problems(count: usize) -> String {
    let what = if count == 1 { "1 problem" } else { &format!("{count} problems") };
    format!("{what} with this machine; the lines with -> say what to do")
}
