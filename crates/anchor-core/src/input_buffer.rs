//! The newest sound from the person, so that a turn can begin before it was noticed.

use std::collections::VecDeque;
use std::time::Instant;

use crate::audio::{AudioFrame, SampleTime};

/// Sound kept: the longest padding a client may ask for, and what passes while speech is being noticed.
const KEPT: SampleTime = SampleTime::from_ms(2_500);

/// The newest sound and where in the session it lies.
#[derive(Debug, Default)]
pub(crate) struct InputBuffer {
    samples: VecDeque<f32>,
    end: SampleTime,
}

impl InputBuffer {
    /// Takes the next sound.
    pub(crate) fn push(&mut self, frame: &AudioFrame) {
        self.samples.extend(frame.iter());
        self.end = self.end + SampleTime(frame.len() as u64);
        let surplus = self.samples.len().saturating_sub(KEPT.0 as usize);
        self.samples.drain(..surplus);
    }

    /// Position behind the newest sample.
    pub(crate) fn end(&self) -> SampleTime {
        self.end
    }

    /// Position of the oldest sample kept.
    pub(crate) fn start(&self) -> SampleTime {
        self.end.since(SampleTime(self.samples.len() as u64))
    }

    /// The sound from `start` on, as far back as it is kept.
    pub(crate) fn since(&self, start: SampleTime) -> AudioFrame {
        let skipped = start.since(self.start()).0 as usize;
        AudioFrame::new(self.samples.iter().skip(skipped).copied().collect::<Vec<_>>())
    }

    /// When the sample at `position` arrived, given that the newest arrived `now`.
    pub(crate) fn arrival(&self, position: SampleTime, now: Instant) -> Instant {
        now.checked_sub(self.end.since(position).duration()).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_sound_and_knows_where_it_lies() {
        let mut buffer = InputBuffer::default();
        for n in 0..5 {
            buffer.push(&AudioFrame::new(vec![n as f32; 16_000]));
        }
        assert_eq!(buffer.end(), SampleTime(80_000));
        assert_eq!(buffer.start(), SampleTime(40_000));
        let tail = buffer.since(SampleTime(79_998));
        assert_eq!(&*tail, &[4.0, 4.0]);
        assert_eq!(buffer.since(SampleTime(0)).len(), 40_000, "older sound is gone");
        assert_eq!(buffer.since(SampleTime(90_000)).len(), 0);
    }
}
