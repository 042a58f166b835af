//! How the model servers are, for the page and the command line.

use std::fmt;
use std::time::Duration;

/// How one model server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// How it is.
    pub state: ServerState,
    /// Somebody else runs it: it is used, and never stopped.
    pub attached: bool,
}

/// How a model server is. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Nobody wants it now; it is started when it is used.
    Stopped,
    /// It is being started, or waits for its turn.
    Starting {
        /// For how long, in seconds.
        seconds: u64,
        /// What it printed last.
        line: String,
    },
    /// It works.
    Ready,
    /// It works, but not as well as it should, for this reason.
    Degraded(String),
    /// It does not work.
    Failed {
        /// Why, and what to do.
        why: String,
        /// It is started again after this long; `None` leaves it alone until the operator acts.
        again: Option<Duration>,
    },
}

impl ServerState {
    /// It is next, or one of the next, to be started.
    pub(super) fn waiting() -> Self {
        Self::Starting { seconds: 0, line: "waits for its turn".into() }
    }

    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Starting { seconds, line } if line.is_empty() => write!(f, "starting, {seconds} s"),
            Self::Starting { seconds, line } => write!(f, "starting, {seconds} s: {line}"),
            Self::Ready => f.write_str("ready"),
            Self::Degraded(why) => write!(f, "degraded: {why}"),
            Self::Failed { why, again: Some(again) } => write!(f, "failed, next try in {} s: {why}", again.as_secs()),
            Self::Failed { why, again: None } => write!(f, "failed: {why}"),
        }
    }
}
