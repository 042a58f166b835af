//! Every deadline of a conversation, by name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{ResponseId, TurnId};

/// What a conversation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The transcript of a turn that ended.
    Transcript(TurnId),
    /// The next text of an answer.
    Text(ResponseId),
    /// The next sound of an answer.
    Sound(ResponseId),
    /// The moment to give out more sound, or when the last of it was heard.
    Playout(ResponseId),
    /// The person to say something.
    Idle,
}

impl Timer {
    /// How long the wait may last before the stage counts as failed. Longer than any healthy engine takes, short
    /// enough that a person still waits.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Transcript(_) | Self::Sound(_) => Duration::from_secs(10),
            Self::Text(_) => Duration::from_secs(20),
            Self::Playout(_) | Self::Idle => Duration::ZERO,
        }
    }
}

/// The deadlines that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeMap<Timer, Instant>);

impl Timers {
    /// Waits for `timer` from `now` on, as long as its patience lasts.
    pub(crate) fn start(&mut self, timer: Timer, now: Instant) {
        self.0.insert(timer, now + timer.patience());
    }

    /// Waits for `timer` until `at`, if it is not waited for already.
    pub(crate) fn set_once(&mut self, timer: Timer, at: Instant) {
        self.0.entry(timer).or_insert(at);
    }

    /// Waits for `timer` until `at`.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0.insert(timer, at);
    }

    /// Waits no longer.
    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes out one deadline that has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = self.0.iter().find(|&(_, &at)| at <= now).map(|(&timer, _)| timer)?;
        self.0.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_out_when_due_and_once() {
        let now = crate::tests::start_of_time();
        let mut timers = Timers::default();
        timers.start(Timer::Transcript(TurnId(1)), now);
        timers.set(Timer::Playout(ResponseId(1)), now + Duration::from_millis(40));
        assert_eq!(timers.next(), Some(now + Duration::from_millis(40)));
        assert_eq!(timers.expired(now), None);
        assert_eq!(timers.expired(now + Duration::from_millis(40)), Some(Timer::Playout(ResponseId(1))));
        assert_eq!(timers.expired(now + Duration::from_millis(40)), None);
        timers.clear(Timer::Transcript(TurnId(1)));
        assert_eq!(timers.next(), None);
    }
}
