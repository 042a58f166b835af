//! Who listens on the ports of the model servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

/// A program on this machine accepts a connection within milliseconds; one that answers no request within this time is
/// none of the servers looked for, or is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most bytes of an answer that are read: those looked for are a few hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The server that wants it.
    pub server: &'static str,
    /// Its number.
    pub number: u16,
    /// Who listens there.
    pub listener: Listener,
}

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Nobody.
    Nobody,
    /// Ollama of this version.
    Ollama(String),
    /// An OpenAI-compatible server with these models.
    Models(Vec<String>),
    /// This program.
    Anchor,
    /// Somebody else.
    Other,
}

/// Looks at ports of this machine, all at once.
pub async fn look(ports: &[(&'static str, u16)]) -> Vec<Port> {
    let look = |&(server, number)| async move { Port { server, number, listener: listener(number).await } };
    futures::future::join_all(ports.iter().map(look)).await
}

async fn listener(port: u16) -> Listener {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => {}
        _ => return Listener::Nobody,
    }
    // One that takes connections and says nothing is asked no more.
    tokio::time::timeout(PATIENCE, known(port)).await.unwrap_or(Listener::Other)
}

/// Who answers there, by what is asked.
async fn known(port: u16) -> Listener {
    if let Some(version) = ask(port, "/api/version").await.and_then(|it| Some(it.get("version")?.as_str()?.to_owned()))
    {
        return Listener::Ollama(version);
    }
    if let Some(Value::Array(models)) =
        ask(port, "/v1/models").await.and_then(|mut it| Some(it.get_mut("data")?.take()))
    {
        let names = models.iter().filter_map(|model| model.get("id")?.as_str().map(str::to_owned)).collect();
        return Listener::Models(names);
    }
    let text = get(port, "/").await.unwrap_or_default();
    if text.contains("<title>Anchor studio</title>") { Listener::Anchor } else { Listener::Other }
}

async fn ask(port: u16, path: &str) -> Option<Value> {
    serde_json::from_str(&get(port, path).await?).ok()
}

async fn get(port: u16, path: &str) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().ok()?;
    let mut answer = client.get(format!("http://127.0.0.1:{port}{path}")).send().await.ok()?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_ANSWER {
            break;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;

    async fn served(router: Router) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    #[tokio::test]
    async fn servers_are_known_by_what_they_answer() {
        let ollama = served(Router::new().route("/api/version", get(|| async { r#"{"version":"0.24.0"}"# }))).await;
        let models = r#"{"object":"list","data":[{"id":"mistralai/Voxtral-Mini-3B-2507"}]}"#;
        let vllm = served(Router::new().route("/v1/models", get(move || async move { models }))).await;
        let other = served(Router::new()).await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = look(&[("ollama", ollama), ("voxtral", vllm), ("higgs", other), ("anchor", free)]).await;
        let listeners: Vec<_> = ports.into_iter().map(|port| port.listener).collect();
        assert_eq!(
            listeners,
            [
                Listener::Ollama("0.24.0".into()),
                Listener::Models(vec!["mistralai/Voxtral-Mini-3B-2507".into()]),
                Listener::Other,
                Listener::Nobody,
            ]
        );
    }
}
