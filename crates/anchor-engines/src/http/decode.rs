//! Reading an answer while it arrives: lines of JSON, server-sent events, or whatever an engine reads itself.

use anchor_core::engine::EngineError;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::fault::{self, Fault};

/// Longest line read: an event with ten seconds of sound in base64 has 1.3 MB, a longer one is no line of these servers.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// Turns the bytes of one answer into events.
pub(crate) trait Decode: Send {
    /// What comes out.
    type Event: Send + 'static;

    /// Looks at the headers of an answer that is no refusal, before its first bytes.
    fn begin(&mut self, _headers: &HeaderMap) -> Result<(), Fault> {
        Ok(())
    }

    /// Takes the next bytes in, cut anywhere.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Self::Event>) -> Result<(), Fault>;

    /// The answer has ended. An error where it ended too early.
    fn finish(&mut self, events: &mut Vec<Self::Event>) -> Result<(), Fault>;

    /// Nothing that still comes is wanted.
    fn is_complete(&self) -> bool {
        false
    }

    /// What an answer with an error status means.
    fn refused(&self, engine: &'static str, status: StatusCode, body: &str) -> Fault {
        fault::refused(engine, status, body)
    }
}

/// Lines as they become complete, such as those of NDJSON.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// The lines that are complete with these bytes, without their ends, empty ones left out.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            lines.extend(self.take());
        }
        self.unfinished.extend_from_slice(rest);
        if self.unfinished.len() > LINE_MAX {
            return Err(Fault::Broken(format!("it sent a line of more than {LINE_MAX} bytes")));
        }
        Ok(lines)
    }

    /// What stands behind the last line's end, if anything.
    pub(crate) fn finish(&mut self) -> Option<String> {
        self.take()
    }

    fn take(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.unfinished)).trim().to_owned();
        (!line.is_empty()).then_some(line)
    }
}

/// The data of server-sent events (WHATWG HTML, section 9.2). All servers here send one line of data an event.
#[derive(Debug, Default)]
pub(crate) struct Sse(Lines);

impl Sse {
    /// The data that is complete with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Fault> {
        Ok(self.0.push(bytes)?.iter().filter_map(|line| data(line)).collect())
    }

    /// Data without a line's end behind it, which some servers send last.
    pub(crate) fn finish(&mut self) -> Option<String> {
        self.0.finish().and_then(|line| data(&line))
    }
}

/// What a line of data holds; `None` for comments and other fields. Servers that fail in the middle send a bare line of
/// JSON, or a field of their own called `error` (llama.cpp's server did): both are data, too.
fn data(line: &str) -> Option<String> {
    if let Some(data) = line.strip_prefix("data:") {
        return Some(data.trim().to_owned());
    }
    match line.strip_prefix("error:").map(str::trim) {
        Some(error) if error.starts_with('{') => Some(format!("{{\"error\":{error}}}")),
        Some(error) => Some(serde_json::json!({ "error": error }).to_string()),
        None => line.starts_with('{').then(|| line.to_owned()),
    }
}

/// A body that is server-sent events, or one JSON object from servers that do not stream although they were asked to.
#[derive(Debug)]
pub(crate) enum Body {
    /// Events.
    Events(Sse),
    /// The object so far.
    Whole(Vec<u8>),
}

/// Longest object read: a whole answer has a few kilobytes.
const OBJECT_MAX: usize = 1024 * 1024;

impl Default for Body {
    fn default() -> Self {
        Self::Events(Sse::default())
    }
}

impl Body {
    /// Which of the two it is.
    pub(crate) fn begin(&mut self, headers: &HeaderMap) {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            *self = Self::Whole(Vec::new());
        }
    }

    /// The data of the events that are complete with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Fault> {
        match self {
            Self::Events(events) => events.push(bytes),
            Self::Whole(object) => {
                object.extend_from_slice(bytes);
                if object.len() <= OBJECT_MAX {
                    return Ok(Vec::new());
                }
                Err(Fault::Broken(format!("it sent an object of more than {OBJECT_MAX} bytes")))
            }
        }
    }

    /// What the end brings.
    pub(crate) fn finish(&mut self) -> Result<Rest, Fault> {
        let object = match self {
            Self::Events(events) => return Ok(Rest::Events(events.finish())),
            Self::Whole(object) => serde_json::from_slice(object).map_err(|_| cut_short())?,
        };
        match error_in(&object) {
            Some(reason) => Err(Fault::Broken(reason)),
            None => Ok(Rest::Whole(object)),
        }
    }
}

/// What the end of a [`Body`] brings.
pub(crate) enum Rest {
    /// The data of an event without a line's end behind it, if there is one.
    Events(Option<String>),
    /// The object.
    Whole(serde_json::Value),
}

/// The error in an event that tells of one.
pub(crate) fn error_in(event: &serde_json::Value) -> Option<String> {
    let error = event.get("error").filter(|error| !error.is_null())?;
    Some(fault::message_of(error).unwrap_or_else(|| "an error without a reason".into()))
}

/// The error of an answer that ended before its time.
pub(crate) fn cut_short() -> Fault {
    Fault::Broken("the answer ended in the middle".into())
}

/// The error of an answer that is none.
pub(crate) fn unreadable(engine: &'static str, error: impl std::fmt::Display) -> Fault {
    Fault::Final(EngineError::Failed { engine, reason: format!("the server's answer cannot be read: {error}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_and_other_fields_are_passed_over() {
        let mut events = Sse::default();
        let text = b": hello\r\nevent: x\r\ndata: {\"a\":1}\r\n\r\nid: 3\ndata:two\n\n{\"error\":\"oh\"}\ndata: [DONE]";
        assert_eq!(events.push(text).unwrap(), ["{\"a\":1}", "two", "{\"error\":\"oh\"}"]);
        assert_eq!(events.finish().as_deref(), Some("[DONE]"));
        assert_eq!(events.finish(), None);
        let errors = events.push(b"error: {\"message\":\"full\"}\nerror: gone\n").unwrap();
        assert_eq!(errors, [r#"{"error":{"message":"full"}}"#, r#"{"error":"gone"}"#]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1024 * 1024];
        assert!((0..6).any(|_| lines.push(&piece).is_err()));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_they_are_cut(text in "[a-zé\n\r ]{0,200}", size in 1_usize..20) {
            let whole: Vec<String> =
                text.split('\n').map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                found.extend(lines.push(piece).unwrap());
            }
            found.extend(lines.finish());
            prop_assert_eq!(found, whole);
        }
    }
}
