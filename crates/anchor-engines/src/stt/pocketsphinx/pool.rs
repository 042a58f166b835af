//! Decoders ready for the next turn, always for the rundown that is on air.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anchor_core::engine::EngineError;
use anchor_core::rundown::OnAir;
use tokio::sync::{oneshot, watch};

use super::NAME;
use super::ffi::Decoder;
use super::material::{Material, Model};

/// Decoders kept for later turns. More may be at work at once, these wait.
const MOST_IDLE: usize = 4;

/// The pool. A thread behind it prepares a new rundown as soon as it is on air, so that the next turn finds it ready.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Ends the thread when dropped.
    _alive: oneshot::Sender<()>,
}

struct Shared {
    model: Model,
    rundown: watch::Receiver<OnAir>,
    most_working: usize,
    state: Mutex<State>,
}

struct State {
    material: Arc<Material>,
    idle: Vec<Decoder>,
    working: usize,
}

impl Pool {
    /// A pool with one decoder ready, and at most `most_working` at work at the same time.
    pub(super) fn new(model: Model, rundown: watch::Receiver<OnAir>, most_working: usize) -> Result<Self, EngineError> {
        let material = Arc::new(model.prepare(&rundown.borrow().clone())?);
        let idle = vec![model.decoder(&material)?];
        let state = Mutex::new(State { material, idle, working: 0 });
        let shared = Arc::new(Shared { model, rundown, most_working, state });
        let (alive, ended) = oneshot::channel();
        let keeper = shared.clone();
        std::thread::Builder::new()
            .name(format!("{NAME}-keeper"))
            .spawn(move || keep_current(&keeper, ended))
            .map_err(|error| failed(format!("no thread could be started: {error}")))?;
        Ok(Self { shared, _alive: alive })
    }

    /// A decoder for one turn. Waits while a new rundown is being prepared.
    pub(super) fn take(&self) -> Result<Lease, EngineError> {
        let mut state = self.shared.current()?;
        if state.working >= self.shared.most_working {
            return Err(failed(format!(
                "{} turns are being recognised at the same time, which is the most it is set to. Try again, or raise `most_turns`",
                self.shared.most_working
            )));
        }
        let material = state.material.clone();
        let ready = state.idle.pop();
        state.working += 1;
        drop(state);
        // From here on the lease counts the turn out again, whatever happens.
        let mut lease = Lease { shared: self.shared.clone(), version: material.version, decoder: ready };
        if lease.decoder.is_none() {
            lease.decoder = Some(self.shared.model.decoder(&material)?);
        }
        Ok(lease)
    }
}

impl Shared {
    /// The state, brought up to the rundown on air first.
    fn current(&self) -> Result<MutexGuard<'_, State>, EngineError> {
        let mut state = self.lock();
        let on_air = self.rundown.borrow().clone();
        if on_air.version != state.material.version {
            let material = Arc::new(self.model.prepare(&on_air)?);
            state.idle = vec![self.model.decoder(&material)?];
            state.material = material;
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prepares every new rundown until the pool is dropped or no further rundown can come.
fn keep_current(shared: &Shared, mut ended: oneshot::Receiver<()>) {
    let mut rundown = shared.rundown.clone();
    loop {
        let changed = std::pin::pin!(rundown.changed());
        match futures::executor::block_on(futures::future::select(changed, &mut ended)) {
            futures::future::Either::Left((Ok(()), _)) => {}
            _ => return,
        }
        if let Err(error) = shared.current() {
            tracing::warn!(%error, "the recogniser could not take over the new rundown");
        }
    }
}

/// A decoder on loan for one turn. Goes back to the pool when dropped, if the pool still has use for it.
pub(super) struct Lease {
    shared: Arc<Shared>,
    version: u64,
    decoder: Option<Decoder>,
}

impl Lease {
    /// The decoder.
    pub(super) fn decoder(&mut self) -> &mut Decoder {
        self.decoder.as_mut().expect("a lease holds its decoder until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.working -= 1;
        if let Some(decoder) = self.decoder.take()
            && state.material.version == self.version
            && state.idle.len() < MOST_IDLE
        {
            state.idle.push(decoder);
        }
    }
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed { engine: NAME, reason }
}
