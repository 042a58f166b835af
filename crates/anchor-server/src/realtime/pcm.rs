//! Sound on the wire: base64 of 16-bit little-endian mono at 24 kHz, both ways.

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, Resampler};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::wire::Error;

/// Rate of sound on the wire, in Hz.
pub(super) const WIRE_RATE: u32 = 24_000;

/// Most sound taken in one message, in bytes: the hosted API's limit, over five minutes.
const APPEND_MAX: usize = 15 * 1024 * 1024;

/// Most bytes converted at once: 100 ms, so that a message of minutes does not hold up the thread.
const PIECE: usize = WIRE_RATE as usize / 10 * 2;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Sound as it comes from the client, on its way to the session.
pub(super) struct Microphone {
    resampler: Resampler,
    /// The newest message's sound, and how much of it was given out.
    bytes: Vec<u8>,
    given: usize,
}

impl Microphone {
    pub(super) fn new() -> Self {
        let resampler = Resampler::new(WIRE_RATE, INPUT_RATE).expect("both are everyday rates");
        Self { resampler, bytes: Vec::new(), given: 0 }
    }

    /// Takes in the sound of one message. Only once [`next`](Self::next) has given out all of the last.
    pub(super) fn append(&mut self, audio: &str) -> Result<(), Error> {
        let refuse = |code, message: String| Err(Error::invalid(code, Some("audio"), message));
        // Three bytes are four letters.
        if audio.len() > APPEND_MAX.div_ceil(3) * 4 {
            let message = "'audio' holds more than 15 MiB of sound. Send it in smaller messages.".to_owned();
            return refuse("string_above_max_length", message);
        }
        let bytes = match BASE64.decode(audio) {
            Ok(bytes) => bytes,
            Err(error) => {
                let found = error.to_string();
                let message = format!("'audio' is not valid base64: {}.", found.trim_end_matches('.'));
                return refuse("invalid_value", message);
            }
        };
        if bytes.is_empty() {
            return refuse(
                "invalid_value",
                "'audio' is empty. Leave the message out when there is no sound.".to_owned(),
            );
        }
        if bytes.len() % 2 != 0 {
            let message = format!(
                "'audio' holds {} bytes, which is no whole number of 16-bit samples. Cut the sound between samples.",
                bytes.len()
            );
            return refuse("invalid_value", message);
        }
        (self.bytes, self.given) = (bytes, 0);
        Ok(())
    }

    /// The next sound for the session.
    pub(super) fn next(&mut self) -> Option<AudioFrame> {
        while self.given < self.bytes.len() {
            let end = self.bytes.len().min(self.given + PIECE);
            let samples: Vec<f32> = self.bytes[self.given..end]
                .chunks_exact(2)
                .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32_768.0)
                .collect();
            self.given = end;
            let heard = self.resampler.push(&samples);
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

/// Longest piece of sound in one message to the client: 100 ms. Clients may refuse messages over 1 MiB, and short ones
/// can be dropped sooner when the person interrupts.
const DELTA: usize = OUTPUT_RATE as usize / 10;

/// Writes sound for the client, in pieces.
pub(super) fn deltas(frame: &AudioFrame) -> impl Iterator<Item = String> {
    frame.chunks(DELTA).map(|piece| {
        let bytes: Vec<u8> = piece
            .iter()
            .flat_map(|sample| ((sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16).to_le_bytes())
            .collect();
        BASE64.encode(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(audio: &str) -> String {
        let error = Microphone::new().append(audio).expect_err("it was taken");
        format!("{} at {}: {}", error.code, error.param.unwrap(), error.message)
    }

    #[test]
    fn what_is_no_sound_is_refused_in_words() {
        insta::assert_snapshot!(["", "!!!!", "A", "AAAA"].map(refusal).join("\n"));
        let long = refusal(&BASE64.encode(vec![0; APPEND_MAX + 2]));
        assert!(long.starts_with("string_above_max_length"), "{long}");
        assert!(Microphone::new().append(&BASE64.encode(vec![0; APPEND_MAX])).is_ok());
    }

    #[test]
    fn sound_comes_in_at_the_sessions_rate_however_it_is_cut() {
        let tone: Vec<u8> = (0..24_000)
            .flat_map(|n| {
                (((n as f32 * std::f32::consts::TAU * 400.0 / 24_000.0).sin() * 16_384.0).round() as i16).to_le_bytes()
            })
            .collect();
        let hear = |size: usize| {
            let mut microphone = Microphone::new();
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
        let frame = AudioFrame::new(vec![0.0, 1.0, -1.0, 7.0, -7.0]);
        let deltas: Vec<_> = deltas(&frame).map(|delta| BASE64.decode(delta).unwrap()).collect();
        assert_eq!(deltas, [[0, 0, 0xff, 0x7f, 0x01, 0x80, 0xff, 0x7f, 0x00, 0x80]]);
        let second = AudioFrame::new(vec![0.0; 24_000]);
        assert_eq!(super::deltas(&second).map(|delta| delta.len()).collect::<Vec<_>>(), [6_400; 10]);
    }
}
