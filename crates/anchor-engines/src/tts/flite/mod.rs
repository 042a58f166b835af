//! The voices of flite: English, statistical-parametric and diphone, on any processor, heard while they are made.
//!
//! flite 2.2 (<http://cmuflite.org>, BSD-like licence) is loaded from the system's shared objects on first use, so that
//! the program builds and starts without it.

mod ffi;
mod text;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use anchor_core::audio::{AudioFrame, OUTPUT_RATE, Samples, resample};
use anchor_core::engine::{EngineError, EventStream, TextInput, Tts, TtsEvent, TtsRequest, Voice, WordTime};

use super::{OutputChain, check_speed, failed_stream, no_voice};
use crate::blocking::{self, Sink};
use crate::{Entry, LoadContext, Needs, loudness, options};
use ffi::{Chunk, Library, RegisteredVoice};
use text::Plain;

const NAME: &str = "flite";

/// Its line in the table.
pub const ENTRY: Entry<dyn Tts> = Entry {
    name: NAME,
    about: "English voices that run anywhere: light, streaming, with word times",
    needs: Needs { gpu_bytes: 0, packages: &["libflite1"], network: false },
    load,
};

/// The voices of the Debian package, the default first. Its `time_awb` only knows the words of a talking clock.
const VOICES: [(&str, &str); 5] = [
    ("rms", "American English, male, statistical-parametric"),
    ("slt", "American English, female, statistical-parametric"),
    ("awb", "Scottish English, male, statistical-parametric"),
    ("kal16", "American English, male, diphones, quick to start"),
    ("kal", "American English, male, diphones at telephone quality"),
];

/// What a voice reads to have its loudness measured: a sentence as long as those it will read on air, for short ones
/// are quieter.
const CALIBRATION: &str = "The ministers met in the capital on Monday to talk about the price of bread, and they \
    will meet again before the end of the week, because nobody was content with the result.";

/// Silence left before the first sound of a clause, in seconds: the voice's own 150 ms would only be heard as delay.
const LEAD: f32 = 0.01;

/// This engine has nothing to set.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Flite {
    voices: Vec<Arc<FliteVoice>>,
}

struct FliteVoice {
    name: &'static str,
    about: &'static str,
    library: &'static Library,
    registered: RegisteredVoice,
    /// Measured when the voice is first used.
    gain: OnceLock<f32>,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Tts>, EngineError> {
    let Options {} = options::parse(NAME, &context.options)?;
    let library = Library::load().map_err(unavailable)?;
    let voice = |(name, about)| {
        let registered = library.register(name)?;
        Ok(Arc::new(FliteVoice { name, about, library, registered, gain: OnceLock::new() }))
    };
    let voices = VOICES.into_iter().map(voice).collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
    // The first answer should not wait for it.
    voices[0].gain();
    Ok(Arc::new(Flite { voices }))
}

fn unavailable(missing: ffi::Missing) -> EngineError {
    EngineError::Unavailable {
        engine: NAME,
        reason: missing.to_string(),
        remedy: "Install the package libflite1: sudo apt-get install libflite1".into(),
    }
}

impl Tts for Flite {
    fn speak(&self, request: TtsRequest, mut text: TextInput) -> EventStream<TtsEvent> {
        let chosen = match &request.voice {
            None => self.voices.first(),
            Some(name) => self.voices.iter().find(|voice| voice.name == name),
        };
        let checked = chosen.ok_or_else(|| no_voice(NAME, request.voice.as_deref(), &self.voices()));
        let (voice, speed) = match checked.and_then(|voice| Ok((voice.clone(), check_speed(NAME, request.speed)?))) {
            Ok(checked) => checked,
            Err(error) => return failed_stream(error),
        };
        blocking::stream(NAME, move |sink| {
            while let Some(clause) = sink.next(&mut text)? {
                ClauseSound::new(&voice, sink)?.speak(&clause, speed)?;
            }
            Ok(())
        })
    }

    fn voices(&self) -> Vec<Voice> {
        let voice = |voice: &Arc<FliteVoice>| Voice {
            name: voice.name.into(),
            language: "en".into(),
            about: voice.about.into(),
        };
        self.voices.iter().map(voice).collect()
    }
}

impl FliteVoice {
    /// What brings this voice to the common loudness.
    fn gain(&self) -> f32 {
        *self.gain.get_or_init(|| {
            let mut speech = Vec::new();
            self.library.speak(self.registered, CALIBRATION, 1.0, &mut |chunk| {
                speech.extend(chunk.samples.iter().map(|sample| as_float(*sample)));
                ControlFlow::Continue(())
            });
            let speech = resample(&speech, self.registered.rate, OUTPUT_RATE).unwrap_or_default();
            loudness::gain(&speech, OUTPUT_RATE)
        })
    }
}

/// The sound of one clause on its way to the listener.
struct ClauseSound<'a> {
    voice: &'a FliteVoice,
    sink: &'a Sink<TtsEvent>,
    output: OutputChain,
    /// Samples of the voice so far.
    taken: u64,
}

impl<'a> ClauseSound<'a> {
    fn new(voice: &'a FliteVoice, sink: &'a Sink<TtsEvent>) -> Result<Self, EngineError> {
        let output = OutputChain::new(voice.registered.rate, voice.gain())
            .map_err(|error| EngineError::Failed { engine: NAME, reason: format!("voice {}: {error}", voice.name) })?;
        Ok(Self { voice, sink, output, taken: 0 })
    }

    fn speak(mut self, clause: &str, speed: f32) -> Result<(), EngineError> {
        let plain = Plain::new(clause);
        for piece in plain.pieces() {
            self.sink.check()?;
            let mut cursor = piece.start;
            let mut skip = None;
            let mut outcome = Ok(());
            let whole = self.voice.library.speak(self.voice.registered, plain.get(piece), 1.0 / speed, &mut |chunk| {
                outcome = self.take(&chunk, &plain, &mut cursor, &mut skip);
                if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            outcome?;
            if !whole {
                return Err(EngineError::Failed {
                    engine: NAME,
                    reason: "the library made no sound of the text".into(),
                });
            }
        }
        let rest = self.output.finish();
        if !rest.is_empty() {
            self.sink.send(TtsEvent::Audio(AudioFrame::new(rest)))?;
        }
        self.sink.send(TtsEvent::ClauseEnd)
    }

    /// Sends on the next chunk of a piece, and before the first one the times of all its words. `skip` counts the
    /// samples of the leading silence still to be dropped, `None` before the first chunk.
    fn take(
        &mut self,
        chunk: &Chunk<'_>,
        plain: &Plain,
        cursor: &mut usize,
        skip: &mut Option<usize>,
    ) -> Result<(), EngineError> {
        let rate = self.voice.registered.rate as f32;
        let silence = match skip {
            Some(silence) => silence,
            None => {
                let silence = (chunk.lead() - LEAD).max(0.0);
                for token in chunk.tokens() {
                    let Some(text_end) = plain.locate(&token.text, cursor) else { continue };
                    let end = self.taken as f32 + (token.end - silence) * rate;
                    let end = Samples((end * OUTPUT_RATE as f32 / rate).max(0.0).round() as u64);
                    self.sink.send(TtsEvent::Word(WordTime { text_end, end }))?;
                }
                skip.insert((silence * rate) as usize)
            }
        };
        let dropped = chunk.samples.len().min(*silence);
        *silence -= dropped;
        let samples: Vec<f32> = chunk.samples[dropped..].iter().map(|sample| as_float(*sample)).collect();
        self.taken += samples.len() as u64;
        let sound = self.output.push(&samples);
        if sound.is_empty() { self.sink.check() } else { self.sink.send(TtsEvent::Audio(AudioFrame::new(sound))) }
    }
}

fn as_float(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}
