//! Benchmarks: measured with the real server, real engines and real speech, printed with the machine they ran on.

pub mod caller;
pub mod ear;
pub mod host;
pub mod person;
pub mod server;
pub mod turn;
mod words;

use std::time::Duration;

pub use words::word_error_rate;

/// What a row of measurements comes to, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Half of the measurements are at most this.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The worst.
    pub max: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// `None` where nothing was measured. Percentiles are by nearest rank.
    pub fn of(measured: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<f64> = measured.into_iter().map(|d| d.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1];
        let max = *sorted.last()?;
        Some(Self { p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max, count: sorted.len() })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:>5.0}   p95 {:>5.0}   max {:>5.0} ms   ({} measured)",
            self.p50, self.p95, self.max, self.count
        )
    }
}

/// The machine a benchmark runs on, in one line.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!("{cores} cores, {}", model.unwrap_or(std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let spread = Spread::of((1..=20).rev().map(Duration::from_millis)).unwrap();
        assert_eq!((spread.p50, spread.p95, spread.p99, spread.max, spread.count), (10.0, 19.0, 20.0, 20.0, 20));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([Duration::from_millis(7)]).unwrap().p50, 7.0);
    }
}
