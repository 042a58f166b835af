//! Sound that carries the time it was due, so that its way through a server can be timed in another process.
//!
//! A frame repeats a code of sixteen samples: a mark of two, thirteen digits of four bits (microseconds since 1970), and
//! a check digit. Neighbouring digits lie 2048 steps of 16 bits apart, so no rounding and no volume within 3 % spoils it.

use std::time::{Duration, SystemTime};

use anchor_core::audio::{OUTPUT_RATE, Samples};

/// Samples in a frame at [`OUTPUT_RATE`]: 20 ms.
pub(super) const FRAME: usize = Samples::from_ms(20).0 as usize;

/// Length of a frame.
pub(super) const FRAME_TIME: Duration = Duration::from_millis(FRAME as u64 * 1000 / OUTPUT_RATE as u64);

const MARK: [u64; 2] = [15, 0];
const DIGITS: usize = 13;
const CODE: usize = MARK.len() + DIGITS + 1;

/// How much of a frame's beginning has to be there to read it, in bytes of 16-bit samples.
pub(super) const READABLE: usize = CODE * 2;

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A frame of sound, at -10 dBFS, that was due at `micros`.
pub(super) fn write(micros: u64) -> Vec<f32> {
    let digits = (0..DIGITS).map(|place| digit(micros, place));
    let code: Vec<f32> = MARK.into_iter().chain(digits).chain([check(micros)]).map(level).collect();
    code.iter().copied().cycle().take(FRAME).collect()
}

/// When the frame that begins with these 16-bit little-endian samples was due; `None` if it is no such frame.
pub(super) fn read(pcm: &[u8]) -> Option<u64> {
    let mut digits = [0; CODE];
    let samples = pcm.get(..READABLE)?.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    for (digit, sample) in digits.iter_mut().zip(samples) {
        *digit = read_level(sample)?;
    }
    let (mark, code) = digits.split_at(MARK.len());
    let micros = code[..DIGITS].iter().rev().fold(0, |number, digit| number << 4 | digit);
    (mark == MARK && code[DIGITS] == check(micros)).then_some(micros)
}

fn digit(number: u64, place: usize) -> u64 {
    number >> (4 * place) & 15
}

fn check(number: u64) -> u64 {
    (0..DIGITS).map(|place| digit(number, place) * (place as u64 + 1)).sum::<u64>() & 15
}

/// Digits as levels from -15/32 to 15/32, none of which is silence.
fn level(digit: u64) -> f32 {
    (digit as f32 * 2.0 - 15.0) / 32.0
}

fn read_level(sample: i16) -> Option<u64> {
    let digit = f32::from(sample) / 2048.0 + 7.5;
    let nearest = digit.round();
    ((digit - nearest).abs() < 0.25 && (0.0..16.0).contains(&nearest)).then_some(nearest as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As different servers turn samples into 16 bits.
    fn pcm(samples: &[f32], scale: f32, change: impl Fn(f32) -> f32) -> Vec<u8> {
        samples.iter().flat_map(|sample| (change(sample * scale) as i16).to_le_bytes()).collect()
    }

    #[test]
    fn a_time_survives_its_way_through_16_bits() {
        let now = now();
        for micros in [0, 1, now, now + 19_999, (1 << 52) - 1] {
            let frame = write(micros);
            assert_eq!(frame.len(), FRAME);
            for scale in [32_767.0, 32_768.0, 32_100.0] {
                assert_eq!(read(&pcm(&frame, scale, f32::round)), Some(micros));
                assert_eq!(read(&pcm(&frame, scale, f32::trunc)), Some(micros));
            }
        }
    }

    #[test]
    fn other_sound_is_no_time() {
        let frame = pcm(&write(now()), 32_767.0, f32::round);
        assert_eq!(read(&frame[..READABLE - 1]), None);
        assert_eq!(read(&frame[2..]), None, "cut in the middle of a code");
        assert_eq!(read(&[0; READABLE]), None);
        let mut damaged = frame;
        damaged[9] ^= 8;
        assert_eq!(read(&damaged), None);
    }
}
