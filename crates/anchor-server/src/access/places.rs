//! How many sessions each caller holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The sessions that are open, counted by caller.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<String, usize>>>);

/// One session of one caller. Dropping it gives it back.
pub(crate) struct Place {
    places: Places,
    caller: String,
}

impl Places {
    /// One more, unless the caller holds `most` already.
    pub(crate) fn take(&self, caller: &str, most: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.get(caller).copied().unwrap_or(0);
        (held < most).then(|| {
            counts.insert(caller.to_owned(), held + 1);
            Place { places: self.clone(), caller: caller.to_owned() }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = counts.get_mut(&self.caller) {
            *held -= 1;
            if *held == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_as_many_as_it_may_and_again_what_it_gives_back() {
        let places = Places::default();
        let held = (places.take("a", 2), places.take("a", 2));
        assert!(held.0.is_some() && held.1.is_some() && places.take("a", 2).is_none());
        assert!(places.take("b", 2).is_some(), "others are not concerned");
        drop(held.0);
        assert!(places.take("a", 2).is_some());
        drop(held.1);
        assert!(places.0.lock().unwrap().is_empty(), "nothing is kept of those who left");
    }
}
