//! An ear: what a listener with a plain player would have heard, and when.

use std::time::{Duration, Instant};

use anchor_core::audio::{OUTPUT_RATE, level_dbfs};

/// Sound below this level is taken for silence: 25 dB below speech at its usual level, 15 above the noise of the tests.
pub const AUDIBLE_DBFS: f32 = -45.0;

/// Sound is judged in windows of this length.
const WINDOW: usize = OUTPUT_RATE as usize / 200;

/// Sound at [`OUTPUT_RATE`] as it reaches an ear that plays everything at once, in order, without a buffer.
#[derive(Debug, Default)]
pub struct Ear {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    begins: Instant,
    samples: Vec<f32>,
}

impl Ear {
    /// Sound arrived; it is heard behind what came before it.
    pub fn hear(&mut self, now: Instant, samples: Vec<f32>) {
        let begins = self.pieces.last().map_or(now, |last| last.ends().max(now));
        self.pieces.push(Piece { begins, samples });
    }

    /// What was not heard by now is dropped.
    pub fn flush(&mut self, now: Instant) {
        self.pieces.retain(|piece| piece.begins < now);
        if let Some(last) = self.pieces.last_mut() {
            let heard = now.saturating_duration_since(last.begins).as_secs_f64() * f64::from(OUTPUT_RATE);
            last.samples.truncate(heard as usize);
        }
    }

    /// When the first audible sample is heard.
    pub fn first_audible(&self) -> Option<Instant> {
        self.pieces.iter().find_map(|piece| audible(&piece.samples).next().map(|at| piece.at(at)))
    }

    /// When the last audible sample is heard.
    pub fn last_audible(&self) -> Option<Instant> {
        self.pieces.iter().rev().find_map(|piece| audible(&piece.samples).last().map(|at| piece.at(at + WINDOW)))
    }

    /// Everything that is heard, without its pauses between pieces.
    pub fn sound(&self) -> Vec<f32> {
        self.pieces.iter().flat_map(|piece| &piece.samples).copied().collect()
    }

    /// Length of the sound.
    pub fn length(&self) -> Duration {
        self.pieces.iter().map(|piece| duration(piece.samples.len())).sum()
    }
}

impl Piece {
    fn at(&self, sample: usize) -> Instant {
        self.begins + duration(sample)
    }

    fn ends(&self) -> Instant {
        self.at(self.samples.len())
    }
}

/// First samples of the audible windows.
pub(super) fn audible(samples: &[f32]) -> impl Iterator<Item = usize> + '_ {
    let windows = samples.chunks(WINDOW).enumerate();
    windows.filter(|(_, window)| level_dbfs(window) >= AUDIBLE_DBFS).map(|(n, _)| n * WINDOW)
}

fn duration(samples: usize) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(OUTPUT_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn sound_is_heard_in_order_and_silence_is_not() {
        let start = Instant::now();
        let mut ear = Ear::default();
        assert_eq!(ear.first_audible(), None);
        ear.hear(start, [vec![0.0; 2_400], vec![0.1; 2_400]].concat());
        ear.hear(start + ms(50), vec![0.1; 2_400]);
        assert_eq!(ear.first_audible(), Some(start + ms(100)));
        assert_eq!(ear.last_audible(), Some(start + ms(300)));
        ear.flush(start + ms(210));
        assert_eq!(ear.last_audible(), Some(start + ms(210)));
        assert_eq!(ear.length(), ms(210));
    }
}
