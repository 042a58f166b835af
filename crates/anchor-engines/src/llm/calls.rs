//! Calls of tools, as all chat models make them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anchor_core::engine::{EngineError, LlmRequest, Tool, ToolCall, ToolChoice};
use serde_json::{Value, json};

use crate::http::Fault;

/// Longest arguments of a call: far more than a model writes in the time of an answer, so that only one that has run
/// away meets it.
pub(super) const ARGUMENTS_MAX: usize = 64 * 1024;

/// The tools that the request's choice leaves: none where none may be called, one where that one must be.
///
/// So a choice is honoured even where a server has no words for it. llama.cpp's server, for one, takes no name
/// (`common/chat.cpp`, `common_chat_tool_choice_parse_oaicompat`), and Ollama's own API takes no choice at all.
pub(super) fn allowed(request: &LlmRequest) -> impl Iterator<Item = &Tool> {
    request.tools.iter().filter(|tool| match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Required => true,
        ToolChoice::None => false,
        ToolChoice::Function(name) => tool.name == *name,
    })
}

/// The names of [`allowed`] tools.
pub(super) fn names(request: &LlmRequest) -> Vec<String> {
    allowed(request).map(|tool| tool.name.clone()).collect()
}

/// One of the [`allowed`] tools has to be called.
pub(super) fn must_call(request: &LlmRequest) -> bool {
    let demanded = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Function(_));
    demanded && allowed(request).next().is_some()
}

/// Puts tools and choice into the body of a request to a server with OpenAI's chat API ("Create chat completion",
/// `tools` and `tool_choice`, where `auto` is the default).
pub(super) fn put(body: &mut Value, tools: Vec<Value>, request: &LlmRequest) {
    if !tools.is_empty() {
        body["tools"] = tools.into();
        if must_call(request) {
            body["tool_choice"] = "required".into();
        }
    }
}

/// The [`allowed`] tools as both APIs describe them. Fails where the one that must be called is not among them.
pub(super) fn offered(engine: &'static str, request: &LlmRequest) -> Result<Vec<Value>, EngineError> {
    if let ToolChoice::Function(name) = &request.tool_choice
        && allowed(request).next().is_none()
    {
        let reason = format!("it is to call the tool `{name}`, which the request does not offer");
        return Err(EngineError::Unsupported { engine, reason });
    }
    let described = |tool: &Tool| {
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
    allowed(request).map(described).collect()
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
pub(super) fn new_id() -> String {
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

    #[test]
    fn a_choice_leaves_the_tools_that_may_be_called() {
        let tool = |name: &str| Tool { name: name.into(), description: String::new(), parameters: String::new() };
        let chosen = |tool_choice| {
            let request = LlmRequest { tools: vec![tool("clock"), tool("dice")], tool_choice, ..LlmRequest::default() };
            let mut body = json!({});
            put(&mut body, offered("test", &request)?, &request);
            Ok::<_, EngineError>((names(&request).join(" "), body["tool_choice"].as_str().unwrap_or("-").to_owned()))
        };
        assert_eq!(chosen(ToolChoice::Auto).unwrap(), ("clock dice".into(), "-".into()));
        assert_eq!(chosen(ToolChoice::None).unwrap(), (String::new(), "-".into()));
        assert_eq!(chosen(ToolChoice::Required).unwrap(), ("clock dice".into(), "required".into()));
        assert_eq!(chosen(ToolChoice::Function("dice".into())).unwrap(), ("dice".into(), "required".into()));
        insta::assert_snapshot!(chosen(ToolChoice::Function("rocket".into())).unwrap_err(), @"test cannot do that: it is to call the tool `rocket`, which the request does not offer");
    }
}
