//! The engines of an anchor, from their names in the configuration to chains of slots that load them.

use std::sync::Arc;
use std::time::Duration;

use anchor_core::engine::{
    EngineError, EngineKind, EngineState, EngineStatus, Engines, Llm, Notice, Notices, Stt, Tts, VadModel, Voice,
};
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::chain::Chain;
use anchor_engines::slot::{Board, Kind, Slot, UnknownEngine, find};
use anchor_server::{Access, App, Limits};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::Error;

/// The engines of an anchor in their chains, and how they are.
pub struct Crew {
    stt: Chain<dyn Stt>,
    llm: Chain<dyn Llm>,
    tts: Chain<dyn Tts>,
    vad: Slot<dyn VadModel>,
    board: Board,
}

impl Crew {
    /// The engines the configuration names, not loaded yet.
    pub fn of(config: &Config, rundown: &watch::Receiver<OnAir>) -> Result<Self, UnknownEngine> {
        let board = Board::default();
        Ok(Self {
            stt: chain(&board, config, rundown)?,
            llm: chain(&board, config, rundown)?,
            tts: chain(&board, config, rundown)?,
            vad: slot(&board, config, &config.engines.vad, rundown)?,
            board,
        })
    }

    /// Loads all at the same time and asks those behind a network whether their servers are there. What cannot be loaded, or
    /// does not answer, shows on the board and is tried again. Blocks.
    pub fn preload(&self) {
        let runtime = tokio::runtime::Handle::try_current().ok();
        std::thread::scope(|scope| {
            scope.spawn(|| preload(&self.stt, runtime.as_ref()));
            scope.spawn(|| preload(&self.llm, runtime.as_ref()));
            scope.spawn(|| preload(&self.tts, runtime.as_ref()));
        });
    }

    /// The engines as a session uses them. The voice activity detector is loaded here: without it nobody is heard.
    pub fn engines(&self) -> Result<Engines, EngineError> {
        Ok(Engines {
            stt: Arc::new(self.stt.clone()),
            llm: Arc::new(self.llm.clone()),
            tts: Arc::new(self.tts.clone()),
            vad: self.vad.load()?,
        })
    }

    /// The anchor they make up, as a server holds conversations with it. Blocks while what it needs is loaded.
    pub fn app(&self, config: &Config, rundown: watch::Receiver<OnAir>) -> Result<App, EngineError> {
        Ok(App {
            name: config.anchor.name.clone(),
            engines: self.engines()?,
            engine_status: self.status(),
            notices: self.notices(),
            rundown,
            session: config.session(),
            voices: self.voices(),
            calls: None,
            access: Access::default(),
            limits: Limits { sessions: config.server.max_sessions as usize, ..Limits::default() },
        })
    }

    /// The voices to choose from, the default first; none where no voice can be loaded. Blocks while it loads.
    pub fn voices(&self) -> Vec<Voice> {
        self.tts.voices()
    }

    /// The voices of all the chain's engines; `None` where one of them does not work, so that nobody knows. Blocks while
    /// they load.
    pub fn all_voices(&self) -> Option<Vec<Voice>> {
        let down = |status: &EngineStatus| status.kind == EngineKind::Tts && status.state != EngineState::Ready;
        if self.status().borrow().iter().any(down) {
            return None;
        }
        let voices = |slot: &Slot<dyn Tts>| slot.load().ok().map(|engine| engine.voices());
        let all: Option<Vec<_>> = self.tts.slots().map(voices).collect();
        all.map(|all| all.concat())
    }

    /// Has `hook` called whenever an engine of this kind is asked for something. Only the first hook of a kind counts.
    pub fn on_use(&self, kind: EngineKind, hook: impl Fn() + Send + Sync + 'static) {
        match kind {
            EngineKind::Stt => self.stt.on_use(hook),
            EngineKind::Llm => self.llm.on_use(hook),
            EngineKind::Tts => self.tts.on_use(hook),
            // A detector needs no server.
            EngineKind::Vad => {}
        }
    }

    /// How the engines are, now and later.
    pub fn status(&self) -> watch::Receiver<Vec<EngineStatus>> {
        self.board.watch()
    }

    /// What happened to the engines, now and later.
    pub fn notices(&self) -> watch::Receiver<Notices> {
        self.board.notices()
    }

    /// Tells the operator that something happened.
    pub fn notify(&self, notice: Notice) {
        self.board.notify(notice);
    }
}

/// Chains look after what fails in the runtime they are loaded in; without one, nothing is asked of a network either.
fn preload<E: Kind + ?Sized>(chain: &Chain<E>, runtime: Option<&tokio::runtime::Handle>) {
    let _in_runtime = runtime.map(tokio::runtime::Handle::enter);
    // What cannot be loaded shows on the board.
    let _ = chain.load();
    if let Some(runtime) = runtime {
        runtime.block_on(chain.meet());
    }
}

/// A kind of engine that stands in chains.
pub(crate) trait Chained: Kind {
    /// The names of its chain, and the patience.
    fn configured(config: &Config) -> (&[String], u32);
}

impl Chained for dyn Stt {
    fn configured(config: &Config) -> (&[String], u32) {
        (&config.engines.stt, config.engines.stt_patience_ms)
    }
}

impl Chained for dyn Llm {
    fn configured(config: &Config) -> (&[String], u32) {
        (&config.engines.llm, config.engines.llm_patience_ms)
    }
}

impl Chained for dyn Tts {
    fn configured(config: &Config) -> (&[String], u32) {
        (&config.engines.tts, config.engines.tts_patience_ms)
    }
}

/// The chain of one kind, loaded, for commands that need no other. An error only where none of it can be loaded. Blocks
/// while it loads.
pub(crate) fn load<E: Chained + ?Sized>(config: &Config, rundown: &watch::Receiver<OnAir>) -> Result<Chain<E>, Error> {
    let chain = chain::<E>(&Board::default(), config, rundown)?;
    chain.load()?;
    Ok(chain)
}

fn chain<E: Chained + ?Sized>(
    board: &Board,
    config: &Config,
    rundown: &watch::Receiver<OnAir>,
) -> Result<Chain<E>, UnknownEngine> {
    let (names, patience) = E::configured(config);
    let mut slots: Vec<_> = names.iter().map(|name| slot(board, config, name, rundown)).collect::<Result<_, _>>()?;
    if slots.is_empty() {
        // The settings are checked, so that this is a configuration made by hand.
        slots.push(slot(board, config, "", rundown)?);
    }
    let first = slots.remove(0);
    Ok(Chain::new(first, slots, board, Duration::from_millis(patience.into())))
}

fn slot<E: Kind + ?Sized>(
    board: &Board,
    config: &Config,
    name: &str,
    rundown: &watch::Receiver<OnAir>,
) -> Result<Slot<E>, UnknownEngine> {
    let entry = find::<E>(name)?;
    let context = LoadContext { rundown: rundown.clone(), options: config.options(E::KIND, name) };
    Ok(board.slot(entry, context))
}
