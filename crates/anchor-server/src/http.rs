//! The routes: the page, the sockets, and what an operator wants to know.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anchor_core::Conversation;
use anchor_core::engine::{EngineState, EngineStatus};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tower_http::trace::TraceLayer;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::realtime::websocket::{Handshake, MESSAGE_MAX, WebSocketTransport};
use crate::{App, ServeError, metrics, page, session, studio};

/// How long open sessions and requests may take to end after the server was told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// A connection has this long to say what it wants, at first and between two requests; one that says nothing only holds
/// a place.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Wait before the next connection is taken where the last could not be: the process may be out of file handles, and
/// gets them back as others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the routes share.
struct Server {
    app: App,
    /// One for each session that may still be opened.
    seats: Arc<Semaphore>,
    /// The listener can be reached from this machine only.
    local: bool,
    closing: watch::Receiver<bool>,
    metrics: PrometheusHandle,
}

pub(crate) async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (close, closing) = watch::channel(false);
    let most = app.limits.sessions.min(Semaphore::MAX_PERMITS);
    let seats = Arc::new(Semaphore::new(most));
    let server = Arc::new(Server {
        app,
        seats: seats.clone(),
        local: listener.local_addr()?.ip().to_canonical().is_loopback(),
        closing: closing.clone(),
        metrics: metrics::recorder(),
    });
    let news = metrics::follow(server.app.engine_status.clone(), server.app.notices.clone());
    tokio::spawn(keep_up(server.metrics.clone(), news, closing));
    let router = Router::new()
        .route("/v1/realtime", any(realtime))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .fallback(asset)
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

/// Takes connections until `shutdown` completes, and returns those that are open then.
async fn accept(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_PATIENCE);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return connections,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
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
        let (http, service, watcher) = (http.clone(), TowerToHyperService::new(router.clone()), connections.watcher());
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
    if method != Method::GET && method != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET is understood here.");
    }
    page::file(&uri, &headers).unwrap_or_else(|| {
        refuse(StatusCode::NOT_FOUND, "not_found", &format!("There is nothing at '{}'.", uri.path()))
    })
}

async fn render_metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], server.metrics.render())
}

/// Whether the anchor can hold a conversation now: for each kind, an engine works. One that loads on first use does not
/// stand in the way.
async fn ready(State(server): State<Arc<Server>>) -> Response {
    let status = server.app.engine_status.borrow().clone();
    let works = |engine: &EngineStatus| !matches!(engine.state, EngineState::Loading | EngineState::Failed(_));
    let waiting: Vec<_> = status
        .iter()
        .filter(|engine| !status.iter().any(|other| other.kind == engine.kind && works(other)))
        .map(|engine| {
            let (state, problem) = studio::state_shown(&engine.state);
            json!({ "kind": engine.kind.name(), "name": engine.name, "state": state, "problem": problem })
        })
        .collect();
    let code = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": waiting.is_empty(), "not_ready": waiting }))).into_response()
}

#[derive(Debug, Deserialize)]
struct Wanted {
    model: Option<String>,
    intent: Option<String>,
    studio: Option<String>,
}

async fn realtime(
    State(server): State<Arc<Server>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let message = "This is the address of a WebSocket. Connect to it with ws:// or wss://.";
        return refuse(StatusCode::UPGRADE_REQUIRED, "websocket_required", message);
    };
    if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| server.local && !is_local(origin)) {
        metrics::refused("origin");
        let message = format!(
            "This server listens on this machine alone and takes conversations of pages of this machine alone, not of {}. \
             Open the page from this machine, or serve on another address.",
            origin.to_str().unwrap_or("a page without a name")
        );
        return refuse(StatusCode::FORBIDDEN, "origin_not_allowed", &message);
    }
    let transcription = match wanted.intent.as_deref() {
        None | Some("conversation") => false,
        Some("transcription") => true,
        Some(intent) => {
            let message = format!(
                "There are no sessions with the intent '{intent}'. Use 'transcription' for transcripts without answers, \
                 and leave it out for a conversation."
            );
            return refuse(StatusCode::BAD_REQUEST, "invalid_value", &message);
        }
    };
    let Ok(seat) = server.seats.clone().try_acquire_owned() else {
        metrics::refused("full");
        let message = format!(
            "All {} sessions of this server are taken. Try again when one has ended.",
            server.app.limits.sessions
        );
        let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_sessions", &message);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    };
    let handshake = Handshake { model: wanted.model, studio: wanted.studio.as_deref() == Some("true"), transcription };
    upgrade
        // Answered only where it was offered: a client that offers nothing may refuse any answer.
        .protocols(["realtime"])
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| async move { converse(socket, handshake, &server, seat).await })
}

/// One session from its greeting to its end.
async fn converse(
    socket: axum::extract::ws::WebSocket,
    handshake: Handshake,
    server: &Server,
    _seat: OwnedSemaphorePermit,
) {
    let _open = metrics::OpenSession::new();
    let key = session_key();
    let span = info_span!("session", %key, studio = handshake.studio);
    async {
        info!("opened");
        let app = &server.app;
        let config = handshake.session(&app.session);
        let transport = WebSocketTransport::open(socket, &key, handshake, app, server.closing.clone()).await;
        let ended = match transport {
            Ok(mut transport) => {
                let conversation = Conversation::new(&key, config);
                session::run(&app.engines, conversation, &mut transport).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!("closed"),
            Err(error) => info!(%error, "closed"),
        }
    }
    .instrument(span)
    .await;
}

/// A name for a session that no other has: half of a random UUID is enough for one server's lifetime.
fn session_key() -> String {
    let mut key = uuid::Uuid::new_v4().simple().to_string();
    key.truncate(16);
    key
}

/// Whether an `Origin` names a page of this machine. A name that merely resolves to this machine does not count:
/// anybody can own one (DNS rebinding).
fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()).and_then(|uri| {
        let host = uri.host()?;
        Some(host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
    });
    host.is_some_and(|host| {
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    })
}

/// An error in the words of the API.
fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    let body = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_local() {
        for origin in ["http://localhost:8300", "http://127.0.0.1", "https://[::1]:8300", "http://studio.localhost:1"] {
            assert!(is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "file://",
            "http://[::2]",
        ] {
            assert!(!is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
    }

    #[test]
    fn session_keys_do_not_repeat() {
        assert_ne!(session_key(), session_key());
        assert_eq!(session_key().len(), 16);
    }
}
