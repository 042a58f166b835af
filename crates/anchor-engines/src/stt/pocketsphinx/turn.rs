//! One turn: frames in, partials out while it is spoken, the final words at its end.

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{EngineError, SttEvent};

use super::ffi::{Decoder, Segment};
use crate::blocking::Sink;

/// Samples between two looks at the words so far: 100 ms.
const PARTIAL_EVERY: usize = INPUT_RATE as usize / 10;

/// Longest utterance the decoder is given, in samples: its search keeps every frame in memory. A longer turn is cut into
/// several.
const LONGEST_UTTERANCE: usize = 30 * INPUT_RATE as usize;

/// A turn is steady sound if, of at least so many windows of 100 ms, the loudest has at most so many times the power of the
/// quietest: 6 dB. White noise stays within 1 dB; a syllable spans 20.
const STEADY_WINDOWS: usize = 3;
const STEADY_POWER_RATIO: f32 = 4.0;

/// Longest word in frames of 10 ms: this many, and some for each letter. Measured on four voices: words of questions stay
/// under 16 + 12 a letter, a lone "yes" or "next" under 20; most of what noise is taken for lies above 30.
const LONGEST_WORD_FRAMES: u32 = 28;
const LONGEST_LETTER_FRAMES: u32 = 12;

/// Recognises one turn.
pub(super) fn recognise(
    decoder: &mut Decoder,
    frames: impl Iterator<Item = AudioFrame>,
    sink: &Sink<SttEvent>,
) -> Result<(), EngineError> {
    let mut turn = Turn {
        decoder,
        noise: Noise(1),
        loudness: Loudness::default(),
        pcm: Vec::new(),
        in_utterance: 0,
        since_partial: 0,
        said: String::new(),
        shown: String::new(),
    };
    // The decoder comes from another turn, perhaps of another speaker in another room.
    turn.decoder.loosen_mean();
    turn.decoder.start_stream()?;
    turn.decoder.start()?;
    let outcome = turn.listen(frames, sink);
    // Whatever happened, the decoder has to be ready for another turn.
    let ended = turn.decoder.finish();
    outcome?;
    ended?;
    let text = turn.text();
    sink.send(SttEvent::Final(text))
}

struct Turn<'a> {
    decoder: &'a mut Decoder,
    noise: Noise,
    loudness: Loudness,
    pcm: Vec<i16>,
    /// Samples given to the utterance.
    in_utterance: usize,
    since_partial: usize,
    /// The words of earlier utterances.
    said: String,
    /// The last partial.
    shown: String,
}

impl Turn<'_> {
    fn listen(&mut self, frames: impl Iterator<Item = AudioFrame>, sink: &Sink<SttEvent>) -> Result<(), EngineError> {
        for frame in frames {
            sink.check()?;
            for piece in frame.chunks(PARTIAL_EVERY) {
                self.push(piece)?;
                if self.since_partial >= PARTIAL_EVERY {
                    self.since_partial = 0;
                    self.decoder.follow_mean();
                    self.loudness.end_window();
                    let text = self.text();
                    if text != self.shown {
                        sink.send(SttEvent::Partial(text.clone()))?;
                        self.shown = text;
                    }
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: &[f32]) -> Result<(), EngineError> {
        if self.in_utterance >= LONGEST_UTTERANCE {
            self.decoder.finish()?;
            self.said = self.text();
            self.in_utterance = 0;
            self.decoder.start()?;
        }
        self.loudness.push(piece);
        self.pcm.clear();
        let noise = &mut self.noise;
        self.pcm.extend(
            piece
                .iter()
                .map(|sample| (sample * f32::from(i16::MAX)) as i16)
                .map(|sample| sample.saturating_add(noise.next())),
        );
        self.decoder.push(&self.pcm)?;
        self.in_utterance += piece.len();
        self.since_partial += piece.len();
        Ok(())
    }

    /// All words so far.
    fn text(&mut self) -> String {
        let segments = self.decoder.segments();
        let words = if self.loudness.is_steady() || is_drawn_out(&segments) {
            Vec::new()
        } else {
            segments.iter().filter_map(spoken).collect()
        };
        let said = Some(self.said.as_str()).filter(|said| !said.is_empty());
        said.into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// Whether most of what was taken for words lasts longer than anybody draws a word out. Noise comes out so, since no word
/// ends while nothing changes; its acoustic score is no worse than that of speech. A short burst can still pass for a
/// short word: keeping it out is the voice activity detector's part.
fn is_drawn_out(segments: &[Segment]) -> bool {
    let (mut drawn_out, mut all) = (0, 0);
    for segment in segments {
        let Some(word) = spoken(segment) else { continue };
        all += segment.frames;
        if segment.frames > LONGEST_WORD_FRAMES + LONGEST_LETTER_FRAMES * word.len() as u32 {
            drawn_out += segment.frames;
        }
    }
    drawn_out * 2 > all
}

/// The word a person would write down: no silence, no noise, no number of a pronunciation.
fn spoken(segment: &Segment) -> Option<&str> {
    let word = segment.word.as_str();
    if word.starts_with(['<', '[', '+']) {
        return None;
    }
    Some(word.split_once('(').map_or(word, |(word, _)| word))
}

/// How the loudness of a turn moves. Speech rises and falls with every syllable; noise, hum and tones do not.
#[derive(Default)]
struct Loudness {
    sum: f32,
    energy: f32,
    samples: usize,
    windows: usize,
    quietest: f32,
    loudest: f32,
}

impl Loudness {
    fn push(&mut self, piece: &[f32]) {
        self.sum += piece.iter().sum::<f32>();
        self.energy += piece.iter().map(|sample| sample * sample).sum::<f32>();
        self.samples += piece.len();
    }

    /// Compares what was pushed since the last window with all windows before.
    fn end_window(&mut self) {
        let samples = self.samples.max(1) as f32;
        // Without the offset of a cheap converter, which does not move either.
        let power = (self.energy / samples - (self.sum / samples).powi(2)).max(0.0);
        let first = self.windows == 0;
        self.quietest = if first { power } else { self.quietest.min(power) };
        self.loudest = self.loudest.max(power);
        *self = Self { sum: 0.0, energy: 0.0, samples: 0, windows: self.windows + 1, ..*self };
    }

    fn is_steady(&self) -> bool {
        self.windows >= STEADY_WINDOWS && self.loudest <= self.quietest * STEADY_POWER_RATIO
    }
}

/// Noise of one step of the converter: the decoder takes logarithms, and digital silence has none.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> i16 {
        // Marsaglia, "Xorshift RNGs" (2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 % 3) as i16 - 1
    }
}
