//! The program itself, serving, as somebody would start it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running `ai-anchor serve`. Dropping it ends it.
pub(crate) struct Served {
    child: Child,
    page: String,
}

impl Served {
    /// Starts it on a free port and waits until it is on air.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ai-anchor"))
            .args(["serve", "--port", "0", "--json"])
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("it says where it listens");
        let page = told["url"].as_str().expect("it says where it listens").trim_end_matches('/').to_owned();
        Self { child, page }
    }

    /// Where it listens.
    pub(crate) fn page(&self) -> &str {
        &self.page
    }

    /// Where to call, with the studio's own events.
    pub(crate) fn line(&self) -> String {
        format!("{}/v1/realtime?studio=true", self.page.replacen("http", "ws", 1))
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> String {
        let page = ureq::get(format!("{}/metrics", self.page)).call().unwrap().body_mut().read_to_string().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("there is no {name} in:\n{page}")).to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
