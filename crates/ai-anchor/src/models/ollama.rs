//! Models that Ollama keeps: listed, pulled and removed through its interface.
//!
//! `GET /api/tags`, `POST /api/pull` and `DELETE /api/delete`, as
//! <https://github.com/ollama/ollama/blob/main/docs/api.md> has them. A pull is answered with a line of JSON for each
//! step; Ollama keeps what it has got, so that the next pull goes on there.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::fetch::pause;
use super::hub::{Trouble, body, client, reason};
use super::{ModelError, Patience, Progress, Step};

/// Where Ollama listens unless it is told otherwise.
pub const ADDRESS: &str = "http://127.0.0.1:11434";

/// Longest line of an answer: Ollama's are a few hundred bytes.
const MAX_LINE: usize = 64 * 1024;

/// Most blobs of a model: it has about five.
const MAX_BLOBS: usize = 1000;

/// Ollama says nothing while it reads all it downloaded to check it, which takes a slow disk minutes.
const CHECKING: u32 = 20;

/// The size of a model in Ollama's store in bytes; `None` if it is not there.
pub async fn size_of(address: &str, name: &str, patience: Patience) -> Result<Option<u64>, ModelError> {
    let ollama = Ollama::new(address, patience)?;
    let response = ollama.ask(Method::GET, "api/tags", None).await?;
    let tags = body(response, patience.stall).await.map_err(|trouble| ollama.failed(trouble))?;
    let tags: Tags = serde_json::from_slice(&tags).map_err(|error| {
        ollama.wrong(format!("its list of models cannot be understood: {error}. Check that Ollama listens there"))
    })?;
    let this = |tag: &&Tag| tag.name.eq_ignore_ascii_case(name) || tag.model.eq_ignore_ascii_case(name);
    Ok(tags.models.iter().find(this).map(|tag| tag.size))
}

/// Has Ollama download a model.
pub async fn pull(address: &str, name: &str, patience: Patience, progress: &dyn Progress) -> Result<(), ModelError> {
    let ollama = Ollama::new(address, patience)?;
    let mut failures = 0;
    loop {
        let reason = match ollama.pull(name, progress).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => reason,
        };
        failures += 1;
        if failures >= patience.attempts {
            return Err(ModelError::GaveUp { what: format!("{name} by Ollama"), attempts: failures, reason });
        }
        pause(patience.first_wait, failures, name, &reason, progress).await;
    }
}

/// Has Ollama remove a model and says how many bytes it had.
pub async fn remove(address: &str, name: &str, patience: Patience) -> Result<u64, ModelError> {
    let Some(size) = size_of(address, name, patience).await? else { return Ok(0) };
    let ollama = Ollama::new(address, patience)?;
    ollama.ask(Method::DELETE, "api/delete", Some(json!({ "model": name }))).await?;
    Ok(size)
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(default)]
    name: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    size: u64,
}

/// A line of the answer to a pull.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    status: String,
    digest: Option<String>,
    #[serde(default)]
    total: u64,
    #[serde(default)]
    completed: u64,
    error: Option<String>,
}

struct Ollama {
    client: reqwest::Client,
    base: Url,
    patience: Patience,
}

impl Ollama {
    fn new(address: &str, patience: Patience) -> Result<Self, ModelError> {
        let wrong = |what: &str| ModelError::Ollama { address: address.into(), what: what.into() };
        let mut base =
            Url::parse(address).map_err(|_| wrong("this is no address. Give one such as http://127.0.0.1:11434"))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { client: client(&base, patience)?, base, patience })
    }

    /// Asks, and fails if the answer is an error.
    async fn ask(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> Result<Response, ModelError> {
        self.send(method, path, body).await.map_err(|trouble| self.failed(trouble))
    }

    async fn send(&self, method: Method, path: &str, json: Option<serde_json::Value>) -> Result<Response, Trouble> {
        let url = self.base.join(path).map_err(|error| self.wrong(format!("this is no address: {error}")))?;
        let mut request = self.client.request(method, url);
        if let Some(json) = json {
            request = request.json(&json);
        }
        let response = match tokio::time::timeout(self.patience.stall, request.send()).await {
            Err(_) => return Err(Trouble::Passing("it does not answer".into())),
            Ok(Err(error)) if error.is_connect() => {
                let what = format!("it cannot be reached: {}. Start it with: ollama serve", reason(&error));
                return Err(self.wrong(what).into());
            }
            Ok(Err(error)) => return Err(Trouble::Passing(reason(&error))),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = body(response, self.patience.stall).await.unwrap_or_default();
        let error = serde_json::from_slice::<Line>(&text).ok().and_then(|line| line.error);
        let what = error.map_or_else(|| format!("it answers {status}"), |error| said(&error));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(Trouble::Passing(what));
        }
        Err(self.wrong(what).into())
    }

    /// One attempt.
    async fn pull(&self, name: &str, progress: &dyn Progress) -> Result<(), Trouble> {
        let request = json!({ "model": name, "stream": true });
        let mut response = self.send(Method::POST, "api/pull", Some(request)).await?;
        let mut steps = Steps::default();
        let mut buffer = Vec::new();
        loop {
            let patience = if steps.checking { self.patience.stall * CHECKING } else { self.patience.stall };
            let bytes = match tokio::time::timeout(patience, response.chunk()).await {
                Err(_) => return Err(silent(patience)),
                Ok(Err(error)) => return Err(Trouble::Passing(reason(&error))),
                Ok(Ok(None)) if steps.success => return Ok(()),
                Ok(Ok(None)) => return Err(Trouble::Passing("the connection ended before it was done".into())),
                Ok(Ok(Some(bytes))) => bytes,
            };
            buffer.extend_from_slice(&bytes);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                steps.take(&line, progress).map_err(|what| self.wrong(what))?;
            }
            if buffer.len() > MAX_LINE {
                return Err(self.wrong(format!("it sends a line of more than {MAX_LINE} bytes")).into());
            }
        }
    }

    fn wrong(&self, what: String) -> ModelError {
        ModelError::Ollama { address: self.base.as_str().trim_end_matches('/').into(), what }
    }

    fn failed(&self, trouble: Trouble) -> ModelError {
        match trouble {
            Trouble::Passing(what) => self.wrong(what),
            Trouble::Lasting(error) => error,
        }
    }
}

/// How far a pull is.
#[derive(Default)]
struct Steps {
    begun: HashSet<String>,
    status: String,
    checking: bool,
    success: bool,
}

impl Steps {
    /// Takes a line, or says why the pull failed.
    fn take(&mut self, line: &[u8], progress: &dyn Progress) -> Result<(), String> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| format!("it sends what cannot be understood: {error}. Check that Ollama listens there"))?;
        if let Some(error) = line.error {
            return Err(said(&error));
        }
        self.success = line.status == "success";
        self.checking = line.digest.is_none();
        if let Some(digest) = line.digest {
            let (bytes, done) = (line.total, line.completed.min(line.total));
            if self.begun.len() < MAX_BLOBS && self.begun.insert(digest.clone()) {
                progress.step(Step::Begin { file: &digest, bytes, done });
            } else {
                progress.step(Step::Advance { file: &digest, bytes, done });
            }
        } else if line.status != self.status {
            progress.step(Step::Ollama { status: &line.status });
            self.status = line.status;
        }
        Ok(())
    }
}

/// An error of Ollama's, with what to do about the known ones.
fn said(error: &str) -> String {
    let error: String = error.chars().filter(|c| !c.is_control()).take(500).collect();
    let remedy = if error.contains("no space left") {
        ". Make room on the disk of Ollama's models (OLLAMA_MODELS)"
    } else if error.contains("file does not exist") || error.contains("not found") {
        ". Check that the name is still on Hugging Face or in Ollama's library"
    } else {
        ""
    };
    format!("it says \"{error}\"{remedy}")
}

fn silent(patience: Duration) -> Trouble {
    Trouble::Passing(format!("nothing came for {} seconds", patience.as_secs_f32()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::body::{Body, Bytes};
    use axum::extract::{Request, State};
    use axum::http::Response as Answer;
    use futures::{StreamExt, stream};

    use super::*;
    use crate::models::testing::serve;

    const NAME: &str = "hf.co/a/b:Q4_K_M";

    /// How Ollama answers a pull.
    enum Pull {
        /// These pieces, then the end of the connection.
        Pieces(Vec<&'static str>),
        /// The same, then nothing more.
        Stuck(Vec<&'static str>),
        Status(u16, &'static str),
    }

    #[derive(Default)]
    struct Store {
        here: bool,
        pulls: VecDeque<Pull>,
        asked: Vec<String>,
    }

    /// A server that speaks Ollama's interface.
    async fn ollama(here: bool, pulls: Vec<Pull>) -> (String, Arc<Mutex<Store>>) {
        let store = Arc::new(Mutex::new(Store { here, pulls: pulls.into(), asked: Vec::new() }));
        let router = axum::Router::new().fallback(answer).with_state(store.clone());
        (serve(router).await, store)
    }

    async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Answer<Body> {
        let path = format!("{} {}", request.method(), request.uri().path());
        let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
        let mut store = store.lock().unwrap();
        store.asked.push(format!("{path} {}", String::from_utf8_lossy(&body)));
        let answer = Answer::builder();
        let ended = |pieces: Vec<&'static str>| {
            stream::iter(pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))))
        };
        match &*path {
            "GET /api/tags" if store.here => answer.body(Body::from(
                r#"{"models":[{"name":"x","model":"x","size":1},{"name":"HF.co/a/b:Q4_K_M","model":"","size":14333908672}]}"#,
            )),
            "GET /api/tags" => answer.body(Body::from(r#"{"models":[]}"#)),
            "DELETE /api/delete" => {
                store.here = false;
                answer.body(Body::empty())
            }
            "POST /api/pull" => match store.pulls.pop_front().unwrap() {
                Pull::Pieces(pieces) => answer.body(Body::from_stream(ended(pieces))),
                Pull::Stuck(pieces) => answer.body(Body::from_stream(ended(pieces).chain(stream::pending()))),
                Pull::Status(status, text) => answer.status(status).body(Body::from(text)),
            },
            _ => answer.status(404).body(Body::empty()),
        }
        .unwrap()
    }

    fn patience() -> Patience {
        Patience { stall: Duration::from_millis(200), attempts: 3, first_wait: Duration::from_millis(1) }
    }

    /// What comes of a pull that is answered so, and what was told.
    async fn pulled(pulls: Vec<Pull>) -> (Result<(), String>, Vec<String>) {
        let (address, _) = ollama(false, pulls).await;
        let told = Mutex::new(Vec::new());
        let progress = |step: Step<'_>| told.lock().unwrap().push(serde_json::to_string(&step).unwrap());
        let outcome = pull(&address, NAME, patience(), &progress).await;
        let outcome = outcome.map_err(|error| error.to_string().replace(&address, "http://ollama"));
        (outcome, told.into_inner().unwrap())
    }

    const LINES: [&str; 5] = [
        "{\"status\":\"pulling manifest\"}\n{\"status\":\"pulling 0badc0de\",\"digest\":\"sha256:0bad\",\"total\":",
        "100}\n{\"status\":\"pulling 0badc0de\",\"digest\":\"sha256:0bad\",\"total\":100,\"completed\":60}\n",
        "{\"status\":\"pulling 0badc0de\",\"digest\":\"sha256:0bad\",\"total\":100,\"completed\":100}\n",
        "{\"status\":\"verifying sha256 digest\"}\n\n{\"status\":\"writing manifest\"}\n",
        "{\"status\":\"success\"}\n",
    ];

    #[tokio::test]
    async fn a_pull_is_told_step_by_step_however_its_lines_are_cut() {
        let (outcome, told) = pulled(vec![Pull::Pieces(LINES.to_vec())]).await;
        assert_eq!(outcome, Ok(()));
        insta::assert_snapshot!(told.join("\n"), @r#"
        {"step":"ollama","status":"pulling manifest"}
        {"step":"begin","file":"sha256:0bad","bytes":100,"done":0}
        {"step":"advance","file":"sha256:0bad","bytes":100,"done":60}
        {"step":"advance","file":"sha256:0bad","bytes":100,"done":100}
        {"step":"ollama","status":"verifying sha256 digest"}
        {"step":"ollama","status":"writing manifest"}
        {"step":"ollama","status":"success"}
        "#);
    }

    #[tokio::test]
    async fn a_broken_pull_is_asked_for_again_and_goes_on() {
        let cut = LINES[..2].to_vec();
        let pulls = vec![Pull::Pieces(cut.clone()), Pull::Stuck(cut), Pull::Pieces(LINES.to_vec())];
        let (outcome, told) = pulled(pulls).await;
        assert_eq!(outcome, Ok(()));
        let retries: Vec<_> = told.iter().filter(|step| step.contains("retry")).collect();
        assert_eq!(retries.len(), 2, "{told:?}");
        assert!(retries[0].contains("the connection ended before it was done"));
        assert!(retries[1].contains("nothing came for 0.2 seconds"));
        let busy = || Pull::Status(503, r#"{"error":"server busy"}"#);
        let (outcome, _) = pulled(vec![busy(), busy(), busy()]).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @r#"hf.co/a/b:Q4_K_M by Ollama could not be downloaded in 3 attempts, the last of which failed because it says "server busy". Run the same command again to go on where it stopped"#);
    }

    #[tokio::test]
    async fn errors_of_ollama_are_told_in_its_words() {
        let mut texts = Vec::new();
        for pull in [
            Pull::Pieces(vec![
                "{\"status\":\"pulling manifest\"}\n{\"error\":\"pull model manifest: file does not exist\"}\n",
            ]),
            Pull::Pieces(vec!["{\"error\":\"write /models/x: no space left on device\"}\n"]),
            Pull::Status(500, r#"{"error":"pull model manifest: Get https://hf.co: no such host"}"#),
            Pull::Status(404, "not Ollama at all"),
            Pull::Pieces(vec!["<html>\n"]),
        ] {
            texts.push(pulled(vec![pull]).await.0.unwrap_err());
        }
        texts.push(pull("http://127.0.0.1:1", NAME, patience(), &|_: Step<'_>| {}).await.unwrap_err().to_string());
        texts.push(size_of("ollama", NAME, patience()).await.unwrap_err().to_string());
        insta::assert_snapshot!(texts.join("\n"), @r#"
        Ollama at http://ollama: it says "pull model manifest: file does not exist". Check that the name is still on Hugging Face or in Ollama's library
        Ollama at http://ollama: it says "write /models/x: no space left on device". Make room on the disk of Ollama's models (OLLAMA_MODELS)
        Ollama at http://ollama: it says "pull model manifest: Get https://hf.co: no such host"
        Ollama at http://ollama: it answers 404 Not Found
        Ollama at http://ollama: it sends what cannot be understood: expected value at line 1 column 1. Check that Ollama listens there
        Ollama at http://127.0.0.1:1: it cannot be reached: Connection refused (os error 111). Start it with: ollama serve
        Ollama at ollama: this is no address. Give one such as http://127.0.0.1:11434
        "#);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_collected_for_ever() {
        let endless = "x".repeat(40_000).leak();
        let (outcome, _) = pulled(vec![Pull::Stuck(vec![endless, endless])]).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @"Ollama at http://ollama: it sends a line of more than 65536 bytes");
    }

    #[tokio::test]
    async fn what_is_there_is_listed_and_removed() {
        let (address, store) = ollama(true, Vec::new()).await;
        assert_eq!(size_of(&address, NAME, patience()).await.unwrap(), Some(14_333_908_672));
        assert_eq!(remove(&address, NAME, patience()).await.unwrap(), 14_333_908_672);
        assert_eq!(remove(&address, NAME, patience()).await.unwrap(), 0);
        assert_eq!(size_of(&address, NAME, patience()).await.unwrap(), None);
        let asked = store.lock().unwrap().asked.join("\n");
        assert_eq!(asked.matches(r#"DELETE /api/delete {"model":"hf.co/a/b:Q4_K_M"}"#).count(), 1, "{asked}");
    }
}
