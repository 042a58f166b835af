//! What a conversation consists of.

use std::fmt;
use std::sync::Arc;

use crate::engine::Role;

/// Name of an item of the history; chosen by the client or made by the conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId(pub Arc<str>);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One item of the history, or of an answer beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// What it is.
    pub content: Content,
    /// How complete it is.
    pub status: ItemStatus,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Somebody said something.
    Message {
        /// Who.
        role: Role,
        /// What: of a turn `None` until it is transcribed, of an answer what was heard of it.
        text: Option<String>,
        /// It was spoken rather than written.
        spoken: bool,
    },
    /// The anchor called a tool.
    Call {
        /// Tells it from other calls of the conversation.
        call: String,
        /// Name of the tool.
        name: String,
        /// The arguments, a JSON object.
        arguments: String,
    },
    /// What a tool gave.
    CallOutput {
        /// The call it answers.
        call: String,
        /// What it gave, in the tool's own words.
        output: String,
    },
}

impl Content {
    /// Something in writing.
    pub fn written(role: Role, text: impl Into<String>) -> Self {
        Self::Message { role, text: Some(text.into()), spoken: false }
    }

    /// What was said, as far as it is known; of anything but a message nothing.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Message { text, .. } => text.as_deref(),
            Self::Call { .. } | Self::CallOutput { .. } => None,
        }
    }

    /// It was spoken rather than written.
    pub fn is_spoken(&self) -> bool {
        matches!(self, Self::Message { spoken: true, .. })
    }
}

/// How complete an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemStatus {
    /// More is coming.
    InProgress,
    /// All of it is there.
    Completed,
    /// It was cut off.
    Incomplete,
}
