//! The parameters of a tool, as far as a line of words can fill them.
//!
//! Source: JSON Schema, the keywords `type`, `properties`, `required`, `enum`, `const`, `minimum` and `maximum`
//! (json-schema.org/draft/2020-12/json-schema-validation).

use serde_json::Value;

use super::super::language::Language;
use super::super::words::{Word, words};

/// A parameter of a tool.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) words: Vec<Word>,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// What fills it.
pub(super) enum Kind {
    /// Any words.
    Text,
    /// One of these values, each with the words that name it.
    Choice(Vec<(Value, Vec<Word>)>),
    Number {
        whole: bool,
        least: f64,
        most: f64,
    },
    Flag,
    /// Always this value.
    Fixed(Value),
    /// Nothing that can be said in a few words.
    Other,
}

/// The parameters of a function: those it needs first and in the order of its `required`, then the others by name.
pub(super) fn parameters(language: &Language, function: &Value) -> Vec<Parameter> {
    let schema = &function["parameters"];
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let place = |name: &str| required.iter().position(|needed| *needed == name);
    let mut parameters: Vec<_> = properties
        .iter()
        .map(|(name, schema)| Parameter {
            name: name.clone(),
            words: words(language, &split(name)),
            kind: Kind::of(language, schema),
            required: place(name).is_some(),
        })
        .collect();
    // Sorting is stable.
    parameters.sort_by_key(|parameter| place(&parameter.name).unwrap_or(usize::MAX));
    parameters
}

impl Kind {
    fn of(language: &Language, schema: &Value) -> Self {
        if let Some(value) = schema.get("const") {
            return Self::Fixed(value.clone());
        }
        if let Some(options) = schema["enum"].as_array() {
            let said = |value: &Value| match value {
                Value::String(text) => split(text),
                other => other.to_string(),
            };
            let option = |value: &Value| (value.clone(), words(language, &said(value)));
            return Self::Choice(options.iter().filter(|value| !value.is_null()).map(option).collect());
        }
        let kind = match &schema["type"] {
            // Such as `["string", "null"]`.
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            kind => kind.as_str(),
        };
        match kind {
            Some("string") => Self::Text,
            Some("boolean") => Self::Flag,
            Some(kind @ ("number" | "integer")) => Self::Number {
                whole: kind == "integer",
                least: schema["minimum"].as_f64().unwrap_or(f64::MIN),
                most: schema["maximum"].as_f64().unwrap_or(f64::MAX),
            },
            _ => Self::Other,
        }
    }
}

impl Parameter {
    /// What is asked for, in words.
    pub(super) fn asked_for(&self, language: &Language) -> String {
        let name = split(&self.name).to_lowercase();
        let Kind::Choice(options) = &self.kind else { return name };
        let said =
            |(_, words): &(Value, Vec<Word>)| words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let options: Vec<_> = options.iter().map(said).collect();
        format!("{name}: {}", listed(&options, &language.tools.or))
    }
}

/// `get_currentWeather` as words.
pub(super) fn split(name: &str) -> String {
    let mut text = String::new();
    let mut small = false;
    for c in name.chars() {
        if c.is_uppercase() && small {
            text.push(' ');
        }
        small = c.is_lowercase() || c.is_ascii_digit();
        text.push(if matches!(c, '_' | '-' | '.') { ' ' } else { c });
    }
    text
}

/// "a, b and c".
pub(super) fn listed(items: &[String], and: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}
