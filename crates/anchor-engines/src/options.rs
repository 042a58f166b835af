//! Reading an engine's own table of the configuration into its own type.

use anchor_core::engine::EngineError;
use serde::de::DeserializeOwned;

/// How alike a mistyped key and a valid one must be to be taken for it, in Jaro-Winkler's measure of 0 to 1.
const ALIKE: f64 = 0.7;

/// Turns the table of `engine` into its options.
///
/// `T` derives `Deserialize` with `#[serde(deny_unknown_fields, default)]`. An unknown key is an error that names the
/// nearest valid one; so is a value of the wrong type.
pub fn parse<T: DeserializeOwned>(engine: &'static str, options: &toml::Table) -> Result<T, EngineError> {
    parse_beside(engine, options, &[])
}

/// As [`parse`], where `others` are valid keys, too, and read elsewhere.
pub(crate) fn parse_beside<T: DeserializeOwned>(
    engine: &'static str,
    options: &toml::Table,
    others: &[&str],
) -> Result<T, EngineError> {
    T::deserialize(options.clone()).map_err(|error| match unknown_key(error.message()) {
        Some((unknown, mut valid)) => {
            valid.extend(others);
            EngineError::Unavailable {
                engine,
                reason: format!("its options have no key `{unknown}`"),
                remedy: instead_of(unknown, &valid),
            }
        }
        None => EngineError::Unavailable {
            engine,
            reason: format!("its options cannot be read: {}", one_line(&error.to_string())),
            remedy: format!("Correct the table of {engine} in the configuration."),
        },
    })
}

/// The key complained of and the valid ones, out of serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    message.strip_prefix("unknown field ")?;
    let mut names = message.split('`').skip(1).step_by(2);
    Some((names.next()?, names.collect()))
}

/// What to do about an unknown key, as a sentence.
fn instead_of(unknown: &str, valid: &[&str]) -> String {
    let nearest = valid
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("Write `{name}` instead."),
        None if valid.is_empty() => "Remove it: there are no options to set.".into(),
        None => format!("Remove it; what can be set is: {}.", valid.join(", ")),
    }
}

/// The parser's message without its line breaks.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Options {
        voice: String,
        start_ms: u32,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Nothing {}

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_table_gives_the_defaults() {
        assert_eq!(parse::<Options>("test", &table("")), Ok(Options::default()));
        assert_eq!(parse::<Nothing>("test", &table("")), Ok(Nothing {}));
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let say = |text| parse::<Options>("test", &table(text)).unwrap_err().to_string();
        insta::assert_snapshot!(say("voise = 'rms'"), @"test cannot be used: its options have no key `voise`. Write `voice` instead.");
        insta::assert_snapshot!(say("colour = 1"), @"test cannot be used: its options have no key `colour`. Remove it; what can be set is: voice, start_ms.");
        insta::assert_snapshot!(say("start_ms = 'soon'"), @r#"test cannot be used: its options cannot be read: invalid type: string "soon", expected u32 in `start_ms`. Correct the table of test in the configuration."#);
        let message = parse::<Nothing>("test", &table("voice = 'rms'")).unwrap_err().to_string();
        insta::assert_snapshot!(message, @"test cannot be used: its options have no key `voice`. Remove it: there are no options to set.");
    }
}
