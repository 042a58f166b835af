//! A chat as clients send it, to a request as language models take it.

use anchor_core::engine::{LlmRequest, Message, Role, Tool, ToolCall, ToolChoice};
use serde::Deserialize;
use serde_json::Value;

use crate::refusal::Refusal;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    pub(super) model: String,
    messages: Vec<Said>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: StreamOptions,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    tools: Vec<ToolShown>,
    tool_choice: Option<Value>,
    n: Option<u32>,
    logprobs: Option<bool>,
    response_format: Option<Value>,
}

#[derive(Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Said {
    #[serde(alias = "developer")]
    System {
        content: Content,
    },
    User {
        content: Content,
    },
    Assistant {
        content: Option<Content>,
        #[serde(default)]
        tool_calls: Vec<CallShown>,
    },
    Tool {
        content: Content,
        tool_call_id: String,
    },
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "content is a string, or a list of parts {\"type\": \"text\", \"text\": ...}; other parts are not understood"
)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
}

#[derive(Deserialize)]
struct CallShown {
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct ToolShown {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Value,
}

impl Content {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|Part::Text { text }| text).collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Wanted {
    /// What the language model is asked, or what of it cannot be done.
    pub(super) fn request(self) -> Result<LlmRequest, Refusal> {
        let plain = |format: &Value| format["type"] == "text";
        if self.n.is_some_and(|n| n != 1) {
            return Err(Refusal::invalid("n", "Only one answer is written at a time. Leave 'n' out."));
        }
        if self.logprobs == Some(true) {
            return Err(Refusal::invalid(
                "logprobs",
                "The probabilities of words are not known. Leave 'logprobs' out.",
            ));
        }
        if self.response_format.as_ref().is_some_and(|format| !plain(format)) {
            let message =
                "Answers are written as text. Leave 'response_format' out, and describe the form in a message.";
            return Err(Refusal::invalid("response_format", message));
        }
        let tools: Vec<_> = self.tools.into_iter().map(|tool| offered(tool.function)).collect();
        let tool_choice = choice(self.tool_choice, &tools)?;
        let (instructions, messages) = told(self.messages)?;
        let max_tokens = self.max_completion_tokens.or(self.max_tokens);
        Ok(LlmRequest { instructions, messages, max_tokens, tools, tool_choice, ..LlmRequest::default() })
    }
}

/// The standing instructions, and the conversation.
fn told(said: Vec<Said>) -> Result<(String, Vec<Message>), Refusal> {
    let (mut instructions, mut messages) = (Vec::new(), Vec::<Message>::new());
    for (n, said) in said.into_iter().enumerate() {
        match said {
            Said::System { content } if messages.is_empty() => instructions.push(content.text()),
            Said::System { content } => messages.push(Message::new(Role::System, content.text())),
            Said::User { content } => messages.push(Message::new(Role::User, content.text())),
            Said::Assistant { content, tool_calls } => {
                let text = content.map_or_else(String::new, Content::text);
                let calls = tool_calls.into_iter().map(|CallShown { id, function }| ToolCall {
                    id,
                    name: function.name,
                    arguments: function.arguments,
                    result: None,
                });
                messages.push(Message { calls: calls.collect(), ..Message::new(Role::Assistant, text) });
            }
            Said::Tool { content, tool_call_id } => {
                let mut calls = messages.iter_mut().rev().flat_map(|message| &mut message.calls);
                let Some(call) = calls.find(|call| call.id == tool_call_id) else {
                    let message = format!("No message before this one calls a tool with the id '{tool_call_id}'.");
                    return Err(Refusal::invalid(format!("messages[{n}].tool_call_id"), message));
                };
                call.result = Some(content.text());
            }
        }
    }
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "There is nothing to answer. Send a message of the role 'user'."));
    }
    Ok((instructions.join("\n"), messages))
}

fn offered(Function { name, description, parameters }: Function) -> Tool {
    let parameters = if parameters.is_null() { "{}".to_owned() } else { parameters.to_string() };
    Tool { name, description, parameters }
}

fn choice(choice: Option<Value>, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let refuse = |message: String| Err(Refusal::invalid("tool_choice", message));
    let Some(choice) = choice.filter(|choice| !choice.is_null()) else { return Ok(ToolChoice::Auto) };
    match (choice.as_str(), choice["function"]["name"].as_str()) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("required"), _) if tools.is_empty() => refuse("There is no tool to call. Offer some in 'tools'.".into()),
        (Some("required"), _) => Ok(ToolChoice::Required),
        (None, Some(name)) if tools.iter().any(|tool| tool.name == name) => Ok(ToolChoice::Function(name.into())),
        (None, Some(name)) => refuse(format!("'tools' does not offer '{name}'.")),
        _ => refuse("'tool_choice' must be auto, none, required, or an object that names a function.".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(chat: Value) -> Result<LlmRequest, Value> {
        let wanted: Wanted = serde_json::from_value(chat).unwrap();
        wanted.request().map_err(|refusal| refusal.body()["error"]["param"].clone())
    }

    #[test]
    fn a_chat_with_tools_is_understood() {
        let request = read(json!({
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "text", "text": "Rain?" }] },
                { "role": "assistant", "content": null,
                  "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "sky", "arguments": "{}" } }] },
                { "role": "tool", "tool_call_id": "c1", "content": "wet" },
            ],
            "tools": [{ "type": "function", "function": { "name": "sky", "parameters": { "type": "object" } } }],
            "tool_choice": { "type": "function", "function": { "name": "sky" } },
            "max_tokens": 7,
        }))
        .unwrap();
        assert_eq!((request.instructions.as_str(), request.max_tokens), ("Be brief.", Some(7)));
        assert_eq!(request.tool_choice, ToolChoice::Function("sky".into()));
        assert_eq!(request.messages[0], Message::new(Role::User, "Rain?"));
        assert_eq!(request.messages[1].calls[0].result.as_deref(), Some("wet"));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let with = |key: &str, value: Value| {
            let mut chat = json!({ "messages": [{ "role": "user", "content": "Hello" }] });
            chat[key] = value;
            read(chat).unwrap_err()
        };
        assert_eq!(with("n", json!(2)), "n");
        assert_eq!(with("logprobs", json!(true)), "logprobs");
        assert_eq!(with("response_format", json!({ "type": "json_object" })), "response_format");
        assert_eq!(with("tool_choice", json!("required")), "tool_choice");
        assert_eq!(with("messages", json!([])), "messages");
        assert_eq!(
            with("messages", json!([{ "role": "tool", "tool_call_id": "x", "content": "" }])),
            "messages[0].tool_call_id"
        );
    }
}
