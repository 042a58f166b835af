//! The clip a voice is cloned from: read once, checked, and made ready to be sent with every clause.

use std::path::Path;

use anchor_core::audio::{OUTPUT_RATE, resample};
use anchor_core::engine::EngineError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::NAME;

/// Shorter clips do not show what a voice is like.
const SECONDS_MIN: f32 = 1.0;

/// Longer clips take room in the model's context (25 positions a second, of 4096 in all) and time before every clause, and
/// do not make the voice more like.
const SECONDS_MAX: f32 = 30.0;

/// A clip and what is said in it.
#[derive(Debug)]
pub(super) struct Clip {
    /// WAV in base64: mono, 16 bits, at [`OUTPUT_RATE`], which is the rate of the model's own codec.
    pub(super) wav: String,
    pub(super) text: String,
}

impl Clip {
    /// Reads the clip of the voice of this name.
    pub(super) fn read(voice: &str, path: &Path, text: &str) -> Result<Self, EngineError> {
        let wrong = |what: String| EngineError::Unavailable {
            engine: NAME,
            reason: format!("the clip of the voice `{voice}` cannot be used: {}: {what}", path.display()),
            remedy: format!(
                "Give it a WAV file of {SECONDS_MIN} to {SECONDS_MAX} s, and in `text` what is said in it."
            ),
        };
        let text = text.trim();
        if !text.contains(char::is_alphanumeric) {
            return Err(wrong("its `text` is missing".into()));
        }
        let reader = WavReader::open(path).map_err(|error| wrong(error.to_string()))?;
        let spec = reader.spec();
        let seconds = reader.duration() as f32 / spec.sample_rate as f32;
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
            return Err(wrong(format!("it lasts {seconds:.1} s")));
        }
        let samples = mono(reader).map_err(|error| wrong(error.to_string()))?;
        let samples = resample(&samples, spec.sample_rate, OUTPUT_RATE).map_err(|error| wrong(error.to_string()))?;
        let wav = wav(&samples).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { wav: STANDARD.encode(wav), text: text.to_owned() })
    }
}

fn mono(reader: WavReader<impl std::io::Read>) -> Result<Vec<f32>, hound::Error> {
    let spec = reader.spec();
    let samples: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>()?,
        SampleFormat::Int => {
            let full_scale = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            let samples = reader.into_samples::<i32>();
            samples.map(|sample| Ok(sample? as f32 / full_scale)).collect::<Result<_, hound::Error>>()?
        }
    };
    let channels = usize::from(spec.channels.max(1));
    Ok(samples.chunks(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect())
}

fn wav(samples: &[f32]) -> Result<Vec<u8>, hound::Error> {
    let spec = WavSpec { channels: 1, sample_rate: OUTPUT_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec)?;
    for sample in samples {
        writer.write_sample((sample * 32_767.0) as i16)?;
    }
    writer.finalize()?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, spec: WavSpec, seconds: f32) -> std::path::PathBuf {
        let path = directory.join("clip.wav");
        let mut writer = WavWriter::create(&path, spec).unwrap();
        for n in 0..(seconds * spec.sample_rate as f32) as usize * usize::from(spec.channels) {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(0.25_f32).unwrap(),
                SampleFormat::Int => writer.write_sample((n as i32 % 2 + 1) << (spec.bits_per_sample - 4)).unwrap(),
            }
        }
        writer.finalize().unwrap();
        path
    }

    #[test]
    fn every_kind_of_wav_becomes_the_one_that_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        for (channels, sample_rate, bits_per_sample, sample_format, value) in [
            (1, 16_000, 32, SampleFormat::Float, 0.25),
            (2, 48_000, 24, SampleFormat::Int, 0.1875),
            (2, 24_000, 16, SampleFormat::Int, 0.1875),
        ] {
            let spec = WavSpec { channels, sample_rate, bits_per_sample, sample_format };
            let clip = Clip::read("anna", &file(directory.path(), spec, 1.5), " Hello there. ").unwrap();
            assert_eq!(clip.text, "Hello there.");
            let sent = STANDARD.decode(&clip.wav).unwrap();
            let sent = WavReader::new(&sent[..]).unwrap();
            assert_eq!((sent.spec().sample_rate, sent.duration()), (OUTPUT_RATE, 36_000));
            let middle = sent.into_samples::<i16>().nth(18_000).unwrap().unwrap();
            assert!((f32::from(middle) / 32_767.0 - value).abs() < 0.002, "{middle}");
        }
    }

    #[test]
    fn mistakes_say_what_to_give() {
        let directory = tempfile::tempdir().unwrap();
        let spec = WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let say = |path: &Path, text: &str| {
            let message = Clip::read("anna", path, text).unwrap_err().to_string();
            message.replace(&directory.path().display().to_string(), "DIR")
        };
        let short = file(directory.path(), spec, 0.5);
        insta::assert_snapshot!(say(&short, "Hi"), @"higgs-server cannot be used: the clip of the voice `anna` cannot be used: DIR/clip.wav: it lasts 0.5 s. Give it a WAV file of 1 to 30 s, and in `text` what is said in it.");
        insta::assert_snapshot!(say(&short, " "), @"higgs-server cannot be used: the clip of the voice `anna` cannot be used: DIR/clip.wav: its `text` is missing. Give it a WAV file of 1 to 30 s, and in `text` what is said in it.");
        insta::assert_snapshot!(say(&directory.path().join("none.wav"), "Hi"), @"higgs-server cannot be used: the clip of the voice `anna` cannot be used: DIR/none.wav: No such file or directory (os error 2). Give it a WAV file of 1 to 30 s, and in `text` what is said in it.");
        std::fs::write(&short, b"ID3 and so on").unwrap();
        insta::assert_snapshot!(say(&short, "Hi"), @"higgs-server cannot be used: the clip of the voice `anna` cannot be used: DIR/clip.wav: Ill-formed WAVE file: no RIFF tag found. Give it a WAV file of 1 to 30 s, and in `text` what is said in it.");
    }
}
