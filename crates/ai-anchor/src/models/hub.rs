//! Hugging Face's public interface, or that of a mirror: what a repository holds, and where its files are.
//!
//! The list is `GET /api/models/{repository}/tree/{revision}?recursive=true`, in pages that name the next in a `Link`
//! header; a file is `GET /{repository}/resolve/{revision}/{path}`, which may redirect to another host. Large files
//! carry `lfs.oid`, the SHA-256 of their content; `oid` of the others is git's name of the blob. As
//! <https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/hf_api.py> (`list_repo_tree`,
//! `RepoFile`) and `file_download.py` beside it do it.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, LINK, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::disk::Checksum;
use super::pull::{Access, Patience};
use super::{ModelError, Repository, names};

/// Longest way from an address to its file; Hugging Face needs two steps.
const MAX_REDIRECTS: usize = 8;

/// Longest page of a list: a thousand files take a third of a megabyte.
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// Most files of a repository: a model has dozens.
const MAX_FILES: usize = 10_000;

/// Most pages of a list, so that a server that always names a next one comes to an end.
const MAX_PAGES: usize = 100;

/// Longest message of a server that is repeated to people.
const MAX_MESSAGE: usize = 200;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its path in the repository.
    pub(super) path: String,
    /// Its length in bytes.
    pub(super) size: u64,
    /// What its content has to be.
    pub(super) checksum: Checksum,
}

/// Why a request has no answer that can be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may work next time.
    Passing(String),
    /// It will not.
    Lasting(ModelError),
}

impl From<ModelError> for Trouble {
    fn from(error: ModelError) -> Self {
        Self::Lasting(error)
    }
}

/// A server that speaks the interface.
pub(super) struct Hub<'a> {
    client: Client,
    base: Url,
    access: &'a Access,
}

impl<'a> Hub<'a> {
    pub(super) fn new(access: &'a Access) -> Result<Self, ModelError> {
        let wrong = |what: String| ModelError::Server { address: access.mirror.clone(), what };
        let mut base = Url::parse(&access.mirror).map_err(|error| wrong(format!("this is no address: {error}")))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { client: client(&base, access.patience)?, base, access })
    }

    pub(super) fn patience(&self) -> Patience {
        self.access.patience
    }

    /// All files of the repository.
    pub(super) async fn list(&self, repository: &Repository) -> Result<Vec<Listed>, Trouble> {
        let path = format!("api/models/{}/tree/{}?recursive=true", repository.name, repository.revision);
        let mut next = Some(self.address(&path)?);
        let mut entries = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { return checked(repository, entries) };
            let response = self.get(url, HeaderMap::new(), repository, None).await?;
            next = response.headers().get_all(LINK).iter().find_map(|link| next_page(link.to_str().ok()?));
            next = next.map(|url| self.here(&url));
            let page = body(response, self.access.patience.stall).await?;
            let page: Vec<Entry> = serde_json::from_slice(&page).map_err(|error| ModelError::Server {
                address: self.access.mirror.clone(),
                what: format!(
                    "the list of {} is not that of Hugging Face: {error}. Check models.mirror",
                    repository.name
                ),
            })?;
            entries.extend(page);
            if entries.len() > MAX_FILES {
                break;
            }
        }
        Err(refused(repository, format!("it has more than {MAX_FILES} files or {MAX_PAGES} pages")).into())
    }

    /// Asks for a file.
    pub(super) async fn file(
        &self,
        repository: &Repository,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response, Trouble> {
        let url = self.address(&format!("{}/resolve/{}/{path}", repository.name, repository.revision))?;
        self.get(url, headers, repository, Some(path)).await
    }

    fn address(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Server {
            address: self.access.mirror.clone(),
            what: format!("with {path} this is no address: {error}"),
        })
    }

    /// The address on this server, because a mirror may pass on what Hugging Face said.
    fn here(&self, url: &Url) -> Url {
        let mut here = self.base.clone();
        if self.base.origin() == url.origin() || self.base.path() == "/" {
            here.set_path(url.path());
        } else {
            here.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), url.path()));
        }
        here.set_query(url.query());
        here
    }

    /// Follows redirects, and sends the token to the server itself alone.
    async fn get(
        &self,
        mut url: Url,
        headers: HeaderMap,
        repository: &Repository,
        file: Option<&str>,
    ) -> Result<Response, Trouble> {
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.client.get(url.clone()).headers(headers.clone());
            if let Some(token) = self.access.token.as_ref().filter(|_| self.trusts(&url)) {
                request = request.header(AUTHORIZATION, token.header());
            }
            // Without its address, which at another host is signed and works like a key.
            let sent = tokio::time::timeout(self.access.patience.stall, request.send()).await;
            let response = match sent {
                Err(_) => return Err(Trouble::Passing(format!("{} does not answer", host(&url)))),
                Ok(Err(error)) => return Err(Trouble::Passing(format!("{}: {}", host(&url), reason(&error)))),
                Ok(Ok(response)) => response,
            };
            if !response.status().is_redirection() {
                return self.judged(response, repository, file);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to =
                to.and_then(|to| url.join(to).ok()).filter(|to| to.scheme() == "https" || to.scheme() == url.scheme());
            url = to.ok_or_else(|| self.wrong("it redirects to an address that cannot be used"))?;
        }
        Err(self.wrong(&format!("it redirects more than {MAX_REDIRECTS} times")).into())
    }

    /// The token may be sent there: the mirror's own host, where nobody on the way can read it.
    fn trusts(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && (url.scheme() == "https" || is_loopback(url))
    }

    /// What the status means.
    fn judged(&self, response: Response, repository: &Repository, file: Option<&str>) -> Result<Response, Trouble> {
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        let message = message(response.headers());
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let token = self.access.token.is_some() && self.trusts(&self.base);
                let (repository, status) = (repository.name.to_owned(), status.as_u16());
                ModelError::Forbidden { repository, status, message, token }.into()
            }
            StatusCode::NOT_FOUND => {
                let what = file.map_or_else(|| repository.name.into(), |file| format!("{file} of {}", repository.name));
                let address = self.access.mirror.clone();
                ModelError::NotFound { address, what, revision: repository.revision.into() }.into()
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => passing(status),
            status if status.is_server_error() => passing(status),
            status => self.wrong(&format!("it answers {status} to a request for {}", repository.name)).into(),
        })
    }

    fn wrong(&self, what: &str) -> ModelError {
        ModelError::Server { address: self.access.mirror.clone(), what: format!("{what}. Check models.mirror") }
    }
}

/// A file or folder as the interface lists it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

fn checked(repository: &Repository, entries: Vec<Entry>) -> Result<Vec<Listed>, Trouble> {
    let mut files = Vec::new();
    for Entry { path, size, oid, lfs, .. } in entries.into_iter().filter(|entry| entry.kind == "file") {
        if names::hostile(&path) {
            return Err(refused(repository, format!("it names {path:?}")).into());
        }
        let (size, oid) = lfs.map_or((size, oid), |lfs| (lfs.size, lfs.oid));
        let checksum = Checksum::parse(&oid);
        let checksum = checksum.ok_or_else(|| refused(repository, format!("{path} has no checksum but {oid:?}")))?;
        files.push(Listed { path, size, checksum });
    }
    Ok(files)
}

pub(super) fn refused(repository: &Repository, what: String) -> ModelError {
    ModelError::List { repository: repository.name.into(), what }
}

/// A client that follows no redirects. A server on this machine is asked without a proxy.
pub(super) fn client(base: &Url, patience: Patience) -> Result<Client, ModelError> {
    let mut client = Client::builder()
        .user_agent(concat!("ai-anchor/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.stall);
    if is_loopback(base) {
        client = client.no_proxy();
    }
    let failed = |error: reqwest::Error| ModelError::Server { address: base.to_string(), what: reason(&error) };
    client.build().map_err(failed)
}

fn is_loopback(url: &Url) -> bool {
    let address = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok();
    url.host_str().is_some_and(|host| host == "localhost" || address(host).is_some_and(|ip| ip.is_loopback()))
}

/// All of a short answer.
pub(super) async fn body(mut response: Response, stall: Duration) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    loop {
        match tokio::time::timeout(stall, response.chunk()).await {
            Err(_) => return Err(Trouble::Passing("it stopped in the middle of an answer".into())),
            Ok(Err(error)) => return Err(Trouble::Passing(reason(&error))),
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(bytes))) if body.len() + bytes.len() <= MAX_PAGE => body.extend_from_slice(&bytes),
            Ok(Ok(Some(_))) => {
                let (address, what) = (host(response.url()), format!("it answers with more than {MAX_PAGE} bytes"));
                return Err(ModelError::Server { address, what }.into());
            }
        }
    }
}

/// The innermost cause, without the address.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.source().is_none() { "the connection broke".into() } else { cause.to_string() }
}

fn host(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or("the server"))
}

fn passing(status: StatusCode) -> Trouble {
    Trouble::Passing(format!("the server answers {status}"))
}

/// What the server says about an error, fit to be printed.
fn message(headers: &HeaderMap) -> String {
    const MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
    let text = headers.get(MESSAGE).and_then(|text| text.to_str().ok()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

/// The address of the next page in a `Link` header: `<address>; rel="next"`.
fn next_page(link: &str) -> Option<Url> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Url::parse(next.split_once('<')?.1.split_once('>')?.0).ok()
}
