//! Engines that cost nothing, so that only the server is measured: loud is speech, every turn is understood at once, and
//! every answer is a stream of stamped sound in real time. No configuration can choose them.

use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::{AudioFrame, level_dbfs};
use anchor_core::engine::{
    AudioInput, Engines, EventStream, Llm, LlmEvent, LlmRequest, Stt, SttEvent, SttRequest, TextInput, Tts, TtsEvent,
    TtsRequest, Vad, VadModel, Voice,
};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::stamp::{self, FRAME_TIME};

/// One clause, so that its sound has no seams.
const ANSWER: &str = "This answer says nothing at all and takes as long to say as most answers do";

/// Length of an answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(6);

/// Microphones that are louder than this speak.
const SPEECH_DBFS: f32 = -40.0;

/// All four kinds.
struct Generator;

/// The generators as engines of an anchor.
pub(super) fn engines() -> Engines {
    let this = Arc::new(Generator);
    Engines { stt: this.clone(), llm: this.clone(), tts: this.clone(), vad: this }
}

impl VadModel for Generator {
    fn start(&self) -> Box<dyn Vad> {
        Box::new(Self)
    }
}

impl Vad for Generator {
    fn push(&mut self, pcm: &[f32]) -> Option<f32> {
        Some(if level_dbfs(pcm) > SPEECH_DBFS { 1.0 } else { 0.0 })
    }
}

impl Stt for Generator {
    fn transcribe(&self, _: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let heard = async {
            audio.for_each(async |_| ()).await;
            Ok(SttEvent::Final("Say something.".into()))
        };
        stream::once(heard).boxed()
    }
}

impl Llm for Generator {
    fn generate(&self, _: LlmRequest) -> EventStream<LlmEvent> {
        stream::iter([Ok(LlmEvent::Delta(ANSWER.into()))]).boxed()
    }
}

impl Tts for Generator {
    fn speak(&self, _: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        text.flat_map(|_| spoken()).map(Ok).boxed()
    }

    fn voices(&self) -> Vec<Voice> {
        vec![Voice { name: "generator".into(), language: "en".into(), about: "Stamped sound.".into() }]
    }
}

/// A clause. Its frames bear the times they are due, not those at which a busy runtime came around to them: that
/// lateness, too, is the server's.
fn spoken() -> impl futures::Stream<Item = TtsEvent> {
    let frames = (ANSWER_TIME.as_millis() / FRAME_TIME.as_millis()) as u32;
    let begun = std::cell::OnceCell::new();
    let frames = stream::iter(0..frames).then(move |frame| {
        let (at, micros) = *begun.get_or_init(|| (Instant::now(), stamp::now()));
        let due = FRAME_TIME * frame;
        async move {
            sleep_until(at + due).await;
            TtsEvent::Audio(AudioFrame::new(stamp::write(micros + due.as_micros() as u64)))
        }
    });
    frames.chain(stream::iter([TtsEvent::ClauseEnd]))
}
