//! Progress: a bar on standard error for people, a line of JSON on standard output for machines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::models::{Progress, Step};
use crate::out::Out;

/// Machines are told of bytes this often.
const EVERY: Duration = Duration::from_secs(1);

/// Tells how a model comes along.
pub(crate) struct Told {
    out: Out,
    model: &'static str,
    now: Mutex<Now>,
}

/// What is going on.
struct Now {
    bar: ProgressBar,
    last: Option<Instant>,
}

/// A step as machines read it.
#[derive(Serialize)]
struct Line<'a> {
    model: &'static str,
    #[serde(flatten)]
    step: Step<'a>,
}

impl Told {
    /// For one model.
    pub(crate) fn new(out: Out, model: &'static str) -> Self {
        Self { out, model, now: Mutex::new(Now { bar: ProgressBar::hidden(), last: None }) }
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.lock().bar.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self, step: Step<'_>) {
        if let Step::Advance { .. } | Step::Check { .. } = step {
            let now = Instant::now();
            let mut state = self.lock();
            if state.last.is_some_and(|last| now - last < EVERY) {
                return;
            }
            state.last = Some(now);
        }
        // A reader that went away is noticed where the result is written.
        let _ = self.out.whole(&Line { model: self.model, step });
    }

    fn person(&self, step: Step<'_>) {
        let mut now = self.lock();
        match step {
            Step::List { model } => now.show(spinner(format!("asking for the list of files of {model}"))),
            Step::Begin { file, bytes, done } => now.show(bar(file, "fetching", bytes, done)),
            Step::Advance { file, bytes, done } => now.advance(file, "fetching", bytes, done),
            Step::Check { file, bytes, done } => now.advance(file, "checking", bytes, done),
            Step::Retry { file, reason, wait_ms } => {
                now.bar.finish_and_clear();
                let wait = Duration::from_millis(wait_ms).as_secs_f32();
                tracing::warn!("{file}: {reason}. It is tried again in {wait} seconds");
            }
            Step::Whole { .. } => now.bar.finish_and_clear(),
            Step::Ollama { status } => now.show(spinner(format!("Ollama: {status}"))),
        }
    }
}

impl Progress for Told {
    fn step(&self, step: Step<'_>) {
        if self.out.is_json() { self.machine(step) } else { self.person(step) }
    }
}

impl Now {
    fn show(&mut self, bar: ProgressBar) {
        self.bar.finish_and_clear();
        self.bar = bar;
    }

    fn advance(&mut self, file: &str, doing: &'static str, bytes: u64, done: u64) {
        // A digest of Ollama's is fetched in parallel with others, so that the file may be another one each time.
        if self.bar.is_finished() || self.bar.message() != file || self.bar.prefix() != doing {
            self.show(bar(file, doing, bytes, done));
        }
        self.bar.set_position(done);
    }
}

fn bar(file: &str, doing: &'static str, bytes: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_prefix(doing).with_message(file.to_owned()).with_position(done);
    // What was here before does not count as fast.
    bar.reset_eta();
    bar.set_style(style(
        "{prefix} {wide_msg} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left",
    ));
    bar
}

fn spinner(text: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text);
    spinner.set_style(style("{spinner} {msg}"));
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
