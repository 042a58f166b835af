//! The way in for fuzzing: messages of a client that speaks to nobody.

use anchor_core::SessionConfig;

use super::super::wire::Kind;
use super::{Introduction, Translator};

/// Takes in messages, one a line, as a session that a client has just opened does.
pub fn client_messages(lines: &str) {
    let config = SessionConfig::default();
    let (model, recogniser) = (String::new(), String::new());
    let introduction = Introduction { model, recogniser, voices: &[], config: &config, kind: Kind::Realtime };
    let mut translator = Translator::new("0", introduction, true);
    for line in lines.lines() {
        let _ = translator.inbound(line);
        while translator.next_audio().is_some() {}
    }
}
