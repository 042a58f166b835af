//! When a server is started again, and when it is left alone. No clock and no waiting: every method is told the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How patient the supervisor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at a server that starts.
    pub look: Duration,
    /// Between two looks at a server that is up.
    pub beat: Duration,
    /// How long a server that is up may take to answer a look.
    pub answer: Duration,
    /// Looks in a row that stay unanswered before a server counts as lost. A server under load misses one.
    pub misses: u32,
    /// Before the first restart; each further one waits twice as long as the one before it.
    pub back_off: Duration,
    /// The longest wait before a restart.
    pub longest_back_off: Duration,
    /// A server that failed this often within [`window`](Self::window) is given up.
    pub failures: usize,
    /// How long a failure counts. Longer than `failures` starts that run into their limit.
    pub window: Duration,
    /// A server that was up this long has its failures forgotten.
    pub stable: Duration,
    /// What a server gets between being asked to end and being ended.
    pub stop: Duration,
    /// How long a server that somebody else runs may be away before one is started in its place.
    pub absence: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(500),
            beat: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            misses: 3,
            back_off: Duration::from_secs(1),
            longest_back_off: Duration::from_secs(60),
            failures: 5,
            window: Duration::from_secs(2 * 60 * 60),
            stable: Duration::from_secs(10 * 60),
            stop: Duration::from_secs(10),
            absence: Duration::from_secs(60),
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start the server again after this long.
    After(Duration),
    /// Leave it alone until somebody acts.
    GiveUp,
}

/// The failures of one server that still count.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Oldest first; at most `Pace::failures` of them.
    failures: VecDeque<Instant>,
}

impl Restarts {
    /// The server failed at `now`, having been up for `up`; zero where it never came up.
    pub(super) fn failed(&mut self, pace: &Pace, now: Instant, up: Duration) -> Next {
        if up >= pace.stable {
            self.failures.clear();
        }
        while self.failures.front().is_some_and(|at| now.saturating_duration_since(*at) > pace.window) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        if self.failures.len() >= pace.failures {
            self.failures.clear();
            return Next::GiveUp;
        }
        let doublings = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        Next::After(pace.back_off.saturating_mul(factor).min(pace.longest_back_off))
    }
}

/// How many looks in a row stayed unanswered.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    misses: u32,
}

impl Pulse {
    /// A look was answered, or not; whether the server counts as lost.
    pub(super) fn lost(&mut self, pace: &Pace, answered: bool) -> bool {
        self.misses = if answered { 0 } else { self.misses + 1 };
        self.misses >= pace.misses
    }
}

/// Whether a server that came up at `up` and was last used at `used` has been idle for `limit` at `now`.
pub(super) fn idle(limit: Option<Duration>, up: Instant, used: Option<Instant>, now: Instant) -> bool {
    let busy = used.map_or(up, |used| used.max(up));
    limit.is_some_and(|limit| now.saturating_duration_since(busy) >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NEVER_UP: Duration = Duration::ZERO;

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_the_longest() {
        let pace = Pace { failures: 20, ..Pace::default() };
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let waits: Vec<_> = (0..9).map(|i| restarts.failed(&pace, start + i * SECOND, NEVER_UP)).collect();
        let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(|seconds| Next::After(seconds * SECOND));
        assert_eq!(waits, expected);
    }

    #[test]
    fn the_fifth_failure_is_the_last_even_if_each_start_took_its_whole_time() {
        let (pace, mut restarts, start) = (Pace::default(), Restarts::default(), Instant::now());
        let every_20_minutes = |i: u32| start + i * 1200 * SECOND;
        for i in 0..4 {
            assert!(matches!(restarts.failed(&pace, every_20_minutes(i), NEVER_UP), Next::After(_)));
        }
        assert_eq!(restarts.failed(&pace, every_20_minutes(4), NEVER_UP), Next::GiveUp);
        assert_eq!(restarts.failed(&pace, every_20_minutes(5), NEVER_UP), Next::After(SECOND), "a fresh budget");
    }

    #[test]
    fn a_stable_time_gives_the_budget_back_and_a_short_one_does_not() {
        let (pace, start) = (Pace::default(), Instant::now());
        let after_four = |up| {
            let mut restarts = Restarts::default();
            for i in 0..4 {
                restarts.failed(&pace, start + i * SECOND, NEVER_UP);
            }
            restarts.failed(&pace, start + 700 * SECOND, up)
        };
        assert_eq!(after_four(pace.stable), Next::After(SECOND));
        assert_eq!(after_four(pace.stable - SECOND), Next::GiveUp);
    }

    #[test]
    fn old_failures_stop_counting() {
        let (pace, mut restarts, start) = (Pace::default(), Restarts::default(), Instant::now());
        for i in 0..4 {
            restarts.failed(&pace, start + i * SECOND, NEVER_UP);
        }
        let later = start + pace.window + 10 * SECOND;
        assert_eq!(restarts.failed(&pace, later, NEVER_UP), Next::After(SECOND));
    }

    #[test]
    fn a_server_is_lost_after_misses_in_a_row_alone() {
        let (pace, mut pulse) = (Pace::default(), Pulse::default());
        let looks = [false, false, true, false, false, false];
        assert_eq!(looks.map(|answered| pulse.lost(&pace, answered)), [false, false, false, false, false, true]);
    }

    #[test]
    fn idleness_counts_from_the_last_use_or_from_the_start() {
        let (up, limit) = (Instant::now(), Some(60 * SECOND));
        assert!(!idle(limit, up, None, up + 59 * SECOND));
        assert!(idle(limit, up, None, up + 60 * SECOND));
        assert!(!idle(limit, up, Some(up + 30 * SECOND), up + 60 * SECOND));
        assert!(!idle(None, up, None, up + 10_000 * SECOND), "without a limit never");
    }
}
