//! What an answer leaves behind: its message and its calls, in the history and for the client.

use super::{Response, Work};
use crate::audio::Samples;
use crate::engine::{Role, ToolCall};
use crate::history::Answer;
use crate::shared::Shared;
use crate::{Content, Event, Item, ItemStatus, Outcome, Position, Usage, words};

impl Response {
    /// The answer's message before it says anything.
    pub(super) fn new_message(&self) -> Item {
        let content = Content::Message { role: Role::Assistant, text: Some(String::new()), spoken: self.spoken };
        Item { id: self.item.clone(), content, status: ItemStatus::InProgress }
    }

    pub(super) fn announce(&self, index: u32, item: Item, shared: &mut Shared) {
        let mut previous = None;
        if !self.out_of_band() {
            // The name is new and the end always exists, so there is a place for it.
            previous = shared.history.insert(item.clone(), &Position::Last).unwrap_or_default();
        }
        shared.tell(Event::OutputAdded { response: self.id, index, item, previous });
    }

    /// Tells the client of an item that is over and writes it down.
    fn conclude(&self, index: u32, item: Item, answer: Option<Answer>, shared: &mut Shared) {
        let previous = shared.history.answered(item.clone(), answer);
        shared.tell(Event::OutputDone { response: self.id, index, item, previous });
    }

    /// Tells the client that the answer is over and writes it down: its message, of which only `heard` counts if it was
    /// stopped, and the calls it makes if it came to its end.
    pub(super) fn close(&mut self, work: Box<Work>, outcome: Outcome, heard: Option<Samples>, shared: &mut Shared) {
        let Work { chunker, script, calls, told, .. } = *work;
        let text = chunker.into_text();
        let mut usage = Usage { told, written: words(&text), sound: self.playout.given() };
        let mut output = Vec::new();
        if !text.is_empty() {
            let (item, answer) = self.message(Answer { text, script }, &outcome, heard);
            self.conclude(0, item.clone(), answer, shared);
            output.push(item);
        }
        for ToolCall { id: call, name, arguments, .. } in calls {
            if heard.is_some() || outcome != Outcome::Completed {
                break;
            }
            usage.written += words(&name) + words(&arguments);
            let index = output.len() as u32;
            let content = |arguments| Content::Call { call: call.clone(), name: name.clone(), arguments };
            let (id, status) = (shared.history.new_id(), ItemStatus::InProgress);
            self.announce(index, Item { id: id.clone(), content: content(String::new()), status }, shared);
            let item = Item { id, content: content(arguments), status: ItemStatus::Completed };
            self.conclude(index, item.clone(), None, shared);
            output.push(item);
        }
        shared.tell(Event::ResponseDone { response: self.id, outcome, output, usage });
    }

    /// The answer's message as it ended.
    fn message(&self, answer: Answer, outcome: &Outcome, heard: Option<Samples>) -> (Item, Option<Answer>) {
        let cut = heard.is_some() || *outcome == Outcome::LimitReached;
        let whole = Content::Message { role: Role::Assistant, text: Some(answer.text.clone()), spoken: self.spoken };
        let (content, status) = match heard {
            Some(heard) if self.spoken => answer.heard(heard),
            _ => (whole, if cut { ItemStatus::Incomplete } else { ItemStatus::Completed }),
        };
        (Item { id: self.item.clone(), content, status }, self.spoken.then_some(answer))
    }
}
