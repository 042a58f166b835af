//! What the machines of one conversation share: what goes out, what is waited for, what was said, what was agreed.

use std::collections::VecDeque;

use crate::history::History;
use crate::timer::Timers;
use crate::{ClientError, Event, Item, Output, Position, SessionConfig};

/// What every machine of a conversation may use.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) out: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) history: History,
    pub(crate) config: SessionConfig,
}

impl Shared {
    /// Tells the client.
    pub(crate) fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Puts an item that is complete into the history and tells the client.
    pub(crate) fn add(&mut self, item: Item, position: &Position) -> Result<(), ClientError> {
        let previous = self.history.insert(item.clone(), position)?;
        self.tell(Event::ItemAdded { item: item.clone(), previous: previous.clone() });
        self.tell(Event::ItemDone { item, previous });
        Ok(())
    }
}
