//! A session over a WebSocket.

use anchor_core::SessionConfig;
use axum::extract::ws::{Message, WebSocket};
use futures::StreamExt;
use futures::stream::SplitStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};
use tracing::debug;

use super::outbox::Outbox;
use super::translate::{Introduction, Translator};
use super::wire::{Error, Kind};
use crate::studio::{Newsfeed, StudioEvent};
use crate::transport::{ClientMessage, Disconnected, ServerMessage, Transport};
use crate::{App, metrics};

/// Longest message taken in, in bytes. Twice what the longest allowed sound takes would be generous; this much lets a
/// client that sends too long a sound be told so instead of being cut off.
pub(crate) const MESSAGE_MAX: usize = 32 * 1024 * 1024;

/// Close codes of RFC 6455, 7.4.1.
mod code {
    pub(super) const AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
}

/// One connection.
pub(crate) struct WebSocketTransport {
    inbox: SplitStream<WebSocket>,
    outbox: Outbox,
    translator: Translator,
    /// Settings that the client's key carries, on their way to the conversation.
    preset: Option<ClientMessage>,
    /// What the studio hears of beside its conversation.
    news: Option<Newsfeed>,
    silence: Duration,
    last_heard: Instant,
    /// Becomes true when the server shuts down.
    closing: watch::Receiver<bool>,
}

/// What a client asked for when it connected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    /// The model it believes to speak to.
    pub(crate) model: Option<String>,
    /// Settings that its key carries.
    pub(crate) preset: Option<serde_json::Value>,
    /// It understands the studio's events.
    pub(crate) studio: bool,
    /// It wants transcripts and no answers.
    pub(crate) transcription: bool,
}

impl Handshake {
    fn kind(&self) -> Kind {
        if self.transcription { Kind::Transcription } else { Kind::Realtime }
    }

    /// The settings the session begins with.
    pub(crate) fn session(&self, config: &SessionConfig) -> SessionConfig {
        let mut config = config.clone();
        if let Some(rules) = config.turn_detection.as_mut().filter(|_| self.transcription) {
            (rules.create_response, rules.interrupt_response) = (false, false);
        }
        config
    }
}

/// What [`WebSocketTransport::recv`] waits for.
enum Happened {
    Message(Option<Result<Message, axum::Error>>),
    News(StudioEvent),
    Silence,
    Shutdown,
}

impl WebSocketTransport {
    /// Greets the client.
    pub(crate) async fn open(
        socket: WebSocket,
        key: &str,
        handshake: Handshake,
        app: &App,
        closing: watch::Receiver<bool>,
    ) -> Result<Self, Disconnected> {
        let (sink, inbox) = socket.split();
        let kind = handshake.kind();
        let introduction = Introduction::new(app, handshake.model, kind);
        let mut transport = Self {
            inbox,
            outbox: Outbox::open(sink, &app.limits),
            translator: Translator::new(key, introduction, handshake.studio),
            preset: None,
            news: handshake.studio.then(|| Newsfeed::new(app)),
            silence: app.limits.silence,
            last_heard: Instant::now(),
            closing,
        };
        if let Some(session) = &handshake.preset {
            // They were checked when the key was made; where they would not do any more, the usual ones hold.
            transport.preset = transport.translator.inbound(&super::update(session)).ok().flatten();
        }
        let greeting = transport.translator.greeting();
        transport.outbox.send(greeting).await?;
        if let Some(news) = &mut transport.news {
            let hello = StudioEvent::hello(&app.name, &app.voices);
            for event in std::iter::once(hello).chain(news.now()) {
                let text = transport.translator.write(&event);
                transport.outbox.send(text).await?;
            }
        }
        Ok(transport)
    }

    /// Closes the connection because it cannot be kept up.
    fn give_up(&mut self, why: Disconnected) {
        if why == Disconnected::TooSlow {
            metrics::error("client_too_slow");
            self.outbox.close(code::POLICY, "The messages of this session were not read in time.");
        }
    }

    fn broken(&mut self, error: &axum::Error) {
        debug!(%error, "the connection broke");
        let reason = error.to_string();
        // The library's limits are told apart from other errors by their text alone.
        let code = if reason.contains("too long") { code::TOO_BIG } else { code::PROTOCOL };
        metrics::error("connection_broken");
        self.outbox.close(code, &reason);
    }
}

impl Transport for WebSocketTransport {
    async fn recv(&mut self) -> Option<ClientMessage> {
        self.translator.forget_cause();
        if let Some(message) = self.preset.take() {
            return Some(message);
        }
        loop {
            if let Some(message) = self.translator.next_audio() {
                return Some(message);
            }
            // Whatever comes in may want an answer, so nothing is taken in before there is room for one.
            let room = match self.outbox.room().await {
                Ok(room) => room,
                Err(why) => {
                    self.give_up(why);
                    return None;
                }
            };
            let happened = tokio::select! {
                biased;
                // An error means that the server is gone altogether.
                _ = self.closing.wait_for(|closing| *closing) => Happened::Shutdown,
                message = self.inbox.next() => Happened::Message(message),
                event = next_news(&mut self.news) => Happened::News(event),
                () = sleep_until(self.last_heard + self.silence) => Happened::Silence,
            };
            if let Happened::Message(Some(Ok(_))) = happened {
                self.last_heard = Instant::now();
            }
            match happened {
                Happened::Message(Some(Ok(Message::Text(text)))) => {
                    metrics::received(text.len());
                    match self.translator.inbound(&text) {
                        Ok(Some(message)) => return Some(message),
                        Ok(None) => {}
                        Err(error) => {
                            room.send(self.translator.refuse(error));
                        }
                    }
                }
                Happened::Message(Some(Ok(Message::Binary(bytes)))) => {
                    metrics::received(bytes.len());
                    let message =
                        "Binary messages are not understood. Send JSON as text, and sound in base64 within it.";
                    room.send(self.translator.refuse(Error::invalid("invalid_event", None, message)));
                }
                Happened::Message(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Happened::Message(Some(Ok(Message::Close(_))) | None) => return None,
                Happened::Message(Some(Err(error))) => {
                    self.broken(&error);
                    return None;
                }
                Happened::News(event) => {
                    room.send(self.translator.write(&event));
                }
                Happened::Silence => {
                    metrics::error("client_silent");
                    self.outbox.close(code::POLICY, "Nothing was heard from the client, not even an answer to a ping.");
                    return None;
                }
                Happened::Shutdown => {
                    self.outbox.close(code::AWAY, "The server is shutting down.");
                    return None;
                }
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), Disconnected> {
        for text in self.translator.outbound(message) {
            if let Err(why) = self.outbox.send(text).await {
                self.give_up(why);
                return Err(why);
            }
        }
        Ok(())
    }
}

async fn next_news(news: &mut Option<Newsfeed>) -> StudioEvent {
    match news {
        Some(news) => news.next().await,
        None => std::future::pending().await,
    }
}
