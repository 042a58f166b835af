//! The sound of one clause, out of the bytes a server sends for it, with every check that bytes and text allow: a server
//! that fails should be known by it while there is time to ask another.

use std::ops::RangeInclusive;

use anchor_core::audio::{OUTPUT_RATE, Samples};
use anchor_core::engine::EngineError;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::container::{Content, Layout, judge};
use super::hidden::Hidden;
use super::samples::{Decoder, PAUSE_MAX, Pauses};
use crate::http::{Decode, Fault, message, refused};

/// Longest text of an error instead of sound that is read, in bytes.
const TEXT_MAX: usize = 16 * 1024;

/// Rates that a header may tell of, as for the resampler.
const RATES: RangeInclusive<u32> = 4_000..=384_000;

/// How long the sound of a text can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    least: Samples,
    most: Samples,
}

impl Expected {
    /// Speech has 12 to 15 letters a second. No voice speaks 50, so that less sound than that was broken off; none takes a
    /// quarter of a second for each and two seconds beside it, so that more is a network that does not find its end. A digit
    /// is a word, and an ideograph a syllable.
    pub(crate) fn of(text: &str, speed: f32) -> Self {
        let signs = || text.chars().filter(|sign| sign.is_alphanumeric());
        let weight = |sign: char| match sign {
            sign if sign.is_numeric() => 4,
            '\u{1100}'.. => 2,
            _ => 1,
        };
        let samples = |ms: u64| Samples((Samples::from_ms(ms).0 as f32 / speed) as u64);
        Self {
            least: samples(20 * signs().count() as u64),
            most: samples(2_000 + 250 * signs().map(weight).sum::<u64>()),
        }
    }

    /// In seconds.
    pub(crate) fn most_seconds(self) -> f32 {
        self.most.0 as f32 / OUTPUT_RATE as f32
    }
}

/// Reads one answer. Gives out sound at [`OUTPUT_RATE`], as loud as it came.
pub(crate) struct Sound {
    engine: &'static str,
    expected: Expected,
    /// What samples are like where no file says it.
    told: Layout,
    /// The server may be asked for another format.
    negotiable: bool,
    hidden: Hidden,
    stage: Stage,
    pauses: Pauses,
    given: u64,
}

enum Stage {
    /// It is not clear yet what this is.
    Opening(Vec<u8>),
    Samples(Box<Decoder>),
    /// Text instead of sound.
    Text(Vec<u8>),
}

impl Sound {
    /// For the text this is expected of, from a server that sends mono at this rate if it sends bare samples.
    pub(crate) fn new(engine: &'static str, expected: Expected, rate: u32) -> Self {
        Self {
            engine,
            expected,
            told: Layout { rate, channels: 1 },
            negotiable: false,
            hidden: Hidden::default(),
            stage: Stage::Opening(Vec::new()),
            pauses: Pauses::default(),
            given: 0,
        }
    }

    /// A refusal of the format is [`EngineError::Unsupported`], so that another can be asked for.
    pub(crate) fn negotiable(self) -> Self {
        Self { negotiable: true, ..self }
    }

    fn take(&mut self, bytes: &[u8], ended: bool, events: &mut Vec<Vec<f32>>) -> Result<(), Fault> {
        if let Stage::Opening(opening) = &mut self.stage {
            opening.extend_from_slice(bytes);
            let opening = std::mem::take(opening);
            return self.open(opening, ended, events);
        }
        let sound = match &mut self.stage {
            Stage::Samples(decoder) => decoder.push(bytes),
            Stage::Text(text) => {
                text.extend_from_slice(&bytes[..bytes.len().min(TEXT_MAX - text.len())]);
                return Ok(());
            }
            Stage::Opening(_) => return Ok(()),
        };
        self.give(&sound, events)
    }

    fn open(&mut self, opening: Vec<u8>, ended: bool, events: &mut Vec<Vec<f32>>) -> Result<(), Fault> {
        let (decoder, start) = match judge(&opening, ended) {
            Content::Unclear => {
                self.stage = Stage::Opening(opening);
                return Ok(());
            }
            Content::Text => (None, 0),
            Content::Samples => (Some(Decoder::new(self.told, None)), 0),
            Content::Wav { layout, start, length } => (Some(Decoder::new(layout, length)), start),
            Content::Other(name) => return Err(self.final_fault(format!("the server sends {name}, not bare samples"))),
        };
        self.stage = match decoder {
            Some(decoder) => Stage::Samples(Box::new(decoder.map_err(|error| self.final_fault(error))?)),
            None => Stage::Text(Vec::new()),
        };
        self.take(&opening[start..], ended, events)
    }

    fn give(&mut self, sound: &[f32], events: &mut Vec<Vec<f32>>) -> Result<(), Fault> {
        let (sound, silent) = self.pauses.pass(sound);
        self.given += sound.len() as u64;
        if !sound.is_empty() {
            events.push(sound);
        }
        if silent {
            let seconds = PAUSE_MAX.as_ms() / 1000;
            return Err(Fault::Broken(format!("it sent {seconds} s of nothing but silence")));
        }
        if self.given > self.expected.most.0 {
            let most = self.expected.most_seconds();
            return Err(Fault::Broken(format!("it speaks for more than {most:.1} s, too long for its text")));
        }
        Ok(())
    }

    fn final_fault(&self, reason: impl ToString) -> Fault {
        Fault::Final(EngineError::Failed { engine: self.engine, reason: reason.to_string() })
    }

    fn says(&self, said: &str) -> Fault {
        let place = if self.given > 0 { "in the middle of its sound" } else { "instead of sound" };
        Fault::Broken(format!("it sent an error {place}: {said}"))
    }
}

impl Decode for Sound {
    type Event = Vec<f32>;

    fn begin(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content = text(CONTENT_TYPE.as_str()).to_ascii_lowercase();
        if content.starts_with("text/") || content.starts_with("application/json") {
            self.stage = Stage::Text(Vec::new());
        }
        // `audio/L16;rate=22050;channels=1` (RFC 2586), or the headers of SGLang-Omni (`sglang_omni/serve/openai_api.py`).
        let parameter = |name| content.split(';').find_map(|part| part.trim().strip_prefix(name)?.parse().ok());
        let rate = parameter("rate=").or_else(|| text("x-sample-rate").parse().ok());
        let channels = parameter("channels=").or_else(|| text("x-channels").parse().ok());
        if let Some(rate) = rate.filter(|rate| RATES.contains(rate)) {
            self.told.rate = rate;
        }
        if let Some(channels) = channels.filter(|channels| (1..=8).contains(channels)) {
            self.told.channels = channels as usize;
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], events: &mut Vec<Self::Event>) -> Result<(), Fault> {
        if matches!(self.stage, Stage::Text(_)) {
            return self.take(bytes, false, events);
        }
        let found = self.hidden.push(bytes);
        self.take(&found.sound, false, events)?;
        found.error.map_or(Ok(()), |said| Err(self.says(&said)))
    }

    fn finish(&mut self, events: &mut Vec<Self::Event>) -> Result<(), Fault> {
        let found = self.hidden.finish();
        self.take(&found.sound, true, events)?;
        if let Some(said) = found.error {
            return Err(self.says(&said));
        }
        match &mut self.stage {
            Stage::Text(text) => {
                let said = message(&String::from_utf8_lossy(text)).unwrap_or_else(|| "a page".into());
                return Err(self.says(&said));
            }
            Stage::Samples(decoder) => {
                let rest = decoder.finish();
                self.give(&rest, events)?;
            }
            Stage::Opening(_) => {}
        }
        if self.given == 0 {
            return Err(Fault::Broken("it answered without any sound".into()));
        }
        if self.given < self.expected.least.0 {
            let ms = Samples(self.given).as_ms();
            return Err(Fault::Broken(format!("it broke off after {ms} ms, too soon for its text")));
        }
        Ok(())
    }

    fn refused(&self, engine: &'static str, status: StatusCode, body: &str) -> Fault {
        let fault = refused(engine, status, body);
        let said = body.to_ascii_lowercase();
        let format = matches!(status.as_u16(), 400 | 415 | 422) && (said.contains("format") || said.contains("pcm"));
        match fault {
            Fault::Final(EngineError::Failed { reason, .. }) if self.negotiable && format => {
                Fault::Final(EngineError::Unsupported { engine, reason })
            }
            fault => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Good evening from the studio.";

    fn tone(rate: u32, ms: u32) -> Vec<u8> {
        let step = std::f32::consts::TAU * 300.0 / rate as f32;
        let sample = |n: u32| (9000.0 * (step * n as f32).cos()) as i16;
        (0..rate * ms / 1000).flat_map(|n| sample(n).to_le_bytes()).collect()
    }

    fn sound() -> Sound {
        Sound::new("test", Expected::of(TEXT, 1.0), OUTPUT_RATE)
    }

    fn read(mut sound: Sound, bytes: &[u8], size: usize) -> (Vec<f32>, Result<(), Fault>) {
        let mut events = Vec::new();
        let pieces = bytes.chunks(size).try_for_each(|piece| sound.push(piece, &mut events));
        let outcome = pieces.and_then(|()| sound.finish(&mut events));
        (events.concat(), outcome)
    }

    fn says(sound: Sound, bytes: &[u8]) -> String {
        match read(sound, bytes, 1000).1.unwrap_err() {
            Fault::Broken(reason) => reason,
            Fault::Final(error) => error.to_string(),
        }
    }

    #[test]
    fn samples_do_not_depend_on_where_they_are_cut() {
        let bytes = tone(OUTPUT_RATE, 1000);
        let (whole, outcome) = read(sound(), &bytes, usize::MAX);
        outcome.unwrap();
        assert_eq!(whole.len(), 24_000);
        for size in [1, 3, 997] {
            assert_eq!(read(sound(), &bytes, size).0, whole, "{size}");
        }
    }

    #[test]
    fn another_rate_is_believed_of_headers_and_of_wav() {
        for (name, value) in [("x-sample-rate", "16000"), ("content-type", "audio/L16; rate=16000; channels=1")] {
            let mut told = sound();
            told.begin(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])).unwrap();
            let (heard, outcome) = read(told, &tone(16_000, 1000), 999);
            outcome.unwrap();
            assert_eq!(heard.len(), 24_000);
        }
        let mut file =
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\x7d\0\0".to_vec();
        file.extend(tone(16_000, 1000));
        file.extend(b"LIST\x04\0\0\0abcd");
        let (heard, outcome) = read(sound(), &file, 999);
        outcome.unwrap();
        assert_eq!(heard.len(), 24_000);
    }

    #[test]
    fn silence_around_the_sound_is_cut_and_pauses_stay() {
        let silence = |ms: usize| vec![0; 48 * ms];
        let bytes =
            [silence(800), tone(OUTPUT_RATE, 400), silence(1000), tone(OUTPUT_RATE, 400), silence(900)].concat();
        let (heard, outcome) = read(sound(), &bytes, 1000);
        outcome.unwrap();
        let ms = heard.len() / 24;
        assert!((2100..2125).contains(&ms), "{ms}");
    }

    #[test]
    fn what_is_no_speech_of_this_text_is_an_error() {
        insta::assert_snapshot!(says(sound(), b""), @"it answered without any sound");
        insta::assert_snapshot!(says(sound(), &vec![0; 40_000]), @"it answered without any sound");
        insta::assert_snapshot!(says(sound(), &vec![0; 400_000]), @"it sent 3 s of nothing but silence");
        insta::assert_snapshot!(says(sound(), &tone(OUTPUT_RATE, 20_000)), @"it speaks for more than 8.0 s, too long for its text");
        insta::assert_snapshot!(says(sound(), &tone(OUTPUT_RATE, 300)), @"it broke off after 300 ms, too soon for its text");
        insta::assert_snapshot!(says(sound(), b"ID3\x04\0\0"), @"test failed: the server sends MP3, not bare samples");
        insta::assert_snapshot!(says(sound(), b"{\"error\":\"no GPU\"}"), @"it sent an error instead of sound: no GPU");
        insta::assert_snapshot!(says(sound(), b"{\"status\": \"failed\", \"message\": \"busy\"}"), @"it sent an error instead of sound: busy");
        insta::assert_snapshot!(says(sound(), b"<html><body>504</body></html>"), @"it sent an error instead of sound: a page");
        let broken = [tone(OUTPUT_RATE, 500), b"{\"error\": {\"message\": \"out of memory\"}}".to_vec()].concat();
        insta::assert_snapshot!(says(sound(), &broken), @"it sent an error in the middle of its sound: out of memory");
    }

    #[test]
    fn a_refused_format_is_told_from_other_refusals() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let body = "{\"detail\":[{\"loc\":[\"body\",\"response_format\"],\"msg\":\"Input should be 'mp3' or 'wav'\"}]}";
        let unsupported = |fault| matches!(fault, Fault::Final(EngineError::Unsupported { .. }));
        assert!(unsupported(sound().negotiable().refused("test", status, body)));
        assert!(!unsupported(sound().refused("test", status, body)));
        assert!(!unsupported(sound().negotiable().refused("test", status, "{\"detail\":\"no such voice\"}")));
    }

    #[test]
    fn numbers_and_ideographs_take_longer() {
        let most = |text| Expected::of(text, 1.0).most_seconds();
        assert_eq!([most("abcd"), most("2026"), most("天气")], [3.0, 6.0, 3.0]);
        assert_eq!(Expected::of("abcd", 2.0).most_seconds(), 1.5);
    }
}
