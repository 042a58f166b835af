//! The conversation as it was heard.

use crate::audio::Samples;
use crate::context;
use crate::engine::{Message, Role};
use crate::playout::Script;
use crate::{ClientError, Content, ContextItem, Item, ItemId, ItemStatus, Position, Retention};

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
    /// What it was cut from, where it is a spoken answer.
    answer: Option<Answer>,
    /// The language model is not told of it any more.
    left_out: bool,
}

/// A spoken answer as it was written, and which sound belongs to which text.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) script: Script,
}

impl Answer {
    /// What was heard of it as an item is.
    pub(crate) fn heard(&self, heard: Samples) -> (Content, ItemStatus) {
        let end = self.script.heard_text(&self.text, heard);
        let whole = end == self.text.trim_end().len();
        let content = Content::Message { role: Role::Assistant, text: Some(self.text[..end].to_owned()), spoken: true };
        (content, if whole { ItemStatus::Completed } else { ItemStatus::Incomplete })
    }
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
        self.entries.insert(at, Entry { item, answer: None, left_out: false });
        let surplus = self.entries.len().saturating_sub(ITEMS_MAX);
        self.entries.drain(..surplus);
        Ok(previous)
    }

    /// The item as it stands.
    pub(crate) fn get(&self, id: &ItemId) -> Result<&Item, ClientError> {
        Ok(&self.entries[self.index(id)?].item)
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

    /// Somebody called a tool under this name.
    pub(crate) fn has_call(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| matches!(&entry.item.content, Content::Call { call, .. } if call == name))
    }

    /// Writes down what was said in a turn. A turn that was deleted meanwhile stays deleted.
    pub(crate) fn transcribed(&mut self, id: &ItemId, said: &str) {
        if let Ok(at) = self.index(id)
            && let Content::Message { text, .. } = &mut self.entries[at].item.content
        {
            *text = Some(said.to_owned());
        }
    }

    /// Writes down an answer, with what it was cut from if it was spoken. Returns the name of the item before it; nothing
    /// happens if it was deleted meanwhile.
    pub(crate) fn answered(&mut self, item: Item, answer: Option<Answer>) -> Option<ItemId> {
        let at = self.index(&item.id).ok()?;
        self.entries[at].item = item;
        self.entries[at].answer = answer;
        Some(self.entries[at.checked_sub(1)?].item.id.clone())
    }

    /// Cuts a spoken answer to what was heard of it and returns how much that is. More than there was is all of it.
    pub(crate) fn truncate(&mut self, id: &ItemId, heard: Samples) -> Result<Samples, ClientError> {
        let at = self.index(id)?;
        let Entry { item, answer: Some(answer), .. } = &mut self.entries[at] else {
            return Err(ClientError::NotTruncatable(id.clone()));
        };
        let heard = heard.min(answer.script.length());
        (item.content, item.status) = answer.heard(heard);
        Ok(heard)
    }

    /// The conversation as a language model is told of it.
    pub(crate) fn messages(&mut self, retention: Option<Retention>) -> Vec<Message> {
        if let Some(retention) = retention {
            self.leave_out(retention);
        }
        let told = self.entries.iter().filter(|entry| !entry.left_out);
        context::messages(told.map(|Entry { item, .. }| (&item.content, item.status)))
    }

    /// What a language model is told instead of the conversation. Items that are gone are left out.
    pub(crate) fn messages_of(&self, items: &[ContextItem]) -> Vec<Message> {
        context::messages(items.iter().filter_map(|item| match item {
            ContextItem::New(content) => Some((content, ItemStatus::Completed)),
            ContextItem::Reference(id) => self.get(id).ok().map(|item| (&item.content, item.status)),
        }))
    }

    /// The newest item always stays: it is what is to be answered.
    fn leave_out(&mut self, Retention { most, retained }: Retention) {
        let told = self.entries.iter().filter(|entry| !entry.left_out);
        let mut size: u64 = told.map(|entry| context::size(&entry.item.content)).sum();
        if size <= most {
            return;
        }
        let kept = (most as f64 * f64::from(retained)) as u64;
        let older = self.entries.len().saturating_sub(1);
        for entry in self.entries[..older].iter_mut().filter(|entry| !entry.left_out) {
            if size <= kept {
                return;
            }
            size -= context::size(&entry.item.content);
            entry.left_out = true;
        }
    }

    fn index(&self, id: &ItemId) -> Result<usize, ClientError> {
        // The newest items are the ones that are asked for.
        self.entries.iter().rposition(|entry| &entry.item.id == id).ok_or_else(|| ClientError::NoSuchItem(id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, role: Role, text: &str, spoken: bool) -> Item {
        let content = Content::Message { role, text: Some(text.into()), spoken };
        Item { id: ItemId(id.into()), content, status: ItemStatus::InProgress }
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
        assert_eq!(history.answered(user("w"), None), Some(ItemId("z".into())));
        assert_eq!(history.answered(user("x"), None), None, "what was deleted stays deleted");
        assert_eq!(ids(&history), ["z", "w", "y"]);
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
        let answer = Answer { text: "One two three.".into(), script };
        let (content, status) = answer.heard(Samples::from_ms(800));
        history.answered(Item { id: id.clone(), content, status }, Some(answer));
        let told = |history: &mut History| history.messages(None).pop().unwrap();
        assert_eq!((told(&mut history).text.as_str(), told(&mut history).interrupted), ("One two", true));

        assert_eq!(history.truncate(&id, Samples::from_ms(400)).map(Samples::as_ms), Ok(400));
        assert_eq!(told(&mut history).text, "One");
        assert_eq!(history.truncate(&id, Samples::from_ms(9_000)).map(Samples::as_ms), Ok(1_400));
        assert_eq!((told(&mut history).text.as_str(), told(&mut history).interrupted), ("One two three.", false));
    }

    #[test]
    fn only_spoken_answers_can_be_cut() {
        let mut history = History::new("a");
        history.insert(item("u", Role::User, "hello", true), &Position::Last).unwrap();
        let id = ItemId("u".into());
        assert_eq!(history.truncate(&id, Samples(1)), Err(ClientError::NotTruncatable(id)));
    }

    #[test]
    fn what_is_too_much_is_left_out_for_good_and_much_at_once() {
        let mut history = History::new("a");
        let retention = Some(Retention { most: 10, retained: 0.5 });
        let told = |history: &mut History| {
            let id = history.new_id();
            history.insert(item(&id.0, Role::User, "one two", false), &Position::Last).unwrap();
            history.messages(retention).len()
        };
        assert_eq!([(); 10].map(|()| told(&mut history)), [1, 2, 3, 4, 5, 2, 3, 4, 5, 2]);
        let long = "word ".repeat(50);
        history.insert(item("long", Role::User, &long, false), &Position::Last).unwrap();
        assert_eq!(history.messages(retention).len(), 1, "what is to be answered stays");
        assert_eq!(history.messages(None).len(), 1, "what was left out stays out");
    }

    #[test]
    fn an_answer_of_its_own_is_told_what_it_asks_for() {
        let mut history = History::new("a");
        history.insert(item("x", Role::User, "hello", false), &Position::Last).unwrap();
        history.insert(item("y", Role::User, "goodbye", false), &Position::Last).unwrap();
        let reference = |id: &str| ContextItem::Reference(ItemId(id.into()));
        let input = [reference("x"), reference("gone"), ContextItem::New(Content::written(Role::User, "Sum up."))];
        let told: Vec<_> = history.messages_of(&input).into_iter().map(|message| message.text).collect();
        assert_eq!(told, ["hello", "Sum up."]);
        assert_eq!(history.messages_of(&[]), []);
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
