//! Engines that compute: a plain blocking closure on a thread of its own, seen from outside as a cancellable stream.

use std::pin::pin;

use anchor_core::engine::{EngineError, EventStream};
use futures::StreamExt;
use futures::future::{Either, select};
use tokio::sync::mpsc;

/// Events an engine may be ahead of its listener before it waits: enough to never stall on a scheduler's whim, small
/// enough that little work is wasted when it is cancelled.
const EVENTS_AHEAD: usize = 64;

/// Where a computing engine puts its events.
pub struct Sink<T>(mpsc::Sender<Result<T, EngineError>>);

impl<T> Sink<T> {
    /// Hands out an event. [`EngineError::Cancelled`] once nobody listens: pass it on with `?` and stop.
    pub fn send(&self, event: T) -> Result<(), EngineError> {
        self.0.blocking_send(Ok(event)).map_err(|_| EngineError::Cancelled)
    }

    /// [`EngineError::Cancelled`] once nobody listens. For steps that produce nothing to hand out.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.0.is_closed() { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Waits for the next item of `input`, `None` at its end. [`EngineError::Cancelled`] as soon as nobody listens,
    /// even if the input never goes on.
    pub fn next<S: futures::Stream + Unpin>(&self, input: &mut S) -> Result<Option<S::Item>, EngineError> {
        let gone = pin!(self.0.closed());
        match futures::executor::block_on(select(input.next(), gone)) {
            Either::Left((item, _)) => Ok(item),
            Either::Right(_) => Err(EngineError::Cancelled),
        }
    }
}

/// Runs `work` on a thread of its own and gives what it sends as a stream. What it returns as an error comes last.
///
/// `name` is the engine's name, for the thread and for the error that a panic is turned into.
pub fn stream<T, W>(name: &'static str, work: W) -> EventStream<T>
where
    T: Send + 'static,
    W: FnOnce(&Sink<T>) -> Result<(), EngineError> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
    let failure = sender.clone();
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
        let sink = Sink(sender);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&sink)));
        let error = match outcome {
            Ok(Ok(()) | Err(EngineError::Cancelled)) => return,
            Ok(Err(error)) => error,
            Err(_) => EngineError::Failed { engine: name, reason: "it stopped on an internal error".into() },
        };
        // Nobody listens: nobody to tell.
        let _ = sink.0.blocking_send(Err(error));
    });
    if let Err(error) = spawned {
        let error = EngineError::Failed { engine: name, reason: format!("no thread could be started: {error}") };
        // The channel is new and holds more than one event.
        let _ = failure.try_send(Err(error));
    }
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|event| (event, receiver)) })
        .boxed()
}

/// The items of `input`, waited for one by one on a computing engine's thread.
pub fn iter<S: futures::Stream + Unpin>(input: S) -> impl Iterator<Item = S::Item> {
    futures::executor::block_on_stream(input)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn gives_what_the_work_sends_then_its_error() {
        let events: Vec<_> = stream("test", |sink| {
            sink.send(1)?;
            sink.send(2)?;
            Err(EngineError::Failed { engine: "test", reason: "enough".into() })
        })
        .collect()
        .await;
        assert_eq!(events[..2], [Ok(1), Ok(2)]);
        assert_eq!(events[2].as_ref().unwrap_err().to_string(), "test failed: enough");
        assert_eq!(events.len(), 3);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let events: Vec<_> = stream::<u32, _>("test", |_| panic!("oh")).collect().await;
        assert_eq!(events.len(), 1);
        assert!(matches!(events[0], Err(EngineError::Failed { .. })));
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_the_work() {
        let steps = Arc::new(AtomicUsize::new(0));
        let counter = steps.clone();
        let mut events = stream("test", move |sink| {
            loop {
                sink.send(counter.fetch_add(1, Ordering::SeqCst))?;
            }
        });
        assert_eq!(events.next().await, Some(Ok(0)));
        drop(events);
        while Arc::strong_count(&steps) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(steps.load(Ordering::SeqCst) <= EVENTS_AHEAD + 3);
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_work_that_waits_for_its_input() {
        let (input, receiver) = futures::channel::mpsc::unbounded::<u32>();
        let mut receiver = receiver.boxed();
        let events = stream("test", move |sink| {
            while let Some(item) = sink.next(&mut receiver)? {
                sink.send(item)?;
            }
            Ok(())
        });
        input.unbounded_send(7).unwrap();
        let mut events = events;
        assert_eq!(events.next().await, Some(Ok(7)));
        drop(events);
        while !input.is_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
