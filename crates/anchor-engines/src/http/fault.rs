//! What can go wrong in an exchange, and whether another try may help.

use std::error::Error;

use anchor_core::engine::EngineError;
use reqwest::StatusCode;
use serde_json::Value;

use super::status_text;

/// Longest message of a server that is passed on, in characters.
const MESSAGE_MAX: usize = 300;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The endpoint, or the way to it, is broken: another endpoint, or the same one later, may do better.
    Broken(String),
    /// No other try would help.
    Final(EngineError),
}

impl Fault {
    /// The connection failed.
    pub(crate) fn transport(error: &reqwest::Error) -> Self {
        let what = match error {
            error if error.is_timeout() => "no connection in time",
            error if error.is_connect() => "no connection",
            error if error.is_builder() => "the request cannot be made",
            _ => "the connection broke",
        };
        // The innermost error is the system's; those around it repeat the address, which the caller names.
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Self::Broken(format!("{what} ({})", shortened(&cause.to_string())))
    }
}

/// The fault of an answer with this status, unless the engine knows better.
pub(crate) fn refused(engine: &'static str, status: StatusCode, body: &str) -> Fault {
    let said = format!("{} ({})", message(body).unwrap_or_else(|| "no reason given".into()), status_text(status));
    match status.as_u16() {
        401 | 403 => Fault::Final(EngineError::Unavailable {
            engine,
            reason: format!("the server does not let it in: {said}"),
            remedy: "Set the right `api_key` in the engine's options.".into(),
        }),
        408 | 425 | 429 | 500..=599 => Fault::Broken(said),
        _ => Fault::Final(EngineError::Failed { engine, reason: format!("the server refuses the request: {said}") }),
    }
}

/// What a server says is wrong, out of the bodies servers send: `{"error":"…"}` (Ollama), `{"error":{"message":"…"}}`
/// (OpenAI and those like it), `{"detail":…}` (FastAPI), `{"message":"…"}`, or bare text.
pub(crate) fn message(body: &str) -> Option<String> {
    let body = body.trim();
    let text = match serde_json::from_str::<Value>(body) {
        Ok(value) => message_of(&value)?,
        // A page of HTML is a proxy's and tells people nothing.
        Err(_) if body.starts_with('<') => return None,
        Err(_) => body.to_owned(),
    };
    (!text.is_empty()).then(|| shortened(&text))
}

/// The message in a JSON value that tells of an error.
pub(crate) fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => ["error", "message", "detail"].iter().find_map(|key| message_of(object.get(*key)?)),
        Value::Array(list) => list.first().and_then(|first| message_of(first.get("msg").unwrap_or(first))),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(MESSAGE_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_all_servers_are_read() {
        for (body, said) in [
            (r#"{"error":"model 'x' not found"}"#, Some("model 'x' not found")),
            (r#"{"error":{"message":"too long","type":"invalid_request_error","code":400}}"#, Some("too long")),
            (r#"{"object":"error","message":"no such voice"}"#, Some("no such voice")),
            (r#"{"detail":[{"loc":["body","input"],"msg":"Field required"}]}"#, Some("Field required")),
            (r#"{"detail":"Not Found"}"#, Some("Not Found")),
            ("Internal\n Server Error", Some("Internal Server Error")),
            ("<html>502</html>", None),
            ("", None),
            ("{}", None),
        ] {
            assert_eq!(message(body).as_deref(), said, "{body}");
        }
        assert_eq!(message(&"x".repeat(1000)).unwrap().chars().count(), MESSAGE_MAX + 1);
    }

    #[test]
    fn another_try_is_made_only_where_it_may_help() {
        let again = |status| matches!(refused("test", status, ""), Fault::Broken(_));
        assert!([429, 500, 502, 503, 504].into_iter().all(|status| again(StatusCode::from_u16(status).unwrap())));
        assert!(![400, 401, 403, 404, 422].into_iter().any(|status| again(StatusCode::from_u16(status).unwrap())));
    }
}
