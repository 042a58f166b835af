//! `voxtral-vllm`: Voxtral-Mini-3B-2507 behind a server of vLLM, which transcribes whole turns.
//!
//! While somebody speaks, the growing turn is transcribed again and again, one request at a time, and what the hypotheses
//! agree on is shown. When the turn ends, the request under way is dropped, so that the last one has the server to itself.

use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::INPUT_RATE;
use anchor_core::engine::{AudioInput, EngineError, EventStream, Later, Stt, SttEvent, SttRequest};
use futures::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::agreement::Agreement;
use super::sound::Sound;
use super::transcription::{Answer, Request};
use super::{check_model, two_letters};
use crate::generate::{self, Out};
use crate::http::{self, Defaults, Remote};
use crate::{Entry, LoadContext, Needs};

const NAME: &str = "voxtral-vllm";

/// Its line in the table.
pub const ENTRY: Entry<dyn Stt> = Entry {
    name: NAME,
    about: "Voxtral-Mini-3B-2507 behind vLLM: English, Spanish, French, Portuguese, Hindi, German, Dutch, Italian",
    needs: Needs { gpu_bytes: 12_700_000_000, packages: &[], network: true },
    load,
};

/// Encoding half a minute and writing its words takes a card of this class well below a second; a turn of two minutes
/// takes four times as long.
const DEFAULTS: Defaults = Defaults { url: "http://127.0.0.1:8000", first_ms: 5_000, between_ms: 2_000 };

/// A hypothesis is worth a request once so much more was said: two syllables.
const NEWS: usize = INPUT_RATE as usize / 4;

/// The model hears windows of half a minute, and each costs the same: the pause between hypotheses grows by its own
/// length with each.
const WINDOW: usize = 30 * INPUT_RATE as usize;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What the server calls the model.
    model: String,
    /// Pause between two hypotheses about a turn that is still being spoken; 0 makes none.
    partial_interval_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: "mistralai/Voxtral-Mini-3B-2507".into(), partial_interval_ms: 500 }
    }
}

struct VoxtralVllm {
    remote: Arc<Remote>,
    model: String,
    /// `None` where no partial transcripts are wanted.
    interval: Option<Duration>,
}

fn load(context: &LoadContext) -> Result<Arc<dyn Stt>, EngineError> {
    let (options, remote) = http::parse::<Options>(NAME, &context.options, DEFAULTS)?;
    let interval = (options.partial_interval_ms > 0).then(|| Duration::from_millis(options.partial_interval_ms));
    Ok(Arc::new(VoxtralVllm { remote: Arc::new(remote), model: options.model, interval }))
}

impl Stt for VoxtralVllm {
    /// Has to be polled within a tokio runtime.
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let turn = Turn { remote: self.remote.clone(), model: self.model.clone(), request, sound: Sound::default() };
        let interval = self.interval;
        generate::stream(move |out| turn.run(audio, interval, out))
    }

    fn probe(&self) -> Later<()> {
        let (remote, model) = (self.remote.clone(), self.model.clone());
        Box::pin(async move { check_model(&remote, &model).await })
    }
}

/// One turn while it is being spoken.
struct Turn {
    remote: Arc<Remote>,
    model: String,
    request: SttRequest,
    /// All that was said so far.
    sound: Sound,
}

impl Turn {
    async fn run(
        mut self,
        mut audio: AudioInput,
        interval: Option<Duration>,
        mut out: Out<SttEvent>,
    ) -> Result<(), EngineError> {
        let mut shown = String::new();
        match interval {
            None => {
                while let Some(frame) = audio.next().await {
                    self.sound.push(NAME, &frame)?;
                }
            }
            Some(interval) => self.listen(&mut audio, interval, &mut shown, &mut out).await?,
        }
        if !self.sound.is_audible() {
            return out.give(SttEvent::Final(String::new())).await;
        }
        let request = self.transcription();
        let once = async |out: &mut Out<SttEvent>| {
            let answer = || Answer::new(NAME, &request.model, shown.split_whitespace().count());
            self.remote.exchange(|target| request.build(target), answer, out).await
        };
        let given = out.given();
        match once(&mut out).await {
            // What was shown of a transcript can be taken back, so that an answer that broke in the middle is asked for
            // again.
            Err(EngineError::Failed { reason, .. }) if out.given() > given => {
                tracing::debug!(engine = NAME, %reason, "transcribing the turn again");
                once(&mut out).await
            }
            outcome => outcome,
        }
    }

    /// Takes in the turn to its end, with hypotheses about it on the way. `shown` is what was given out last.
    async fn listen(
        &mut self,
        audio: &mut AudioInput,
        interval: Duration,
        shown: &mut String,
        out: &mut Out<SttEvent>,
    ) -> Result<(), EngineError> {
        let mut agreement = Agreement::default();
        let mut hypothesis: Option<EventStream<SttEvent>> = None;
        let mut heard = 0;
        let mut due = Instant::now() + interval;
        loop {
            tokio::select! {
                // Dropping a hypothesis that is still being made closes its connection.
                frame = audio.next() => match frame {
                    Some(frame) => self.sound.push(NAME, &frame)?,
                    None => return Ok(()),
                },
                said = next_final(&mut hypothesis) => {
                    hypothesis = None;
                    due = Instant::now() + interval * (1 + self.sound.len() / WINDOW) as u32;
                    // A hypothesis that could not be had is no loss: the last one decides.
                    let Some(said) = said else { continue };
                    let words = agreement.push(&said);
                    if words != *shown && !words.is_empty() {
                        out.give(SttEvent::Partial(words.clone())).await?;
                        *shown = words;
                    }
                }
                () = sleep_until(due), if hypothesis.is_none() && self.has_news(heard) => {
                    heard = self.sound.len();
                    hypothesis = Some(self.hypothesis());
                }
            }
        }
    }

    /// Whether enough was said since `heard` samples for another hypothesis.
    fn has_news(&self, heard: usize) -> bool {
        self.sound.is_audible() && self.sound.len() >= heard + NEWS
    }

    /// What the model makes of the turn so far.
    fn hypothesis(&self) -> EventStream<SttEvent> {
        let (remote, request) = (self.remote.clone(), self.transcription());
        generate::stream(|mut out| async move {
            let answer = || Answer::new(NAME, &request.model, 0);
            remote.exchange(|target| request.build(target), answer, &mut out).await
        })
    }

    fn transcription(&self) -> Request {
        Request {
            wav: self.sound.wav().into(),
            model: self.model.clone(),
            language: self.request.language.as_deref().map(two_letters),
            prompt: self.request.prompt.clone(),
        }
    }
}

/// The final text of a hypothesis, `None` if it failed. Waits for ever where there is none.
async fn next_final(hypothesis: &mut Option<EventStream<SttEvent>>) -> Option<String> {
    let Some(events) = hypothesis else { return std::future::pending().await };
    loop {
        match events.next().await {
            Some(Ok(SttEvent::Partial(_))) => {}
            Some(Ok(SttEvent::Final(text))) => return Some(text),
            Some(Err(error)) => {
                tracing::debug!(engine = NAME, %error, "no hypothesis");
                return None;
            }
            None => return None,
        }
    }
}
