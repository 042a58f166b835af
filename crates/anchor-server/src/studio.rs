//! What the studio page is told beyond the dialect: events named `anchor.*`, sent only to a client that asked for them
//! with `studio=true`, because strict clients of the dialect end on an event they do not know.

use std::time::{SystemTime, UNIX_EPOCH};

use anchor_core::engine::{EngineKind, EngineState, EngineStatus, Notice, Notices, Voice};
use anchor_core::rundown::OnAir;
use anchor_core::{AnchorState, TurnLatency};
use serde::Serialize;
use tokio::sync::watch;

use crate::App;

/// Notices sent to a studio: a short history; the rest is in the log.
const NOTICES_SHOWN: usize = 10;

/// What the studio is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum StudioEvent {
    /// First after `session.created`: who it speaks to.
    #[serde(rename = "anchor.hello")]
    Hello { name: String, voices: Vec<VoiceShown> },
    #[serde(rename = "anchor.state")]
    State { state: &'static str },
    /// The whole turn as understood so far; a later one may take words back.
    #[serde(rename = "anchor.transcript.partial")]
    TranscriptPartial { item_id: String, text: String },
    /// The answer rests on this story from here on.
    #[serde(rename = "anchor.story")]
    Story { response_id: String, story: String },
    #[serde(rename = "anchor.latency")]
    Latency { response_id: String, endpointing_ms: u64, stt_ms: u64, llm_ms: u64, tts_ms: u64, total_ms: u64 },
    /// Drop everything that was not heard yet, at once.
    #[serde(rename = "anchor.playout.cleared")]
    PlayoutCleared,
    /// On connecting and on every change.
    #[serde(rename = "anchor.rundown")]
    Rundown { title: String, version: u64, problem: Option<String>, stories: Vec<StoryShown> },
    /// On connecting and on every change.
    #[serde(rename = "anchor.engines")]
    Engines { engines: Vec<EngineShown> },
    /// On connecting and on every change: how many there ever were, and the newest of them, oldest first.
    #[serde(rename = "anchor.notices")]
    Notices { total: u64, notices: Vec<NoticeShown> },
}

#[derive(Debug, Serialize)]
pub(crate) struct VoiceShown {
    name: String,
    language: String,
    about: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct StoryShown {
    slug: String,
    heading: String,
    script: String,
    source: Option<String>,
    duration_seconds: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EngineShown {
    kind: &'static str,
    name: String,
    state: &'static str,
    problem: Option<String>,
    in_use: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct NoticeShown {
    what: &'static str,
    about: String,
    text: String,
    /// Milliseconds since 1970 (UTC).
    at_ms: u64,
}

impl StudioEvent {
    pub(crate) fn hello(name: &str, voices: &[Voice]) -> Self {
        let shown = |voice: &Voice| {
            let Voice { name, language, about } = voice.clone();
            VoiceShown { name, language, about }
        };
        Self::Hello { name: name.to_owned(), voices: voices.iter().map(shown).collect() }
    }

    pub(crate) fn state(state: AnchorState) -> Self {
        let state = match state {
            AnchorState::Listening => "listening",
            AnchorState::Hearing => "hearing",
            AnchorState::Thinking => "thinking",
            AnchorState::Speaking => "speaking",
        };
        Self::State { state }
    }

    pub(crate) fn latency(response_id: String, latency: &TurnLatency) -> Self {
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        Self::Latency {
            response_id,
            endpointing_ms: ms(latency.endpointing),
            stt_ms: ms(latency.stt),
            llm_ms: ms(latency.llm),
            tts_ms: ms(latency.tts),
            total_ms: ms(latency.total()),
        }
    }

    fn rundown(on_air: &OnAir) -> Self {
        let stories = on_air.rundown.stories.iter().cloned().map(|story| StoryShown {
            slug: story.slug,
            heading: story.heading,
            script: story.script,
            source: story.source,
            duration_seconds: story.duration_seconds,
        });
        Self::Rundown {
            title: on_air.rundown.title.clone(),
            version: on_air.version,
            problem: on_air.problem.clone(),
            stories: stories.collect(),
        }
    }

    fn engines(engines: &[EngineStatus]) -> Self {
        let shown = |engine: &EngineStatus| {
            let (state, problem) = state_shown(&engine.state);
            EngineShown {
                kind: EngineKind::name(engine.kind),
                name: engine.name.clone(),
                state,
                problem,
                in_use: engine.in_use,
            }
        };
        Self::Engines { engines: engines.iter().map(shown).collect() }
    }

    fn notices(notices: &Notices) -> Self {
        let shown = |(at, notice): &(SystemTime, Notice)| NoticeShown {
            what: notice.what.name(),
            about: notice.about.clone(),
            text: notice.text.clone(),
            // A clock before 1970 is wrong anyway.
            at_ms: at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        };
        let old = notices.recent.len().saturating_sub(NOTICES_SHOWN);
        Self::Notices { total: notices.total, notices: notices.recent[old..].iter().map(shown).collect() }
    }
}

/// An engine's state in a word, and what is wrong with it.
pub(crate) fn state_shown(state: &EngineState) -> (&'static str, Option<String>) {
    match state {
        EngineState::Idle => ("idle", None),
        EngineState::Loading => ("loading", None),
        EngineState::Ready => ("ready", None),
        EngineState::Degraded(problem) => ("degraded", Some(problem.clone())),
        EngineState::Failed(problem) => ("failed", Some(problem.clone())),
    }
}

/// What changes around a session without its doing.
pub(crate) struct Newsfeed {
    rundown: watch::Receiver<OnAir>,
    engines: watch::Receiver<Vec<EngineStatus>>,
    notices: watch::Receiver<Notices>,
}

impl Newsfeed {
    pub(crate) fn new(app: &App) -> Self {
        Self { rundown: app.rundown.clone(), engines: app.engine_status.clone(), notices: app.notices.clone() }
    }

    /// How things are.
    pub(crate) fn now(&mut self) -> [StudioEvent; 3] {
        [
            StudioEvent::rundown(&self.rundown.borrow_and_update()),
            StudioEvent::engines(&self.engines.borrow_and_update()),
            StudioEvent::notices(&self.notices.borrow_and_update()),
        ]
    }

    /// The next change. Loses nothing when dropped before it is ready.
    pub(crate) async fn next(&mut self) -> StudioEvent {
        tokio::select! {
            () = changed(&mut self.rundown) => StudioEvent::rundown(&self.rundown.borrow_and_update()),
            () = changed(&mut self.engines) => StudioEvent::engines(&self.engines.borrow_and_update()),
            () = changed(&mut self.notices) => StudioEvent::notices(&self.notices.borrow_and_update()),
        }
    }
}

/// Waits for a change; for ever where nobody is left to make one.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
