//! Connections, from the listener to the routes.

use std::future::Future;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::access::Peer;

/// A connection has this long to say what it wants, at first and between two requests; one that says nothing only holds
/// a place.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Wait before the next connection is taken where the last could not be: the process may be out of file handles, and
/// gets them back as others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until `shutdown` completes, and returns those that are open then.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_PATIENCE);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return connections,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small messages go out as they are written; waiting to fill a packet would be heard.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection stays with delayed packets");
        }
        let router = router.clone().layer(Extension(Peer(address.ip().to_canonical())));
        let (http, service, watcher) = (http.clone(), TowerToHyperService::new(router), connections.watcher());
        tokio::spawn(async move {
            // The patience for a request's head begins with its first byte, so that byte is waited for here.
            if timeout(REQUEST_PATIENCE, stream.peek(&mut [0])).await.is_err() {
                return;
            }
            let connection = watcher.watch(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
            if let Err(error) = connection.await {
                debug!(%error, "a connection broke");
            }
        });
    }
}
