//! One request on its way through a chain: who has it, and who gets it next.

use std::time::Duration;

use anchor_core::engine::EngineError;

use super::{Chain, Member, silent};
use crate::slot::{Kind, Slot};

/// One request on its way through a chain.
pub(super) struct Relay<E: ?Sized + 'static> {
    chain: Chain<E>,
    current: usize,
    tried: Vec<bool>,
    /// Why it was passed on, each time.
    failures: Vec<EngineError>,
}

impl<E: Kind + ?Sized> Relay<E> {
    /// Gives the request to the best member that works.
    pub(super) fn start(chain: &Chain<E>) -> Self {
        // Where a member failed to load before there was a runtime, nobody looks after it yet.
        (0..chain.members().len()).for_each(|at| chain.look_after(at));
        let mut relay =
            Self { chain: chain.clone(), current: 0, tried: vec![false; chain.members().len()], failures: Vec::new() };
        relay.current = relay.next().unwrap_or(0);
        relay.tried[relay.current] = true;
        relay
    }

    pub(super) fn chain(&self) -> &Chain<E> {
        &self.chain
    }

    /// The member that has the request.
    pub(super) fn member(&self) -> &Member<E> {
        &self.chain.members()[self.current]
    }

    pub(super) fn slot(&self) -> &Slot<E> {
        &self.member().slot
    }

    /// The best of the chain has the request.
    pub(super) fn is_first(&self) -> bool {
        self.current == 0
    }

    /// Nobody is left to pass the request on to.
    pub(super) fn is_last(&self) -> bool {
        self.tried.iter().all(|tried| *tried)
    }

    /// How long the member may be silent. The last one may for as long as it likes: there is no better than waiting.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.is_last()).then_some(self.chain.0.patience)
    }

    /// The error of the member that was silent for too long.
    pub(super) fn silence(&self) -> EngineError {
        silent(self.slot(), self.chain.0.patience)
    }

    /// The member did all that was asked.
    pub(super) fn done(&self) {
        self.chain.0.succeeded(self.current);
    }

    /// Takes the request from a member that failed and gives it to the next. An error where there is none, or where the
    /// request is to blame.
    pub(super) fn pass_on(&mut self, error: EngineError) -> Result<(), EngineError> {
        match error {
            EngineError::Cancelled => return Err(error),
            EngineError::Unsupported { .. } if self.failures.is_empty() => return Err(error),
            EngineError::Unsupported { .. } => {}
            EngineError::Unavailable { .. } | EngineError::Failed { .. } => self.chain.failed(self.current, &error),
        }
        match self.next() {
            Some(next) => {
                self.failures.push(error);
                self.current = next;
                self.tried[next] = true;
                Ok(())
            }
            None => Err(with_history(error, &self.failures)),
        }
    }

    /// The best of those that were not tried, those that work before those that did not the last time: where somebody
    /// waits for an answer, an engine that may have come back is better than none.
    fn next(&self) -> Option<usize> {
        let untried = (0..self.tried.len()).filter(|at| !self.tried[*at]);
        untried.min_by_key(|at| (!self.chain.members()[*at].is_closed(), *at))
    }
}

/// The error, with why the others before failed.
fn with_history(error: EngineError, before: &[EngineError]) -> EngineError {
    if before.is_empty() {
        return error;
    }
    let before: Vec<_> = before.iter().map(ToString::to_string).collect();
    let more = |reason: String| format!("{reason} (and before it: {})", before.join("; "));
    match error {
        EngineError::Failed { engine, reason } => EngineError::Failed { engine, reason: more(reason) },
        EngineError::Unsupported { engine, reason } => EngineError::Unsupported { engine, reason: more(reason) },
        EngineError::Unavailable { engine, reason, remedy } => {
            EngineError::Unavailable { engine, reason: more(reason), remedy }
        }
        EngineError::Cancelled => EngineError::Cancelled,
    }
}
