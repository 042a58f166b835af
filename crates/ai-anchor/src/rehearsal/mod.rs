//! The rehearsal before going live: every model loaded at once, a turn through each at the same time, and the memory they
//! take compared with what was planned.

mod taken;

use std::time::Duration;

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::{
    EngineError, EngineKind, Engines, Llm, LlmEvent, LlmRequest, Message, Role, Stt, SttEvent, SttRequest, Tts,
    TtsEvent, TtsRequest,
};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout};

pub use taken::{Taken, taken};

/// What the voice says first; the recogniser listens to it.
const QUESTION: &str = "What are the headlines tonight?";

/// What the voice says while the others are at work.
const ANSWER: &str = "Good evening. This is a rehearsal, and all three models are at work at the same time.";

/// Longest that one stage may take. Far longer than a healthy one needs even on a processor.
const STAGE_MAX: Duration = Duration::from_secs(60);

/// How one engine did.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it does.
    pub kind: EngineKind,
    /// What came of it.
    pub outcome: Result<Took, EngineError>,
}

/// How long an engine took, and what it gave.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Took {
    /// From the request, or the end of the sound, to the first that is of use: text, sound, or the final transcript.
    pub first_ms: u64,
    /// To the end.
    pub all_ms: u64,
    /// What it gave, in a few words.
    pub gave: String,
}

/// Has every engine work at the same time. The voice speaks once before, because the recogniser needs something to hear.
pub async fn turn(engines: &Engines) -> Vec<Stage> {
    let (first, sound) = speak(&*engines.tts, QUESTION).await;
    let tts = |outcome| Stage { kind: EngineKind::Tts, outcome };
    let Ok(_) = first else { return vec![tts(first)] };
    let heard = resample(&sound, OUTPUT_RATE, INPUT_RATE);
    let listen = async {
        match heard {
            Ok(sound) => transcribe(&*engines.stt, sound).await,
            Err(error) => Err(EngineError::Failed { engine: "stt", reason: error.to_string() }),
        }
    };
    let (stt, llm, again) = tokio::join!(listen, write(&*engines.llm), async { speak(&*engines.tts, ANSWER).await.0 });
    vec![Stage { kind: EngineKind::Stt, outcome: stt }, Stage { kind: EngineKind::Llm, outcome: llm }, tts(again)]
}

async fn speak(tts: &dyn Tts, text: &str) -> (Result<Took, EngineError>, Vec<f32>) {
    let mut sound = Vec::new();
    let start = Instant::now();
    let mut first = None;
    let work = async {
        let mut events = tts.speak(TtsRequest::default(), stream::iter([text.to_owned()]).boxed());
        while let Some(event) = events.next().await {
            if let TtsEvent::Audio(frame) = event? {
                first.get_or_insert_with(|| start.elapsed());
                sound.extend_from_slice(&frame);
            }
        }
        Ok(())
    };
    let outcome = bounded("tts", work).await.and_then(|()| {
        let seconds = sound.len() as f64 / f64::from(OUTPUT_RATE);
        took("tts", first, start, format!("{seconds:.1} s of sound"))
    });
    (outcome, sound)
}

async fn transcribe(stt: &dyn Stt, sound: Vec<f32>) -> Result<Took, EngineError> {
    let frames: Vec<_> = sound.chunks(INPUT_RATE as usize / 50).map(AudioFrame::new).collect();
    let start = Instant::now();
    let mut text = None;
    let work = async {
        let mut events = stt.transcribe(SttRequest::default(), stream::iter(frames).boxed());
        while let Some(event) = events.next().await {
            if let SttEvent::Final(words) = event? {
                text = Some(words);
            }
        }
        Ok(())
    };
    bounded("stt", work).await?;
    let words = text.as_deref().map_or(0, |text| text.split_whitespace().count());
    took("stt", text.map(|_| start.elapsed()), start, format!("{words} words"))
}

async fn write(llm: &dyn Llm) -> Result<Took, EngineError> {
    let request = LlmRequest {
        instructions: "Answer in one short sentence.".into(),
        messages: vec![Message::new(Role::User, QUESTION)],
        ..LlmRequest::default()
    };
    let start = Instant::now();
    let mut first = None;
    let mut length = 0;
    let work = async {
        let mut events = llm.generate(request);
        while let Some(event) = events.next().await {
            if let LlmEvent::Delta(text) = event? {
                first.get_or_insert_with(|| start.elapsed());
                length += text.chars().count();
            }
        }
        Ok(())
    };
    bounded("llm", work).await?;
    took("llm", first, start, format!("{length} characters"))
}

async fn bounded(engine: &'static str, work: impl Future<Output = Result<(), EngineError>>) -> Result<(), EngineError> {
    timeout(STAGE_MAX, work).await.unwrap_or_else(|_| {
        let reason = format!("it did not end within {} seconds", STAGE_MAX.as_secs());
        Err(EngineError::Failed { engine, reason })
    })
}

fn took(engine: &'static str, first: Option<Duration>, start: Instant, gave: String) -> Result<Took, EngineError> {
    let first = first.ok_or_else(|| EngineError::Failed { engine, reason: "it gave nothing".into() })?;
    Ok(Took { first_ms: first.as_millis() as u64, all_ms: start.elapsed().as_millis() as u64, gave })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anchor_core::engine::{AudioInput, EventStream, TextInput, Vad, VadModel, Voice};
    use futures::FutureExt;

    use super::*;

    /// Engines that answer at once, fail, or never answer.
    #[derive(Clone, Copy, PartialEq)]
    enum Manner {
        Good,
        Bad,
        Mute,
    }

    struct Scripted(Manner);

    impl Scripted {
        fn events<T: Send + 'static>(&self, events: Vec<T>) -> EventStream<T> {
            match self.0 {
                Manner::Good => stream::iter(events.into_iter().map(Ok)).boxed(),
                Manner::Bad => stream::iter([Err(EngineError::Failed { engine: "test", reason: "no".into() })]).boxed(),
                Manner::Mute => stream::pending().boxed(),
            }
        }
    }

    impl Stt for Scripted {
        fn transcribe(&self, _: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
            let events = self.events(vec![SttEvent::Final("what are the headlines".into())]);
            // It listens to the end before it answers.
            audio.map(|_| ()).collect::<Vec<_>>().map(move |_| events).flatten_stream().boxed()
        }
    }

    impl Llm for Scripted {
        fn generate(&self, _: LlmRequest) -> EventStream<LlmEvent> {
            self.events(vec![LlmEvent::Delta("The bridge".into()), LlmEvent::Delta(" is open.".into())])
        }
    }

    impl Tts for Scripted {
        fn speak(&self, _: TtsRequest, _: TextInput) -> EventStream<TtsEvent> {
            self.events(vec![TtsEvent::Audio(AudioFrame::new(vec![0.1; 24_000])), TtsEvent::ClauseEnd])
        }

        fn voices(&self) -> Vec<Voice> {
            Vec::new()
        }
    }

    impl VadModel for Scripted {
        fn start(&self) -> Box<dyn Vad> {
            unreachable!("nobody listens in a rehearsal")
        }
    }

    async fn rehearse(stt: Manner, llm: Manner, tts: Manner) -> Vec<(&'static str, String)> {
        let engines = Engines {
            stt: Arc::new(Scripted(stt)),
            llm: Arc::new(Scripted(llm)),
            tts: Arc::new(Scripted(tts)),
            vad: Arc::new(Scripted(Manner::Good)),
        };
        let said = |stage: Stage| match stage.outcome {
            Ok(took) => took.gave,
            Err(error) => error.to_string(),
        };
        turn(&engines).await.into_iter().map(|stage| (stage.kind.name(), said(stage))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_engine_is_heard_of() {
        use Manner::{Bad, Good, Mute};
        let good = [("stt", "4 words".to_owned()), ("llm", "19 characters".into()), ("tts", "1.0 s of sound".into())];
        assert_eq!(rehearse(Good, Good, Good).await, good);
        let failed = rehearse(Mute, Bad, Good).await;
        assert_eq!(failed[0].1, "stt failed: it did not end within 60 seconds");
        assert_eq!(failed[1].1, "test failed: no");
        assert_eq!(failed[2], good[2]);
        assert_eq!(rehearse(Good, Good, Bad).await, [("tts", "test failed: no".to_owned())]);
    }
}
