//! The commented file of all settings, as `ai-anchor config --defaults` prints it.

use std::fmt::Write;

use super::settings::SETTINGS;
use super::{Config, PROFILES};

/// Every setting with its meaning and its default, commented out, so that a copy of it changes nothing.
pub fn example() -> String {
    let profile = &PROFILES[0];
    let defaults = Config::of(profile);
    let mut text = String::from(
        "# Settings of AI Anchor. Copy this file to anchor.toml and take the # from what you change.\n\
         # Each can be set for one run through the environment, too: server.port is ANCHOR_SERVER_PORT.\n\n\
         # A choice of engines, which the settings below change in part:\n",
    );
    for profile in PROFILES {
        line(&mut text, format_args!("#   {}: {}", profile.name, profile.about));
    }
    line(&mut text, format_args!("# profile = \"{}\"", profile.name));
    let mut section = "";
    for setting in SETTINGS {
        let (this, name) = setting.key.split_once('.').expect("the table's keys are made of section and name");
        if this != section {
            section = this;
            line(&mut text, format_args!("\n[{section}]"));
        }
        line(&mut text, format_args!("# {}\n# {name} = {}", setting.about, (setting.get)(&defaults)));
    }
    text.push_str(
        "\n# An engine's own options stand in a table of its kind and name. They are checked when it is loaded.\n\
         # [stt.pocketsphinx]\n",
    );
    text
}

fn line(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("a string can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn stands_in_the_repository() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../anchor.example.toml");
        let there = std::fs::read_to_string(file).unwrap_or_default();
        assert!(there == example(), "anchor.example.toml is stale: ai-anchor config --defaults > anchor.example.toml");
    }

    #[test]
    fn changes_nothing_as_it_is_and_nothing_uncommented() {
        let uncommented: String = example()
            .lines()
            .filter(|line| !line.starts_with("# ") || line.contains(" = "))
            .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
            .collect();
        assert!(uncommented.contains("\nport = 8090\n"));
        for text in [example(), uncommented] {
            let file = std::env::temp_dir().join(format!("anchor-{}-{}.toml", std::process::id(), text.len()));
            std::fs::write(&file, &text).unwrap();
            let config = Sources { file: Some(file.clone()), ..Sources::default() }.read();
            std::fs::remove_file(file).unwrap();
            assert_eq!(config.unwrap(), Config::of(&PROFILES[0]));
        }
    }
}
