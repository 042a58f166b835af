//! An anchor in this very process, on a port of its own, for benchmarks and tests.

use std::net::SocketAddr;
use std::path::Path;

use anchor_core::engine::Engines;
use anchor_server::CallSocket;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::engines::Crew;
use crate::error::Error;
use crate::on_air;

/// A running anchor. Dropping it shuts it down.
pub struct Host {
    address: SocketAddr,
    /// Its engines, all loaded.
    pub engines: Engines,
    _stop: oneshot::Sender<()>,
    _server: JoinHandle<()>,
}

impl Host {
    /// Starts an anchor with the engines of `config`, loaded, and a rundown: the sample, or a file that is followed.
    pub async fn start(config: &Config, rundown: Option<&Path>) -> Result<Self, Error> {
        let rundown = match rundown {
            Some(path) => on_air::follow(path)?,
            None => on_air::fixed(None)?,
        };
        let crew = Crew::of(config, &rundown)?;
        let mut app = tokio::task::block_in_place(|| {
            crew.preload();
            crew.app(config, rundown)
        })?;
        let engines = app.engines.clone();
        let listen = |source| Error::Listen { host: "127.0.0.1".into(), port: 0, source };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        app.calls = Some(CallSocket::bind((address.ip(), 0).into(), None).await.map_err(listen)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let shutdown = async move {
                let _ = stopped.await;
            };
            if let Err(error) = anchor_server::serve(listener, app, shutdown).await {
                tracing::error!("{error}");
            }
        });
        Ok(Self { address, engines, _stop: stop, _server: server })
    }

    /// Address of the studio page.
    pub fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where to call, with the studio's own events.
    pub fn line(&self) -> String {
        format!("ws://{}/v1/realtime?studio=true", self.address)
    }
}
