//! The board: how the engines of an anchor are and what happened to them, for everybody who wants to know.

use std::time::SystemTime;

use anchor_core::engine::{EngineKind, EngineState, EngineStatus, Notice, NoticeKind, Notices};
use tokio::sync::watch;

/// Notices kept for whoever comes later: more than an operator reads, and as many as a bad hour has.
const NOTICES_KEPT: usize = 50;

/// How the engines of an anchor are and what happened to them. Clones are the same board.
#[derive(Clone)]
pub struct Board {
    rows: watch::Sender<Vec<EngineStatus>>,
    notices: watch::Sender<Notices>,
}

impl Default for Board {
    fn default() -> Self {
        Self { rows: watch::Sender::new(Vec::new()), notices: watch::Sender::default() }
    }
}

impl Board {
    /// The board now and later.
    pub fn watch(&self) -> watch::Receiver<Vec<EngineStatus>> {
        self.rows.subscribe()
    }

    /// Tells everybody that something happened to the engines.
    pub fn notify(&self, notice: Notice) {
        let (what, about) = (notice.what.name(), &notice.about);
        match notice.what {
            NoticeKind::SwitchedBack | NoticeKind::ServerReady => tracing::info!(what, about, "{}", notice.text),
            NoticeKind::SwitchedOver | NoticeKind::ServerLost | NoticeKind::ServerGivenUp => {
                tracing::warn!(what, about, "{}", notice.text);
            }
        }
        self.notices.send_modify(|notices| {
            notices.total += 1;
            notices.recent.push((SystemTime::now(), notice));
            let old = notices.recent.len().saturating_sub(NOTICES_KEPT);
            notices.recent.drain(..old);
        });
    }

    /// What happened to the engines, now and later.
    pub fn notices(&self) -> watch::Receiver<Notices> {
        self.notices.subscribe()
    }

    /// Puts an engine on the board.
    pub(crate) fn light(&self, kind: EngineKind, name: &str) -> Light {
        let mut row = 0;
        self.rows.send_modify(|rows| {
            row = rows.len();
            rows.push(EngineStatus { kind, name: name.into(), state: EngineState::Idle, in_use: true });
        });
        Light { board: self.rows.clone(), row }
    }
}

/// The light of one engine on the board.
pub(crate) struct Light {
    board: watch::Sender<Vec<EngineStatus>>,
    row: usize,
}

impl Light {
    pub(crate) fn read(&self) -> EngineState {
        self.board.borrow()[self.row].state.clone()
    }

    pub(crate) fn show(&self, state: EngineState) {
        self.board.send_if_modified(|rows| {
            let changed = rows[self.row].state != state;
            if changed {
                rows[self.row].state = state;
            }
            changed
        });
    }

    /// Whether requests go to the engine first.
    pub(crate) fn show_in_use(&self, in_use: bool) {
        self.board.send_if_modified(|rows| std::mem::replace(&mut rows[self.row].in_use, in_use) != in_use);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_notices_are_kept_and_all_are_counted() {
        let board = Board::default();
        for number in 0..NOTICES_KEPT + 5 {
            board.notify(Notice { what: NoticeKind::ServerLost, about: "ollama".into(), text: number.to_string() });
        }
        let notices = board.notices().borrow().clone();
        assert_eq!((notices.total, notices.recent.len()), (NOTICES_KEPT as u64 + 5, NOTICES_KEPT));
        assert_eq!((&*notices.recent[0].1.text, &*notices.recent[NOTICES_KEPT - 1].1.text), ("5", "54"));
    }
}
