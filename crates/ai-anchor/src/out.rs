//! Standard output: for people, or for machines with `--json`.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// Where results go. Progress and complaints go to standard error.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    json: bool,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Machines read it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One result: a line of JSON, or text.
    pub(crate) fn result(self, json: &impl Serialize, text: impl Display) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut stdout, json)?;
            writeln!(stdout)
        } else {
            writeln!(stdout, "{text}")
        }
    }

    /// The next piece of a result that people see grow; machines wait for the whole.
    pub(crate) fn piece(self, text: impl Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        write!(stdout, "{text}")?;
        stdout.flush()
    }

    /// What only machines are told at this point, because people saw it grow.
    pub(crate) fn whole(self, json: &impl Serialize) -> io::Result<()> {
        if self.json { self.result(json, "") } else { Ok(()) }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}
