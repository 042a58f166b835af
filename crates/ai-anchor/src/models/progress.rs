//! What is told while a model is pulled or checked.

use serde::Serialize;

/// Somebody who is told. Called often: it must be quick.
pub trait Progress: Sync {
    /// Takes note of what happened.
    fn step(&self, step: Step<'_>);
}

impl<F: Fn(Step<'_>) + Sync> Progress for F {
    fn step(&self, step: Step<'_>) {
        self(step);
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step<'a> {
    /// The server is asked what there is.
    List {
        /// The model.
        model: &'a str,
    },
    /// A file begins, or goes on at `done`.
    Begin {
        /// The file.
        file: &'a str,
        /// Its length in bytes.
        bytes: u64,
        /// Bytes that are here already.
        done: u64,
    },
    /// More of it is here.
    Advance {
        /// The file.
        file: &'a str,
        /// Its length in bytes.
        bytes: u64,
        /// Bytes that are here.
        done: u64,
    },
    /// It is compared with its checksum.
    Check {
        /// The file.
        file: &'a str,
        /// Its length in bytes.
        bytes: u64,
        /// Bytes that were read.
        done: u64,
    },
    /// It failed, and is tried again after a while.
    Retry {
        /// The file.
        file: &'a str,
        /// What happened.
        reason: &'a str,
        /// How long until then, in milliseconds.
        wait_ms: u64,
    },
    /// It is here, and whole.
    Whole {
        /// The file.
        file: &'a str,
        /// Its length in bytes.
        bytes: u64,
    },
    /// What Ollama says it is doing.
    Ollama {
        /// In its words.
        status: &'a str,
    },
}
