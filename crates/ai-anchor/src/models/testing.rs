//! Servers for the tests of this module: one that speaks Hugging Face's interface, with faults, and how to ask it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::catalogue::{CATALOGUE, Model, Repository, Source};
use super::pull::{Access, Patience, Token};

/// What the server does wrong with the next request for a file.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It answers with this status and message.
    Status(u16, &'static str),
    /// It closes the connection after half of what was asked for.
    Half,
    /// It says nothing more after half.
    Stall,
    /// It sends everything, whatever range was asked for.
    IgnoreRange,
    /// It begins elsewhere than it was asked to.
    WrongRange,
    /// It announces this length.
    Lie(usize),
    /// It sends more than the file has, and announces nothing.
    TooMuch,
    /// The file is this from now on.
    Change(&'static str),
    /// The same, and the server does not care for `If-Range`.
    ChangeUnnoticed(&'static str),
    /// It sends elsewhere.
    Redirect(String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) range: Option<String>,
    pub(super) authorised: Option<String>,
}

#[derive(Default)]
struct Store {
    files: Vec<(String, Vec<u8>)>,
    faults: VecDeque<Fault>,
    /// Instead of the list of the files.
    lists: VecDeque<(u16, Value)>,
    next_page: Option<String>,
    seen: Vec<Seen>,
}

/// A server that speaks Hugging Face's interface.
#[derive(Clone)]
pub(super) struct FakeHub {
    pub(super) address: String,
    store: Arc<Mutex<Store>>,
}

impl FakeHub {
    /// With these files. Those longer than 100 bytes are in LFS.
    pub(super) async fn start(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        let store = Arc::new(Mutex::new(Store { files, ..Store::default() }));
        let router = Router::new().fallback(answer).with_state(store.clone());
        Self { address: serve(router).await, store }
    }

    pub(super) fn fault(&self, fault: Fault) -> &Self {
        self.store.lock().unwrap().faults.push_back(fault);
        self
    }

    /// Answers the next request for the list with this.
    pub(super) fn list(&self, status: u16, list: Value) -> &Self {
        self.store.lock().unwrap().lists.push_back((status, list));
        self
    }

    pub(super) fn next_page(&self, address: &str) -> &Self {
        self.store.lock().unwrap().next_page = Some(address.into());
        self
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.store.lock().unwrap().seen.clone()
    }

    /// The requests for files, as ranges.
    pub(super) fn ranges(&self) -> Vec<String> {
        let files = self.seen().into_iter().filter(|seen| seen.path.contains("/resolve/"));
        files.map(|seen| seen.range.unwrap_or_else(|| "all".into())).collect()
    }
}

/// Serves until the test ends.
pub(super) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response<Body> {
    let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    let mut store = store.lock().unwrap();
    store.seen.push(Seen { path: path.clone(), range: text(header::RANGE), authorised: text(header::AUTHORIZATION) });
    if path.contains("/tree/") {
        return list(&mut store);
    }
    let fault = store.faults.pop_front();
    let wanted = path.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let Some(place) = store.files.iter().position(|(path, _)| path == wanted) else {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    };
    if let Some(Fault::Change(content) | Fault::ChangeUnnoticed(content)) = fault {
        store.files[place].1 = content.into();
    }
    let content = store.files[place].1.clone();
    file(&content, fault, request.headers())
}

fn list(store: &mut Store) -> Response<Body> {
    let (status, list) = store
        .lists
        .pop_front()
        .unwrap_or_else(|| (200, store.files.iter().map(|(path, content)| entry(path, content)).collect()));
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(next) = store.next_page.take() {
        response = response.header("link", format!("<{next}>; rel=\"next\""));
    }
    response.body(Body::from(list.to_string())).unwrap()
}

/// A file as the interface lists it.
pub(super) fn entry(path: &str, content: &[u8]) -> Value {
    let mut blob = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    blob.update(content);
    let mut entry = json!({ "type": "file", "path": path, "size": content.len(), "oid": hex(&blob.finalize()) });
    if content.len() > 100 {
        entry["lfs"] = json!({ "oid": sha256(content), "size": content.len(), "pointerSize": 134 });
    }
    entry
}

pub(super) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(content: &[u8], fault: Option<Fault>, asked: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", sha256(content));
    let text = |name| asked.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
    let start: Option<usize> = text(header::RANGE)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .filter(|_| !matches!(fault, Some(Fault::IgnoreRange)))
        .filter(|_| {
            matches!(fault, Some(Fault::ChangeUnnoticed(_))) || text(header::IF_RANGE).is_none_or(|old| old == tag)
        });
    let size = content.len();
    let rest = content[start.unwrap_or(0).min(size)..].to_vec();
    let mut response = Response::builder().header(header::ETAG, &tag);
    if let Some(start) = start {
        let start = if matches!(fault, Some(Fault::WrongRange)) { start - 1 } else { start };
        response = response.status(StatusCode::PARTIAL_CONTENT);
        response = response.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", size - 1));
    }
    let half = Bytes::copy_from_slice(&rest[..rest.len() / 2]);
    let half = stream::iter([Ok::<_, std::io::Error>(half)]);
    match fault {
        Some(Fault::Status(status, message)) => {
            Response::builder().status(status).header("x-error-message", message).body(Body::empty())
        }
        Some(Fault::Redirect(to)) => Response::builder().status(302).header("location", to).body(Body::empty()),
        Some(Fault::Half) => {
            // The half has to have left before the connection breaks.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("broken"))
            });
            response.header("content-length", rest.len()).body(Body::from_stream(half.chain(broken)))
        }
        Some(Fault::Stall) => {
            response.header("content-length", rest.len()).body(Body::from_stream(half.chain(stream::pending())))
        }
        Some(Fault::Lie(length)) => {
            response.header("content-length", length).body(Body::from_stream(half.chain(stream::pending())))
        }
        Some(Fault::TooMuch) => {
            let more = stream::iter([Ok::<_, std::io::Error>(Bytes::from(rest)), Ok(Bytes::from_static(b"and more"))]);
            response.body(Body::from_stream(more))
        }
        _ => response.body(Body::from(rest)),
    }
    .unwrap()
}

/// A model whose repository is `test/model`, under the licence of the first of the catalogue.
pub(super) fn model(required: &'static [&'static str], optional: &'static [&'static str]) -> Model {
    let repository = Repository { name: "test/model", revision: "main", required, optional };
    Model { name: "tested", about: "", source: Source::HuggingFace(repository), engines: &[], ..copy(&CATALOGUE[0]) }
}

pub(super) fn copy(model: &Model) -> Model {
    let Model { name, about, role, bytes, licence, engines, server, .. } = *model;
    Model { name, about, role, source: Source::Ollama(""), bytes, licence, engines, server }
}

/// Impatient access to a server, with a token.
pub(super) fn access(folder: &Path, hub: &FakeHub) -> Access {
    Access {
        folder: folder.to_owned(),
        mirror: hub.address.clone(),
        token: Token::new("hf_secret"),
        from: None,
        ollama: "http://127.0.0.1:1".into(),
        patience: Patience { stall: Duration::from_millis(300), attempts: 3, first_wait: Duration::from_millis(1) },
        free_space: |_| Ok(u64::MAX),
    }
}

/// Bytes that differ everywhere, so that a wrong seam is noticed.
pub(super) fn weights(length: usize) -> Vec<u8> {
    (0..length as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
