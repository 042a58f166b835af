//! WAV files: any rate, any number of channels and any depth in, 16-bit mono out.

use std::io::{self, Cursor, Read};

use anchor_core::audio::{Resampler, UnsupportedRate};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// Longest sound read: an hour, 230 MB in memory at 16 kHz.
const MAX_SECONDS: u64 = 3600;

/// Why a WAV file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// The file cannot be read from.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// It is something else, or damaged.
    #[error("is not a WAV file this program can read: {0}. Convert it to 16-bit PCM WAV")]
    Format(String),
    /// It ends too early.
    #[error("is empty or cut off: it ends before its header says. Copy or record it again")]
    CutOff,
    /// Its rate is out of range.
    #[error("{0}")]
    Rate(#[from] UnsupportedRate),
    /// It is too long.
    #[error("is longer than {MAX_SECONDS} seconds. Cut it into shorter files")]
    TooLong,
}

impl From<hound::Error> for WavError {
    fn from(error: hound::Error) -> Self {
        match error {
            // hound reports a short read as an error of its own making, of kind `Other`.
            hound::Error::IoError(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::Other) =>
            {
                Self::CutOff
            }
            hound::Error::IoError(error) => Self::Io(error),
            hound::Error::UnfinishedSample => Self::CutOff,
            other => Self::Format(other.to_string()),
        }
    }
}

/// Reads a WAV file as mono samples in -1..1 at `rate` Hz; channels are averaged.
pub fn read(reader: impl Read, rate: u32) -> Result<Vec<f32>, WavError> {
    let mut reader = WavReader::new(reader)?;
    let spec = reader.spec();
    let mut resampler = Resampler::new(spec.sample_rate, rate)?;
    let most = MAX_SECONDS * u64::from(spec.sample_rate);
    let mut samples = samples(&mut reader, spec);
    let mut out = Vec::new();
    let mut block = Vec::new();
    let mut taken = 0;
    loop {
        block.clear();
        // Tenths of a second: the resampler works in pieces, and the whole need not be held twice.
        while block.len() < spec.sample_rate as usize / 10 {
            let Some(sample) = frame(&mut samples, spec.channels)? else { break };
            block.push(sample);
        }
        if block.is_empty() {
            out.extend(resampler.finish());
            return Ok(out);
        }
        taken += block.len() as u64;
        if taken > most {
            return Err(WavError::TooLong);
        }
        out.extend(resampler.push(&block));
    }
}

/// The samples of all channels in turn, in -1..1.
fn samples<R: Read>(reader: &mut WavReader<R>, spec: WavSpec) -> Box<dyn Iterator<Item = hound::Result<f32>> + '_> {
    match spec.sample_format {
        SampleFormat::Float => Box::new(reader.samples::<f32>()),
        SampleFormat::Int => {
            let scale = 1.0 / (1_u64 << (spec.bits_per_sample - 1)) as f32;
            Box::new(reader.samples::<i32>().map(move |sample| sample.map(|sample| sample as f32 * scale)))
        }
    }
}

/// The average of the next sample of every channel.
fn frame(samples: &mut impl Iterator<Item = hound::Result<f32>>, channels: u16) -> Result<Option<f32>, WavError> {
    let mut sum = 0.0;
    for channel in 0..channels {
        match samples.next() {
            Some(sample) => sum += sample?,
            None if channel == 0 => return Ok(None),
            None => return Err(WavError::CutOff),
        }
    }
    Ok(Some(sum / f32::from(channels)))
}

/// A WAV file of mono samples in -1..1; what lies outside is clipped.
pub fn write(samples: &[f32], rate: u32) -> Vec<u8> {
    let spec = WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut bytes = Cursor::new(Vec::with_capacity(44 + samples.len() * 2));
    let mut writer = WavWriter::new(&mut bytes, spec).expect("memory can be written to");
    for sample in samples {
        let sample = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
        writer.write_sample(sample).expect("memory can be written to");
    }
    writer.finalize().expect("memory can be written to");
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(spec: WavSpec, samples: &[f32]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for sample in samples {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(*sample).unwrap(),
                SampleFormat::Int => {
                    let full = (1_u64 << (spec.bits_per_sample - 1)) as f32;
                    writer.write_sample((sample * full) as i32).unwrap();
                }
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn reads_every_depth_and_channel_count() {
        for (bits_per_sample, sample_format) in [
            (8, SampleFormat::Int),
            (16, SampleFormat::Int),
            (24, SampleFormat::Int),
            (32, SampleFormat::Int),
            (32, SampleFormat::Float),
        ] {
            for channels in [1, 2, 6] {
                let spec = WavSpec { channels, sample_rate: 16_000, bits_per_sample, sample_format };
                let bytes = wav(spec, &vec![0.5; 800 * usize::from(channels)]);
                let samples = read(&bytes[..], 16_000).unwrap();
                assert_eq!(samples.len(), 800, "{spec:?}");
                assert!(samples.iter().all(|sample| (sample - 0.5).abs() < 0.01), "{spec:?}");
            }
        }
    }

    #[test]
    fn converts_the_rate() {
        let spec = WavSpec { channels: 1, sample_rate: 44_100, bits_per_sample: 16, sample_format: SampleFormat::Int };
        assert_eq!(read(&wav(spec, &vec![0.1; 44_100])[..], 16_000).unwrap().len(), 16_000);
    }

    #[test]
    fn what_is_written_is_read_back_and_clipped() {
        let back = read(&write(&[0.0, 0.5, -0.5, 2.0], 16_000)[..], 16_000).unwrap();
        for (got, want) in back.iter().zip([0.0, 0.5, -0.5, 1.0]) {
            assert!((got - want).abs() < 1e-3);
        }
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let whole = write(&[0.1; 100], 16_000);
        insta::assert_snapshot!(
            [&b""[..], b"RIFF", &b"OggS\0\0\0\0 is something else entirely, and longer than any header"[..], &whole[..100], &whole[..50]]
                .map(|bytes| read(bytes, 16_000).unwrap_err().to_string())
                .join("\n"),
            @"
        is empty or cut off: it ends before its header says. Copy or record it again
        is empty or cut off: it ends before its header says. Copy or record it again
        is not a WAV file this program can read: Ill-formed WAVE file: no RIFF tag found. Convert it to 16-bit PCM WAV
        is empty or cut off: it ends before its header says. Copy or record it again
        is empty or cut off: it ends before its header says. Copy or record it again
        "
        );
    }
}
