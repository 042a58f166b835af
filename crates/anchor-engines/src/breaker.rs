//! A circuit breaker: whether something that failed is asked again yet (Nygard, "Release It!", 2nd edition, 2018,
//! chapter 5).
//!
//! Closed, it lets everything through. So many failures in a row open it, and nothing is asked for a while. Then it is
//! half open: one trial is let through, and its outcome closes the breaker or opens it for longer. A pure state machine:
//! the caller brings the time.

use std::time::{Duration, Instant};

/// When a [`Breaker`] opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures: u32,
    /// How long it stays open at first. Each failed trial doubles it.
    pub cooldown: Duration,
    /// The longest it stays open.
    pub cooldown_max: Duration,
}

impl Default for Policy {
    /// Opens at the first failure, since every further try would be a pause that somebody hears, and looks again after a
    /// second, which is as long as a short hiccup lasts. Half a minute at most, so that nobody waits long for an engine
    /// that is back.
    fn default() -> Self {
        Self { failures: 1, cooldown: Duration::from_secs(1), cooldown_max: Duration::from_secs(30) }
    }
}

/// Whether something that failed is asked again yet.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It works, but for so many failures in a row. `last` is the pause before the trial that closed it, until a second
    /// success shows that the first was no luck.
    Closed { failures: u32, last: Option<Duration> },
    /// It is not asked before `until`.
    Open { until: Instant, cooldown: Duration },
    /// One trial is under way. One that is never heard of again counts as lost at `until`, and another may begin.
    HalfOpen { until: Instant, cooldown: Duration },
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, state: State::Closed { failures: 0, last: None } }
    }

    /// Whether a call may be made now. Of an open breaker whose time has come only one call may: make it after
    /// [`Breaker::admit`], which takes that place.
    pub fn allows(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } | State::HalfOpen { until, .. } => now >= until,
        }
    }

    /// Whether a call may be made now, as [`Breaker::allows`] tells, and makes it the single trial where the breaker is
    /// not closed. Tell [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::cancelled`] how it ended.
    pub fn admit(&mut self, now: Instant) -> bool {
        let allowed = self.allows(now);
        if let State::Open { cooldown, .. } | State::HalfOpen { cooldown, .. } = self.state
            && allowed
        {
            self.state = State::HalfOpen { until: now + cooldown, cooldown };
        }
        allowed
    }

    /// A call succeeded: it works. The pauses are forgotten at the second success in a row, so that something that
    /// passes each trial and fails right after it is asked ever more rarely.
    pub fn succeeded(&mut self, _now: Instant) {
        let last = match self.state {
            State::Closed { .. } => None,
            State::Open { cooldown, .. } | State::HalfOpen { cooldown, .. } => Some(cooldown),
        };
        self.state = State::Closed { failures: 0, last };
    }

    /// A call failed. While the breaker is open this is news from before and changes nothing.
    pub fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { failures, last } if failures.saturating_add(1) < self.policy.failures => {
                State::Closed { failures: failures + 1, last }
            }
            State::Closed { last, .. } => {
                self.open(now, last.map_or(self.policy.cooldown, |last| last.saturating_mul(2)))
            }
            State::HalfOpen { cooldown, .. } => self.open(now, cooldown.saturating_mul(2)),
            open @ State::Open { .. } => open,
        };
    }

    /// A call was cancelled before anybody knew how it would end. A trial's place is free again at once.
    pub fn cancelled(&mut self, now: Instant) {
        if let State::HalfOpen { cooldown, .. } = self.state {
            self.state = State::Open { until: now, cooldown };
        }
    }

    /// Everything is let through.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// When a call may be made again; `None` while the breaker is closed.
    pub const fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } | State::HalfOpen { until, .. } => Some(until),
        }
    }

    fn open(&self, now: Instant, cooldown: Duration) -> State {
        let cooldown = cooldown.min(self.policy.cooldown_max);
        State::Open { until: now + cooldown, cooldown }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn breaker(failures: u32) -> (Breaker, Instant) {
        (Breaker::new(Policy { failures, cooldown: S, cooldown_max: 5 * S }), Instant::now())
    }

    #[test]
    fn opens_at_the_threshold_and_a_success_in_between_starts_the_count_anew() {
        let (mut breaker, now) = breaker(3);
        breaker.failed(now);
        breaker.failed(now);
        breaker.succeeded(now);
        breaker.failed(now);
        breaker.failed(now);
        assert!(breaker.admit(now) && breaker.retry_at().is_none());
        breaker.failed(now);
        assert!(!breaker.allows(now) && !breaker.admit(now));
        assert_eq!(breaker.retry_at(), Some(now + S));
    }

    #[test]
    fn half_open_lets_a_single_trial_through() {
        let (mut breaker, now) = breaker(1);
        breaker.failed(now);
        assert!(!breaker.allows(now + S / 2));
        assert!(breaker.admit(now + S));
        assert!(!breaker.admit(now + S), "the one trial is under way");
        breaker.succeeded(now + S);
        assert!(breaker.is_closed() && breaker.admit(now + S) && breaker.admit(now + S));
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_the_bound() {
        let (mut breaker, mut now) = breaker(1);
        breaker.failed(now);
        for pause in [S, 2 * S, 4 * S, 5 * S, 5 * S] {
            assert_eq!(breaker.retry_at(), Some(now + pause));
            now += pause;
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
        assert!(!breaker.is_closed());
        breaker.succeeded(now);
        breaker.succeeded(now);
        breaker.failed(now);
        assert_eq!(breaker.retry_at(), Some(now + S), "the pauses are forgotten");
    }

    #[test]
    fn what_fails_right_after_its_trial_is_asked_ever_more_rarely() {
        let (mut breaker, mut now) = breaker(1);
        breaker.failed(now);
        for pause in [S, 2 * S, 4 * S, 5 * S] {
            assert_eq!(breaker.retry_at(), Some(now + pause));
            now += pause;
            assert!(breaker.admit(now));
            breaker.succeeded(now);
            breaker.failed(now);
        }
    }

    #[test]
    fn a_late_failure_does_not_prolong_the_pause() {
        let (mut breaker, now) = breaker(1);
        breaker.failed(now);
        breaker.failed(now + S / 2);
        assert_eq!(breaker.retry_at(), Some(now + S));
    }

    #[test]
    fn a_trial_that_was_cancelled_or_lost_makes_room_for_another() {
        let (mut breaker, now) = breaker(1);
        breaker.failed(now);
        assert!(breaker.admit(now + S));
        breaker.cancelled(now + S);
        assert!(breaker.admit(now + S));
        assert!(!breaker.allows(now + S + S / 2));
        assert!(breaker.admit(now + 2 * S), "nobody said how the trial ended");
    }

    proptest! {
        /// Whatever happens, it lets a call through again within the bound, and never two trials at a time.
        #[test]
        fn never_shuts_for_good(steps in prop::collection::vec((0u8..5, 0u64..3000), 0..60), failures in 0u32..4) {
            let (mut breaker, mut now) = breaker(failures);
            for (step, pause) in steps {
                now += Duration::from_millis(pause);
                match step {
                    0 => breaker.succeeded(now),
                    1 | 2 => breaker.failed(now),
                    3 => breaker.cancelled(now),
                    _ => {
                        let was_closed = breaker.is_closed();
                        if breaker.admit(now) && !was_closed {
                            prop_assert!(!breaker.allows(now));
                        }
                    }
                }
                prop_assert!(breaker.retry_at().is_none_or(|at| at <= now + 5 * S));
                prop_assert!(breaker.allows(now + 5 * S));
            }
        }
    }
}
