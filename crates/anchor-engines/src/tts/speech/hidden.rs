//! Errors in the middle of sound: a server that fails after it has begun can only write into the stream, and some write
//! their error as JSON between the samples.

use serde_json::Value;

use crate::http::message;

/// How such an error begins: `vllm/entrypoints/openai/serving_engine.py`, `create_streaming_error_response`, and what other
/// frameworks write. Seven bytes of sound that happen to read so are four samples that jump by a third of full scale
/// each; a JSON object behind them is beyond chance.
const MARKS: [&[u8]; 4] = [b"{\"error\"", b"{\"object\"", b"{\"detail\"", b"{\"message\""];

/// Longest error that is waited for, in bytes.
const ERROR_MAX: usize = 16 * 1024;

/// Parts errors from sound.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// Bytes that may be the beginning of an error.
    held: Vec<u8>,
}

/// What was found in the next bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Sound, up to the error if there is one.
    pub(super) sound: Vec<u8>,
    /// What the server says is wrong.
    pub(super) error: Option<String>,
}

impl Hidden {
    /// Takes the next bytes and returns those that are sound for certain.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Found {
        self.held.extend_from_slice(bytes);
        let mut searched = 0;
        while let Some(start) = mark_in(&self.held, searched) {
            match object(&self.held[start..]) {
                Object::None => searched = start + 1,
                Object::Unfinished => return Found { sound: self.held.drain(..start).collect(), error: None },
                Object::Whole(said) => {
                    self.held.truncate(start);
                    return Found { sound: std::mem::take(&mut self.held), error: Some(said) };
                }
            }
        }
        let sure = self.held.len() - beginning_of_mark(&self.held);
        Found { sound: self.held.drain(..sure).collect(), error: None }
    }

    /// What was held back, now that nothing follows.
    pub(super) fn finish(&mut self) -> Found {
        let mut held = std::mem::take(&mut self.held);
        let Some(start) = mark_in(&held, 0) else { return Found { sound: held, error: None } };
        let said = String::from_utf8_lossy(&held[start..]).trim().to_owned();
        held.truncate(start);
        Found { sound: held, error: Some(format!("an error that was cut off: {said}")) }
    }
}

enum Object {
    /// This is sound after all.
    None,
    /// More bytes have to come.
    Unfinished,
    /// An object, and what it says.
    Whole(String),
}

fn object(bytes: &[u8]) -> Object {
    match serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().next() {
        Some(Ok(value)) => {
            let text = value.to_string();
            Object::Whole(message(&text).unwrap_or(text))
        }
        Some(Err(error)) if error.is_eof() && bytes.len() < ERROR_MAX => Object::Unfinished,
        _ => Object::None,
    }
}

/// Where the first mark begins, not before `from`.
fn mark_in(bytes: &[u8], from: usize) -> Option<usize> {
    let at = |start: &usize| MARKS.iter().any(|mark| bytes[*start..].starts_with(mark));
    (from..bytes.len()).filter(|start| bytes[*start] == b'{').find(at)
}

/// How many bytes at the end may be the beginning of a mark.
fn beginning_of_mark(bytes: &[u8]) -> usize {
    let longest = MARKS.iter().map(|mark| mark.len() - 1).max().unwrap_or(0);
    let begins = |length: &usize| {
        let end = &bytes[bytes.len() - length..];
        MARKS.iter().any(|mark| mark.starts_with(end))
    };
    (1..=longest.min(bytes.len())).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out of bytes in pieces of this size.
    fn part(bytes: &[u8], size: usize) -> Found {
        let mut hidden = Hidden::default();
        let mut whole = Found::default();
        for piece in bytes.chunks(size) {
            let found = hidden.push(piece);
            whole.sound.extend(found.sound);
            if found.error.is_some() {
                return Found { error: found.error, ..whole };
            }
        }
        let rest = hidden.finish();
        whole.sound.extend(rest.sound);
        Found { error: rest.error, ..whole }
    }

    #[test]
    fn an_error_is_found_wherever_the_bytes_are_cut() {
        // The server of Boson sends what is left of the sound behind its error.
        let mut bytes = b"\x01\x02{\"e\x03\x04".to_vec();
        bytes.extend_from_slice(br#"{"error": {"object": "error", "message": "CUDA out of memory", "code": 400}}"#);
        bytes.extend_from_slice(&[5, 6, 7, 8]);
        for size in 1..bytes.len() {
            let found = part(&bytes, size);
            assert_eq!(found.sound, b"\x01\x02{\"e\x03\x04", "{size}");
            assert_eq!(found.error.as_deref(), Some("CUDA out of memory"), "{size}");
        }
    }

    #[test]
    fn an_error_cut_off_is_still_one() {
        let found = part(b"\0\0{\"error\": {\"mess", 3);
        assert_eq!(found.sound, b"\0\0");
        assert_eq!(found.error.as_deref(), Some("an error that was cut off: {\"error\": {\"mess"));
    }

    #[test]
    fn a_mark_without_an_object_behind_it_is_sound() {
        let bytes = b"\x10{\"error\"\x01\x02\x03\x04 and on it goes {\"det".to_vec();
        for size in [1, 4, 100] {
            assert_eq!(part(&bytes, size), Found { sound: bytes.clone(), error: None });
        }
    }

    proptest! {
        #[test]
        fn sound_passes_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
            prop_assert_eq!(part(&bytes, size), Found { sound: bytes, error: None });
        }
    }
}
