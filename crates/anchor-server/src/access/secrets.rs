//! Ephemeral keys: what a browser is given instead of an API key, good for minutes and for conversations alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::keys::{Key, now};

/// Most of them at a time; only who has an API key can make one.
const MOST: usize = 4096;

/// The keys given out that have not expired, by their digests.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<HashMap<[u8; 32], Secret>>);

/// What an ephemeral key stands for.
#[derive(Clone)]
pub(crate) struct Secret {
    /// Name of the key it was made with.
    pub(crate) owner: String,
    /// The settings of sessions opened with it.
    pub(crate) session: Option<Value>,
    /// When it stops being good, in seconds since 1970.
    pub(crate) expires_at: u64,
}

impl Secrets {
    /// Makes a key for `secret`; `None` while there are too many.
    pub(crate) fn add(&self, secret: Secret) -> Option<String> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        secrets.retain(|_, secret| now < secret.expires_at);
        if secrets.len() >= MOST {
            return None;
        }
        // Two of them hold 244 random bits of the system's generator.
        let value = format!("ek_{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        secrets.insert(Key::digest(&value), secret);
        Some(value)
    }

    /// What a key stands for, if it is one and still good. Found by digest, so that timing tells nothing of a key.
    pub(super) fn find(&self, token: &str) -> Option<Secret> {
        if !token.starts_with("ek_") {
            return None;
        }
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(&Key::digest(token)).filter(|secret| now() < secret.expires_at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_good_until_it_expires() {
        let secrets = Secrets::default();
        let add = |expires_at| secrets.add(Secret { owner: "a".into(), session: None, expires_at }).unwrap();
        let (good, over) = (add(u64::MAX), add(1));
        assert!(good.starts_with("ek_") && good.len() == 67);
        assert_eq!(secrets.find(&good).unwrap().owner, "a");
        assert!(secrets.find(&over).is_none() && secrets.find("ek_").is_none());
    }

    #[test]
    fn there_are_only_so_many() {
        let secrets = Secrets::default();
        let mut made =
            (0..=MOST).map(|_| secrets.add(Secret { owner: String::new(), session: None, expires_at: u64::MAX }));
        assert!(made.by_ref().take(MOST).all(|made| made.is_some()));
        assert_eq!(made.next(), Some(None));
    }
}
