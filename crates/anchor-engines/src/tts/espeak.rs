//! The voices of eSpeak NG: small, formant-synthesised, in many languages.
//!
//! The program `espeak-ng` (GPL-3.0-or-later) runs as a process of its own, one for each clause: text goes in by its
//! standard input, sound comes out by its standard output. Nothing of it is linked or shipped.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use anchor_core::audio::{AudioFrame, OUTPUT_RATE, resample};
use anchor_core::engine::{EngineError, EventStream, TextInput, Tts, TtsEvent, TtsRequest, Voice};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::{OutputChain, check_speed, failed_stream, no_voice};
use crate::{Entry, LoadContext, Needs, loudness, options};

const NAME: &str = "espeak";

/// Its line in the table.
pub const ENTRY: Entry<dyn Tts> = Entry {
    name: NAME,
    about: "Voices in eight languages from the espeak-ng program, without word times",
    needs: Needs { gpu_bytes: 0, packages: &["espeak-ng"], network: false },
    load,
};

const PROGRAM: &str = "espeak-ng";

/// Pace of the program's voices as they come, in words a minute, and the range it keeps to.
const WORDS_PER_MINUTE: f32 = 175.0;
const PACES: (f32, f32) = (80.0, 450.0);

/// Bytes asked for at a time: 93 ms of sound.
const READ: usize = 4096;

/// A WAV header longer than this is none.
const HEADER_LIMIT: usize = 4096;

/// A language, what it is called, and what its voice reads to have its loudness measured: a sentence as long as those
/// it will read on air, for short ones are quieter.
const LANGUAGES: [(&str, &str, &str); 8] = [
    (
        "en",
        "English",
        "The ministers met in the capital on Monday to talk about the price of bread, and they will meet again before \
         the end of the week, because nobody was content with the result.",
    ),
    (
        "es",
        "Spanish",
        "Los ministros se reunieron el lunes en la capital para hablar del precio del pan, y volverán a reunirse antes \
         del fin de semana, porque nadie quedó contento con el resultado.",
    ),
    (
        "fr",
        "French",
        "Les ministres se sont réunis lundi dans la capitale pour parler du prix du pain, et ils se retrouveront avant \
         la fin de la semaine, car personne n'était content du résultat.",
    ),
    (
        "pt",
        "Portuguese",
        "Os ministros reuniram-se na segunda-feira na capital para falar do preço do pão, e voltarão a reunir-se antes \
         do fim da semana, porque ninguém ficou contente com o resultado.",
    ),
    (
        "hi",
        "Hindi",
        "सोमवार को राजधानी में मंत्रियों ने रोटी के दाम पर बात करने के लिए बैठक की, और वे सप्ताह के अंत से पहले फिर मिलेंगे, \
         क्योंकि परिणाम से कोई भी खुश नहीं था।",
    ),
    (
        "de",
        "German",
        "Die Minister trafen sich am Montag in der Hauptstadt, um über den Brotpreis zu sprechen, und sie treffen sich \
         vor dem Ende der Woche noch einmal, weil niemand mit dem Ergebnis zufrieden war.",
    ),
    (
        "nl",
        "Dutch",
        "De ministers kwamen maandag in de hoofdstad bijeen om over de prijs van brood te praten, en zij komen voor het \
         einde van de week weer bijeen, omdat niemand tevreden was met het resultaat.",
    ),
    (
        "it",
        "Italian",
        "I ministri si sono incontrati lunedì nella capitale per parlare del prezzo del pane, e si incontreranno di \
         nuovo prima della fine della settimana, perché nessuno era contento del risultato.",
    ),
];

/// This engine has nothing to set.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Espeak {
    voices: Vec<Arc<EspeakVoice>>,
}

struct EspeakVoice {
    /// Also the program's name for the voice.
    language: &'static str,
    about: String,
    calibration: &'static str,
    /// Measured when the voice is first used.
    gain: OnceCell<f32>,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Tts>, EngineError> {
    let Options {} = options::parse(NAME, &context.options)?;
    let quiet =
        std::process::Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.map_err(|error| cannot_start(&error))?;
    let voice = |(language, about, calibration)| {
        Arc::new(EspeakVoice { language, about: format!("{about}, synthetic"), calibration, gain: OnceCell::new() })
    };
    Ok(Arc::new(Espeak { voices: LANGUAGES.map(voice).to_vec() }))
}

fn cannot_start(error: &io::Error) -> EngineError {
    EngineError::Unavailable {
        engine: NAME,
        reason: format!("the program {PROGRAM} could not be started ({error})"),
        remedy: "Install the package espeak-ng: sudo apt-get install espeak-ng".into(),
    }
}

impl Tts for Espeak {
    /// Has to be polled within a tokio runtime, which watches over the processes.
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let chosen = match &request.voice {
            None => self.voices.first(),
            Some(name) => self.voices.iter().find(|voice| voice.language == name),
        };
        let checked = chosen.ok_or_else(|| no_voice(NAME, request.voice.as_deref(), &self.voices()));
        let (voice, speed) = match checked.and_then(|voice| Ok((voice.clone(), check_speed(NAME, request.speed)?))) {
            Ok(checked) => checked,
            Err(error) => return failed_stream(error),
        };
        let answer = Answer { voice, speed, text, clause: None };
        futures::stream::try_unfold(answer, |mut answer| async {
            Ok(answer.next().await?.map(|event| (event, answer)))
        })
        .boxed()
    }

    fn voices(&self) -> Vec<Voice> {
        let voice = |voice: &Arc<EspeakVoice>| Voice {
            name: voice.language.into(),
            language: voice.language.into(),
            about: voice.about.clone(),
        };
        self.voices.iter().map(voice).collect()
    }
}

impl EspeakVoice {
    /// What brings this voice to the common loudness.
    async fn gain(&self) -> Result<f32, EngineError> {
        let measure = async || {
            let mut process = Process::start(self.language, self.calibration, 1.0).await?;
            let mut speech = Vec::new();
            while let Some(samples) = process.read().await? {
                speech.extend(samples);
            }
            let speech = resample(&speech, process.rate, OUTPUT_RATE).map_err(failed)?;
            Ok(loudness::gain(&speech, OUTPUT_RATE))
        };
        self.gain.get_or_try_init(measure).await.copied()
    }
}

/// One answer while it is being spoken.
struct Answer {
    voice: Arc<EspeakVoice>,
    speed: f32,
    text: TextInput,
    clause: Option<Clause>,
}

impl Answer {
    /// The next event, `None` once everything is said.
    async fn next(&mut self) -> Result<Option<TtsEvent>, EngineError> {
        if self.clause.is_none() {
            let Some(text) = self.text.next().await else { return Ok(None) };
            if text.contains(char::is_alphanumeric) {
                self.clause = Some(Clause::start(&self.voice, &text, self.speed).await?);
            }
        }
        let sound = match &mut self.clause {
            Some(clause) => clause.next().await?,
            None => None,
        };
        if sound.is_none() {
            self.clause = None;
        }
        Ok(Some(sound.map_or(TtsEvent::ClauseEnd, TtsEvent::Audio)))
    }
}

/// One clause while it is being spoken.
struct Clause {
    process: Process,
    /// `None` once the last sound is out.
    output: Option<OutputChain>,
}

impl Clause {
    async fn start(voice: &EspeakVoice, text: &str, speed: f32) -> Result<Self, EngineError> {
        let gain = voice.gain().await?;
        let process = Process::start(voice.language, text, speed).await?;
        let output = OutputChain::new(process.rate, gain).map_err(failed)?;
        Ok(Self { process, output: Some(output) })
    }

    async fn next(&mut self) -> Result<Option<AudioFrame>, EngineError> {
        while let Some(output) = &mut self.output {
            let sound = match self.process.read().await? {
                Some(samples) => output.push(&samples),
                None => self.output.take().map(OutputChain::finish).unwrap_or_default(),
            };
            if !sound.is_empty() {
                return Ok(Some(AudioFrame::new(sound)));
            }
        }
        Ok(None)
    }
}

/// The program at work on one text. Killed when dropped.
struct Process {
    child: Child,
    stdout: ChildStdout,
    /// Rate of its sound, in Hz.
    rate: u32,
    /// Bytes read and not yet handed out as samples.
    pending: Vec<u8>,
}

impl Process {
    /// Starts the program and waits for the header of its sound.
    async fn start(language: &str, text: &str, speed: f32) -> Result<Self, EngineError> {
        let (slowest, fastest) = PACES;
        let pace = (WORDS_PER_MINUTE * speed).clamp(slowest, fastest).round();
        let mut child = Command::new(PROGRAM)
            .args(["-v", language, "-s", &pace.to_string(), "-b", "1", "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot_start(&error))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("its pipes are missing"));
        };
        // It reads everything before it speaks, so this cannot wait for the other pipe. Should it have died instead,
        // its exit status says more than this write would.
        let _ = stdin.write_all(harmless(text).as_bytes()).await;
        drop(stdin);
        let mut process = Self { child, stdout, rate: 0, pending: Vec::new() };
        loop {
            if let Some((rate, start)) = parse_header(&process.pending).map_err(failed)? {
                process.rate = rate;
                process.pending.drain(..start);
                return Ok(process);
            }
            if !process.fill().await? {
                return Err(failed("it gave no sound"));
            }
        }
    }

    /// The next samples, `None` at the end.
    async fn read(&mut self) -> Result<Option<Vec<f32>>, EngineError> {
        while self.pending.len() < 2 {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        let whole = self.pending.len() / 2 * 2;
        let bytes: Vec<u8> = self.pending.drain(..whole).collect();
        let samples = bytes.as_chunks().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32768.0);
        Ok(Some(samples.collect()))
    }

    /// Reads more bytes; false at the end, if the program ended well.
    async fn fill(&mut self) -> Result<bool, EngineError> {
        let mut bytes = [0; READ];
        let count = self.stdout.read(&mut bytes).await.map_err(failed)?;
        self.pending.extend_from_slice(&bytes[..count]);
        if count > 0 {
            return Ok(true);
        }
        let status = self.child.wait().await.map_err(failed)?;
        if status.success() {
            return Ok(false);
        }
        let mut complaint = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(READ as u64).read_to_end(&mut complaint).await.map_err(failed)?;
        }
        Err(failed(format!("{PROGRAM} ended with {status}: {}", String::from_utf8_lossy(&complaint).trim())))
    }
}

fn failed(reason: impl ToString) -> EngineError {
    EngineError::Failed { engine: NAME, reason: reason.to_string() }
}

/// Text without what the program would not read out: control characters, and its own notation for phonemes, `[[`.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, " ").replace("[[", "[ [")
}

/// Rate and start of the samples, `None` while the header of the WAV is not complete. Its lengths are not looked at:
/// the program writes them before it knows them.
fn parse_header(bytes: &[u8]) -> Result<Option<(u32, usize)>, &'static str> {
    const UNKNOWN: &str = "its sound is not WAV with 16 bits and one channel";
    if !bytes.starts_with(&b"RIFF"[..bytes.len().min(4)]) || bytes.len() > HEADER_LIMIT {
        return Err(UNKNOWN);
    }
    let mut rate = None;
    let mut at = 12;
    while let Some((name, rest)) = bytes.get(at..).and_then(|chunk| chunk.split_first_chunk::<4>()) {
        let Some((length, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        at += 8;
        match name {
            b"data" => return rate.map(|rate| Some((rate, at))).ok_or(UNKNOWN),
            b"fmt " => match body {
                [1, 0, 1, 0, r0, r1, r2, r3, _, _, _, _, 2, 0, 16, 0, ..] => {
                    rate = Some(u32::from_le_bytes([*r0, *r1, *r2, *r3]));
                }
                [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, ..] => return Err(UNKNOWN),
                _ => return Ok(None),
            },
            _ => {}
        }
        at = at.saturating_add(u32::from_le_bytes(*length) as usize);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"RIFF\x24\xf0\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0\x22\x56\0\0\x44\xac\0\0\x02\0\x10\0data\0\xf0\xff\x7f";

    #[test]
    fn a_header_is_read_once_it_is_complete() {
        for length in 0..HEADER.len() {
            assert_eq!(parse_header(&HEADER[..length]), Ok(None), "{length} bytes");
        }
        assert_eq!(parse_header(HEADER), Ok(Some((22_050, 44))));
    }

    #[test]
    fn what_is_no_wav_is_an_error() {
        assert!(parse_header(b"ID3").is_err());
        assert!(parse_header(&[0; 5000]).is_err());
        let stereo: Vec<u8> = HEADER.iter().enumerate().map(|(at, byte)| if at == 22 { 2 } else { *byte }).collect();
        assert!(parse_header(&stereo).is_err());
    }

    #[test]
    fn text_cannot_switch_to_phonemes() {
        assert_eq!(harmless("a [[h@]]\0b"), "a [ [h@]] b");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let message = cannot_start(&io::Error::from(io::ErrorKind::NotFound)).to_string();
        insta::assert_snapshot!(message, @"espeak cannot be used: the program espeak-ng could not be started (entity not found). Install the package espeak-ng: sudo apt-get install espeak-ng");
    }

    #[tokio::test]
    async fn a_voice_the_program_lacks_is_an_error_in_its_words() {
        let error = Process::start("xx-none", "Hello", 1.0).await.err().unwrap().to_string();
        assert!(error.starts_with("espeak failed: espeak-ng ended with exit status: 1: Error:"), "{error}");
    }
}
