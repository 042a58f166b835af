//! Speech started, speech stopped: probabilities with hysteresis.

use crate::audio::SampleTime;

/// Speech must go on this long before it counts: two windows of 32 ms. A click or a tap is shorter, and each window more is
/// heard as slowness when somebody interrupts.
const MIN_SPEECH: SampleTime = SampleTime::from_ms(60);

/// Once speech is under way, windows count as speech down to this much below the threshold, because endings fade.
const HYSTERESIS: f32 = 0.15;

/// What the detector noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpeechEvent {
    /// Speech began with this sample.
    Started(SampleTime),
    /// Speech ended with this sample.
    Stopped(SampleTime),
}

/// Turns the probabilities of windows into beginnings and ends of speech, counted in samples, never in wall time.
#[derive(Debug, Default)]
pub(crate) struct SpeechDetector {
    /// End of the newest window.
    end: SampleTime,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Quiet,
    /// Voiced since this sample, not yet long enough.
    Rising { since: SampleTime },
    /// Speech, voiced last up to this sample.
    Speech { last_voiced: SampleTime },
}

impl SpeechDetector {
    /// Takes the window that ends at `end`. `threshold` is the probability from which a window is speech, `silence` the
    /// pause that ends speech; both may change from window to window.
    pub(crate) fn push(
        &mut self,
        end: SampleTime,
        probability: f32,
        threshold: f32,
        silence: SampleTime,
    ) -> Option<SpeechEvent> {
        let begin = std::mem::replace(&mut self.end, end);
        match self.state {
            State::Quiet if probability >= threshold => {
                self.state = State::Rising { since: begin };
                None
            }
            State::Quiet => None,
            State::Rising { .. } if probability < threshold - HYSTERESIS => {
                self.state = State::Quiet;
                None
            }
            State::Rising { since } if end.since(since) >= MIN_SPEECH => {
                self.state = State::Speech { last_voiced: end };
                Some(SpeechEvent::Started(since))
            }
            State::Rising { .. } => None,
            State::Speech { .. } if probability >= threshold - HYSTERESIS => {
                self.state = State::Speech { last_voiced: end };
                None
            }
            State::Speech { last_voiced } if end.since(last_voiced) >= silence => {
                self.state = State::Quiet;
                Some(SpeechEvent::Stopped(last_voiced))
            }
            State::Speech { .. } => None,
        }
    }

    /// Last voiced sample of the speech under way.
    pub(crate) fn last_voiced(&self) -> Option<SampleTime> {
        match self.state {
            State::Speech { last_voiced } => Some(last_voiced),
            State::Quiet | State::Rising { .. } => None,
        }
    }

    /// Forgets speech under way; what follows has to rise anew.
    pub(crate) fn reset(&mut self) {
        self.state = State::Quiet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 512;
    const SILENCE: SampleTime = SampleTime::from_ms(200);

    /// Runs windows of 32 ms; returns what was noticed and in which window.
    fn run(probabilities: &[f32]) -> Vec<(usize, SpeechEvent)> {
        let mut detector = SpeechDetector::default();
        probabilities
            .iter()
            .enumerate()
            .filter_map(|(n, &p)| {
                let end = SampleTime((n as u64 + 1) * WINDOW);
                detector.push(end, p, 0.5, SILENCE).map(|event| (n, event))
            })
            .collect()
    }

    #[test]
    fn starts_at_the_first_voiced_window_and_stops_at_the_last() {
        let probabilities = [vec![0.1; 3], vec![0.9; 5], vec![0.1; 10]].concat();
        assert_eq!(
            run(&probabilities),
            [(4, SpeechEvent::Started(SampleTime(3 * WINDOW))), (14, SpeechEvent::Stopped(SampleTime(8 * WINDOW))),]
        );
    }

    #[test]
    fn a_click_is_not_speech() {
        assert_eq!(run(&[0.1, 0.9, 0.1, 0.1, 0.9, 0.2, 0.1]), []);
    }

    #[test]
    fn a_fading_voice_holds_the_turn_but_does_not_open_it() {
        assert_eq!(run(&[0.4; 40]), []);
        let held = [vec![0.9; 4], vec![0.4; 40]].concat();
        assert_eq!(run(&held), [(1, SpeechEvent::Started(SampleTime(0)))]);
    }

    #[test]
    fn a_pause_shorter_than_the_silence_does_not_end_speech() {
        let probabilities = [vec![0.9; 4], vec![0.1; 5], vec![0.9; 4]].concat();
        assert_eq!(run(&probabilities).len(), 1);
    }
}
