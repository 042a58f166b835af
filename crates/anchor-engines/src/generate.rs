//! Engines that wait: an async function that gives out events, seen from outside as a stream.
//!
//! The function runs while the stream is polled and is dropped with it, so that cancelling needs no word.

use std::future::Future;

use anchor_core::engine::{EngineError, EventStream};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, future, stream};

/// Where an engine puts its events.
pub(crate) struct Out<T> {
    events: mpsc::Sender<T>,
    given: u64,
}

impl<T> Out<T> {
    /// Hands out an event and waits until it was taken. [`EngineError::Cancelled`] once nobody listens.
    pub(crate) async fn give(&mut self, event: T) -> Result<(), EngineError> {
        self.events.send(event).await.map_err(|_| EngineError::Cancelled)?;
        self.given += 1;
        Ok(())
    }

    /// How many events were given out.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }
}

/// What `work` gives out as a stream. What it returns as an error comes last.
pub(crate) fn stream<T, F>(work: impl FnOnce(Out<T>) -> F) -> EventStream<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), EngineError>> + Send + 'static,
{
    let (events, given) = mpsc::channel(0);
    let work = work(Out { events, given: 0 });
    let error = stream::once(work).filter_map(|outcome| future::ready(outcome.err().map(Err)));
    // An event is taken before the work goes on, so that an error never overtakes it.
    stream::select(given.map(Ok), error).boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;

    use super::*;

    #[tokio::test]
    async fn gives_what_the_work_gives_then_its_error() {
        let failed = EngineError::Failed { engine: "test", reason: "enough".into() };
        let error = failed.clone();
        let events: Vec<_> = stream(|mut out| async move {
            out.give(1).await?;
            tokio::task::yield_now().await;
            out.give(2).await?;
            assert_eq!(out.given(), 2);
            Err(error)
        })
        .collect()
        .await;
        assert_eq!(events, [Ok(1), Ok(2), Err(failed)]);
    }

    #[test]
    fn the_work_waits_until_its_event_is_taken_and_ends_with_the_stream() {
        let alive = Arc::new(());
        let held = alive.clone();
        let mut events = stream(|mut out| async move {
            for n in 0.. {
                out.give((n, Arc::strong_count(&held))).await?;
            }
            Ok(())
        });
        assert_eq!(block_on(events.next()), Some(Ok((0, 2))));
        assert_eq!(block_on(events.next()), Some(Ok((1, 2))));
        drop(events);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
