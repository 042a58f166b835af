//! One server starts at a time, in a fixed order.
//!
//! Servers measure the free memory of the card while they start, so two that start at once both believe it is theirs.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// Lets one server start at a time: of those that wait, the one of the lowest rank.
pub(super) struct Gate(watch::Sender<Queue>);

#[derive(Default)]
struct Queue {
    busy: bool,
    waiting: BTreeSet<usize>,
}

/// Whoever has it may start its server. Dropping it lets the next one in.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    rank: usize,
    inside: bool,
}

impl Gate {
    /// A gate at which `first` wait from the beginning, whichever of them arrives first.
    pub(super) fn new(first: impl IntoIterator<Item = usize>) -> Self {
        Self(watch::Sender::new(Queue { busy: false, waiting: first.into_iter().collect() }))
    }

    /// Waits until it is the turn of `rank`.
    pub(super) async fn enter(&self, rank: usize) -> Pass<'_> {
        let mut queue = self.0.subscribe();
        let mut pass = Pass { gate: self, rank, inside: false };
        self.0.send_modify(|queue| {
            queue.waiting.insert(rank);
        });
        loop {
            queue.borrow_and_update();
            let entered = self.0.send_if_modified(|queue| {
                let turn = !queue.busy && queue.waiting.first() == Some(&rank);
                if turn {
                    queue.waiting.pop_first();
                    queue.busy = true;
                }
                turn
            });
            if entered {
                pass.inside = true;
                return pass;
            }
            // The sender is this gate, so that it cannot be gone.
            let _ = queue.changed().await;
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.0.send_modify(|queue| {
            if self.inside {
                queue.busy = false;
            } else {
                queue.waiting.remove(&self.rank);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn whoever_arrives_first_the_order_is_kept() {
        let gate = Arc::new(Gate::new([0, 1, 2]));
        let (order, mut tasks) = (Arc::new(Mutex::new(Vec::new())), Vec::new());
        for rank in [2, 1, 0] {
            let (gate, order) = (gate.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let _pass = gate.enter(rank).await;
                order.lock().unwrap().push(rank);
                tokio::task::yield_now().await;
                order.lock().unwrap().push(rank);
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 0, 1, 1, 2, 2], "one at a time");
    }

    #[tokio::test]
    async fn one_that_comes_again_waits_for_nobody_but_who_starts() {
        let gate = Gate::new([0]);
        let pass = gate.enter(0).await;
        tokio::select! {
            biased;
            _ = gate.enter(1) => unreachable!("somebody starts"),
            () = tokio::task::yield_now() => {}
        }
        drop(pass);
        drop(gate.enter(2).await);
        drop(gate.enter(0).await);
    }
}
