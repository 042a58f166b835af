//! Sound to files, in the forms that a client may ask for.

use anchor_core::audio::OUTPUT_RATE;
use flacenc::component::BitRepr;
use flacenc::error::Verify;
use opus_pure::ogg::{OggOpusWriter, OpusHead};
use opus_pure::{Application, OpusEncoder};
use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};

/// Samples in one packet of Opus: 20 ms.
const PACKET: usize = OUTPUT_RATE as usize / 50;

/// The same in the samples of 48 kHz that Ogg counts Opus in (RFC 7845, 4).
const PACKET_48K: u32 = 960;

/// Longest packet of one frame, in bytes (RFC 6716, 3.2.1).
const PACKET_MAX: usize = 1275;

/// Speech of one voice at 24 kHz is clean at this rate.
const MP3: Mp3EncoderConfig = Mp3EncoderConfig { bitrate_kbps: 64, vbr_quality: None };

/// The forms, as clients name them.
pub(super) const FORMATS: &str = "mp3, opus, flac, wav, pcm";

/// Writes a file while its sound is made. All are mono at [`OUTPUT_RATE`], of 16 bits where they have bits.
pub(super) enum Encoder {
    Pcm,
    Wav {
        begun: bool,
    },
    /// The samples so far: the format needs its length at its beginning.
    Flac(Vec<i32>),
    Opus(Box<Opus>),
    Mp3 {
        encoder: Box<Mp3Encoder>,
        begun: bool,
    },
}

pub(super) struct Opus {
    encoder: OpusEncoder,
    file: OggOpusWriter<Vec<u8>>,
    waiting: Vec<f32>,
}

impl Encoder {
    /// `None` where the form is not one of [`FORMATS`].
    pub(super) fn new(format: &str) -> Option<Result<Self, String>> {
        Some(match format {
            "pcm" => Ok(Self::Pcm),
            "wav" => Ok(Self::Wav { begun: false }),
            "flac" => Ok(Self::Flac(Vec::new())),
            "mp3" => Ok(Self::Mp3 { encoder: Box::new(Mp3Encoder::new(MP3)), begun: false }),
            "opus" => Opus::new().map(|opus| Self::Opus(Box::new(opus))).map_err(|error| error.to_string()),
            _ => return None,
        })
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Pcm => "audio/pcm",
            Self::Wav { .. } => "audio/wav",
            Self::Flac(_) => "audio/flac",
            Self::Opus(_) => "audio/ogg",
            Self::Mp3 { .. } => "audio/mpeg",
        }
    }

    /// The next bytes of the file.
    pub(super) fn push(&mut self, sound: &[f32]) -> Result<Vec<u8>, String> {
        match self {
            Self::Pcm => Ok(bytes(sound)),
            Self::Wav { begun } => {
                let head = if std::mem::replace(begun, true) { Vec::new() } else { wav_head() };
                Ok([head, bytes(sound)].concat())
            }
            Self::Flac(samples) => {
                samples.extend(sound.iter().map(|sample| i32::from(pcm(*sample))));
                Ok(Vec::new())
            }
            Self::Opus(opus) => {
                opus.waiting.extend_from_slice(sound);
                opus.drain().map_err(|error| error.to_string())
            }
            Self::Mp3 { encoder, begun } => {
                encoder.push_pcm_f32(sound, 1, OUTPUT_RATE).map_err(|error| error.to_string())?;
                Ok(packets(encoder, begun))
            }
        }
    }

    /// The last bytes of the file.
    pub(super) fn finish(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Pcm | Self::Wav { begun: true } => Ok(Vec::new()),
            Self::Wav { begun: false } => Ok(wav_head()),
            Self::Flac(samples) => flac(&samples),
            Self::Opus(opus) => opus.finish().map_err(|error| error.to_string()),
            Self::Mp3 { mut encoder, mut begun } => {
                encoder.finish();
                Ok(packets(&mut encoder, &mut begun))
            }
        }
    }
}

/// What is encoded by now. The first packet would tell how long the file is, which nobody knows while it is made.
fn packets(encoder: &mut Mp3Encoder, begun: &mut bool) -> Vec<u8> {
    let packets = std::iter::from_fn(|| encoder.next_packet().ok());
    packets.filter(|_| std::mem::replace(begun, true)).flatten().collect()
}

impl Opus {
    fn new() -> Result<Self, opus_pure::Error> {
        let encoder = OpusEncoder::new(OUTPUT_RATE as i32, 1, Application::Voip)?;
        let head = OpusHead::for_encoder(&encoder, OUTPUT_RATE);
        Ok(Self { file: OggOpusWriter::new(Vec::new(), head)?, encoder, waiting: Vec::new() })
    }

    /// Encodes whole packets, and takes out what the file has got.
    fn drain(&mut self) -> Result<Vec<u8>, opus_pure::Error> {
        let whole = self.waiting.len() / PACKET * PACKET;
        for sound in self.waiting[..whole].chunks_exact(PACKET) {
            let mut packet = [0; PACKET_MAX];
            let length = self.encoder.encode(sound, PACKET, &mut packet)?;
            self.file.write_packet_with_duration(&packet[..length], PACKET_48K)?;
        }
        self.waiting.drain(..whole);
        Ok(self.file.get_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The end is filled up with silence, and so is the encoder's delay.
    fn finish(mut self: Box<Self>) -> Result<Vec<u8>, opus_pure::Error> {
        let whole = (self.waiting.len() + self.encoder.lookahead()).next_multiple_of(PACKET);
        self.waiting.resize(whole, 0.0);
        let mut rest = self.drain()?;
        rest.extend(self.file.finish()?);
        Ok(rest)
    }
}

fn pcm(sample: f32) -> i16 {
    (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16
}

fn bytes(sound: &[f32]) -> Vec<u8> {
    sound.iter().flat_map(|sample| pcm(*sample).to_le_bytes()).collect()
}

/// The head of a WAV file whose length is not known yet: the fields for it hold the largest number, as players expect
/// of a stream.
fn wav_head() -> Vec<u8> {
    let rate = OUTPUT_RATE.to_le_bytes();
    let bytes_per_second = (OUTPUT_RATE * 2).to_le_bytes();
    [
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0",
        &rate[..],
        &bytes_per_second,
        b"\x02\0\x10\0data\xff\xff\xff\xff",
    ]
    .concat()
}

fn flac(samples: &[i32]) -> Result<Vec<u8>, String> {
    let config = flacenc::config::Encoder::default().into_verified().map_err(|(_, error)| error.to_string())?;
    let source = flacenc::source::MemSource::from_samples(samples, 1, 16, OUTPUT_RATE as usize);
    let mut stream =
        flacenc::encode_with_fixed_block_size(&config, source, config.block_size).map_err(|error| error.to_string())?;
    // The last block does not count for the smallest (RFC 9639, 8.2); strict readers take a file that counts it for one of
    // changing block sizes.
    let size = stream.stream_info().max_block_size();
    stream.stream_info_mut().set_block_sizes(size, size).map_err(|error| error.to_string())?;
    let mut file = flacenc::bitsink::ByteSink::new();
    stream.write(&mut file).map_err(|error| error.to_string())?;
    Ok(file.as_slice().to_vec())
}
