//! Who is let in, and to what.

use anchor_server::{Access, Key, Limits};
use serde_json::json;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::support::client::request;
use crate::support::{Client, Server};

const KEY: &str = "sk-anchor-test";

fn key(key: &str) -> Key {
    Key { name: "test".into(), digest: Key::digest(key), expires_at: None }
}

/// A server that wants a key, and the hand on its list of keys.
async fn guarded() -> (Server, watch::Sender<Vec<Key>>) {
    let (hand, keys) = watch::channel(vec![key(KEY)]);
    (Server::guarded(Access { required: true, keys, origins: vec!["https://radio.example".into()] }).await, hand)
}

async fn session(server: &Server, path: &str, headers: &[(&'static str, String)]) -> Result<Client, u16> {
    let mut request = request(server.address, path);
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match Client::try_connect(request).await {
        Ok((client, _)) => Ok(client),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_without_a_key_but_whoever_watches_the_server() {
    let (server, _hand) = guarded().await;
    for path in ["/v1/models", "/v1/models/any"] {
        let answer = server.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("ai-anchor keys add"), "{answer}");
    }
    for path in ["/v1/chat/completions", "/v1/audio/speech", "/v1/realtime/client_secrets", "/v1/audio/transcriptions"]
    {
        let (status, body) = server.ask(path, "Authorization: Bearer sk-wrong\r\n", json!({})).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")), "{path}");
    }
    assert_eq!(session(&server, "/v1/realtime", &[]).await.err(), Some(401));
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        assert!(server.get(path, "").await.starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_however_a_client_brings_it_until_it_is_removed() {
    let (server, hand) = guarded().await;
    let protocols = format!("realtime, openai-insecure-api-key.{KEY}");
    for (name, value) in
        [("authorization", format!("Bearer {KEY}")), ("api-key", KEY.into()), ("sec-websocket-protocol", protocols)]
    {
        let mut client = session(&server, "/v1/realtime?model=x", &[(name, value)]).await.expect(name);
        client.assert_alive().await;
    }
    let header = format!("Authorization: Bearer {KEY}\r\n");
    assert!(server.get("/v1/models", &header).await.starts_with("HTTP/1.1 200"));
    hand.send_replace(Vec::new());
    assert!(server.get("/v1/models", &header).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_key_carries_its_settings_and_opens_conversations_alone() {
    let (server, _hand) = guarded().await;
    let header = format!("Authorization: Bearer {KEY}\r\n");
    let settings = json!({ "type": "realtime", "model": "mine", "instructions": "Speak like a pirate." });
    let body = json!({ "expires_after": { "anchor": "created_at", "seconds": 60 }, "session": settings });
    let (status, made) = server.ask("/v1/realtime/client_secrets", &header, body).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["session"]["instructions"], "Speak like a pirate.");
    assert!(made["session"]["audio"]["input"].is_object(), "defaults are filled in: {made}");
    let secret = made["value"].as_str().unwrap();
    assert!(secret.starts_with("ek_"));

    let protocols = format!("realtime, openai-insecure-api-key.{secret}, openai-agents-sdk.1");
    for _ in 0..2 {
        let mut client =
            session(&server, "/v1/realtime", &[("sec-websocket-protocol", protocols.clone())]).await.unwrap();
        let created = client.next().await;
        assert_eq!(created["type"], "session.created");
        assert_eq!(created["session"]["instructions"], "Speak like a pirate.");
        assert_eq!(created["session"]["model"], "mine");
        client.assert_alive().await;
    }
    let scoped = format!("Authorization: Bearer {secret}\r\n");
    assert!(server.get("/v1/models", &scoped).await.starts_with("HTTP/1.1 403"));
    let (status, _) = server.ask("/v1/realtime/client_secrets", &scoped, json!({})).await;
    assert_eq!(status, 403, "a secret makes no secrets");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_and_times_make_no_ephemeral_key() {
    let server = Server::start().await;
    for (body, param) in [
        (json!({ "session": { "type": "realtime", "colour": "red" } }), "session.colour"),
        (
            json!({ "session": { "type": "realtime", "audio": { "output": { "speed": 9 } } } }),
            "session.audio.output.speed",
        ),
        (json!({ "expires_after": { "anchor": "created_at", "seconds": 5 } }), "expires_after.seconds"),
    ] {
        let (status, answer) = server.ask("/v1/realtime/client_secrets", "", body).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
    }
    let long = json!({ "session": { "type": "realtime", "instructions": "x".repeat(100_000) } });
    assert_eq!(server.ask("/v1/realtime/client_secrets", "", long).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_configured_origins_are_told_what_they_may_send() {
    let (server, _hand) = guarded().await;
    let ask = async |origin: &str| {
        let (_, _) = server.post("/v1/models", "", b"").await;
        let headers = format!("Origin: {origin}\r\nAuthorization: Bearer {KEY}\r\n");
        server.get("/v1/models", &headers).await.to_lowercase()
    };
    let known = ask("https://radio.example").await;
    assert!(known.starts_with("http/1.1 200"), "{known}");
    assert!(known.contains("access-control-allow-origin: https://radio.example"), "{known}");
    assert!(known.contains("access-control-expose-headers: location"), "{known}");
    let strange = ask("https://evil.example").await;
    assert!(strange.starts_with("http/1.1 403") && !strange.contains("allow-origin"), "{strange}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_does_not_take_all_sessions() {
    let server = Server::with(Limits { sessions_per_caller: 1, ..Limits::default() }).await;
    let client = server.connect().await;
    assert_eq!(session(&server, "/v1/realtime", &[]).await.err(), Some(429));
    drop(client);
    for _ in 0..500 {
        match session(&server, "/v1/realtime", &[]).await {
            Ok(mut client) => return client.assert_alive().await,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
    panic!("its place is not given back");
}
