//! The engines of an anchor, from their names in the configuration to slots that load them.

use std::sync::Arc;

use anchor_core::engine::{EngineError, EngineStatus, Engines, Llm, Stt, Tts, VadModel, Voice};
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::slot::{Board, Kind, Slot, UnknownEngine, find};
use anchor_server::{App, Limits};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::Error;

/// The engines of an anchor in their slots, and how they are.
pub struct Crew {
    stt: Slot<dyn Stt>,
    llm: Slot<dyn Llm>,
    tts: Slot<dyn Tts>,
    vad: Slot<dyn VadModel>,
    board: Board,
}

impl Crew {
    /// The engines the configuration names, not loaded yet.
    pub fn of(config: &Config, rundown: &watch::Receiver<OnAir>) -> Result<Self, UnknownEngine> {
        let board = Board::default();
        Ok(Self {
            stt: slot(&board, config, &config.engines.stt, rundown)?,
            llm: slot(&board, config, &config.engines.llm, rundown)?,
            tts: slot(&board, config, &config.engines.tts, rundown)?,
            vad: slot(&board, config, &config.engines.vad, rundown)?,
            board,
        })
    }

    /// Loads all at the same time. What cannot be loaded shows on the board and is tried again when it is needed.
    /// Blocks.
    pub fn preload(&self) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.stt.load().map(drop));
            scope.spawn(|| self.llm.load().map(drop));
            scope.spawn(|| self.tts.load().map(drop));
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
            rundown,
            session: config.session(),
            voices: self.voices(),
            limits: Limits { sessions: config.server.max_sessions as usize, ..Limits::default() },
        })
    }

    /// The voices to choose from, the default first; none where the voice cannot be loaded. Blocks while it loads.
    pub fn voices(&self) -> Vec<Voice> {
        self.tts.voices()
    }

    /// How the engines are, now and later.
    pub fn status(&self) -> watch::Receiver<Vec<EngineStatus>> {
        self.board.watch()
    }
}

/// One engine by its name, loaded, for commands that need no other. Blocks while it loads.
pub(crate) fn load<E: Kind + ?Sized>(
    config: &Config,
    name: &str,
    rundown: &watch::Receiver<OnAir>,
) -> Result<Arc<E>, Error> {
    let entry = find::<E>(name)?;
    Ok((entry.load)(&LoadContext { rundown: rundown.clone(), options: config.options(E::KIND, name) })?)
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
