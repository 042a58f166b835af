//! Recognisers in a chain: the turn's sound is kept, so that the next recogniser hears all of it.

use std::time::Instant;

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use anchor_core::engine::{AudioInput, EngineError, EventStream, Later, Stt, SttEvent, SttRequest};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, stream};

use super::relay::Relay;
use super::{Chain, guarded, now, until};

/// Most samples of a turn that are kept: two minutes, which is as long as a turn can be, and then some. The next
/// recogniser hears no more than that from the beginning.
const KEPT_MAX: usize = 125 * INPUT_RATE as usize;

impl Stt for Chain<dyn Stt> {
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        self.used();
        if let Some(only) = self.only() {
            return only.transcribe(request, audio);
        }
        let listening = Listening::new(Relay::start(self), request, audio);
        stream::unfold(listening, |mut listening| async { Some((listening.next().await?, listening)) }).boxed()
    }

    fn probe(&self) -> Later<()> {
        async { Ok(()) }.boxed()
    }
}

/// One turn on its way through the chain.
struct Listening {
    relay: Relay<dyn Stt>,
    request: SttRequest,
    audio: AudioInput,
    kept: Vec<AudioFrame>,
    kept_samples: usize,
    /// Where the member gets its sound; `None` once the turn is over.
    feed: Option<mpsc::UnboundedSender<AudioFrame>>,
    events: EventStream<SttEvent>,
    /// When the transcript has to be there, once the turn is over.
    due: Option<Instant>,
    over: bool,
}

impl Listening {
    fn new(relay: Relay<dyn Stt>, request: SttRequest, audio: AudioInput) -> Self {
        let (feed, events) = start(&relay, request.clone());
        let (kept, kept_samples) = (Vec::new(), 0);
        Self { relay, request, audio, kept, kept_samples, feed: Some(feed), events, due: None, over: false }
    }

    async fn next(&mut self) -> Option<Result<SttEvent, EngineError>> {
        while !self.over {
            let failure = tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(Ok(SttEvent::Final(text))) => {
                        self.over = true;
                        self.relay.done();
                        return Some(Ok(SttEvent::Final(text)));
                    }
                    Some(Ok(partial)) => return Some(Ok(partial)),
                    Some(Err(error)) => error,
                    None => self.broken_off(),
                },
                frame = self.audio.next(), if self.feed.is_some() => {
                    self.hear(frame);
                    continue;
                }
                () = until(self.due) => self.relay.silence(),
            };
            if let Err(error) = self.relay.pass_on(failure) {
                self.over = true;
                return Some(Err(error));
            }
            self.start_again();
        }
        None
    }

    /// Takes the next sound of the turn, or its end.
    fn hear(&mut self, frame: Option<AudioFrame>) {
        match (frame, &self.feed) {
            (Some(frame), Some(feed)) => {
                // A member that takes no more sound has said, or will say, why.
                let _ = feed.unbounded_send(frame.clone());
                if self.kept_samples < KEPT_MAX {
                    self.kept_samples += frame.len();
                    self.kept.push(frame);
                }
            }
            _ => {
                self.feed = None;
                self.due = self.relay.patience().map(|patience| now() + patience);
            }
        }
    }

    /// The next member hears the turn from its start. What the last one understood is forgotten: its successor's
    /// transcripts are of the whole turn.
    fn start_again(&mut self) {
        let (feed, events) = start(&self.relay, self.request.clone());
        for frame in &self.kept {
            let _ = feed.unbounded_send(frame.clone());
        }
        self.events = events;
        if self.feed.is_some() {
            self.feed = Some(feed);
        } else {
            self.due = self.relay.patience().map(|patience| now() + patience);
        }
    }

    fn broken_off(&self) -> EngineError {
        EngineError::Failed { engine: self.relay.slot().name(), reason: "it ended without a transcript".into() }
    }
}

/// Starts the member that has the turn.
fn start(relay: &Relay<dyn Stt>, request: SttRequest) -> (mpsc::UnboundedSender<AudioFrame>, EventStream<SttEvent>) {
    // No more than the turn waits in it, and the turn is bounded.
    let (feed, audio) = mpsc::unbounded();
    let slot = relay.slot().clone();
    (feed, guarded(slot.name(), move || slot.transcribe(request, audio.boxed())))
}
