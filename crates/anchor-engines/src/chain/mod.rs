//! Chains: engines of one kind in order of preference, where the next takes over from one that fails or stalls, in the
//! middle of an answer if need be, and gives back when it works again.
//!
//! A chain is an engine itself, so nobody behind it knows of its members. Each member has a breaker: one that failed is
//! not asked again by requests but by a task beside them, until its probe succeeds. What happened is told to the operator
//! by notices on the [`Board`]; the audience hears no word of it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use anchor_core::engine::{EngineError, EngineKind, EngineState, EventStream, Notice, NoticeKind};
use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::breaker::{Breaker, Policy};
use crate::slot::{Board, Kind, Slot};

mod llm;
mod relay;
mod rest;
mod splice;
mod stt;
mod tts;

#[cfg(test)]
mod tests;

/// A probe that takes longer has failed: it is as small a request as there is.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// Engines of one kind in order of preference. Clones are the same chain; with the last of them ends what it does beside
/// requests. A chain of one is its engine, without any patience of its own.
pub struct Chain<E: ?Sized + 'static>(Arc<Shared<E>>);

impl<E: ?Sized> Clone for Chain<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<E: ?Sized + 'static> {
    members: Vec<Member<E>>,
    board: Board,
    patience: Duration,
    on_use: OnceLock<OnUse>,
}

/// Called at every request.
type OnUse = Box<dyn Fn() + Send + Sync>;

struct Member<E: ?Sized + 'static> {
    slot: Slot<E>,
    breaker: Mutex<Breaker>,
    /// The task that looks whether the engine works again, while its breaker is open.
    lookout: Mutex<Option<AbortHandle>>,
}

impl<E: Kind + ?Sized> Chain<E> {
    /// The engine `first`, and those that take over from it, the best first. One that is silent for longer than
    /// `patience` while something is waited for has failed, unless no other is left.
    pub fn new(first: Slot<E>, others: Vec<Slot<E>>, board: &Board, patience: Duration) -> Self {
        let member =
            |slot| Member { slot, breaker: Mutex::new(Breaker::new(Policy::default())), lookout: Mutex::default() };
        let members = std::iter::once(first).chain(others).map(member).collect();
        let chain = Self(Arc::new(Shared { members, board: board.clone(), patience, on_use: OnceLock::new() }));
        chain.0.show_in_use();
        chain
    }

    /// Loads all members at the same time. An error only where none can be loaded: that of the first. Blocks.
    pub fn load(&self) -> Result<(), EngineError> {
        let runtime = Handle::try_current().ok();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let loads: Vec<_> = self.members().iter().map(|member| scope.spawn(|| member.slot.load())).collect();
            loads.into_iter().map(|load| load.join().unwrap_or(Err(EngineError::Cancelled))).collect()
        });
        let mut problems = Vec::new();
        for (at, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(_) => {}
                Err(error) if self.members().len() > 1 => {
                    let _in_runtime = runtime.as_ref().map(Handle::enter);
                    self.failed(at, &error);
                    problems.push(error);
                }
                Err(error) => problems.push(error),
            }
        }
        if problems.len() < self.members().len() { Ok(()) } else { problems.into_iter().next().map_or(Ok(()), Err) }
    }

    /// Probes all members at the same time, so that nobody has to wait in the first turn to learn that one is down, and
    /// engines behind a network know what their servers can do. A member that fails is looked after from now on.
    pub async fn meet(&self) {
        let meet = async |at: usize| {
            let slot = self.members()[at].slot.clone();
            let outcome = tokio::time::timeout(PROBE_PATIENCE, guarded_probe(&slot)).await;
            match outcome.unwrap_or_else(|_| Err(silent(&slot, PROBE_PATIENCE))) {
                Ok(()) => {}
                Err(error) if self.members().len() > 1 => self.failed(at, &error),
                Err(error) => slot.show_trouble(&error),
            }
        };
        futures::future::join_all((0..self.members().len()).map(meet)).await;
    }

    /// Has `hook` called at every request: for whoever starts servers when they are first used. Only the first hook counts.
    pub fn on_use(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.on_use.set(Box::new(hook));
    }

    fn used(&self) {
        if let Some(hook) = self.0.on_use.get() {
            hook();
        }
    }

    /// The members' slots, the best first.
    pub fn slots(&self) -> impl Iterator<Item = &Slot<E>> {
        self.members().iter().map(|member| &member.slot)
    }

    fn members(&self) -> &[Member<E>] {
        &self.0.members
    }

    /// The only member.
    fn only(&self) -> Option<&Slot<E>> {
        match self.members() {
            [only] => Some(&only.slot),
            _ => None,
        }
    }

    /// A member failed a request. If it worked before, the operator is told, and it is looked after until it works again.
    fn failed(&self, at: usize, error: &EngineError) {
        let member = &self.members()[at];
        let worked = {
            let mut breaker = member.breaker();
            let worked = breaker.is_closed();
            breaker.failed(now());
            worked && !breaker.is_closed()
        };
        member.slot.show_trouble(error);
        if worked {
            self.0.show_in_use();
            let (name, does) = (member.slot.name(), does(E::KIND));
            let then = match self.0.in_use() {
                Some(deputy) => format!("{} {does}s until it is back.", self.members()[deputy].slot.name()),
                None => "No other is left.".into(),
            };
            let text = format!("{name} does not {does} ({}). {then}", reason(error));
            self.0.notify(NoticeKind::SwitchedOver, name, text);
        }
        self.look_after(at);
    }

    /// Watches a member whose breaker is open, unless somebody does or there is no runtime to do it in.
    fn look_after(&self, at: usize) {
        let member = &self.members()[at];
        let mut lookout = member.lookout.lock().unwrap_or_else(PoisonError::into_inner);
        if member.is_closed() || lookout.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            *lookout = Some(runtime.spawn(lookout_task(Arc::downgrade(&self.0), at)).abort_handle());
        }
    }
}

impl<E: Kind + ?Sized> Shared<E> {
    /// The best member that works; `None` if none does.
    fn in_use(&self) -> Option<usize> {
        self.members.iter().position(Member::is_closed)
    }

    fn show_in_use(&self) {
        let in_use = self.in_use().unwrap_or(0);
        for (at, member) in self.members.iter().enumerate() {
            member.slot.show_in_use(at == in_use);
        }
    }

    /// A member did what was asked of it. If it did not before, the operator is told.
    fn succeeded(&self, at: usize) {
        let before = self.in_use();
        let member = &self.members[at];
        let failed = {
            let mut breaker = member.breaker();
            let failed = !breaker.is_closed();
            breaker.succeeded(now());
            failed
        };
        if failed {
            self.show_in_use();
            let (name, does) = (member.slot.name(), does(E::KIND));
            let deputy = before.filter(|before| *before > at).map(|before| self.members[before].slot.name());
            let text = match deputy {
                Some(deputy) => format!("{name} {does}s again and has taken over from {deputy}."),
                None => format!("{name} {does}s again."),
            };
            self.notify(NoticeKind::SwitchedBack, name, text);
        }
    }

    fn notify(&self, what: NoticeKind, about: &str, text: String) {
        self.board.notify(Notice { what, about: about.into(), text });
    }
}

impl<E: Kind + ?Sized> Member<E> {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // No step of the breaker can panic half way.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.breaker().is_closed()
    }
}

impl<E: ?Sized> Drop for Shared<E> {
    fn drop(&mut self) {
        for member in &self.members {
            if let Some(task) = member.lookout.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
        }
    }
}

/// Probes a member each time its breaker allows, until the breaker is closed. Holds no chain while it waits, so that the
/// chain can end.
async fn lookout_task<E: Kind + ?Sized>(chain: Weak<Shared<E>>, at: usize) {
    loop {
        let Some(due) = chain.upgrade().and_then(|chain| chain.members[at].breaker().retry_at()) else { return };
        tokio::time::sleep_until(due.into()).await;
        let Some(slot) = chain.upgrade().and_then(|chain| {
            let admitted = chain.members[at].breaker().admit(now());
            admitted.then(|| chain.members[at].slot.clone())
        }) else {
            continue;
        };
        let outcome = tokio::time::timeout(PROBE_PATIENCE, guarded_probe(&slot)).await;
        let Some(chain) = chain.upgrade() else { return };
        match outcome.unwrap_or_else(|_| Err(silent(&slot, PROBE_PATIENCE))) {
            Ok(()) => chain.succeeded(at),
            Err(error) => {
                slot.show_trouble(&error);
                chain.members[at].breaker().failed(now());
            }
        }
    }
}

async fn guarded_probe<E: Kind + ?Sized>(slot: &Slot<E>) -> Result<(), EngineError> {
    let slot = slot.clone();
    let name = slot.name();
    let probe = stream::once(async move { slot.probe().await }).boxed();
    guarded(name, move || probe).next().await.unwrap_or(Err(EngineError::Cancelled))
}

/// The stream of a call that may panic, at once or later: a panic is an error of the engine.
fn guarded<T: 'static>(engine: &'static str, call: impl FnOnce() -> EventStream<T> + Send + 'static) -> EventStream<T> {
    AssertUnwindSafe(stream::once(async move { call() }).flatten())
        .catch_unwind()
        .map(move |event| {
            event.unwrap_or_else(|_| {
                Err(EngineError::Failed { engine, reason: "it stopped on an internal error".into() })
            })
        })
        .boxed()
}

/// The error of a member that was waited for in vain.
fn silent<E: Kind + ?Sized>(slot: &Slot<E>, waited: Duration) -> EngineError {
    let seconds = waited.as_secs_f32();
    let reason = match slot.state() {
        EngineState::Loading => format!("it was not loaded within {seconds:.1} s"),
        _ => format!("nothing came from it for {seconds:.1} s"),
    };
    EngineError::Failed { engine: slot.name(), reason }
}

/// What an engine of this kind does, for sentences about it.
const fn does(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Stt | EngineKind::Vad => "listen",
        EngineKind::Llm => "answer",
        EngineKind::Tts => "speak",
    }
}

/// What was wrong, without the engine's name.
fn reason(error: &EngineError) -> String {
    match error {
        EngineError::Unavailable { reason, .. }
        | EngineError::Unsupported { reason, .. }
        | EngineError::Failed { reason, .. } => reason.trim_end_matches('.').to_owned(),
        EngineError::Cancelled => error.to_string(),
    }
}

/// The runtime's time, which tests may hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Completes at that time; never without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
