//! What the measurements come to, for people and for programs.

use std::fmt::{Display, Formatter, Result};

use serde::Serialize;

use super::BEARABLE_MS;
use super::load::{Churn, Point};
use super::subject::Kind;
use crate::bench::{Spread, machine};

/// Columns of a [`Point`] as it is displayed.
pub const HEADINGS: &str = "          |    added latency, ms    | first |barge-in, ms|      for each session    |   CPU of       |\n \
                            sessions |    p50     p95     p99  |  p99  |  p50   p95 |  CPU %     KB   not whole | load   others  | held";

/// What the benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: String,
    /// The servers, the anchor first.
    pub servers: Vec<Measured>,
}

/// What one server came to.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub server: &'static str,
    /// Its measurements, with ever more sessions.
    pub points: Vec<Point>,
    /// Most sessions it held; 0 where it held none.
    pub most: usize,
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { machine: machine(), servers: Vec::new() }
    }

    /// Adds a server.
    pub fn add(&mut self, kind: &Kind, points: Vec<Point>) {
        let most = points.iter().filter(|point| point.held()).map(|point| point.sessions).max().unwrap_or(0);
        self.servers.push(Measured { server: kind.name(), points, most });
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Measured {
    /// The measurement with the most sessions that were held.
    fn best(&self) -> Option<&Point> {
        self.points.iter().rfind(|point| point.held())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.machine)?;
        for measured in &self.servers {
            write!(f, "\n\n{}\n{HEADINGS}", measured.server)?;
            for point in &measured.points {
                write!(f, "\n{point}")?;
            }
            write!(f, "\nheld with 99 of 100 frames at most {BEARABLE_MS} ms late: {} sessions", measured.most)?;
        }
        let [ours, theirs] = &self.servers[..] else { return Ok(()) };
        let (Some(best), Some(their_best)) = (ours.best(), theirs.best()) else { return Ok(()) };
        write!(
            f,
            "\n\n{} to {}: {:.1} times the sessions, {:.2} of the processor time and {:.2} of the memory for each\n\
             ({} runs in one process on one core, as it comes, without recogniser, language model and context)",
            ours.server,
            theirs.server,
            best.sessions as f64 / their_best.sessions as f64,
            best.cpu / their_best.cpu,
            best.rss_kb / their_best.rss_kb,
            theirs.server,
        )
    }
}

impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let ms = |spread: &Option<Spread>, of: fn(&Spread) -> f64| {
            spread.as_ref().map_or("-".into(), |spread| format!("{:.1}", of(spread)))
        };
        let whole = self.refused + self.lost + self.unanswered + self.missing;
        write!(
            f,
            "{:>9} | {:>6}  {:>6}  {:>6}  | {:>5} | {:>5} {:>5} | {:>6.2} {:>6.0}   {:>9} | {:>4.0}  {:>5.0}   | {}",
            self.sessions,
            ms(&self.latency, |spread| spread.p50),
            ms(&self.latency, |spread| spread.p95),
            ms(&self.latency, |spread| spread.p99),
            ms(&self.first, |spread| spread.p99),
            ms(&self.silence, |spread| spread.p50),
            ms(&self.silence, |spread| spread.p95),
            self.cpu,
            self.rss_kb,
            whole,
            self.load_cpu,
            self.others_cpu,
            if self.held() { "yes" } else { "no" },
        )?;
        if whole > 0 {
            write!(
                f,
                "\n{:>9}   {} refused, {} lost, {} turns unanswered, {} frames missing",
                "", self.refused, self.lost, self.unanswered, self.missing
            )?;
        }
        self.trouble.iter().try_for_each(|trouble| write!(f, "\n{:>9}   {trouble}", ""))
    }
}

impl Display for Churn {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { sessions, opened, minutes, lost, rss_kb: [first, last], .. } = self;
        writeln!(f, "{}", machine())?;
        writeln!(f, "{opened} sessions came and went in {minutes} minutes, {sessions} at a time; {lost} were lost")?;
        if let Some(trouble) = &self.trouble {
            writeln!(f, "  {trouble}")?;
        }
        if let Some(latency) = &self.latency {
            writeln!(f, "added latency p50 {:.1}, p95 {:.1}, p99 {:.1} ms", latency.p50, latency.p95, latency.p99)?;
        }
        let slope = self.slope.map_or("unknown".into(), |slope| format!("{slope:+.1} KB a minute"));
        write!(f, "memory from {first} to {last} KB once it had settled; slope {slope}")
    }
}
