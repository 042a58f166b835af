//! Calls of tools, as all chat models make them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anchor_core::engine::{EngineError, LlmRequest, ToolCall};
use serde_json::{Value, json};

use crate::http::Fault;

/// Longest arguments of a call: far more than a model writes in the time of an answer, so that only one that has run
/// away meets it.
pub(super) const ARGUMENTS_MAX: usize = 64 * 1024;

/// The tools of a request as both APIs describe them.
pub(super) fn offered(engine: &'static str, request: &LlmRequest) -> Result<Vec<Value>, EngineError> {
    let described = |tool: &anchor_core::engine::Tool| {
        let parameters = match tool.parameters.trim() {
            "" => json!({ "type": "object", "properties": {} }),
            text => serde_json::from_str(text).map_err(|error| EngineError::Failed {
                engine,
                reason: format!("the parameters of the tool `{}` are no JSON Schema: {error}", tool.name),
            })?,
        };
        let function = json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
        Ok(json!({ "type": "function", "function": function }))
    };
    request.tools.iter().map(described).collect()
}

/// A call of a model as it is handed out: with arguments that are a JSON object, and with an identity. `None` where the
/// request does not offer such a tool: a model makes names up.
pub(super) fn call(offered: &[String], id: &str, name: &str, arguments: &str) -> Result<Option<ToolCall>, Fault> {
    if !offered.iter().any(|known| known == name) {
        tracing::debug!("the model called a tool that it was not offered");
        return Ok(None);
    }
    let arguments = match arguments.trim() {
        "" | "null" => "{}",
        text => text,
    };
    if !matches!(serde_json::from_str(arguments), Ok(Value::Object(_))) {
        return Err(Fault::Broken(format!("it called the tool `{name}` with arguments that are no JSON object")));
    }
    let id = if id.is_empty() { new_id() } else { id.to_owned() };
    Ok(Some(ToolCall { id, name: name.to_owned(), arguments: arguments.to_owned(), result: None }))
}

/// An identity for a call: nine letters and digits, because Mistral's models take no other (mistral-common,
/// `protocol/instruct/validator.py`).
fn new_id() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64);
    // Begins with the time, so that a conversation that outlives the program does not meet an identity again.
    let _ = NEXT.compare_exchange(0, first(), Ordering::Relaxed, Ordering::Relaxed);
    let mut rest = NEXT.fetch_add(1, Ordering::Relaxed);
    let digit = |_| {
        let digit = DIGITS[(rest % 36) as usize];
        rest /= 36;
        char::from(digit)
    };
    (0..9).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use anchor_core::engine::Tool;

    use super::*;

    #[test]
    fn identities_are_new_and_as_mistral_wants_them() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    }

    #[test]
    fn a_call_is_checked() {
        let offered = ["clock".to_owned()];
        let made = call(&offered, "", "clock", "null").unwrap().unwrap();
        assert_eq!((made.name.as_str(), made.arguments.as_str(), made.id.len()), ("clock", "{}", 9));
        assert_eq!(call(&offered, "x", "clock", "{}").unwrap().unwrap().id, "x");
        assert_eq!(call(&offered, "x", "rocket", "{}").unwrap(), None);
        assert!(matches!(call(&offered, "x", "clock", "{\"zone\":"), Err(Fault::Broken(_))));
        assert!(matches!(call(&offered, "x", "clock", "[1]"), Err(Fault::Broken(_))));
    }

    #[test]
    fn a_tool_without_a_schema_is_refused_by_name() {
        let tool =
            |parameters: &str| Tool { name: "clock".into(), description: String::new(), parameters: parameters.into() };
        let offer = |text| offered("test", &LlmRequest { tools: vec![tool(text)], ..LlmRequest::default() });
        assert_eq!(offer("").unwrap()[0]["function"]["parameters"]["type"], "object");
        insta::assert_snapshot!(offer("{").unwrap_err(), @"test failed: the parameters of the tool `clock` are no JSON Schema: EOF while parsing an object at line 1 column 1");
    }
}
