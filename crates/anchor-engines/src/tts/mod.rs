//! The voices, one file each.

pub mod espeak;
pub mod flite;
pub mod higgs;
pub mod openai_speech;
mod speech;

use std::ops::RangeInclusive;

use anchor_core::audio::{OUTPUT_RATE, Resampler, UnsupportedRate};
use anchor_core::engine::{EngineError, EventStream, TtsEvent, Voice};
use futures::StreamExt;

use crate::loudness::Leveller;

/// Paces that are still speech.
const SPEEDS: RangeInclusive<f32> = 0.25..=4.0;

/// The pace asked for, if a voice can keep it.
fn check_speed(engine: &'static str, speed: f32) -> Result<f32, EngineError> {
    if SPEEDS.contains(&speed) {
        return Ok(speed);
    }
    let (least, most) = SPEEDS.into_inner();
    Err(EngineError::Unsupported {
        engine,
        reason: format!("it speaks at {least} to {most} times its pace, not {speed}"),
    })
}

/// The error for a voice that is not there.
fn no_voice(engine: &'static str, asked: Option<&str>, voices: &[Voice]) -> EngineError {
    let names: Vec<&str> = voices.iter().map(|voice| voice.name.as_str()).collect();
    let asked = asked.map_or_else(|| "no voice".into(), |name| format!("no voice `{name}`"));
    EngineError::Unsupported { engine, reason: format!("it has {asked}; it has {}", names.join(", ")) }
}

/// A stream that only says why there is none.
fn failed_stream(error: EngineError) -> EventStream<TtsEvent> {
    futures::stream::once(async { Err(error) }).boxed()
}

/// Brings the sound of one clause from a voice's own rate and level to those every listener gets.
struct OutputChain {
    resampler: Resampler,
    leveller: Leveller,
}

impl OutputChain {
    /// For a voice with this rate, which needs this gain.
    fn new(rate: u32, gain: f32) -> Result<Self, UnsupportedRate> {
        Ok(Self { resampler: Resampler::new(rate, OUTPUT_RATE)?, leveller: Leveller::new(gain) })
    }

    /// Takes the next samples and returns what can be given out by now.
    fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.leveller.push(&self.resampler.push(samples))
    }

    /// Ends the clause and returns the rest.
    fn finish(mut self) -> Vec<f32> {
        let mut rest = self.leveller.push(&self.resampler.finish());
        rest.extend(self.leveller.finish());
        rest
    }
}
