//! Sessions and wire formats: the only crate that speaks to clients.
//!
//! [`serve`] answers on one listener: the studio page at `/`, conversations at `/v1/realtime` in the dialect of the OpenAI
//! Realtime API, `/healthz`, `/readyz` and `/metrics`. One task owns one conversation ([`session::run`]); what carries it
//! to a client is a [`transport::Transport`].

use std::future::Future;
use std::time::Duration;

use anchor_core::SessionConfig;
use anchor_core::engine::{EngineStatus, Engines, Notices, Voice};
use anchor_core::rundown::OnAir;
use tokio::net::TcpListener;
use tokio::sync::watch;

mod accept;
mod access;
mod http;
mod jobs;
mod metrics;
mod operator;
mod page;
mod realtime;
mod refusal;
mod rest;
pub mod session;
mod studio;
pub mod transport;

pub use access::{Access, Key};
#[doc(hidden)]
pub use realtime::fuzzing;
pub use realtime::webrtc::CallSocket;

/// One anchor: everything a server needs to hold conversations.
pub struct App {
    /// The anchor's name, shown in the studio.
    pub name: String,
    /// What it listens, thinks and speaks with.
    pub engines: Engines,
    /// How its engines are, now and later.
    pub engine_status: watch::Receiver<Vec<EngineStatus>>,
    /// What happened to its engines, now and later.
    pub notices: watch::Receiver<Notices>,
    /// The rundown on air, now and later.
    pub rundown: watch::Receiver<OnAir>,
    /// The settings a new session begins with.
    pub session: SessionConfig,
    /// The voices a session can choose from, the default first.
    pub voices: Vec<Voice>,
    /// The port that takes WebRTC calls; `None` takes none.
    pub calls: Option<CallSocket>,
    /// Who may use it.
    pub access: Access,
    /// How much is granted to clients.
    pub limits: Limits,
}

/// How much is granted to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at the same time; one more is refused with HTTP 503.
    pub sessions: usize,
    /// Sessions of one caller (a key, or an address where none is needed); one more is refused with HTTP 429.
    pub sessions_per_caller: usize,
    /// A client is pinged this often, so that a dead connection is noticed and a proxy keeps a quiet one open.
    pub ping_interval: Duration,
    /// A client from which nothing came for this long, not even the answer to a ping, is taken for gone.
    pub silence: Duration,
    /// Messages that may wait for a client to read them: about ten seconds of an answer's sound and captions.
    pub outbound_messages: usize,
    /// A client that makes no room in that queue for this long is disconnected.
    pub outbound_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 64,
            sessions_per_caller: 64,
            ping_interval: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            outbound_messages: 256,
            outbound_patience: Duration::from_secs(5),
        }
    }
}

/// Why the server stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener cannot be used.
    #[error("cannot listen for connections: {0}")]
    Listener(#[from] std::io::Error),
}

/// Serves `app` on `listener` until `shutdown` completes; sessions that are open then are closed with code 1001.
///
/// A listener bound to a loopback address takes browsers' conversations only from pages of this machine.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    http::serve(listener, app, shutdown).await
}
