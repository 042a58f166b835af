//! Sound on the wire: base64 of 16-bit samples at 24 kHz or of G.711 at 8 kHz, both ways.

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, Resampler, resample};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::g711::Law;
use super::wire::{AudioFormat, Error};

/// Most sound taken in one message, in bytes: the hosted API's limit, over five minutes.
const APPEND_MAX: usize = 15 * 1024 * 1024;

/// Longest recording in an item, in seconds: the longest turn there may be.
const RECORDING_MAX: usize = 120;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How samples are written.
enum Coding {
    Linear,
    Companded(Law),
}

impl AudioFormat {
    const fn coding(self) -> Coding {
        match self {
            Self::Pcm => Coding::Linear,
            Self::Pcmu => Coding::Companded(Law::Mu),
            Self::Pcma => Coding::Companded(Law::A),
        }
    }

    /// Bytes of one sample.
    const fn width(self) -> usize {
        match self.coding() {
            Coding::Linear => 2,
            Coding::Companded(_) => 1,
        }
    }

    fn samples(self, bytes: &[u8]) -> Vec<f32> {
        let scaled = |sample: i16| f32::from(sample) / 32_768.0;
        match self.coding() {
            Coding::Linear => bytes.chunks_exact(2).map(|two| scaled(i16::from_le_bytes([two[0], two[1]]))).collect(),
            Coding::Companded(law) => bytes.iter().map(|&code| scaled(law.decode(code))).collect(),
        }
    }

    fn bytes(self, samples: &[f32]) -> Vec<u8> {
        let samples = samples.iter().map(|sample| (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16);
        match self.coding() {
            Coding::Linear => samples.flat_map(i16::to_le_bytes).collect(),
            Coding::Companded(law) => samples.map(|sample| law.encode(sample)).collect(),
        }
    }
}

/// Sound as it comes from the client, on its way to the session.
pub(super) struct Microphone {
    format: AudioFormat,
    resampler: Resampler,
    /// The newest message's sound, and how much of it was given out.
    bytes: Vec<u8>,
    given: usize,
}

impl Microphone {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self { format, resampler: resampler(format.rate(), INPUT_RATE), bytes: Vec::new(), given: 0 }
    }

    /// From now on sound comes in this form.
    pub(super) fn set_format(&mut self, format: AudioFormat) {
        if format != self.format {
            *self = Self::new(format);
        }
    }

    /// Takes in the sound of one message. Only once [`next`](Self::next) has given out all of the last.
    pub(super) fn append(&mut self, audio: &str) -> Result<(), Error> {
        (self.bytes, self.given) = (decode(audio, self.format, "audio")?, 0);
        Ok(())
    }

    /// The next sound for the session.
    pub(super) fn next(&mut self) -> Option<AudioFrame> {
        // 100 ms at once, so that a message of minutes does not hold up the thread.
        let piece = self.format.rate() as usize / 10 * self.format.width();
        while self.given < self.bytes.len() {
            let end = self.bytes.len().min(self.given + piece);
            let heard = self.resampler.push(&self.format.samples(&self.bytes[self.given..end]));
            self.given = end;
            if !heard.is_empty() {
                return Some(AudioFrame::new(heard));
            }
        }
        // The room of a long message is better given back.
        self.bytes = Vec::new();
        self.given = 0;
        None
    }
}

/// Sound that comes as a whole, in the part of an item that `param` names.
pub(super) fn recording(audio: &str, format: AudioFormat, param: &str) -> Result<AudioFrame, Error> {
    let bytes = decode(audio, format, param)?;
    if bytes.len() > RECORDING_MAX * format.rate() as usize * format.width() {
        let message = format!("'{param}' is longer than {RECORDING_MAX} seconds. Send it as several items.");
        return Err(Error::invalid("string_above_max_length", Some(param), message));
    }
    let samples = resample(&format.samples(&bytes), format.rate(), INPUT_RATE).expect("both are everyday rates");
    Ok(AudioFrame::new(samples))
}

fn decode(audio: &str, format: AudioFormat, param: &str) -> Result<Vec<u8>, Error> {
    let refuse = |code, message: String| Err(Error::invalid(code, Some(param), message));
    // Three bytes are four letters.
    if audio.len() > APPEND_MAX.div_ceil(3) * 4 {
        let message = format!("'{param}' holds more than 15 MiB of sound. Send it in smaller messages.");
        return refuse("string_above_max_length", message);
    }
    let bytes = match BASE64.decode(audio) {
        Ok(bytes) => bytes,
        Err(error) => {
            let found = error.to_string();
            let message = format!("'{param}' is not valid base64: {}.", found.trim_end_matches('.'));
            return refuse("invalid_value", message);
        }
    };
    if bytes.is_empty() {
        return refuse("invalid_value", format!("'{param}' is empty. Leave it out when there is no sound."));
    }
    if bytes.len() % format.width() != 0 {
        let message = format!(
            "'{param}' holds {} bytes, which is no whole number of 16-bit samples. Cut the sound between samples.",
            bytes.len()
        );
        return refuse("invalid_value", message);
    }
    Ok(bytes)
}

fn resampler(from: u32, to: u32) -> Resampler {
    Resampler::new(from, to).expect("both are everyday rates")
}

/// Longest piece of sound in one message to the client, in parts of a second. Clients may refuse messages over 1 MiB, and
/// short ones can be dropped sooner when the person interrupts.
const DELTAS_A_SECOND: usize = 10;

/// Writes the sound of one answer for the client, in pieces.
pub(super) struct Speaker {
    pub(super) format: AudioFormat,
    resampler: Resampler,
}

impl Speaker {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self { format, resampler: resampler(OUTPUT_RATE, format.rate()) }
    }

    /// Takes the next sound.
    pub(super) fn deltas(&mut self, frame: &AudioFrame) -> Vec<String> {
        let samples = self.resampler.push(frame);
        self.written(&samples)
    }

    /// What is still inside when the answer is over.
    pub(super) fn finish(&mut self) -> Vec<String> {
        let resampler = std::mem::replace(&mut self.resampler, resampler(OUTPUT_RATE, self.format.rate()));
        self.written(&resampler.finish())
    }

    fn written(&self, samples: &[f32]) -> Vec<String> {
        let pieces = samples.chunks(self.format.rate() as usize / DELTAS_A_SECOND);
        pieces.map(|piece| BASE64.encode(self.format.bytes(piece))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(audio: &str) -> String {
        let error = Microphone::new(AudioFormat::Pcm).append(audio).expect_err("it was taken");
        format!("{} at {}: {}", error.code, error.param.unwrap(), error.message)
    }

    #[test]
    fn what_is_no_sound_is_refused_in_words() {
        insta::assert_snapshot!(["", "!!!!", "A", "AAAA"].map(refusal).join("\n"));
        let long = refusal(&BASE64.encode(vec![0; APPEND_MAX + 2]));
        assert!(long.starts_with("string_above_max_length"), "{long}");
        assert!(Microphone::new(AudioFormat::Pcm).append(&BASE64.encode(vec![0; APPEND_MAX])).is_ok());
    }

    #[test]
    fn sound_comes_in_at_the_sessions_rate_however_it_is_cut() {
        let tone: Vec<u8> = (0..24_000)
            .flat_map(|n| {
                (((n as f32 * std::f32::consts::TAU * 400.0 / 24_000.0).sin() * 16_384.0).round() as i16).to_le_bytes()
            })
            .collect();
        let hear = |size: usize| {
            let mut microphone = Microphone::new(AudioFormat::Pcm);
            let mut heard = Vec::new();
            for piece in tone.chunks(size) {
                microphone.append(&BASE64.encode(piece)).unwrap();
                while let Some(frame) = microphone.next() {
                    heard.extend_from_slice(&frame);
                }
            }
            heard
        };
        let whole = hear(usize::MAX);
        assert!((15_500..=16_000).contains(&whole.len()), "{}", whole.len());
        let level = anchor_core::audio::level_dbfs(&whole[1_000..15_000]);
        assert!((level + 9.03).abs() < 0.1, "{level} dBFS");
        assert_eq!(hear(960), whole);
        assert_eq!(hear(34), whole);
    }

    #[test]
    fn sound_goes_out_clamped_and_in_small_pieces() {
        let mut speaker = Speaker::new(AudioFormat::Pcm);
        let frame = AudioFrame::new(vec![0.0, 1.0, -1.0, 7.0, -7.0]);
        let deltas: Vec<_> = speaker.deltas(&frame).iter().map(|delta| BASE64.decode(delta).unwrap()).collect();
        assert_eq!(deltas, [[0, 0, 0xff, 0x7f, 0x01, 0x80, 0xff, 0x7f, 0x00, 0x80]]);
        let second = AudioFrame::new(vec![0.0; 24_000]);
        assert_eq!(speaker.deltas(&second).iter().map(String::len).collect::<Vec<_>>(), [6_400; 10]);
        assert!(speaker.finish().is_empty());
    }

    #[test]
    fn telephone_sound_comes_in_and_goes_out_at_its_own_rate() {
        let tone = |rate: f32| move |n| 0.5 * (n as f32 * std::f32::consts::TAU * 400.0 / rate).sin();
        for format in [AudioFormat::Pcmu, AudioFormat::Pcma] {
            let said: Vec<f32> = (0..8_000).map(tone(8_000.0)).collect();
            let mut microphone = Microphone::new(AudioFormat::Pcm);
            microphone.set_format(format);
            microphone.append(&BASE64.encode(format.bytes(&said))).unwrap();
            let heard: Vec<f32> = std::iter::from_fn(|| microphone.next()).flat_map(|frame| frame.to_vec()).collect();
            assert!((15_000..=16_000).contains(&heard.len()), "{}", heard.len());
            let level = anchor_core::audio::level_dbfs(&heard[1_000..14_000]);
            assert!((level + 9.03).abs() < 0.2, "{format:?}: {level} dBFS");

            let mut speaker = Speaker::new(format);
            let mut deltas = speaker.deltas(&AudioFrame::new((0..24_000).map(tone(24_000.0)).collect::<Vec<_>>()));
            deltas.extend(speaker.finish());
            let bytes: Vec<u8> = deltas.iter().flat_map(|delta| BASE64.decode(delta).unwrap()).collect();
            assert_eq!(bytes.len(), 8_000, "one byte a sample, none lost");
            let level = anchor_core::audio::level_dbfs(&format.samples(&bytes)[500..7_500]);
            assert!((level + 9.03).abs() < 0.2, "{format:?}: {level} dBFS");
        }
    }

    #[test]
    fn a_recording_is_taken_whole_and_may_be_as_long_as_a_turn() {
        let taken = recording(&BASE64.encode(vec![0xff; 8_000]), AudioFormat::Pcmu, "audio").unwrap();
        assert_eq!(taken.len(), 16_000);
        let long = BASE64.encode(vec![0; 121 * 8_000]);
        let error = recording(&long, AudioFormat::Pcma, "item.content[0].audio").unwrap_err();
        assert_eq!(error.code, "string_above_max_length");
        assert!(error.message.contains("120 seconds"), "{}", error.message);
    }
}
