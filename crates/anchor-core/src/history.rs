//! The conversation as it was heard.

use crate::audio::Samples;
use crate::engine::{Message, Role};
use crate::playout::Script;
use crate::{ClientError, Item, ItemId, ItemStatus, Position};

/// Items kept. A programme runs for hours: the oldest go first, and no language model's context reaches this far back.
const ITEMS_MAX: usize = 400;

/// The items of a conversation, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    prefix: String,
    made: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    answer: Option<Answer>,
}

/// A spoken answer as it was written, and which sound belongs to which text.
#[derive(Debug)]
struct Answer {
    text: String,
    script: Script,
}

impl History {
    /// An empty history whose names begin with `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// A name no item has had before.
    pub(crate) fn new_id(&mut self) -> ItemId {
        loop {
            self.made += 1;
            let id = ItemId(format!("item_{}{:04}", self.prefix, self.made).into());
            if self.index(&id).is_err() {
                return id;
            }
        }
    }

    /// Puts an item in its place and returns the name of the one before it.
    pub(crate) fn insert(&mut self, item: Item, position: &Position) -> Result<Option<ItemId>, ClientError> {
        if self.index(&item.id).is_ok() {
            return Err(ClientError::ItemExists(item.id));
        }
        let at = match position {
            Position::Last => self.entries.len(),
            Position::First => 0,
            Position::After(id) => self.index(id)? + 1,
        };
        let previous = at.checked_sub(1).map(|before| self.entries[before].item.id.clone());
        self.entries.insert(at, Entry { item, answer: None });
        let surplus = self.entries.len().saturating_sub(ITEMS_MAX);
        self.entries.drain(..surplus);
        Ok(previous)
    }

    /// The item as it stands.
    pub(crate) fn get(&self, id: &ItemId) -> Result<&Item, ClientError> {
        Ok(&self.entries[self.index(id)?].item)
    }

    /// Name of the item before `id`.
    pub(crate) fn previous(&self, id: &ItemId) -> Option<ItemId> {
        let before = self.index(id).ok()?.checked_sub(1)?;
        Some(self.entries[before].item.id.clone())
    }

    /// Name of the last item.
    pub(crate) fn last(&self) -> Option<ItemId> {
        self.entries.last().map(|entry| entry.item.id.clone())
    }

    /// Takes an item out.
    pub(crate) fn remove(&mut self, id: &ItemId) -> Result<(), ClientError> {
        let at = self.index(id)?;
        self.entries.remove(at);
        Ok(())
    }

    /// Writes down what was said in a turn. A turn that was deleted meanwhile stays deleted.
    pub(crate) fn transcribed(&mut self, id: &ItemId, text: &str) {
        if let Ok(at) = self.index(id) {
            self.entries[at].item.text = Some(text.to_owned());
        }
    }

    /// Writes down an answer; `heard` cuts it to what was heard. Returns the item, unless it was deleted meanwhile.
    pub(crate) fn answered(
        &mut self,
        id: &ItemId,
        text: String,
        script: Script,
        heard: Option<Samples>,
    ) -> Option<Item> {
        let entry = &mut self.entries.iter_mut().find(|entry| &entry.item.id == id)?;
        entry.item.status = ItemStatus::Completed;
        entry.item.text = Some(text.clone());
        if entry.item.spoken {
            entry.answer = Some(Answer { text, script });
            if let Some(heard) = heard {
                entry.cut(heard);
            }
        } else if heard.is_some() {
            entry.item.status = ItemStatus::Incomplete;
        }
        Some(entry.item.clone())
    }

    /// Cuts a spoken answer to what was heard of it and returns how much that is. More than there was is all of it.
    pub(crate) fn truncate(&mut self, id: &ItemId, heard: Samples) -> Result<Samples, ClientError> {
        let at = self.index(id)?;
        let entry = &mut self.entries[at];
        match &entry.answer {
            Some(answer) => {
                let heard = heard.min(answer.script.length());
                entry.cut(heard);
                Ok(heard)
            }
            None => Err(ClientError::NotTruncatable(id.clone())),
        }
    }

    /// The conversation as a language model is told of it.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.entries
            .iter()
            .filter_map(|Entry { item, .. }| {
                let text = item.text.clone().filter(|text| !text.trim().is_empty())?;
                let interrupted = item.role == Role::Assistant && item.status == ItemStatus::Incomplete;
                Some(Message { interrupted, ..Message::new(item.role, text) })
            })
            .collect()
    }

    fn index(&self, id: &ItemId) -> Result<usize, ClientError> {
        // The newest items are the ones that are asked for.
        self.entries.iter().rposition(|entry| &entry.item.id == id).ok_or_else(|| ClientError::NoSuchItem(id.clone()))
    }
}

impl Entry {
    fn cut(&mut self, heard: Samples) {
        if let Some(answer) = &self.answer {
            let end = answer.script.heard_text(&answer.text, heard);
            self.item.text = Some(answer.text[..end].to_owned());
            let whole = end == answer.text.trim_end().len();
            self.item.status = if whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, role: Role, text: &str, spoken: bool) -> Item {
        Item { id: ItemId(id.into()), role, text: Some(text.into()), spoken, status: ItemStatus::InProgress }
    }

    fn ids(history: &History) -> Vec<&str> {
        history.entries.iter().map(|entry| &*entry.item.id.0).collect()
    }

    #[test]
    fn items_stand_where_they_were_put() {
        let mut history = History::new("a");
        let user = |id| item(id, Role::User, "hello", false);
        assert_eq!(history.insert(user("x"), &Position::Last), Ok(None));
        assert_eq!(history.insert(user("y"), &Position::Last), Ok(Some(ItemId("x".into()))));
        assert_eq!(history.insert(user("z"), &Position::First), Ok(None));
        assert_eq!(history.insert(user("w"), &Position::After(ItemId("x".into()))), Ok(Some(ItemId("x".into()))));
        assert_eq!(ids(&history), ["z", "x", "w", "y"]);
        assert_eq!(history.insert(user("w"), &Position::Last), Err(ClientError::ItemExists(ItemId("w".into()))));
        assert!(history.insert(user("v"), &Position::After(ItemId("nobody".into()))).is_err());
        history.remove(&ItemId("x".into())).unwrap();
        assert_eq!(history.previous(&ItemId("w".into())), Some(ItemId("z".into())));
    }

    #[test]
    fn an_answer_is_what_was_heard_and_may_be_cut_again() {
        let mut history = History::new("a");
        let id = history.new_id();
        history.insert(item(&id.0, Role::Assistant, "", true), &Position::Last).unwrap();
        let mut script = Script::default();
        script.clause(0..14);
        script.sound(Samples::from_ms(1_400));
        script.clause_end();
        history.answered(&id, "One two three.".into(), script, Some(Samples::from_ms(800)));
        let told = |history: &History| history.messages().pop().unwrap();
        assert_eq!((told(&history).text.as_str(), told(&history).interrupted), ("One two", true));

        assert_eq!(history.truncate(&id, Samples::from_ms(400)).map(Samples::as_ms), Ok(400));
        assert_eq!(told(&history).text, "One");
        assert_eq!(history.truncate(&id, Samples::from_ms(9_000)).map(Samples::as_ms), Ok(1_400));
        assert_eq!((told(&history).text.as_str(), told(&history).interrupted), ("One two three.", false));
    }

    #[test]
    fn only_spoken_answers_can_be_cut() {
        let mut history = History::new("a");
        history.insert(item("u", Role::User, "hello", true), &Position::Last).unwrap();
        let id = ItemId("u".into());
        assert_eq!(history.truncate(&id, Samples(1)), Err(ClientError::NotTruncatable(id)));
    }

    #[test]
    fn the_oldest_items_go_first() {
        let mut history = History::new("a");
        for _ in 0..ITEMS_MAX + 5 {
            let id = history.new_id();
            history.insert(item(&id.0, Role::User, "hello", false), &Position::Last).unwrap();
        }
        assert_eq!(history.entries.len(), ITEMS_MAX);
        assert_eq!(ids(&history)[0], "item_a0006");
    }
}
