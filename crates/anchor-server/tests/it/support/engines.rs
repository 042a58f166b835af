//! Engines that keep to a script: loud is speech, every turn is understood as the same words, every answer says what was
//! asked or calls the first tool and says what it gave, and every word takes 100 ms to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::engine::{
    AudioInput, Engines, EventStream, Llm, LlmEvent, LlmRequest, Stt, SttEvent, SttRequest, TextInput, ToolCall,
    ToolChoice, Tts, TtsEvent, TtsRequest, Vad, VadModel, Voice,
};
use futures::{StreamExt, stream};

/// What every spoken turn is understood as.
pub const HEARD: &str = "read me the news";

/// Asks for an answer that does not end by itself.
pub const ENDLESS: &str = "endless";

const WORD: Samples = Samples::from_ms(100);

#[derive(Clone, Default)]
pub struct Scripted(Arc<AtomicUsize>);

impl Scripted {
    pub fn engines(&self) -> Engines {
        let this = Arc::new(self.clone());
        Engines { stt: this.clone(), llm: this.clone(), tts: this.clone(), vad: this }
    }

    /// Streams that somebody still holds.
    pub fn at_work(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn work(&self) -> AtWork {
        self.0.fetch_add(1, Ordering::SeqCst);
        AtWork(self.0.clone())
    }
}

/// Lives as long as the stream it is put into.
struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn holding<T: Send + 'static>(work: AtWork, events: impl futures::Stream<Item = T> + Send + 'static) -> EventStream<T> {
    events
        .map(move |event| {
            let _ = &work;
            Ok(event)
        })
        .boxed()
}

impl Stt for Scripted {
    fn transcribe(&self, _: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let partial = stream::iter([SttEvent::Partial("read".into())]);
        let end = async {
            audio.for_each(async |_| ()).await;
            SttEvent::Final(HEARD.into())
        };
        holding(self.work(), partial.chain(stream::once(end)))
    }
}

impl Llm for Scripted {
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        let asked = request.messages.last().map_or_else(String::new, |message| message.text.clone());
        if let Some(call) = request.messages.last().and_then(|message| message.calls.last()) {
            let gave = call.result.clone().unwrap_or_else(|| "nothing".into());
            return holding(self.work(), stream::iter([LlmEvent::Delta(format!("It gave {gave}."))]));
        }
        if let Some(tool) = request.tools.first().filter(|_| request.tool_choice != ToolChoice::None) {
            let (id, arguments) = ("call_1".to_owned(), r#"{"of":"now"}"#.to_owned());
            let call = ToolCall { id, name: tool.name.clone(), arguments, result: None };
            let events = [LlmEvent::Delta("One moment.".into()), LlmEvent::ToolCall(call)];
            return holding(self.work(), stream::iter(events));
        }
        let source = stream::iter([LlmEvent::Source("harbour".into())]);
        let answer = if asked.contains(ENDLESS) {
            stream::repeat_with(|| LlmEvent::Delta("And another thing. ".into()))
                .then(async |event| {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    event
                })
                .boxed()
        } else {
            let words: Vec<String> = format!("You said {asked}.").split_inclusive(' ').map(str::to_owned).collect();
            stream::iter(words).map(LlmEvent::Delta).boxed()
        };
        holding(self.work(), source.chain(answer))
    }
}

impl Tts for Scripted {
    fn speak(&self, _: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let spoken = text.flat_map(|clause| {
            let words = clause.split_whitespace().count();
            let tone: Vec<f32> = (0..WORD.0).map(|n| if n / 24 % 2 == 0 { 0.25 } else { -0.25 }).collect();
            let word = TtsEvent::Audio(AudioFrame::new(tone));
            stream::iter(vec![word; words]).chain(stream::iter([TtsEvent::ClauseEnd]))
        });
        holding(self.work(), spoken)
    }

    fn voices(&self) -> Vec<Voice> {
        ["rms", "slt"].map(|name| Voice { name: name.into(), language: "en".into(), about: "A voice.".into() }).into()
    }
}

impl VadModel for Scripted {
    fn start(&self) -> Box<dyn Vad> {
        Box::new(Loud(Vec::new()))
    }
}

struct Loud(Vec<f32>);

impl Vad for Loud {
    fn push(&mut self, pcm: &[f32]) -> Option<f32> {
        const WINDOW: usize = 512;
        self.0.extend_from_slice(pcm);
        let window: Vec<f32> = if self.0.len() >= WINDOW { self.0.drain(..WINDOW).collect() } else { return None };
        let level = window.iter().map(|sample| sample.abs()).sum::<f32>() / WINDOW as f32;
        Some(if level > 0.05 { 1.0 } else { 0.0 })
    }
}
