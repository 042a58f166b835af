//! The way out: a bounded queue and a task that empties it into the socket, so that a slow network delays nobody but its
//! own client.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::SinkExt;
use futures::stream::SplitSink;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::Limits;
use crate::metrics;
use crate::transport::Disconnected;

/// How long a close frame may take to get out before the connection is cut without it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Longest reason that fits a close frame beside its code, in bytes (RFC 6455, 5.5).
const REASON_MAX: usize = 123;

/// Where a session puts what its client is to be sent. Dropping it closes the connection.
pub(super) struct Outbox {
    queue: mpsc::Sender<String>,
    /// Tells the writer to say why it ends, once.
    farewell: Option<oneshot::Sender<CloseFrame>>,
    patience: Duration,
}

impl Outbox {
    /// Starts the task that writes into `sink`.
    pub(super) fn open(sink: SplitSink<WebSocket, Message>, limits: &Limits) -> Self {
        let (queue, messages) = mpsc::channel(limits.outbound_messages.max(1));
        let (farewell, told) = oneshot::channel();
        tokio::spawn(write(sink, messages, told, limits.ping_interval));
        Self { queue, farewell: Some(farewell), patience: limits.outbound_patience }
    }

    /// Puts a message into the queue.
    pub(super) async fn send(&self, text: String) -> Result<(), Disconnected> {
        self.room().await?.send(text);
        Ok(())
    }

    /// Waits for room for one message. Loses nothing when dropped before it is ready.
    pub(super) async fn room(&self) -> Result<mpsc::OwnedPermit<String>, Disconnected> {
        match timeout(self.patience, self.queue.clone().reserve_owned()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(SendError(()))) => Err(Disconnected::Gone),
            Err(_) => Err(Disconnected::TooSlow),
        }
    }

    /// Closes the connection with a code (RFC 6455, 7.4) and a reason; what still waits is not sent. The first call counts.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if let Some(farewell) = self.farewell.take() {
            let end = reason.floor_char_boundary(REASON_MAX);
            // The writer has gone if the connection has.
            let _ = farewell.send(CloseFrame { code, reason: reason[..end].into() });
        }
    }
}

/// Writes until the session says farewell or is dropped, or the connection breaks.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut messages: mpsc::Receiver<String>,
    told: oneshot::Receiver<CloseFrame>,
    ping_interval: Duration,
) {
    let farewell = tokio::select! {
        biased;
        farewell = told => farewell.ok(),
        () = forward(&mut sink, &mut messages, ping_interval) => None,
    };
    let close = async {
        if let Some(farewell) = farewell {
            // Whoever does not take it is cut off all the same.
            let _ = sink.send(Message::Close(Some(farewell))).await;
        }
        let _ = sink.close().await;
    };
    let _ = timeout(CLOSE_PATIENCE, close).await;
}

async fn forward(
    sink: &mut SplitSink<WebSocket, Message>,
    messages: &mut mpsc::Receiver<String>,
    ping_interval: Duration,
) {
    let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(text) => {
                    metrics::sent(text.len());
                    Message::text(text)
                }
                None => return,
            },
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}
