//! The model servers: started, watched, restarted and stopped as child processes, or attached to where they run already.
//!
//! One keeper (`keeper.rs`) looks after each server. What it decides by time is in `policy.rs`, how it asks the server is in
//! `check.rs`, what the server is in `recipe.rs`, and the process itself in `process.rs`.

mod board;
mod check;
mod diagnosis;
mod flags;
mod gate;
mod keeper;
mod log;
mod need;
mod policy;
mod process;
mod recipe;
mod record;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use board::Notices;
pub use need::{needed, ollama, ports, recipes};
pub use policy::Pace;
pub use recipe::{Change, Order, Proof, Recipe, address, recipe};
pub use status::{ServerState, ServerStatus};

use board::Board;
use check::Check;
use gate::Gate;
use keeper::Keeper;
use policy::Restarts;
use process::{Folder, Groups};

/// What a server may take to stop beyond the patience of the pace: to vanish after it was killed, and to have its last
/// lines read.
const BEYOND: Duration = Duration::from_secs(8);

/// Keeps model servers up. Dropping it kills those it started; [`shutdown`](Self::shutdown) is kinder.
pub struct Supervisor {
    handle: Handle,
    /// Servers of this rank and above are to stop; all keepers rest from then on. `None` before.
    stopping: watch::Sender<Option<usize>>,
    tasks: Vec<JoinHandle<()>>,
    groups: Groups,
    pace: Pace,
}

/// Tells the supervisor what is used, and others how the servers are. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    board: Board,
    lines: Arc<Vec<Line>>,
}

/// How one keeper is reached.
struct Line {
    name: String,
    wanted: watch::Sender<Option<Instant>>,
    retry: watch::Sender<()>,
}

/// Where the supervisor keeps its files, and how patient it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of `logs/` and `run/`.
    pub folder: PathBuf,
    /// How patient it is.
    pub pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self { folder: crate::models::data_folder(), pace: Pace::default() }
    }
}

impl Supervisor {
    /// Starts keeping the servers up, which are started one after the other in the order given. Needs a Tokio runtime.
    pub fn start(recipes: Vec<Recipe>, notices: Notices) -> Result<Self, reqwest::Error> {
        Self::start_with(Options::default(), recipes, notices)
    }

    /// The same with options.
    pub fn start_with(options: Options, recipes: Vec<Recipe>, notices: Notices) -> Result<Self, reqwest::Error> {
        let board = Board::new(&recipes, notices);
        let at_once = recipes.iter().enumerate().filter(|(_, recipe)| !recipe.lazy).map(|(rank, _)| rank);
        let gate = Arc::new(Gate::new(at_once));
        let stopping = watch::Sender::new(None);
        let groups = Groups::default();
        let (mut lines, mut keepers) = (Vec::new(), Vec::new());
        for (rank, recipe) in recipes.into_iter().enumerate() {
            let line =
                Line { name: recipe.name.clone(), wanted: watch::Sender::new(None), retry: watch::Sender::new(()) };
            keepers.push(Keeper {
                rank,
                pace: options.pace.clone(),
                folder: Folder::new(&options.folder),
                groups: groups.clone(),
                check: Check::new(recipe.url.clone(), recipe.proof.clone())?,
                gate: gate.clone(),
                board: board.clone(),
                wanted: line.wanted.subscribe(),
                retry: line.retry.subscribe(),
                restarts: Restarts::default(),
                process: None,
                recipe,
            });
            lines.push(line);
        }
        let tasks = keepers.into_iter().map(|keeper| tokio::spawn(work(keeper, stopping.subscribe()))).collect();
        let handle = Handle { board, lines: Arc::new(lines) };
        Ok(Self { handle, stopping, tasks, groups, pace: options.pace })
    }

    /// A way to reach it from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How the servers are, now and later.
    pub fn status(&self) -> watch::Receiver<Vec<ServerStatus>> {
        self.handle.status()
    }

    /// The server of this name is about to be used. See [`Handle::wanted`].
    pub fn wanted(&self, name: &str) {
        self.handle.wanted(name);
    }

    /// Stops the servers it started, the last one first, and leaves the others alone. Nothing is started any more from
    /// the moment it is called. Each gets the pace's patience, so that the whole has a bound.
    pub async fn shutdown(mut self) {
        for (rank, task) in self.tasks.iter_mut().enumerate().rev() {
            self.stopping.send_replace(Some(rank));
            // What takes longer is killed when this is dropped.
            let _ = tokio::time::timeout(self.pace.stop + BEYOND, task).await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // At once and not when the tasks get to know: the program may be about to end.
        self.groups.kill();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Handle {
    /// The server of this name is about to be used: one that is stopped is started, and its idle time begins anew. Never
    /// blocks; a name that is not supervised is passed over.
    pub fn wanted(&self, name: &str) {
        if let Some(line) = self.line(name) {
            line.wanted.send_replace(Some(Instant::now()));
        }
    }

    /// Tries a server again that was given up.
    pub fn retry(&self, name: &str) {
        if let Some(line) = self.line(name) {
            line.retry.send_replace(());
        }
    }

    /// How the servers are, now and later.
    pub fn status(&self) -> watch::Receiver<Vec<ServerStatus>> {
        self.board.watch()
    }

    fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }
}

/// Keeps one server up until everything stops, then stops it when its turn comes.
async fn work(mut keeper: Keeper, mut stopping: watch::Receiver<Option<usize>>) {
    tokio::select! {
        () = keeper.keep() => {}
        _ = stopping.wait_for(Option::is_some) => {}
    }
    let rank = keeper.rank;
    // A supervisor that is gone wants all of them stopped.
    let _ = stopping.wait_for(|from| from.is_some_and(|from| from <= rank)).await;
    keeper.end().await;
    keeper.show(ServerState::Stopped);
}
