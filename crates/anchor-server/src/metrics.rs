//! What the server counts and measures, in the words of Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use anchor_core::engine::{EngineStatus, Notices};
use anchor_core::{Event, Outcome, TurnLatency};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;

const SESSIONS: &str = "anchor_sessions_total";
const SESSIONS_OPEN: &str = "anchor_sessions_open";
const SESSIONS_REFUSED: &str = "anchor_sessions_refused_total";
const TURNS: &str = "anchor_turns_total";
const RESPONSES: &str = "anchor_responses_total";
const INTERRUPTIONS: &str = "anchor_interruptions_total";
const LATENCY: &str = "anchor_turn_latency_seconds";
const ERRORS: &str = "anchor_errors_total";
const NOTICES: &str = "anchor_engine_notices_total";
const IN_USE: &str = "anchor_engine_in_use";
const BYTES: &str = "anchor_websocket_bytes_total";

/// Upper bounds of the latency histogram, in seconds: fine where a conversation feels quick, coarse where it is broken.
const LATENCY_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.2, 1.6, 2.5, 5.0, 10.0];

/// How often measurements are folded into the histogram between two visits of Prometheus, so that they do not pile up.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What renders the metrics of this process. They are the process's, so several servers in it share them.
pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Full(LATENCY.into()), LATENCY_BUCKETS)
                .expect("the list of buckets is not empty")
                .build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("this process records its metrics elsewhere already; /metrics will be empty");
            }
            describe();
            handle
        })
        .clone()
}

fn describe() {
    describe_counter!(SESSIONS, Unit::Count, "Sessions opened.");
    describe_gauge!(SESSIONS_OPEN, Unit::Count, "Sessions open now.");
    describe_counter!(SESSIONS_REFUSED, Unit::Count, "Sessions refused, by reason.");
    describe_counter!(TURNS, Unit::Count, "Spoken turns of people that came to their end.");
    describe_counter!(RESPONSES, Unit::Count, "Responses that ended, by outcome.");
    describe_counter!(INTERRUPTIONS, Unit::Count, "Responses cut off because somebody spoke.");
    describe_histogram!(LATENCY, Unit::Seconds, "Wait from the last voiced sample to the first sound, by stage.");
    describe_counter!(ERRORS, Unit::Count, "Errors told to clients, by kind.");
    describe_counter!(NOTICES, Unit::Count, "What happened to engines and model servers, by what and which.");
    describe_gauge!(
        IN_USE,
        Unit::Count,
        "1 for the engine of each kind that requests go to first, 0 for one that stands by."
    );
    describe_counter!(BYTES, Unit::Bytes, "Bytes of WebSocket messages, by direction as the server sees it.");
}

/// Counts what happens in a session.
pub(crate) fn observe(event: &Event) {
    match event {
        Event::InputCommitted { .. } => counter!(TURNS).increment(1),
        Event::TurnMeasured { latency, .. } => measure(latency),
        Event::TranscriptFailed { .. } => error("transcription_failed"),
        Event::ResponseDone { outcome, .. } => {
            counter!(RESPONSES, "outcome" => outcome_name(outcome)).increment(1);
            match outcome {
                Outcome::TurnDetected => counter!(INTERRUPTIONS).increment(1),
                Outcome::Failed(_) => error("response_failed"),
                Outcome::Completed | Outcome::LimitReached | Outcome::ClientCancelled => {}
            }
        }
        _ => {}
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::LimitReached => "incomplete",
        Outcome::TurnDetected => "interrupted",
        Outcome::ClientCancelled => "cancelled",
        Outcome::Failed(_) => "failed",
    }
}

fn measure(latency: &TurnLatency) {
    let stages = [
        ("endpointing", latency.endpointing),
        ("stt", latency.stt),
        ("llm", latency.llm),
        ("tts", latency.tts),
        ("total", latency.total()),
    ];
    for (stage, took) in stages {
        histogram!(LATENCY, "stage" => stage).record(took);
    }
}

/// Counts an error told to a client. `kind` is its code on the wire: one of a few dozen.
pub(crate) fn error(kind: &str) {
    counter!(ERRORS, "kind" => kind.to_owned()).increment(1);
}

/// Counts what happens to engines and shows which are in use, until nobody is left to tell.
pub(crate) async fn follow(mut engines: watch::Receiver<Vec<EngineStatus>>, mut notices: watch::Receiver<Notices>) {
    let mut counted = 0;
    loop {
        for engine in engines.borrow_and_update().iter() {
            let in_use = if engine.in_use { 1.0 } else { 0.0 };
            gauge!(IN_USE, "kind" => engine.kind.name(), "engine" => engine.name.clone()).set(in_use);
        }
        {
            let notices = notices.borrow_and_update();
            let new = usize::try_from(notices.total - counted).unwrap_or(usize::MAX);
            counted = notices.total;
            // More than are kept have come at once only if nobody could have read them.
            for (_, notice) in &notices.recent[notices.recent.len().saturating_sub(new)..] {
                counter!(NOTICES, "what" => notice.what.name(), "about" => notice.about.clone()).increment(1);
            }
        }
        let changed = tokio::select! {
            changed = engines.changed() => changed,
            changed = notices.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Counts the bytes of a message that came in.
pub(crate) fn received(bytes: usize) {
    counter!(BYTES, "direction" => "in").increment(bytes as u64);
}

/// Counts the bytes of a message that goes out.
pub(crate) fn sent(bytes: usize) {
    counter!(BYTES, "direction" => "out").increment(bytes as u64);
}

/// Counts a session that was not let in.
pub(crate) fn refused(reason: &'static str) {
    counter!(SESSIONS_REFUSED, "reason" => reason).increment(1);
}

/// Counts a session as open for as long as it lives.
pub(crate) struct OpenSession(());

impl OpenSession {
    pub(crate) fn new() -> Self {
        counter!(SESSIONS).increment(1);
        gauge!(SESSIONS_OPEN).increment(1);
        Self(())
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        gauge!(SESSIONS_OPEN).decrement(1);
    }
}
