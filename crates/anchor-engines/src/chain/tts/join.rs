//! Finds, in one rendering of a text, the place that corresponds to a place in another: where the next voice goes on in a
//! clause of which the listener has heard the beginning.
//!
//! Both are described every few milliseconds by mel-frequency cepstral coefficients and their change, and laid upon each
//! other by dynamic time warping with an open end (H. Sakoe, S. Chiba: Dynamic programming algorithm optimization for spoken
//! word recognition, 1978; their step pattern for slopes of one half to two). No word has to be known: a cut between two
//! words comes out between the same two, and one within a word at the same sound of it.

use anchor_core::audio::OUTPUT_RATE;
use realfft::RealFftPlanner;

/// Length of what is looked at at once, in samples: 43 ms.
const WINDOW: usize = 1024;

/// Descriptions stand this far apart, in samples: 10 ms; further where a sound would have more than [`FRAMES`].
const HOP: usize = OUTPUT_RATE as usize / 100;

/// The most descriptions of a sound, which bounds the work: six seconds of speech at the full resolution.
const FRAMES: usize = 600;

const BANDS: usize = 26;
const COEFFICIENTS: usize = 13;

/// From where to where the ear is imitated, in Hz: what all voices and recordings have.
const LOWEST_HZ: f32 = 100.0;
const HIGHEST_HZ: f32 = 8_000.0;

/// Power that counts as silence, so that the noise floors of two voices do not differ.
const FLOOR: f32 = 1e-4;

/// Weight of the loudness against the timbre. Found by trial with three voices.
const LOUDNESS: f32 = 0.5;

/// Cost of a step at another pace, and of each frame that one begins earlier. Small against the difference of two sounds: it decides where nothing changes.
const OTHER_PACE: f32 = 0.5;

/// How much earlier one of the two may begin, in seconds.
const START: f32 = 0.1;

/// A sound shorter than this has nothing to be recognised by, in samples: 200 ms.
const TOO_SHORT: usize = OUTPUT_RATE as usize / 5;

/// The new rendering is looked at when it is so much longer than the old, and some: with less, a place near its end is
/// no better than its end.
const LONGER: f32 = 1.2;
const BEYOND: usize = OUTPUT_RATE as usize * 3 / 10;

/// One moment of a sound.
type Frame = [f32; 2 * COEFFICIENTS];

/// How a cell of the lattice is reached.
#[derive(Clone, Copy)]
enum Step {
    Begin,
    Both,
    NewTwice,
    OldTwice,
}

/// The place in `new` that corresponds to sample `cut` of `old`; both begin with the same text, which `old` leaves
/// unfinished. `Err` with the length that `new` needs to have before it can be told; with `whole` there is no more of it.
pub(super) fn place(old: &[f32], cut: usize, new: &[f32], whole: bool) -> Result<usize, usize> {
    if old.len() < TOO_SHORT {
        return if whole || new.len() >= cut { Ok(cut.min(new.len())) } else { Err(cut) };
    }
    let least = (old.len() as f32 * LONGER) as usize + BEYOND;
    if !whole && new.len() < least {
        return Err(least);
    }
    let hop = HOP.max(old.len() / FRAMES);
    // Twice the old is as far as the slopes reach.
    let new = &new[..new.len().min(2 * old.len() + BEYOND)];
    let (a, b) = (describe(old, hop), describe(new, hop));
    let (costs, steps) = warp(&a, &b, (START * OUTPUT_RATE as f32) as usize / hop);
    // A longer way has more to pay for.
    let per_step = |at: usize| costs[at] / (a.len() + at) as f32;
    let end = (0..b.len()).min_by(|x, y| per_step(*x).total_cmp(&per_step(*y))).unwrap_or(0);
    if !whole && (b.len() - end) * hop < BEYOND && new.len() < 2 * old.len() + BEYOND {
        return Err(new.len() + BEYOND);
    }
    let row = (cut / hop).min(a.len() - 1);
    let at = back(&steps, b.len(), (a.len() - 1, end), row);
    Ok((at * hop + cut - row * hop).min(new.len()))
}

/// Lays `old` along the beginning of `new`. Returns the cost of ending at each frame of `new`, and the steps there.
fn warp(old: &[Frame], new: &[Frame], start: usize) -> (Vec<f32>, Vec<Step>) {
    let width = new.len();
    let mut steps = vec![Step::Begin; old.len() * width];
    // The costs of the row before the last, and of the last.
    let (mut before, mut last) = (vec![f32::INFINITY; width], vec![f32::INFINITY; width]);
    let mut differ_before = vec![0.0; width];
    for (row, frame) in old.iter().enumerate() {
        let differ: Vec<f32> = new.iter().map(|other| distance(frame, other)).collect();
        let mut costs = vec![f32::INFINITY; width];
        for at in 0..width {
            let (mut best, mut step) = (f32::INFINITY, Step::Begin);
            let mut offer = |cost: f32, how: Step| {
                if cost < best {
                    (best, step) = (cost, how);
                }
            };
            if (row == 0 && at <= start) || (at == 0 && row <= start) {
                offer(2.0 * differ[at] + OTHER_PACE * (row + at) as f32, Step::Begin);
            }
            if at >= 1 {
                offer(last[at - 1] + 2.0 * differ[at], Step::Both);
                offer(before[at - 1] + 2.0 * differ_before[at] + differ[at] + OTHER_PACE, Step::OldTwice);
            }
            if at >= 2 {
                offer(last[at - 2] + 2.0 * differ[at - 1] + differ[at] + OTHER_PACE, Step::NewTwice);
            }
            costs[at] = best;
            steps[row * width + at] = step;
        }
        before = std::mem::replace(&mut last, costs);
        differ_before = differ;
    }
    (last, steps)
}

/// Follows the steps back from a cell to the row `to`, and returns the column there.
fn back(steps: &[Step], width: usize, (mut row, mut at): (usize, usize), to: usize) -> usize {
    while row > to {
        let (rows, columns) = match steps[row * width + at] {
            Step::Begin => break,
            Step::Both => (1, 1),
            Step::NewTwice => (1, 2),
            Step::OldTwice => (2, 1),
        };
        row = row.saturating_sub(rows);
        at = at.saturating_sub(columns);
    }
    at
}

fn distance(a: &Frame, b: &Frame) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

/// Describes a sound every `hop` samples, but not its last moment, which shows the break. What is the same throughout,
/// the voice and its microphone, is taken out.
fn describe(sound: &[f32], hop: usize) -> Vec<Frame> {
    let transform = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
    let bands = Bands::new();
    let hann = |n: usize| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / (WINDOW - 1) as f32).cos();
    let hann: Vec<f32> = (0..WINDOW).map(hann).collect();
    let (mut piece, mut spectrum) = (transform.make_input_vec(), transform.make_output_vec());
    let mut scratch = transform.make_scratch_vec();
    let count = sound.len() / hop + 1;
    let mut frames = Vec::with_capacity(count);
    for number in 0..count {
        // Centred on its place, with silence around the sound.
        for (n, sample) in piece.iter_mut().enumerate() {
            let at = (number * hop + n).checked_sub(WINDOW / 2);
            *sample = hann[n] * at.and_then(|at| sound.get(at)).copied().unwrap_or_default();
        }
        transform.process_with_scratch(&mut piece, &mut spectrum, &mut scratch).expect("the buffers are its own");
        let power: Vec<f32> = spectrum.iter().map(|bin| bin.norm_sqr()).collect();
        frames.push(bands.cepstrum(&power));
    }
    let mean: [f32; COEFFICIENTS] =
        std::array::from_fn(|c| frames.iter().map(|frame| frame[c]).sum::<f32>() / count as f32);
    for frame in &mut frames {
        for (value, mean) in frame.iter_mut().zip(mean) {
            *value -= mean;
        }
        frame[0] *= LOUDNESS;
    }
    let change = |number: usize, c: usize| match (number.checked_sub(2), frames.get(number + 2)) {
        (Some(earlier), Some(later)) => later[c] - frames[earlier][c],
        _ => 0.0,
    };
    let with_change = |number: usize| {
        std::array::from_fn(|c| if c < COEFFICIENTS { frames[number][c] } else { change(number, c - COEFFICIENTS) })
    };
    let whole = (sound.len().saturating_sub(WINDOW / 2) / hop).saturating_sub(1).clamp(1, count);
    (0..whole).map(with_change).collect()
}

/// The bands of the mel scale, as triangles over the bins of the spectrum.
struct Bands(Vec<Vec<(usize, f32)>>);

impl Bands {
    fn new() -> Self {
        let mel = |hz: f32| 2595.0 * (1.0 + hz / 700.0).log10();
        let hz = |mel: f32| 700.0 * (10f32.powf(mel / 2595.0) - 1.0);
        let (low, high) = (mel(LOWEST_HZ), mel(HIGHEST_HZ));
        let corner = |n: usize| hz(low + (high - low) * n as f32 / (BANDS + 1) as f32);
        let triangle = |band: usize| {
            let (from, top, to) = (corner(band), corner(band + 1), corner(band + 2));
            let weight = |bin: usize| {
                let hz = bin as f32 * OUTPUT_RATE as f32 / WINDOW as f32;
                ((hz - from) / (top - from)).min((to - hz) / (to - top))
            };
            (0..=WINDOW / 2).map(|bin| (bin, weight(bin))).filter(|(_, weight)| *weight > 0.0).collect()
        };
        Self((0..BANDS).map(triangle).collect())
    }

    /// The discrete cosine transform of the logarithms of the bands' power.
    fn cepstrum(&self, power: &[f32]) -> [f32; COEFFICIENTS] {
        let level = |band: &Vec<(usize, f32)>| band.iter().map(|(bin, weight)| power[*bin] * weight).sum::<f32>();
        let levels: Vec<f32> = self.0.iter().map(|band| (level(band) + FLOOR).ln()).collect();
        let wave = |c: usize, n: usize| (std::f32::consts::PI / BANDS as f32 * (n as f32 + 0.5) * c as f32).cos();
        std::array::from_fn(|c| {
            levels.iter().enumerate().map(|(n, level)| level * wave(c, n)).sum::<f32>() * 2.0 / BANDS as f32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tones of these pitches, each so many milliseconds long.
    fn tones(pitches: &[f32], milliseconds: usize) -> Vec<f32> {
        let length = OUTPUT_RATE as usize * milliseconds / 1000;
        let tone = |hz: &f32| {
            let step = std::f32::consts::TAU * hz / OUTPUT_RATE as f32;
            (0..length).map(move |n| 0.3 * (step * n as f32).sin()).collect::<Vec<_>>()
        };
        pitches.iter().flat_map(tone).collect()
    }

    const MELODY: [f32; 8] = [300.0, 900.0, 500.0, 2_000.0, 700.0, 1_400.0, 400.0, 3_000.0];

    fn ms(samples: usize) -> i64 {
        (samples * 1000 / OUTPUT_RATE as usize) as i64
    }

    #[test]
    fn the_same_place_is_found_at_another_pace() {
        let old = tones(&MELODY[..5], 100);
        for pace in [60, 100, 150] {
            let new = tones(&MELODY, pace);
            for cut in [120, 250, 450] {
                let found = ms(place(&old, cut * OUTPUT_RATE as usize / 1000, &new, true).unwrap());
                let right = (cut * pace / 100) as i64;
                assert!((found - right).abs() <= 25, "{cut} ms at pace {pace}: {found} instead of {right} ms");
            }
        }
    }

    #[test]
    fn it_waits_for_enough_to_tell() {
        let (old, new) = (tones(&MELODY[..4], 100), tones(&MELODY, 100));
        let least = place(&old, 4_800, &new[..old.len()], false).unwrap_err();
        assert!(old.len() < least && least < new.len());
        assert!(place(&old, 4_800, &new[..least], false).is_ok());
        let slow = &tones(&MELODY, 190)[..least + 2_000];
        assert_eq!(place(&old, 4_800, slow, false), Err(slow.len() + BEYOND), "the place is at the end");
    }

    #[test]
    fn nothing_and_little_have_places() {
        let sound = tones(&MELODY, 100);
        assert_eq!(place(&sound, 500, &[], true), Ok(0));
        assert!(place(&[], 0, &sound, true).unwrap() <= BEYOND);
        assert!(place(&sound, sound.len(), &sound[..10], true).unwrap() <= 10);
        assert!(place(&[0.0; 30_000], 30_000, &sound, true).unwrap() <= sound.len());
    }
}
