//! API keys as the server knows them: by their digests.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// An API key that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose it is, for people.
    pub name: String,
    /// [`Key::digest`] of it. A plain SHA-256 will do: a key is 256 random bits, which nobody guesses however fast the
    /// digest is.
    pub digest: [u8; 32],
    /// When it stops being good, in seconds since 1970.
    pub expires_at: Option<u64>,
}

impl Key {
    /// What is kept of a key.
    pub fn digest(key: &str) -> [u8; 32] {
        Sha256::digest(key.as_bytes()).into()
    }

    /// The name of the key among `keys` that this is, if it is still good. Takes as long for a wrong one as for a right
    /// one.
    pub(super) fn find(keys: &[Self], token: &str) -> Option<String> {
        let (digest, now) = (Self::digest(token), now());
        let mut found = None;
        for key in keys {
            if bool::from(key.digest.ct_eq(&digest)) && key.expires_at.is_none_or(|end| now < end) {
                found = Some(key.name.clone());
            }
        }
        found
    }
}

/// Seconds since 1970. A clock before that is wrong anyway.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_is_found_and_only_while_it_is_good() {
        let key = |name: &str, expires_at| Key { name: name.into(), digest: Key::digest(name), expires_at };
        let keys = [key("a", None), key("b", Some(1)), key("c", Some(u64::MAX))];
        assert_eq!(
            ["a", "b", "c", "d", ""].map(|token| Key::find(&keys, token)).map(|name| name.unwrap_or_default()),
            ["a", "", "c", "", ""]
        );
    }
}
