//! What a client asks for, and what it may do wrong.

use crate::audio::{AudioFrame, Samples};
use crate::{Content, ItemId, ResponseId, ResponseParams, SessionUpdate};

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientCommand {
    /// Change the session. Acknowledged by [`Event::SessionUpdated`](crate::Event::SessionUpdated).
    Update(Box<SessionUpdate>),
    /// Put an item into the history.
    CreateItem {
        /// Name for the item, if the client has one.
        id: Option<ItemId>,
        /// Where to put it.
        position: Position,
        /// What it is.
        content: Content,
    },
    /// Put something the person has said into the history; it is transcribed first.
    CreateSpokenItem {
        /// Name for the item, if the client has one.
        id: Option<ItemId>,
        /// Where to put it.
        position: Position,
        /// What was said, at [`INPUT_RATE`](crate::audio::INPUT_RATE).
        sound: AudioFrame,
    },
    /// Take an item out of the history.
    DeleteItem(ItemId),
    /// Ask for an item as it stands.
    RetrieveItem(ItemId),
    /// Cut an answer in the history to what was heard of it.
    TruncateItem {
        /// The answer.
        id: ItemId,
        /// What was heard.
        audio_end: Samples,
    },
    /// End the turn now.
    CommitInput,
    /// Forget the turn.
    ClearInput,
    /// Answer now.
    CreateResponse(Box<ResponseParams>),
    /// Stop this response, or the one in the conversation.
    CancelResponse(Option<ResponseId>),
}

/// Where to put a new item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// Behind the last.
    #[default]
    Last,
    /// Before the first.
    First,
    /// Behind this one.
    After(ItemId),
}

/// What a client did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A commit without at least 100 ms of sound.
    #[error(
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only has {0}ms of audio."
    )]
    CommitEmpty(u64),
    /// A cancel while nothing is being said.
    #[error("Cancellation failed: no active response found")]
    CancelNotActive,
    /// A second answer while one is being given.
    #[error("Conversation already has an active response in progress: resp_{}. Wait until the response is finished before creating a new one.", .0.0)]
    ResponseActive(ResponseId),
    /// As many of these as there may be are in progress.
    #[error("{limit} {what} are in progress, and there may be no more. Wait until one is finished.")]
    TooMany {
        /// What, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// No item has this name.
    #[error("The item '{0}' does not exist in the conversation")]
    NoSuchItem(ItemId),
    /// An item has this name already.
    #[error("The item '{0}' already exists in the conversation")]
    ItemExists(ItemId),
    /// What a tool gave for a call nobody made.
    #[error("Tool call ID '{0}' not found in conversation.")]
    NoSuchCall(String),
    /// A truncation of something that is no spoken answer.
    #[error("Only model output audio messages can be truncated")]
    NotTruncatable(ItemId),
}
