//! A plain client of the dialect: it sends JSON and reads events.

use std::net::SocketAddr;

use anchor_core::grammar::Line;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;
use super::grammar::Checker;

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Every event any client receives has to come in order.
    checker: Checker,
}

impl Client {
    /// Connects and reads `session.created`.
    pub async fn connect(address: SocketAddr, path: &str) -> Self {
        let (mut client, _) = Self::try_connect(request(address, path)).await.expect("the server takes the session");
        assert_eq!(client.next().await["type"], "session.created");
        client
    }

    pub async fn try_connect(request: Request) -> Result<(Self, Response), Error> {
        let (socket, response) = timeout(PATIENCE, connect_async(request)).await.expect("no handshake in time")?;
        Ok((Self { socket, checker: Checker::new(Line::WebSocket) }, response))
    }

    pub async fn send(&mut self, event: Value) {
        self.send_message(Message::text(event.to_string())).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection stands");
    }

    /// Sends without caring whether it arrives.
    pub async fn throw(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// Sends a tone of this length in pieces of 20 ms, as fast as it goes. Level 0 is silence.
    pub async fn sound(&mut self, milliseconds: usize, level: i16) {
        let piece: Vec<u8> =
            (0..480_i32).flat_map(|n| if n / 24 % 2 == 0 { level } else { -level }.to_le_bytes()).collect();
        for _ in 0..milliseconds / 20 {
            self.send(json!({ "type": "input_audio_buffer.append", "audio": BASE64_STANDARD.encode(&piece) })).await;
        }
    }

    /// Speaks for this long, then pauses for long enough to be answered.
    pub async fn speak(&mut self, milliseconds: usize) {
        self.sound(milliseconds, 8_000).await;
        self.sound(1_000, 0).await;
    }

    pub async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => {
                    let event = serde_json::from_str(&text).expect("the server speaks JSON");
                    self.checker.read(&event).expect("events come in order");
                    return event;
                }
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Everything up to the first event of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await);
            if events.last().is_some_and(|event| event["type"] == kind) {
                return events;
            }
        }
    }

    /// The first event of this type, whatever comes before it.
    pub async fn find(&mut self, kind: &str) -> Value {
        self.until(kind).await.pop().expect("it ends with it")
    }

    /// Reads to the end; why the server closed, if it said so.
    pub async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("not closed in time") {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The session still answers.
    pub async fn assert_alive(&mut self) {
        self.send(json!({ "type": "input_audio_buffer.clear" })).await;
        self.find("input_audio_buffer.cleared").await;
    }

    async fn message(&mut self) -> Message {
        timeout(PATIENCE, self.socket.next())
            .await
            .expect("nothing came in time")
            .expect("still open")
            .expect("unbroken")
    }
}

pub fn request(address: SocketAddr, path: &str) -> Request {
    format!("ws://{address}{path}").into_client_request().unwrap()
}

/// The types in order, with runs of deltas named once.
pub fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    types.dedup();
    types
}
