//! The options that every engine behind a network has beside its own.

use std::fmt;
use std::path::{Path, PathBuf};

use anchor_core::engine::EngineError;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Remote;
use crate::options;

/// What these options are where nothing is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// Where such a server listens if nobody has told it otherwise.
    pub(crate) url: &'static str,
    /// How long the first event of an answer may take.
    pub(crate) first_ms: u64,
    /// How long the next piece may take after it.
    pub(crate) between_ms: u64,
}

/// A server on this machine or in the same house answers a connection within a few milliseconds; one that needs longer
/// than this is down, and somebody waits.
const CONNECT_MS: u64 = 1_000;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for the header it is meant for.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The common options, checked.
#[derive(Clone, Debug)]
pub(crate) struct RemoteOptions {
    pub(super) urls: Vec<String>,
    pub(super) api_key: Option<Secret>,
    pub(super) connect_ms: u64,
    pub(super) first_ms: u64,
    pub(super) between_ms: u64,
}

/// The common options as they stand in a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    url: Option<OneOrMany>,
    api_key: Option<Secret>,
    api_key_file: Option<PathBuf>,
    connect_ms: Option<u64>,
    first_ms: Option<u64>,
    between_ms: Option<u64>,
}

/// Their names.
const COMMON: [&str; 6] = ["url", "api_key", "api_key_file", "connect_ms", "first_ms", "between_ms"];

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The engine's own options, and the servers its table names.
///
/// `T` derives `Deserialize` with `#[serde(deny_unknown_fields, default)]`, as for [`options::parse`].
pub(crate) fn parse<T: DeserializeOwned>(
    engine: &'static str,
    table: &toml::Table,
    defaults: Defaults,
) -> Result<(T, Remote), EngineError> {
    let (common, own): (toml::Table, toml::Table) =
        table.clone().into_iter().partition(|(key, _)| COMMON.contains(&key.as_str()));
    let own = options::parse_beside(engine, &own, &COMMON)?;
    let common: Common = options::parse(engine, &common)?;
    let urls = match common.url {
        None => vec![defaults.url.to_owned()],
        Some(OneOrMany::One(url)) => vec![url],
        Some(OneOrMany::Many(urls)) => urls,
    };
    let urls = urls.iter().map(|url| checked(engine, url)).collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err(wrong(engine, "its list of addresses (`url`) is empty".into()));
    }
    let api_key = match (common.api_key, &common.api_key_file) {
        (Some(_), Some(_)) => return Err(key_trouble(engine, "both `api_key` and `api_key_file` are set".into())),
        (None, Some(path)) => Some(read_key(engine, path)?),
        (key, None) => key,
    };
    let remote = RemoteOptions {
        urls,
        api_key: api_key.filter(|key| !key.reveal().is_empty()),
        connect_ms: common.connect_ms.unwrap_or(CONNECT_MS),
        first_ms: common.first_ms.unwrap_or(defaults.first_ms),
        between_ms: common.between_ms.unwrap_or(defaults.between_ms),
    };
    Ok((own, Remote::new(engine, remote)?))
}

/// The address without a slash at its end, and without the `/v1` that other programs want there.
fn checked(engine: &'static str, text: &str) -> Result<String, EngineError> {
    let url = Url::parse(text).map_err(|error| wrong(engine, format!("`{text}` is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(engine, format!("`{text}` is no address of a server")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(engine, "its address holds a password; write it as `api_key`".into()));
    }
    let bare = text.trim_end_matches('/');
    Ok(bare.strip_suffix("/v1").unwrap_or(bare).to_owned())
}

/// The first line of a file that holds nothing but the key, as secrets are handed to containers and services.
fn read_key(engine: &'static str, path: &Path) -> Result<Secret, EngineError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        key_trouble(engine, format!("its `api_key_file` {} cannot be read: {error}", path.display()))
    })?;
    Ok(Secret(text.lines().next().unwrap_or_default().trim().to_owned()))
}

fn key_trouble(engine: &'static str, reason: String) -> EngineError {
    EngineError::Unavailable { engine, reason, remedy: "Name one file with the key on its first line.".into() }
}

fn wrong(engine: &'static str, reason: String) -> EngineError {
    let remedy = "Write `url = \"http://127.0.0.1:8000\"`, or several addresses in square brackets.".into();
    EngineError::Unavailable { engine, reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Own {
        model: String,
    }

    const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8000", first_ms: 2000, between_ms: 1000 };

    fn read(text: &str) -> Result<(Own, Remote), EngineError> {
        parse("test", &text.parse().unwrap(), DEFAULTS)
    }

    #[test]
    fn own_and_common_options_stand_in_one_table() {
        let (own, remote) = read("").unwrap();
        assert_eq!((own.model.as_str(), remote.addresses().as_str()), ("", "http://127.0.0.1:8000"));
        let (own, remote) =
            read("model = 'x'\nurl = ['http://a:1/v1/', 'https://b']\nfirst_ms = 70\napi_key = 'k'").unwrap();
        assert_eq!((own.model.as_str(), remote.addresses().as_str()), ("x", "http://a:1, https://b"));
        assert_eq!((remote.patience.first.as_millis(), remote.patience.between.as_millis()), (70, 1000));
        assert_eq!(format!("{:?}", remote.key), "Some(Secret(…))");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let say = |text| read(text).err().unwrap().to_string();
        insta::assert_snapshot!(say("urk = 'x'"), @"test cannot be used: its options have no key `urk`. Write `url` instead.");
        insta::assert_snapshot!(say("url = 'here'"), @r#"test cannot be used: `here` is no address: relative URL without a base. Write `url = "http://127.0.0.1:8000"`, or several addresses in square brackets."#);
        insta::assert_snapshot!(say("url = 'ftp://x'"), @r#"test cannot be used: `ftp://x` is no address of a server. Write `url = "http://127.0.0.1:8000"`, or several addresses in square brackets."#);
        insta::assert_snapshot!(say("url = []"), @r#"test cannot be used: its list of addresses (`url`) is empty. Write `url = "http://127.0.0.1:8000"`, or several addresses in square brackets."#);
        assert!(!say("url = 'http://me:secret@x'").contains("secret"));
        insta::assert_snapshot!(say("api_key_file = '/no/such/file'"), @"test cannot be used: its `api_key_file` /no/such/file cannot be read: No such file or directory (os error 2). Name one file with the key on its first line.");
        insta::assert_snapshot!(say("api_key = 'a'\napi_key_file = 'b'"), @"test cannot be used: both `api_key` and `api_key_file` are set. Name one file with the key on its first line.");
    }

    #[test]
    fn a_key_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "sesame\n").unwrap();
        let (_, remote) = read(&format!("api_key_file = '{}'", file.path().display())).unwrap();
        assert_eq!(remote.key.as_ref().map(Secret::reveal), Some("sesame"));
    }
}
