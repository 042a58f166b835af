//! Protocol servers: what stands in for Ollama, vLLM and Higgs where there is no GPU. Each speaks its protocol from its
//! documentation and fails in every way the real one can. They prove the client; they prove nothing about models.

pub mod morse;
pub mod ollama;
pub mod openai_chat;
pub mod speech;
pub mod vllm;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The server that the engine with this name talks to.
pub async fn stand_in(engine: &str) -> Server {
    match engine {
        "higgs-server" => speech::Speech::serve(speech::Kind::Boson).await.1,
        "openai-speech" => speech::Speech::serve(speech::Kind::OpenAi).await.1,
        "voxtral-vllm" | "voxtral-realtime" => vllm::Vllm::serve("what are the headlines").await.1,
        "ollama" => ollama::Ollama::serve().await.1,
        "openai-chat" => openai_chat::Chat::serve().await.1,
        _ => panic!("no protocol server is known for the engine {engine}: add a line here"),
    }
}

/// A server on a port of its own. It dies with its connections when it is dropped.
pub struct Server {
    address: SocketAddr,
    router: Router,
    open: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let open = Arc::new(AtomicUsize::new(0));
        let task = Some(tokio::spawn(accept(listener, router.clone(), open.clone())));
        Self { address, router, open, task }
    }

    /// Where it listens, such as `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Dies as a killed process does: nobody listens any more and every connection ends where it is.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Comes back at the same address.
    pub async fn revive(&mut self) {
        self.kill().await;
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.task = Some(tokio::spawn(accept(listener, self.router.clone(), self.open.clone())));
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Options that name this server.
    pub fn options(&self) -> String {
        format!("url = '{}'\n", self.url())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Takes connections for ever. Those taken are dropped with it.
async fn accept(listener: TcpListener, router: Router, open: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = TowerToHyperService::new(router.clone());
        let counted = Counted::new(open.clone());
        connections.spawn(async move {
            let _counted = counted;
            let http = Builder::new(TokioExecutor::new());
            // A connection that breaks is what some tests are about.
            let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub fn new(open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// An answer with this status and body instead.
    Refuses(u16, String),
    /// The answer never begins.
    Hangs,
    /// Every piece takes this long.
    Slow(Duration),
    /// After this many pieces nothing comes any more, and the connection stays.
    StopsAfter(usize),
    /// After this many pieces the connection breaks.
    BreaksAfter(usize),
    /// After this many pieces this is sent instead of the rest, and the answer ends as if it were complete.
    SaysAfter(usize, String),
}

/// What the next requests meet, one each; those after them are served well.
#[derive(Clone, Default)]
pub struct Troubles(Arc<Mutex<VecDeque<Option<Trouble>>>>);

impl Troubles {
    /// The next request that has not met anything yet meets this.
    pub fn push(&self, trouble: impl Into<Option<Trouble>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(trouble.into());
    }

    /// What the request now at hand meets.
    pub fn next(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten()
    }
}

/// The body of an answer made of these pieces, with this trouble. [`Trouble::Refuses`] is not a matter of the body.
pub fn body(pieces: Vec<Bytes>, trouble: Option<Trouble>) -> Body {
    Body::from_stream(troubled(pieces, trouble))
}

fn troubled(pieces: Vec<Bytes>, trouble: Option<Trouble>) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    type Pieces = stream::BoxStream<'static, Result<Bytes, std::io::Error>>;
    let good = |pieces: Vec<Bytes>| -> Pieces { stream::iter(pieces.into_iter().map(Ok)).boxed() };
    let first = |pieces: Vec<Bytes>, count: usize| good(pieces.into_iter().take(count).collect());
    match trouble {
        None | Some(Trouble::Refuses(..)) => good(pieces),
        Some(Trouble::Hangs) => stream::pending().boxed(),
        Some(Trouble::Slow(pause)) => good(pieces)
            .then(move |piece| async move {
                tokio::time::sleep(pause).await;
                piece
            })
            .boxed(),
        Some(Trouble::StopsAfter(count)) => first(pieces, count).chain(stream::pending()).boxed(),
        Some(Trouble::BreaksAfter(count)) => first(pieces, count).chain(stream::once(pause_then_break())).boxed(),
        Some(Trouble::SaysAfter(count, text)) => first(pieces, count).chain(stream::iter([Ok(text.into())])).boxed(),
    }
}

/// Breaks the connection a little later, so that what was sent before it arrives: a reset overtakes what is still queued.
async fn pause_then_break() -> Result<Bytes, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Err(std::io::ErrorKind::ConnectionReset.into())
}
