//! Clients that do what they should not. Whatever they do, they get an error or a close with a reason, and nobody else
//! notices.

use std::time::Duration;

use anchor_server::Limits;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::engines::ENDLESS;
use crate::support::{Client, Server};

async fn refused(client: &mut Client, message: Message) -> Value {
    client.send_message(message).await;
    client.find("error").await["error"].clone()
}

fn append(audio: &str) -> Message {
    Message::text(json!({ "type": "input_audio_buffer.append", "audio": audio }).to_string())
}

async fn start_endless_answer(client: &mut Client) {
    let content = json!([{ "type": "input_text", "text": ENDLESS }]);
    let item = json!({ "type": "message", "role": "user", "content": content });
    client.send(json!({ "type": "conversation.item.create", "item": item })).await;
    client.send(json!({ "type": "response.create" })).await;
    client.find("response.output_audio.delta").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_and_forgotten() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for (text, code) in [
        ("", "invalid_json"),
        ("\u{0}\u{ffff}{", "invalid_json"),
        ("[1, 2]", "invalid_json"),
        (r#"{"type": "make.coffee"}"#, "invalid_value"),
        (r#"{"type": "session.update", "session": {"colour": "red"}}"#, "unknown_parameter"),
        (r#"{"type": "conversation.item.retrieve", "item_id": "none"}"#, "item_retrieve_invalid_item_id"),
    ] {
        assert_eq!(refused(&mut client, Message::text(text)).await["code"], code, "{text}");
    }
    assert_eq!(refused(&mut client, Message::binary(vec![1, 2, 3])).await["code"], "invalid_event");
    client.speak(600).await;
    assert_eq!(client.find("response.done").await["response"]["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_none_is_refused_and_the_rest_is_heard() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for audio in ["", "not base64", &BASE64_STANDARD.encode([1, 2, 3])] {
        let error = refused(&mut client, append(audio)).await;
        assert_eq!((&error["code"], &error["param"]), (&json!("invalid_value"), &json!("audio")), "{audio}");
    }
    client.speak(600).await;
    assert_eq!(client.find("response.done").await["response"]["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_thirty_megabytes_is_refused_and_a_longer_one_closes_the_session() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    let error = refused(&mut client, append(&"A".repeat(30_000_000))).await;
    assert_eq!(error["code"], "string_above_max_length");
    client.assert_alive().await;

    client.throw(append(&"A".repeat(40_000_000))).await;
    // A connection with unread bytes may be reset before its close frame is read.
    if let Some(frame) = client.closed().await {
        assert_eq!(u16::from(frame.code), 1009, "{frame:?}");
    }
    other.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_of_sound_in_one_message_are_heard() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    let loud = [0_u8, 0x20].repeat(24_000);
    let silence = vec![0; 2 * 24_000 * 180];
    client.send_message(append(&BASE64_STANDARD.encode([loud, silence].concat()))).await;
    other.assert_alive().await;
    assert_eq!(client.find("response.done").await["response"]["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_client_may_stay_and_a_dead_one_may_not() {
    let limits =
        Limits { ping_interval: Duration::from_millis(50), silence: Duration::from_millis(600), ..Limits::default() };
    let server = Server::with(limits).await;
    let (mut quiet, mut dead) = (server.connect().await, server.connect().await);
    // Reading answers pings; the dead one does not even do that.
    let listening = tokio::spawn(async move {
        let waited = tokio::time::timeout(Duration::from_secs(2), quiet.next()).await;
        assert!(waited.is_err(), "it is told nothing");
        quiet.assert_alive().await;
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // Its late answers to the pings may meet a connection that is gone before the reason is read.
    if let Some(frame) = dead.closed().await {
        assert_eq!(u16::from(frame.code), 1008);
        assert!(frame.reason.contains("ping"), "{frame:?}");
    }
    listening.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_frees_everything() {
    let server = Server::with(Limits { sessions: 1, ..Limits::default() }).await;
    let mut client = server.connect().await;
    start_endless_answer(&mut client).await;
    assert!(server.engines.at_work() > 0);
    drop(client);
    server.idle().await;
    // The only seat is free again.
    server.connect().await.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected() {
    let limits = Limits { outbound_messages: 4, outbound_patience: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(limits).await;
    let mut client = server.connect().await;
    start_endless_answer(&mut client).await;
    let content = json!([{ "type": "input_text", "text": "x".repeat(250_000) }]);
    let item = json!({ "id": "long", "type": "message", "role": "user", "content": content });
    client.send(json!({ "type": "conversation.item.create", "item": item })).await;
    let retrieve = json!({ "type": "conversation.item.retrieve", "item_id": "long" }).to_string();
    // More than any socket holds.
    for _ in 0..400 {
        client.throw(Message::text(retrieve.clone())).await;
    }
    server.idle().await;
    if let Some(frame) = client.closed().await {
        assert_eq!(u16::from(frame.code), 1008);
        assert!(frame.reason.contains("not read in time"), "{frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_for_nothing_is_not_kept() {
    let server = Server::start().await;
    let connections = ["", "GET /v1/realtime HTTP/1.1\r\nhost: a"].map(async |beginning| {
        let mut connection = tokio::net::TcpStream::connect(server.address).await.unwrap();
        connection.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server's patience, and a little of ours.
        let ended = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is still open after {beginning:?}");
    });
    futures::future::join_all(connections).await;
}
