//! What a language model is told of the programme: the rundown on air, behind the anchor's instructions.

use std::fmt::Write;

use anchor_core::engine::LlmRequest;
use anchor_core::rundown::{OnAir, Rundown};
use tokio::sync::watch;

/// Longest briefing, in bytes: about three thousand tokens, which leaves most of a context of 8192 to the conversation.
/// Of the stories that do not fit only the headlines are told.
const BRIEFING_MAX: usize = 12 * 1024;

/// The request with the rundown that is on air now behind its instructions.
pub(super) fn briefed(mut request: LlmRequest, rundown: &watch::Receiver<OnAir>) -> LlmRequest {
    let briefing = briefing(&rundown.borrow().rundown);
    if !briefing.is_empty() {
        request.instructions = format!("{}\n\n{briefing}", request.instructions.trim_end());
    }
    request
}

/// The rundown in words; empty where there is none. The same rundown gives the same text, so that servers can keep what
/// they computed for it.
fn briefing(rundown: &Rundown) -> String {
    let mut text = String::new();
    if rundown.stories.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "The rundown of \"{}\", in the order of the programme. What is not in it, you do not know.",
        rundown.title
    );
    let mut headlines: usize = rundown.stories.iter().map(|story| story.heading.len() + 8).sum();
    for (number, story) in rundown.stories.iter().enumerate() {
        headlines -= story.heading.len() + 8;
        let _ = write!(text, "\n{}. {}", number + 1, story.heading);
        if let Some(source) = &story.source {
            let _ = write!(text, " (source: {source})");
        }
        text.push('\n');
        if text.len() + story.script.len() + headlines <= BRIEFING_MAX {
            let _ = writeln!(text, "{}", story.script.trim());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anchor_core::rundown::Story;

    use super::*;

    fn story(heading: &str, script: String, source: Option<&str>) -> Story {
        Story { heading: heading.into(), script, source: source.map(str::to_owned), ..Story::default() }
    }

    #[test]
    fn the_rundown_stands_behind_the_instructions() {
        let stories = vec![
            story("Bridge opens", "The bridge is open.".into(), Some("the harbour office")),
            story("Long read", "word ".repeat(4_000), None),
            story("Weather", "It will rain.".into(), None),
        ];
        let rundown = Rundown { title: "Tonight".into(), stories };
        let on_air = OnAir { rundown: Arc::new(rundown), ..OnAir::default() };
        let request = LlmRequest { instructions: "Be brief.".into(), ..LlmRequest::default() };
        insta::assert_snapshot!(briefed(request.clone(), &watch::channel(on_air).1).instructions, @r#"
        Be brief.

        The rundown of "Tonight", in the order of the programme. What is not in it, you do not know.

        1. Bridge opens (source: the harbour office)
        The bridge is open.

        2. Long read

        3. Weather
        It will rain.
        "#);
        let nothing = watch::channel(OnAir::default()).1;
        assert_eq!(briefed(request.clone(), &nothing), request);
    }
}
