//! The routes put together, and the server's life from its first connection to its last.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_http::trace::TraceLayer;
use tracing::info;

use crate::accept::accept;
use crate::access::{Places, Secrets, cors};
use crate::realtime::calls::OpenCalls;
use crate::realtime::webrtc::Switchboard;
use crate::refusal::Refusal;
use crate::{App, ServeError, metrics, operator, page, realtime, rest};

/// How long open sessions and requests may take to end after the server was told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// What the routes share.
pub(crate) struct Server {
    pub(crate) app: App,
    /// Takes WebRTC calls, if the server does.
    pub(crate) switchboard: Option<Switchboard>,
    pub(crate) calls: OpenCalls,
    /// One for each session that may still be opened.
    pub(crate) seats: Arc<Semaphore>,
    /// How many sessions each caller has.
    pub(crate) places: Places,
    /// The ephemeral keys given out.
    pub(crate) secrets: Secrets,
    /// The listener can be reached from this machine only.
    pub(crate) local: bool,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) metrics: PrometheusHandle,
}

pub(crate) async fn serve(
    listener: TcpListener,
    mut app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let switchboard = app.calls.take().map(Switchboard::start).transpose()?;
    let local = listener.local_addr()?.ip().to_canonical().is_loopback();
    let (close, closing) = watch::channel(false);
    let most = app.limits.sessions.min(Semaphore::MAX_PERMITS);
    let seats = Arc::new(Semaphore::new(most));
    let server = Arc::new(Server {
        app,
        switchboard,
        calls: OpenCalls::default(),
        seats: seats.clone(),
        places: Places::default(),
        secrets: Secrets::default(),
        local,
        closing: closing.clone(),
        metrics: metrics::recorder(),
    });
    let news = metrics::follow(server.app.engine_status.clone(), server.app.notices.clone());
    tokio::spawn(keep_up(server.metrics.clone(), news, closing));
    let router = Router::new()
        .merge(operator::routes())
        .merge(realtime::upgrade::routes())
        .merge(realtime::calls::routes())
        .merge(rest::routes(&server))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("'{}' does not take {method}.", uri.path());
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .fallback(asset)
        .layer(cors(&server.app.access.origins))
        .layer(TraceLayer::new_for_http())
        .with_state(server);

    let connections = accept(listener, router, shutdown).await;
    info!("shutting down");
    // There are receivers: the one of the upkeep, at least.
    let _ = close.send(true);
    // Sessions have left the HTTP server's hands and are waited for by their seats.
    let seats = seats.acquire_many(u32::try_from(most).unwrap_or(u32::MAX));
    let all = async { tokio::join!(connections.shutdown(), seats) };
    if timeout(SHUTDOWN_PATIENCE, all).await.is_err() {
        info!("connections that did not end in time were cut");
    }
    Ok(())
}

/// Counts what happens around the sessions, and folds measurements into their histograms between two visits of
/// Prometheus.
async fn keep_up(metrics: PrometheusHandle, news: impl Future<Output = ()>, mut closing: watch::Receiver<bool>) {
    let over = closing.wait_for(|closing| *closing);
    let upkeep = async {
        loop {
            tokio::time::sleep(metrics::UPKEEP_INTERVAL).await;
            metrics.run_upkeep();
        }
    };
    tokio::select! {
        _ = over => {}
        ((), ()) = async { tokio::join!(news, upkeep) } => {}
    }
}

async fn asset(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let missing = || {
        let message = format!("There is nothing at '{}'.", uri.path());
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message).into_response()
    };
    match method {
        Method::GET | Method::HEAD => page::file(&uri, &headers).unwrap_or_else(missing),
        _ => missing(),
    }
}
