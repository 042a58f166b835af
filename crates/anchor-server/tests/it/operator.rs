//! What whoever runs the server sees and decides.

use anchor_core::engine::{EngineKind, EngineState, EngineStatus, Notice, NoticeKind};
use anchor_server::Limits;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, http::HeaderValue};

use crate::support::client::request;
use crate::support::{Client, Server};

/// Status and body of a handshake that is refused.
async fn refusal(request: tokio_tungstenite::tungstenite::handshake::client::Request) -> (u16, String) {
    match Client::try_connect(request).await {
        Err(Error::Http(response)) => {
            let status = response.status().as_u16();
            (status, String::from_utf8(response.into_body().unwrap_or_default()).unwrap())
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the session was taken"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_too_many_is_refused_until_another_ends() {
    let server = Server::with(Limits { sessions: 2, ..Limits::default() }).await;
    let (one, mut two) = (server.connect().await, server.connect().await);
    let (status, body) = refusal(request(server.address, "/v1/realtime")).await;
    assert_eq!(status, 503);
    assert!(body.contains("All 2 sessions of this server are taken"), "{body}");
    drop(one);
    let mut third = None;
    for _ in 0..200 {
        match Client::try_connect(request(server.address, "/v1/realtime")).await {
            Ok((client, _)) => {
                third = Some(client);
                break;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
    third.expect("the seat of the first is free").assert_alive().await;
    two.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_machines_are_refused() {
    let server = Server::start().await;
    let from = |origin: &'static str| {
        let mut request = request(server.address, "/v1/realtime");
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        request
    };
    let (status, body) = refusal(from("https://evil.example")).await;
    assert_eq!(status, 403);
    assert!(body.contains("not of https://evil.example"), "{body}");
    let (mut client, _) = Client::try_connect(from("http://localhost:8300")).await.unwrap();
    client.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subprotocol_is_answered_only_where_it_is_offered() {
    let server = Server::start().await;
    let answer = async |offered: Option<&'static str>| {
        let mut request = request(server.address, "/v1/realtime");
        if let Some(offered) = offered {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(offered));
        }
        let (_, response) = Client::try_connect(request).await.unwrap();
        response.headers().get("sec-websocket-protocol").cloned()
    };
    assert_eq!(answer(Some("realtime, openai-insecure-api-key.ek_1")).await.unwrap(), "realtime");
    assert_eq!(answer(None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_uses_of_the_address_are_explained() {
    let server = Server::start().await;
    let answer = server.get("/v1/realtime", "").await;
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    let (status, body) = refusal(request(server.address, "/v1/realtime?intent=translation")).await;
    assert_eq!(status, 400);
    assert!(body.contains("'translation'") && body.contains("'transcription'"), "{body}");
    let answer = server.get("/nothing/here", "").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("There is nothing at '/nothing/here'."), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_closed_with_a_reason_when_the_server_stops() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let stopped = server.stop();
    let frame = client.closed().await.expect("it is told why");
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "The server is shutting down."));
    tokio::time::timeout(crate::support::PATIENCE, stopped).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_the_engines_that_are_not_ready() {
    let server = Server::start().await;
    assert!(server.get("/healthz", "").await.ends_with("ok\n"));
    let answer = server.get("/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let name = "flite".to_owned();
    let state = EngineState::Failed("libflite is not installed".into());
    server.status.send_modify(|status| status[2] = EngineStatus { kind: EngineKind::Tts, name, state, in_use: true });
    let answer = server.get("/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({ "ready": false, "not_ready":
            [{ "kind": "tts", "name": "flite", "state": "failed", "problem": "libflite is not installed" }] })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_ready_if_one_of_its_engines_is() {
    let server = Server::start().await;
    let spare = |state| EngineStatus { kind: EngineKind::Tts, name: "spare".into(), state, in_use: false };
    server.status.send_modify(|status| {
        status[2].state = EngineState::Failed("no line".into());
        status.push(spare(EngineState::Ready));
    });
    assert!(server.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    server.status.send_modify(|status| status[4] = spare(EngineState::Loading));
    let answer = server.get("/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("scripted-tts") && answer.contains("spare") && !answer.contains("scripted-llm"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened_to_the_engines_and_which_are_in_use() {
    let server = Server::start().await;
    let notice = |what| Notice { what, about: "test-model".into(), text: String::new() };
    let now = std::time::SystemTime::now();
    server.notices.send_modify(|notices| {
        notices.total += 3;
        let all = [NoticeKind::SwitchedOver, NoticeKind::SwitchedBack, NoticeKind::SwitchedOver];
        notices.recent.extend(all.map(|what| (now, notice(what))));
    });
    server.status.send_modify(|status| {
        status[1].in_use = false;
        let (kind, name) = (EngineKind::Llm, "test-spare".into());
        status.push(EngineStatus { kind, name, state: EngineState::Ready, in_use: true });
    });
    let due = [
        "anchor_engine_notices_total{what=\"switched_over\",about=\"test-model\"} 2",
        "anchor_engine_notices_total{what=\"switched_back\",about=\"test-model\"} 1",
        "anchor_engine_in_use{kind=\"llm\",engine=\"test-spare\"} 1",
        "anchor_engine_in_use{kind=\"llm\",engine=\"scripted-llm\"} 0",
    ];
    let mut metrics = String::new();
    for _ in 0..200 {
        metrics = server.get("/metrics", "").await;
        if due.iter().all(|line| metrics.contains(line)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not all of {due:?} is in\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send(json!({ "type": "nonsense" })).await;
    client.speak(600).await;
    client.find("response.done").await;
    let metrics = server.get("/metrics", "").await;
    for line in [
        "# TYPE anchor_turns_total counter",
        "# HELP anchor_turn_latency_seconds Wait from the last voiced sample to the first sound, by stage.",
        "anchor_sessions_open ",
        "anchor_turns_total ",
        "anchor_responses_total{outcome=\"completed\"}",
        "anchor_errors_total{kind=\"invalid_value\"}",
        "anchor_turn_latency_seconds_bucket{stage=\"endpointing\",le=\"0.005\"}",
        "anchor_turn_latency_seconds_count{stage=\"total\"}",
        "anchor_websocket_bytes_total{direction=\"in\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing from\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_with_its_type_its_tag_and_its_limits() {
    let server = Server::start().await;
    let page = server.get("/", "").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for header in [
        "content-type: text/html",
        "cache-control: no-cache",
        "content-security-policy: default-src 'self'; connect-src 'self' ws: wss:;",
        "permissions-policy: microphone=(self)",
    ] {
        assert!(page.contains(header), "{header} is missing from\n{page}");
    }
    let tag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim();
    let again = server.get("/", &format!("If-None-Match: {tag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");
    let module = server.get("/main.js", "").await;
    assert!(module.contains("content-type: text/javascript"), "{module}");
    for hidden in ["/tests/pcm.test.js", "/package.json", "/../Cargo.toml", "/..%2fCargo.toml"] {
        assert!(server.get(hidden, "").await.starts_with("HTTP/1.1 404"), "{hidden}");
    }
}
