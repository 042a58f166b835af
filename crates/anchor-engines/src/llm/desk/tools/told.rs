//! What a tool gave, in sentences.

use serde_json::Value;

use super::super::keys::Reply;
use super::super::language::{Language, capitalised};
use super::schema::{listed, split};

/// Most facts of one result: more nobody keeps in mind.
const MAX_FACTS: usize = 8;

/// The sentences of a result. One that is no JSON is said as it is.
pub(super) fn told(language: &Language, result: &str, turn: usize) -> Vec<String> {
    let say = |reply, value: &str| language.say(reply, turn, value);
    let value = serde_json::from_str(result).unwrap_or_else(|_| Value::String(result.trim().into()));
    match &value {
        Value::Null => vec![say(Reply::ToolDone, "")],
        Value::Bool(true) => vec![say(Reply::ToolDone, "")],
        Value::Bool(false) => vec![say(Reply::ToolFailedSilently, "")],
        Value::String(text) if text.is_empty() => vec![say(Reply::ToolDone, "")],
        Value::Array(items) if items.is_empty() => vec![say(Reply::ToolNothing, "")],
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.iter().take(MAX_FACTS).map(|item| sentence(&plain(language, item))).collect()
        }
        Value::Object(fields) => {
            let given = |keys: &[String]| keys.iter().find_map(|key| fields.get(key).filter(|value| is_given(value)));
            if let Some(reason) = given(&language.tools.failure) {
                return vec![match plain(language, reason) {
                    text if text.is_empty() => say(Reply::ToolFailedSilently, ""),
                    text => say(Reply::ToolFailed, text.trim_end_matches('.')),
                }];
            }
            // Text that the tool wrote to be said stands for all of it.
            if let Some(Value::String(text)) = given(&language.tools.said) {
                return vec![sentence(text)];
            }
            let facts = facts(language, "", &value);
            match (facts.as_slice(), has_failed(language, &value)) {
                (_, true) => vec![say(Reply::ToolFailedSilently, "")],
                ([], false) => vec![say(Reply::ToolDone, "")],
                (facts, false) => vec![sentence(&listed(facts, &language.tools.and))],
            }
        }
        other => vec![sentence(&plain(language, other))],
    }
}

/// A value that says something. Many tools give `"error": null` when all went well.
fn is_given(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != Value::String(String::new())
}

fn has_failed(language: &Language, value: &Value) -> bool {
    language.tools.outcome.iter().any(|key| value[key] == Value::Bool(false))
}

/// "The wind speed is 12", for every field of an object and of the objects in it.
fn facts(language: &Language, within: &str, value: &Value) -> Vec<String> {
    let mut told = Vec::new();
    let words = &language.tools;
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = format!("{within} {}", split(key).to_lowercase()).trim().to_owned();
        let fill = |pattern: &str, value: &str| pattern.replace("{name}", &name).replace("{value}", value);
        match value {
            Value::Null => {}
            // "ok": true says nothing beside the facts.
            Value::Bool(_) if words.outcome.contains(key) => {}
            Value::Bool(true) => told.push(fill(&words.is_true, "")),
            Value::Bool(false) => told.push(fill(&words.is_false, "")),
            Value::String(text) if text.is_empty() || (words.outcome.contains(key) && words.outcome.contains(text)) => {
            }
            Value::Object(_) => told.extend(facts(language, &name, value)),
            value => told.push(fill(&words.fact, &plain(language, value))),
        }
    }
    told.truncate(MAX_FACTS);
    told
}

/// A value within a sentence.
fn plain(language: &Language, value: &Value) -> String {
    let words = &language.tools;
    match value {
        Value::String(text) => text.trim().trim_end_matches('.').to_owned(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().take(MAX_FACTS).map(|item| plain(language, item)).collect();
            listed(&items, &words.and)
        }
        Value::Object(_) => {
            if let Some(Value::String(text)) = words.said.iter().find_map(|key| value.get(key)) {
                return text.trim_end_matches('.').to_owned();
            }
            listed(&facts(language, "", value), &words.and)
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// With a capital letter and a mark at its end.
fn sentence(text: &str) -> String {
    let text = capitalised(text.trim());
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_read_naturally() {
        let language = Language::load("en").unwrap();
        let cases = [
            r#"{"temperature":21,"conditions":"partly cloudy"}"#,
            r#"{"city":"Paris","wind":{"speed_kmh":12,"direction":"west"},"rain":false}"#,
            r#"{"ok":true}"#,
            r#"{"success":false}"#,
            r#"{"error":"no such city","city":"Pariss"}"#,
            r#"{"error":null,"message":"The light is on"}"#,
            r#"["apples","pears","plums"]"#,
            r#"[{"name":"Ada","age":36},{"name":"Bo","age":7}]"#,
            "[]",
            "42",
            "true",
            "null",
            "",
            "half past six",
            "{broken",
        ];
        let told: Vec<_> =
            cases.iter().map(|case| format!("{case}\n  {}", told(&language, case, 0).join(" "))).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        {"temperature":21,"conditions":"partly cloudy"}
          The conditions is partly cloudy and the temperature is 21.
        {"city":"Paris","wind":{"speed_kmh":12,"direction":"west"},"rain":false}
          The city is Paris, rain: no, the wind direction is west and the wind speed kmh is 12.
        {"ok":true}
          That is done.
        {"success":false}
          That did not work.
        {"error":"no such city","city":"Pariss"}
          That did not work: no such city.
        {"error":null,"message":"The light is on"}
          The light is on.
        ["apples","pears","plums"]
          Apples, pears and plums.
        [{"name":"Ada","age":36},{"name":"Bo","age":7}]
          The age is 36 and the name is Ada. The age is 7 and the name is Bo.
        []
          There is nothing.
        42
          42.
        true
          That is done.
        null
          That is done.

          That is done.
        half past six
          Half past six.
        {broken
          {broken.
        "#);
    }
}
