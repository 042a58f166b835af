//! What all engines behind a network share: one client, several endpoints, patience for every stage, and tries that end
//! with the first output.
//!
//! An engine describes its request and how the answer is read ([`Decode`]); [`Remote::exchange`] finds an endpoint, sends,
//! reads, and decides what may be tried again. Dropping the future closes the connection, which is how the servers learn
//! that nobody listens.

mod decode;
mod fault;
mod options;
mod pool;

use std::time::Duration;

use anchor_core::engine::EngineError;
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use decode::{Body, Decode, Lines, Rest, Sse, cut_short, error_in, unreadable};
pub(crate) use fault::{Fault, message, refused};
pub(crate) use options::{Defaults, Secret, parse};
use pool::{Lease, Pool};

use crate::generate::Out;

/// Longest text of an error that is read: enough for any message, too little to fill the memory.
const ERROR_MAX: usize = 16 * 1024;

/// Longest answer of a question about the server's state, such as its list of models.
const STATE_MAX: usize = 4 * 1024 * 1024;

/// How long the end of an answer is waited for whose last event has come.
const END: Duration = Duration::from_millis(20);

/// How long each stage of an exchange may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Sending the request to the first event of the answer, the connection included.
    pub(crate) first: Duration,
    /// One piece of the answer to the next.
    pub(crate) between: Duration,
}

/// A kind of server, at one or several addresses.
pub(crate) struct Remote {
    engine: &'static str,
    client: Client,
    pool: Pool,
    key: Option<Secret>,
    patience: Patience,
}

/// One endpoint as a request is built for it.
pub(crate) struct Target<'a> {
    client: &'a Client,
    base: &'a str,
    key: Option<&'a Secret>,
}

impl Target<'_> {
    /// A GET of this path, which begins with `/`.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.signed(self.client.get(format!("{}{path}", self.base)))
    }

    /// A POST to this path, which begins with `/`.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.signed(self.client.post(format!("{}{path}", self.base)))
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match self.key {
            Some(key) => request.bearer_auth(key.reveal()),
            None => request,
        }
    }
}

/// What an endpoint answered to a small request.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body, as text.
    pub(crate) body: String,
}

impl Reply {
    /// The answer, unless it has an error status.
    pub(crate) fn checked(self, engine: &'static str) -> Result<Self, Fault> {
        if self.status.is_success() { Ok(self) } else { Err(fault::refused(engine, self.status, &self.body)) }
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.body)
            .map_err(|error| Fault::Broken(format!("its answer cannot be read ({error}); is this the right server?")))
    }
}

impl Remote {
    fn new(engine: &'static str, options: options::RemoteOptions) -> Result<Self, EngineError> {
        let patience = Patience {
            first: Duration::from_millis(options.first_ms),
            between: Duration::from_millis(options.between_ms),
        };
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(options.connect_ms))
            // A redirect would take a key, or what a person said, to a server nobody has chosen.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| EngineError::Failed { engine, reason: format!("no HTTP client: {error}") })?;
        Ok(Self { engine, client, pool: Pool::new(options.urls), key: options.api_key, patience })
    }

    /// The engine's name, for errors.
    pub(crate) fn engine(&self) -> &'static str {
        self.engine
    }

    /// How long each stage may last.
    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// The addresses as people write them, for messages.
    pub(crate) fn addresses(&self) -> String {
        self.pool.addresses()
    }

    /// The header that shows the key, for connections that are no requests.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.key.as_ref()?.reveal())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// How many endpoints there are.
    pub(crate) fn endpoints(&self) -> usize {
        self.pool.len()
    }

    /// The address of one endpoint.
    pub(crate) fn address(&self, endpoint: usize) -> &str {
        self.pool.base(endpoint)
    }

    /// The address the next request would go to.
    pub(crate) fn least_busy(&self) -> Lease<'_> {
        self.pool.take(&[])
    }

    /// Sends the request `build` makes and gives out what `decoder` reads from the answer.
    ///
    /// Until something was given out, whatever is wrong with one endpoint (no connection, an answer of 429 or 5xx, a
    /// connection that ends or stalls) is tried again with the next, each of them once and a single one twice. Afterwards
    /// it is an error, because the listener has heard a part.
    pub(crate) async fn exchange<D: Decode>(
        &self,
        build: impl Fn(&Target<'_>) -> RequestBuilder,
        decoder: impl Fn() -> D,
        out: &mut Out<D::Event>,
    ) -> Result<(), EngineError> {
        let given_before = out.given();
        let mut tried = Vec::new();
        loop {
            let mut lease = self.pool.take(&tried);
            let outcome = self.attempt(&lease, &build, decoder(), out).await;
            let fault = match outcome {
                Ok(()) => {
                    lease.succeeded();
                    return Ok(());
                }
                Err(fault) => fault,
            };
            let untouched = out.given() == given_before;
            tried.push(lease.index());
            match fault {
                Fault::Broken(reason) => {
                    lease.failed();
                    if !untouched || tried.len() >= self.pool.len().max(2) {
                        return Err(self.failed(format!("{}: {reason}", lease.base())));
                    }
                    tracing::debug!(engine = self.engine, endpoint = lease.base(), %reason, "trying again");
                }
                Fault::Final(error) => return Err(error),
            }
        }
    }

    async fn attempt<D: Decode>(
        &self,
        lease: &Lease<'_>,
        build: impl Fn(&Target<'_>) -> RequestBuilder,
        mut decoder: D,
        out: &mut Out<D::Event>,
    ) -> Result<(), Fault> {
        let mut deadline = Instant::now() + self.patience.first;
        let late = || Fault::Broken(format!("nothing came within {} ms", self.patience.first.as_millis()));
        let request = build(&self.target(lease.base()));
        let mut response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Fault::transport(&error)),
            Err(_) => return Err(late()),
        };
        let status = response.status();
        if !status.is_success() {
            let body = bounded_text(&mut response, deadline, ERROR_MAX).await.unwrap_or_default();
            return Err(decoder.refused(self.engine, status, &body));
        }
        decoder.begin(response.headers())?;
        let mut begun = false;
        let mut events = Vec::new();
        loop {
            let piece = match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(piece)) => piece,
                Ok(Err(error)) => return Err(Fault::transport(&error)),
                Err(_) if begun => {
                    let waited = self.patience.between.as_millis();
                    return Err(Fault::Broken(format!("it stopped in the middle and said nothing for {waited} ms")));
                }
                Err(_) => return Err(late()),
            };
            let outcome = match &piece {
                Some(bytes) => decoder.push(bytes, &mut events),
                None => decoder.finish(&mut events),
            };
            // What was read before a fault is given out all the same: it is part of the answer.
            for event in events.drain(..) {
                out.give(event).await.map_err(Fault::Final)?;
                begun = true;
            }
            outcome?;
            if piece.is_none() {
                return Ok(());
            }
            if decoder.is_complete() {
                // The connection can be used again only once the end of the body was read, which is about to come.
                let _ = timeout(END, response.chunk()).await;
                return Ok(());
            }
            // What comes before the first event (a role, a comment that keeps the connection alive) answers nobody. Later
            // on, the listener's own pace does not count.
            if begun {
                deadline = Instant::now() + self.patience.between;
            }
        }
    }

    /// What a server says about itself at `path`, from the least busy endpoint that answers.
    pub(crate) async fn state<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        self.question(|target| target.get(path)).await
    }

    /// Whether a server is there and at work: it answers a GET of `path`, if only by saying that it has no such page.
    pub(crate) async fn answers(&self, path: &str) -> Result<(), EngineError> {
        let judge = |reply: Reply| match reply.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            _ => reply.checked(self.engine).map(drop),
        };
        self.ask(|target| target.get(path), judge).await
    }

    /// The JSON answer to a small request, from the least busy endpoint that answers.
    pub(crate) async fn question<T: DeserializeOwned>(
        &self,
        build: impl Fn(&Target<'_>) -> RequestBuilder,
    ) -> Result<T, EngineError> {
        self.ask(build, |reply| reply.checked(self.engine)?.json()).await
    }

    /// Puts a small question to the endpoints in turn, until one gives an answer that `judge` takes.
    async fn ask<T>(
        &self,
        build: impl Fn(&Target<'_>) -> RequestBuilder,
        judge: impl Fn(Reply) -> Result<T, Fault>,
    ) -> Result<T, EngineError> {
        let mut tried = Vec::new();
        loop {
            let mut lease = self.pool.take(&tried);
            let reply = self.reply(build(&self.target(lease.base())), self.patience.first).await;
            match reply.and_then(&judge) {
                Ok(value) => {
                    lease.succeeded();
                    return Ok(value);
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Broken(reason)) => {
                    lease.failed();
                    tried.push(lease.index());
                    if tried.len() >= self.pool.len() {
                        return Err(self.failed(format!("{}: {reason}", lease.base())));
                    }
                }
            }
        }
    }

    /// What one endpoint answers to a small request, whatever the others do. `wait` is for the whole answer.
    pub(crate) async fn reply_at(
        &self,
        endpoint: usize,
        wait: Duration,
        build: impl FnOnce(&Target<'_>) -> RequestBuilder,
    ) -> Result<Reply, Fault> {
        self.reply(build(&self.target(self.pool.base(endpoint))), wait).await
    }

    async fn reply(&self, request: RequestBuilder, wait: Duration) -> Result<Reply, Fault> {
        let deadline = Instant::now() + wait;
        let late = || Fault::Broken(format!("nothing came within {} ms", wait.as_millis()));
        let sent = timeout_at(deadline, request.send()).await.map_err(|_| late())?;
        let mut response = sent.map_err(|error| Fault::transport(&error))?;
        let status = response.status();
        let body = bounded_text(&mut response, deadline, STATE_MAX).await.ok_or_else(late)?;
        Ok(Reply { status, body })
    }

    fn target<'a>(&'a self, base: &'a str) -> Target<'a> {
        Target { client: &self.client, base, key: self.key.as_ref() }
    }

    /// The engine broke while working.
    pub(crate) fn failed(&self, reason: impl Into<String>) -> EngineError {
        EngineError::Failed { engine: self.engine, reason: reason.into() }
    }
}

/// The body as text, as far as `limit` goes; `None` if it does not come in time.
async fn bounded_text(response: &mut Response, deadline: Instant, limit: usize) -> Option<String> {
    let mut body = Vec::new();
    while body.len() < limit {
        match timeout_at(deadline, response.chunk()).await.ok()?.ok()? {
            Some(piece) => body.extend_from_slice(&piece),
            None => break,
        }
    }
    body.truncate(limit);
    Some(String::from_utf8_lossy(&body).into_owned())
}

/// The text of a status, such as `503 Service Unavailable`.
fn status_text(status: StatusCode) -> String {
    status.to_string()
}
