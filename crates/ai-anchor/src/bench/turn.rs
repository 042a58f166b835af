//! `ai-anchor bench turn`: how long a person waits for an answer, how fast the anchor falls silent, and whether the
//! answer is about what was asked.
//!
//! Each question is one call over a real WebSocket on the loopback: a synthetic voice asks over continuous room noise,
//! the wait is measured from its last audible sample to the first audible sample of the answer, and then the same voice
//! talks over the answer. What a browser adds (capture, jitter buffer, sound card) is not in it.

use std::time::Duration;

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::{EngineError, Engines, SttEvent, SttRequest};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::caller::{CallError, Caller};
use super::person::{Noise, ROOM_NOISE_DBFS, Utterance};
use super::{Spread, machine, word_error_rate};

/// The voices that ask, in turn.
const VOICES: [&str; 4] = ["rms", "awb", "kal16", "slt"];

/// Said to interrupt the anchor.
const INTERRUPTION: &str = "Stop there, please.";

/// The answer is heard this long before it is interrupted.
const LISTENING: Duration = Duration::from_millis(1_500);

/// The room is quiet this long before the question, as it is before a person speaks.
const QUIET: Duration = Duration::from_millis(600);

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// The questions, and the story each is about.
#[derive(Clone, Debug, Deserialize)]
pub struct Questions {
    /// One for each call.
    pub question: Vec<Question>,
}

/// A question about a story.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// As it is spoken.
    pub text: String,
    /// Slug of the story it is about.
    pub story: String,
}

impl Questions {
    /// The 40 questions about the sample rundown.
    pub fn sample() -> Self {
        toml::from_str(include_str!("../../assets/bench/questions.toml")).expect("the questions are checked by a test")
    }
}

/// Why a benchmark could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A voice or the recogniser failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Who asked.
    pub voice: &'static str,
    /// What was asked.
    pub question: String,
    /// What was understood.
    pub understood: String,
    /// The story it is about.
    pub story: String,
    /// The story it was answered with.
    pub answered: Option<String>,
    /// Last audible sample in to first audible sample out.
    #[serde(skip)]
    pub wait: Duration,
    /// The anchor's own account of the wait: endpointing, STT, LLM, TTS.
    #[serde(skip)]
    pub stages: [Duration; 4],
    /// First audible sample of the interruption to the last audible sample of the answer; `None` where the answer was
    /// over before.
    #[serde(skip)]
    pub silence: Option<Duration>,
}

/// What the benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: String,
    /// Every call.
    pub calls: Vec<Call>,
    /// Last audible sample in to first audible sample out.
    pub wait: Option<Spread>,
    /// The stages of the wait. What is left of it is transport and silence at the edges of speech.
    pub stages: Vec<(&'static str, Option<Spread>)>,
    /// Interruption to silence.
    pub silence: Option<Spread>,
    /// Calls answered with the right story.
    pub right: usize,
    /// Word error rate of the recogniser over all questions, for each voice.
    pub word_error_rates: Vec<(&'static str, Option<f64>)>,
}

/// Asks every question of the anchor at `url`. `engines` lend the voices that ask, and the recogniser whose errors are
/// counted. `progress` is told of every call.
pub async fn run(
    url: &str,
    engines: &Engines,
    questions: &[Question],
    mut progress: impl FnMut(&Call),
) -> Result<Report, BenchError> {
    let mut calls = Vec::new();
    for (question, voice) in questions.iter().zip(VOICES.iter().cycle()) {
        let asked = Utterance::spoken(&*engines.tts, voice, &question.text).await?;
        let interruption = Utterance::spoken(&*engines.tts, voice, INTERRUPTION).await?;
        let call = call(url, voice, question, &asked, &interruption).await?;
        progress(&call);
        calls.push(call);
    }
    let mut word_error_rates = Vec::new();
    for voice in VOICES {
        let mut understood = Vec::new();
        for question in questions {
            let utterance = Utterance::spoken(&*engines.tts, voice, &question.text).await?;
            understood.push(transcribe(engines, &utterance).await?);
        }
        let said = questions.iter().map(|question| question.text.as_str());
        word_error_rates.push((voice, word_error_rate(said.zip(understood.iter().map(String::as_str)))));
    }
    Ok(Report::new(calls, word_error_rates))
}

/// Asks one question, hears the beginning of the answer, and interrupts it.
async fn call(
    url: &str,
    voice: &'static str,
    question: &Question,
    asked: &Utterance,
    interruption: &Utterance,
) -> Result<Call, CallError> {
    let mut caller = Caller::call(url).await?;
    caller.wait_for("session.created", PATIENCE).await?;
    tokio::time::sleep(QUIET).await;

    let said = caller.say(asked);
    let mut account = Account::default();
    caller
        .wait("an audible answer", PATIENCE + length(asked), |event, ear| {
            account.note(event);
            ear.first_audible().is_some() && account.stages.is_some()
        })
        .await?;
    let first = caller.ear().first_audible().unwrap_or(said.last);

    // Listen on, then talk over the answer unless it is over.
    let over = caller.wait("the end of the answer", LISTENING, |event, _| event["type"] == "response.done").await;
    let silence = if over.is_ok() { None } else { Some(interrupt(&mut caller, interruption).await?) };
    Ok(Call {
        voice,
        question: question.text.clone(),
        understood: account.understood,
        story: question.story.clone(),
        answered: account.answered,
        wait: first.saturating_duration_since(said.last),
        stages: account.stages.unwrap_or_default(),
        silence,
    })
}

/// What the anchor says of a turn while it answers.
#[derive(Default)]
struct Account {
    understood: String,
    answered: Option<String>,
    stages: Option<[Duration; 4]>,
}

impl Account {
    fn note(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("conversation.item.input_audio_transcription.completed") => {
                self.understood = event["transcript"].as_str().unwrap_or_default().to_owned();
            }
            Some("anchor.story") if self.answered.is_none() => {
                self.answered = event["story"].as_str().map(str::to_owned);
            }
            Some("anchor.latency") => {
                let stage = |name: &str| Duration::from_secs_f64(event[name].as_f64().unwrap_or(0.0) / 1000.0);
                self.stages = Some(["endpointing_ms", "stt_ms", "llm_ms", "tts_ms"].map(stage));
            }
            _ => {}
        }
    }
}

/// Talks over the answer; returns how long it stays audible.
async fn interrupt(caller: &mut Caller, interruption: &Utterance) -> Result<Duration, CallError> {
    let said = caller.say(interruption);
    caller.wait_for("input_audio_buffer.speech_started", PATIENCE).await?;
    // Sound that still comes would be heard, so wait for it.
    let _ = caller.wait("stray sound", Duration::from_millis(300), |_, _| false).await;
    let last = caller.ear().last_audible().unwrap_or(said.first);
    Ok(last.saturating_duration_since(said.first))
}

fn length(utterance: &Utterance) -> Duration {
    Duration::from_secs_f64(utterance.samples.len() as f64 / f64::from(OUTPUT_RATE))
}

/// What the recogniser makes of an utterance in room noise.
async fn transcribe(engines: &Engines, utterance: &Utterance) -> Result<String, EngineError> {
    let edge = vec![0.0; OUTPUT_RATE as usize * 3 / 10];
    let noisy: Vec<f32> = [&edge, &utterance.samples, &edge]
        .into_iter()
        .flatten()
        .zip(Noise::new(ROOM_NOISE_DBFS))
        .map(|(sample, noise)| sample + noise)
        .collect();
    let heard = resample(&noisy, OUTPUT_RATE, INPUT_RATE).expect("both rates are supported");
    let frames: Vec<AudioFrame> = heard.chunks(320).map(AudioFrame::new).collect();
    let mut events = engines.stt.transcribe(SttRequest::default(), stream::iter(frames).boxed());
    let mut text = String::new();
    while let Some(event) = events.next().await {
        if let SttEvent::Final(last) = event? {
            text = last;
        }
    }
    Ok(text)
}

impl Report {
    fn new(calls: Vec<Call>, word_error_rates: Vec<(&'static str, Option<f64>)>) -> Self {
        let stage = |n: usize| Spread::of(calls.iter().map(|call| call.stages[n]));
        let rest = calls.iter().map(|call| call.wait.saturating_sub(call.stages.iter().sum()));
        let stages = vec![
            ("endpointing", stage(0)),
            ("stt", stage(1)),
            ("llm", stage(2)),
            ("tts", stage(3)),
            ("transport and edges", Spread::of(rest)),
        ];
        Self {
            machine: machine(),
            wait: Spread::of(calls.iter().map(|call| call.wait)),
            stages,
            silence: Spread::of(calls.iter().filter_map(|call| call.silence)),
            right: calls.iter().filter(|call| call.answered.as_ref() == Some(&call.story)).count(),
            calls,
            word_error_rates,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spread = |spread: &Option<Spread>| spread.map_or("not measured".into(), |spread| spread.to_string());
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "question to answer    {}", spread(&self.wait))?;
        for (name, stage) in &self.stages {
            writeln!(f, "  {name:19} {}", spread(stage))?;
        }
        if let (Some(wait), Some((_, Some(pause)))) = (&self.wait, self.stages.first()) {
            writeln!(f, "wait over pause       {:.2} at p50: the pause alone would be 1.00", wait.p50 / pause.p50)?;
        }
        writeln!(f, "barge-in to silence   {}", spread(&self.silence))?;
        writeln!(f, "right story           {} of {}", self.right, self.calls.len())?;
        write!(f, "word error rate      ")?;
        for (voice, rate) in &self.word_error_rates {
            write!(f, " {voice} {:.1} %", rate.unwrap_or(0.0) * 100.0)?;
        }
        Ok(())
    }
}
