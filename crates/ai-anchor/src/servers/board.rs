//! Where the keepers show how their servers are, and tell what happened.

use std::sync::Arc;

use anchor_core::engine::{Notice, NoticeKind};
use tokio::sync::watch;

use super::recipe::Recipe;
use super::status::{ServerState, ServerStatus};

/// Takes what the operator should know. It must not block.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

/// How all servers are. Clones share it.
#[derive(Clone)]
pub(super) struct Board {
    status: Arc<watch::Sender<Vec<ServerStatus>>>,
    notices: Notices,
}

impl Board {
    pub(super) fn new(recipes: &[Recipe], notices: Notices) -> Self {
        let status = recipes.iter().map(|recipe| ServerStatus {
            name: recipe.name.clone(),
            url: recipe.url.to_string(),
            state: if recipe.lazy { ServerState::Stopped } else { ServerState::waiting() },
            attached: false,
        });
        Self { status: Arc::new(watch::Sender::new(status.collect())), notices }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<ServerStatus>> {
        self.status.subscribe()
    }

    /// Shows the server of this rank. Whose server it is, is known only of one that works.
    pub(super) fn show(&self, rank: usize, state: ServerState, foreign: bool) {
        self.status.send_if_modified(|all| {
            let Some(status) = all.get_mut(rank) else { return false };
            let attached = match state {
                ServerState::Ready | ServerState::Degraded(_) => foreign,
                ServerState::Failed { .. } => status.attached,
                ServerState::Starting { .. } | ServerState::Stopped => false,
            };
            let changed = status.state != state || status.attached != attached;
            (status.state, status.attached) = (state, attached);
            changed
        });
    }

    /// Whether somebody else runs the server of this rank.
    pub(super) fn attached(&self, rank: usize) -> bool {
        self.status.borrow().get(rank).is_some_and(|status| status.attached)
    }

    pub(super) fn notice(&self, what: NoticeKind, about: &str, text: String) {
        (self.notices)(Notice { what, about: about.to_owned(), text });
    }
}
