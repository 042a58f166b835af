//! Tools, and how much of the conversation the language model is told.

use anchor_core::Retention;
use anchor_core::engine::{Tool, ToolChoice};
use serde_json::Value;

use super::super::wire::Error;
use super::settings::{decimal, integer};

/// Most tools of a session. The language model reads them all before each answer.
const TOOLS_MAX: usize = 128;

/// Longest name of a tool: the hosted API's limit.
const NAME_MAX: usize = 64;

/// The tools the language model may call.
pub(super) fn offered(tools: &[Value], param: &str) -> Result<Vec<Tool>, Error> {
    if tools.len() > TOOLS_MAX {
        let message = format!("'{param}' has {} tools; there may be {TOOLS_MAX}.", tools.len());
        return Err(Error::invalid("array_above_max_length", Some(param), message));
    }
    tools.iter().enumerate().map(|(index, tool)| offer(tool, &format!("{param}[{index}]"))).collect()
}

fn offer(tool: &Value, param: &str) -> Result<Tool, Error> {
    let refuse = |field: &str, message: String| {
        let param = format!("{param}.{field}");
        Err(Error::invalid("invalid_value", Some(&param), format!("'{param}' {message}")))
    };
    match tool["type"].as_str() {
        Some("function") => {}
        Some(kind) => {
            let message = format!("cannot be '{kind}': tools are functions of the client, of type 'function'.");
            return refuse("type", message);
        }
        None => return refuse("type", "is missing. Use 'function'.".into()),
    }
    let name = tool["name"].as_str().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
        return refuse("name", format!("must have 1 to {NAME_MAX} letters, digits, '_' or '-'."));
    }
    let description = match &tool["description"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        _ => return refuse("description", "must be a string.".into()),
    };
    let parameters = match &tool["parameters"] {
        Value::Null => String::new(),
        schema @ Value::Object(_) => schema.to_string(),
        _ => return refuse("parameters", "must be a JSON Schema, which is an object.".into()),
    };
    Ok(Tool { name: name.to_owned(), description, parameters })
}

/// Whether the language model calls tools.
pub(super) fn choice(choice: &Value, param: &str) -> Result<ToolChoice, Error> {
    match (choice.as_str(), choice["type"].as_str(), choice["name"].as_str()) {
        (Some("auto"), ..) => Ok(ToolChoice::Auto),
        (Some("none"), ..) => Ok(ToolChoice::None),
        (Some("required"), ..) => Ok(ToolChoice::Required),
        (None, Some("function"), Some(name)) => Ok(ToolChoice::Function(name.to_owned())),
        _ => {
            let message = format!(
                "'{param}' must be 'auto', 'none', 'required', or {{\"type\": \"function\", \"name\": \"...\"}}."
            );
            Err(Error::invalid("invalid_value", Some(param), message))
        }
    }
}

/// How much of the conversation the language model is told. Without a number of tokens of its own this is the engine's
/// business: each leaves out what does not fit its context.
pub(super) fn retention(truncation: &Value) -> Result<Option<Retention>, Error> {
    const PARAM: &str = "session.truncation";
    match (truncation.as_str(), truncation["type"].as_str()) {
        (Some("auto" | "disabled"), _) => return Ok(None),
        (None, Some("retention_ratio")) => {}
        _ => {
            let message = format!("'{PARAM}' must be 'auto', 'disabled', or an object of type 'retention_ratio'.");
            return Err(Error::invalid("invalid_value", Some(PARAM), message));
        }
    }
    let Some(ratio) = truncation["retention_ratio"].as_f64() else {
        let param = format!("{PARAM}.retention_ratio");
        let message = format!("Missing required parameter: '{param}'.");
        return Err(Error::invalid("missing_required_parameter", Some(&param), message));
    };
    let retained = decimal(ratio, 0.0..=1.0, &format!("{PARAM}.retention_ratio"))? as f32;
    let param = format!("{PARAM}.token_limits.post_instructions");
    match &truncation["token_limits"]["post_instructions"] {
        Value::Null => Ok(None),
        limit => match limit.as_i64() {
            Some(most) => Ok(Some(Retention { most: integer(most, 0..=i64::MAX, &param)?.unsigned_abs(), retained })),
            None => Err(Error::invalid("invalid_type", Some(&param), format!("'{param}' must be a whole number."))),
        },
    }
}
