//! What processes use, as Linux counts it (proc(5)).

use std::fs;
use std::time::Duration;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on a processor, in user and system mode.
    pub(super) cpu: Duration,
    /// Resident memory, in KB.
    pub(super) rss_kb: u64,
}

impl Usage {
    /// Of the process `pid`; nothing where it is gone or this is no Linux.
    pub(super) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Self { cpu: process_time(&stat), rss_kb: resident(&status) }
    }
}

/// Time all processors spent on anything, since the machine was started.
pub(super) fn machine_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(all) = stat.lines().next() else { return Duration::ZERO };
    // Fields 4 and 5 are idle and waiting for a disk; guests, from field 9 on, are in user time already.
    let counted = all.split_whitespace().enumerate().skip(1).take(8).filter(|(field, _)| !matches!(field, 4 | 5));
    ticks(counted.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum())
}

/// KB a minute by which memory grows: the least-squares line through (time, KB).
pub(super) fn slope(samples: &[(Duration, u64)]) -> Option<f64> {
    let count = samples.len() as f64;
    let points = samples.iter().map(|(at, kb)| (at.as_secs_f64() / 60.0, *kb as f64));
    let (x_sum, y_sum) = points.clone().fold((0.0, 0.0), |(xs, ys), (x, y)| (xs + x, ys + y));
    let (x_mean, y_mean) = (x_sum / count, y_sum / count);
    let (along, spread) = points.fold((0.0, 0.0), |(along, spread), (x, y)| {
        (along + (x - x_mean) * (y - y_mean), spread + (x - x_mean).powi(2))
    });
    (spread > 0.0).then(|| along / spread)
}

/// `utime` and `stime`. The name before them may hold anything, but they stand behind its last parenthesis.
fn process_time(stat: &str) -> Duration {
    let Some((_, fields)) = stat.rsplit_once(')') else { return Duration::ZERO };
    ticks(fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 3 0 100 1 1";
        assert_eq!(process_time(stat), ticks(400));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2048 kB\n"), 2048);
        let own = Usage::of(std::process::id());
        assert!(own.rss_kb > 1_000, "{own:?}");
        assert!(machine_time() > own.cpu);
    }

    #[test]
    fn a_slope_is_in_kilobytes_a_minute() {
        let growing: Vec<_> = (0..10).map(|n| (Duration::from_secs(n * 30), 5_000 + n * 50)).collect();
        assert!((slope(&growing).unwrap() - 100.0).abs() < 1e-6);
        let flat: Vec<_> = (0..10).map(|n| (Duration::from_secs(n), 5_000)).collect();
        assert_eq!(slope(&flat), Some(0.0));
        assert_eq!(slope(&flat[..1]), None);
    }
}
