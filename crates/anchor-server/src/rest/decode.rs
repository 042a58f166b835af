//! Files of sound, as clients upload them, to what a recogniser takes.

use std::io::Cursor;

use anchor_core::audio::{INPUT_RATE, resample};
use opus_pure::OpusDecoder;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder};
use symphonia::core::errors::Error;
use symphonia::core::formats::TrackType;
use symphonia::core::formats::probe::Hint;
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;

/// Longest recording, in seconds. What is decoded lies in memory.
const SECONDS_MAX: usize = 30 * 60;

/// Rate that Opus is decoded at, in Hz.
const OPUS_RATE: u32 = 48_000;

/// Longest packet of Opus, in samples: 120 ms (RFC 6716, 2.1.4).
const OPUS_PACKET_MAX: usize = 5760;

/// The sound of a file, mono at [`INPUT_RATE`], or what is wrong with it. Blocks while it computes.
pub(super) fn decode(file: Vec<u8>) -> Result<Vec<f32>, String> {
    let unknown = |error: Error| format!("it is not a sound file that can be read ({error})");
    let source = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), source, Default::default(), Default::default())
        .map_err(unknown)?;
    let track = format.default_track(TrackType::Audio).ok_or("it holds no sound")?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let mut decoder = Decoder::new(parameters.ok_or("it does not say how its sound is coded")?)?;
    let (mut sound, mut rate) = (Vec::new(), 0);
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A recording that breaks off is heard up to there.
            Err(Error::IoError(_)) if !sound.is_empty() => break,
            Err(error) => return Err(unknown(error)),
        };
        if packet.track_id != id {
            continue;
        }
        match decoder.decode(&packet)? {
            Some(decoded) if rate == 0 || rate == decoded => rate = decoded,
            Some(_) => return Err("its rate changes on the way".into()),
            None => continue,
        }
        decoder.mix_down(&mut sound);
        if sound.len() > SECONDS_MAX * rate as usize {
            return Err(format!("it is longer than {} minutes", SECONDS_MAX / 60));
        }
    }
    if sound.is_empty() {
        return Err("it holds no sound".into());
    }
    resample(&sound, rate, INPUT_RATE).map_err(|error| error.to_string())
}

/// Decodes packets, and holds the sound of the last.
struct Decoder {
    codec: Codec,
    /// Its samples, those of all channels one after the other.
    samples: Vec<f32>,
    channels: usize,
}

enum Codec {
    Opus(Box<OpusDecoder>),
    Other(Box<dyn AudioDecoder>),
}

impl Decoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self, String> {
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count()).clamp(1, 2);
        let codec = if parameters.codec == CODEC_ID_OPUS {
            let decoder = OpusDecoder::new(OPUS_RATE as i32, channels).map_err(|error| error.to_string())?;
            Codec::Opus(Box::new(decoder))
        } else {
            let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &Default::default());
            Codec::Other(decoder.map_err(|error| format!("its sound cannot be decoded ({error})"))?)
        };
        Ok(Self { codec, samples: Vec::new(), channels })
    }

    /// The rate of the packet's sound; `None` where the packet is broken and is left out.
    fn decode(&mut self, packet: &Packet) -> Result<Option<u32>, String> {
        match &mut self.codec {
            Codec::Opus(decoder) => {
                self.samples.resize(OPUS_PACKET_MAX * self.channels, 0.0);
                let Ok(length) = decoder.decode(&packet.data, OPUS_PACKET_MAX, &mut self.samples) else {
                    return Ok(None);
                };
                self.samples.truncate(length * self.channels);
                Ok(Some(OPUS_RATE))
            }
            Codec::Other(decoder) => match decoder.decode(packet) {
                Ok(buffer) => {
                    self.channels = buffer.spec().channels().count().max(1);
                    let rate = buffer.spec().rate();
                    buffer.copy_to_vec_interleaved(&mut self.samples);
                    Ok(Some(rate))
                }
                Err(Error::DecodeError(_)) => Ok(None),
                Err(error) => Err(format!("its sound cannot be decoded ({error})")),
            },
        }
    }

    fn mix_down(&self, sound: &mut Vec<f32>) {
        let share = 1.0 / self.channels as f32;
        sound.extend(self.samples.chunks_exact(self.channels).map(|frame| frame.iter().sum::<f32>() * share));
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::Encoder;
    use super::*;

    fn file(format: &str, sound: &[f32]) -> Vec<u8> {
        let mut encoder = Encoder::new(format).unwrap().unwrap();
        let mut file: Vec<u8> = sound.chunks(700).flat_map(|piece| encoder.push(piece).unwrap()).collect();
        file.extend(encoder.finish().unwrap());
        file
    }

    #[test]
    fn what_is_written_in_any_form_is_read_again() {
        let tone: Vec<f32> =
            (0..24_000).map(|n| 0.5 * (n as f32 * std::f32::consts::TAU * 400.0 / 24_000.0).sin()).collect();
        for format in ["flac", "mp3", "opus", "wav"] {
            let heard = decode(file(format, &tone)).unwrap_or_else(|error| panic!("{format}: {error}"));
            assert!(heard.len().abs_diff(16_000) < 1_200, "{format}: {} samples", heard.len());
            let level = anchor_core::audio::level_dbfs(&heard[2_000..14_000]);
            assert!((level + 9.03).abs() < 0.5, "{format}: {level} dBFS");
        }
    }

    #[test]
    fn what_is_no_sound_is_refused() {
        for file in [vec![], b"hello".to_vec(), vec![0; 100_000], file("wav", &[0.0; 100])[..30].to_vec()] {
            let length = file.len();
            assert!(decode(file).is_err(), "{length} bytes");
        }
    }
}
