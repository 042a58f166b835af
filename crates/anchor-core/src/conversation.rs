//! One spoken conversation: the machines put together.

use std::time::Instant;

use crate::{Input, Output, SessionConfig};

/// One spoken conversation. Give it an input, then call [`poll_output`](Self::poll_output) until it returns
/// [`Output::Timeout`].
pub struct Conversation {
    config: SessionConfig,
}

impl Conversation {
    /// A conversation in which nothing was said yet. `id_prefix` makes the names of its items unique among sessions.
    pub fn new(id_prefix: &str, config: SessionConfig) -> Self {
        let _ = id_prefix;
        Self { config }
    }

    /// The settings as they are now.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Takes in what happened. Never fails: what a client did wrong is an event.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, input);
    }

    /// The next thing to do. Call until it returns [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        Output::Timeout(None)
    }
}
