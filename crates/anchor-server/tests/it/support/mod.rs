//! A server on a loopback port, and a client that speaks to it.

pub mod caller;
pub mod client;
pub mod engines;
pub mod grammar;

use std::net::SocketAddr;
use std::time::Duration;

use anchor_core::SessionConfig;
use anchor_core::engine::{EngineKind, EngineState, EngineStatus, Notices, Tts};
use anchor_core::rundown::OnAir;
use anchor_server::{Access, App, CallSocket, Limits, ServeError};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use client::Client;
pub use engines::Scripted;

/// Longest wait for anything that ought to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    /// Where calls are taken.
    pub calls: SocketAddr,
    pub engines: Scripted,
    pub rundown: watch::Sender<OnAir>,
    pub status: watch::Sender<Vec<EngineStatus>>,
    pub notices: watch::Sender<Notices>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::open(limits, Access::default()).await
    }

    /// Serves those whom `access` lets in.
    pub async fn guarded(access: Access) -> Self {
        Self::open(Limits::default(), access).await
    }

    async fn open(limits: Limits, access: Access) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = CallSocket::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let calls_port = calls.port();
        let engines = Scripted::default();
        let (rundown, on_air) = watch::channel(OnAir::default());
        let ready = [EngineKind::Stt, EngineKind::Llm, EngineKind::Tts, EngineKind::Vad].map(|kind| EngineStatus {
            kind,
            name: format!("scripted-{}", kind.name()),
            state: EngineState::Ready,
            in_use: true,
        });
        let (notices, told) = watch::channel(Notices::default());
        let (status, engine_status) = watch::channel(ready.to_vec());
        let app = App {
            name: "Ada".into(),
            engines: engines.engines(),
            engine_status,
            notices: told,
            rundown: on_air,
            session: SessionConfig::default(),
            voices: engines.voices(),
            calls: Some(calls),
            access,
            limits,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(anchor_server::serve(listener, app, async {
            stopped.await.ok();
        }));
        let calls = SocketAddr::new(address.ip(), calls_port);
        Self { address, calls, engines, rundown, status, notices, stop, task }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address, "/v1/realtime?model=anchor").await
    }

    pub async fn connect_studio(&self) -> Client {
        Client::connect(self.address, "/v1/realtime?studio=true").await
    }

    /// Status line, headers and body of the answer to a plain request.
    pub async fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("no answer in time").unwrap();
        answer
    }

    /// Status and body of the answer to a request with a body. HTTP 1.0, so that the body comes as it is.
    pub async fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        // A server that refuses before it has read all may close while more is written.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no answer in time");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("it has a head");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    /// The same with JSON both ways.
    pub async fn ask(&self, path: &str, headers: &str, body: Value) -> (u16, Value) {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        let (status, body) = self.post(path, &headers, body.to_string().as_bytes()).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Tells the server to stop. It is awaited with the handle.
    pub fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).ok();
        self.task
    }

    /// Waits until no engine works for anybody any more.
    pub async fn idle(&self) {
        eventually("engines are still at work", || self.engines.at_work() == 0).await;
    }
}

pub async fn eventually(otherwise: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
