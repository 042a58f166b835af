//! What voices behind a network share: the sound of one request for each clause, checked, levelled, and asked for while the
//! clause before it is still being heard.

mod container;
mod hidden;
mod level;
mod samples;
mod sound;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use anchor_core::audio::{AudioFrame, OUTPUT_RATE};
use anchor_core::engine::{EngineError, EventStream, TextInput, TtsEvent};
use futures::StreamExt;
use futures::stream::Fuse;

use crate::generate::{self, Out};
pub(super) use level::Levels;
use level::{Level, Levelled};
pub(super) use sound::{Expected, Sound};

/// Sound of the next clause that is kept until the one before it is out. More than a clause lasts is never needed; beyond
/// it the server waits.
const AHEAD_MAX: usize = 30 * OUTPUT_RATE as usize;

/// Speaks the clauses one after the other, each with the sound that `start` asks a server for.
///
/// As soon as a clause is heard the next one is asked for, if it is written yet, so that the server's time to its first sound
/// is not heard as a gap. There are never more than two requests, and their sound never mixes.
pub(super) fn speak<F>(level: Arc<Level>, text: TextInput, start: F) -> EventStream<TtsEvent>
where
    F: Fn(String) -> EventStream<Vec<f32>> + Send + 'static,
{
    generate::stream(move |mut out| async move {
        let mut clauses = Clauses { text: text.fuse(), start, next: None };
        while let Some(mut clause) = clauses.next().await {
            let mut levelled = Levelled::new(level.clone());
            while let Some(sound) = clauses.listen(&mut clause).await {
                give(&mut out, levelled.push(&sound?)).await?;
            }
            give(&mut out, levelled.finish()).await?;
            out.give(TtsEvent::ClauseEnd).await?;
        }
        Ok(())
    })
}

async fn give(out: &mut Out<TtsEvent>, sound: Vec<f32>) -> Result<(), EngineError> {
    if sound.is_empty() {
        return Ok(());
    }
    out.give(TtsEvent::Audio(AudioFrame::new(sound))).await
}

/// The clauses still to be spoken.
struct Clauses<F> {
    text: Fuse<TextInput>,
    start: F,
    /// Asked for ahead.
    next: Option<Clause>,
}

impl<F: Fn(String) -> EventStream<Vec<f32>>> Clauses<F> {
    async fn next(&mut self) -> Option<Clause> {
        match self.next.take() {
            Some(clause) => Some(clause),
            None => self.text.next().await.map(|text| self.ask(&text)),
        }
    }

    /// The next sound of the clause, `None` at its end. Meanwhile, the clause behind it is prepared.
    async fn listen(&mut self, clause: &mut Clause) -> Option<Result<Vec<f32>, EngineError>> {
        poll_fn(|cx| {
            let sound = clause.poll(cx);
            // Before it is heard, a second request would only slow it down.
            if clause.begun {
                self.look_ahead(cx);
            }
            sound
        })
        .await
    }

    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        if self.next.is_none()
            && let Poll::Ready(Some(text)) = self.text.poll_next_unpin(cx)
        {
            self.next = Some(self.ask(&text));
        }
        if let Some(next) = &mut self.next {
            next.fill(cx);
        }
    }

    /// What has nothing to be spoken is not asked for. Control characters mean nothing to a voice and much to some parsers.
    fn ask(&self, text: &str) -> Clause {
        let text = text.replace(char::is_control, " ").trim().to_owned();
        let sound = text.contains(char::is_alphanumeric).then(|| (self.start)(text));
        Clause { sound, ready: VecDeque::new(), waiting: 0, begun: false }
    }
}

/// One clause on its way from the server.
struct Clause {
    /// `None` once it has ended.
    sound: Option<EventStream<Vec<f32>>>,
    /// What came ahead of its time.
    ready: VecDeque<Result<Vec<f32>, EngineError>>,
    /// Samples of it.
    waiting: usize,
    begun: bool,
}

impl Clause {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<f32>, EngineError>>> {
        let sound = match self.ready.pop_front() {
            Some(sound) => Poll::Ready(Some(sound)),
            None => self.poll_sound(cx),
        };
        if let Poll::Ready(Some(Ok(samples))) = &sound {
            self.waiting = self.waiting.saturating_sub(samples.len());
            self.begun = true;
        }
        sound
    }

    fn poll_sound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<f32>, EngineError>>> {
        let Some(sound) = &mut self.sound else { return Poll::Ready(None) };
        let polled = sound.as_mut().poll_next(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.sound = None;
        }
        polled
    }

    /// Takes in what has come.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.waiting < AHEAD_MAX
            && let Poll::Ready(Some(sound)) = self.poll_sound(cx)
        {
            self.waiting += sound.as_ref().map_or(0, Vec::len);
            self.ready.push_back(sound);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::channel::mpsc;
    use futures::executor::block_on;
    use futures::{FutureExt, stream};

    use super::*;

    type Server = mpsc::UnboundedSender<Result<Vec<f32>, EngineError>>;

    /// A voice whose servers the test plays.
    struct World {
        asked: Arc<Mutex<Vec<(String, Server)>>>,
        text: mpsc::UnboundedSender<String>,
        events: EventStream<TtsEvent>,
    }

    impl World {
        fn new() -> Self {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let requests = asked.clone();
            let (text, clauses) = mpsc::unbounded();
            let events = speak(Arc::default(), clauses.boxed(), move |text| {
                let (server, sound) = mpsc::unbounded();
                requests.lock().unwrap().push((text, server));
                sound.boxed()
            });
            Self { asked, text, events }
        }

        fn write(&self, text: &str) {
            self.text.unbounded_send(text.into()).unwrap();
        }

        fn server(&self, index: usize) -> Server {
            self.asked.lock().unwrap()[index].1.clone()
        }

        /// Sends sound that passes for speech, half a second of it.
        fn sound(&self, index: usize, amplitude: f32) {
            let tone = (0..12_000).map(|n| amplitude * (n as f32 * 0.1).sin()).collect();
            self.server(index).unbounded_send(Ok(tone)).unwrap();
        }

        fn end(&self, index: usize) {
            self.asked.lock().unwrap()[index].1.close_channel();
        }

        /// What happens until nothing more does.
        fn drain(&mut self) -> Vec<String> {
            let mut seen = Vec::new();
            // Who waits is asked again once or twice, as a runtime would after waking it.
            let mut quiet = 0;
            while quiet < 5 {
                let Some(event) = self.events.next().now_or_never() else {
                    quiet += 1;
                    continue;
                };
                let Some(event) = event else { break };
                quiet = 0;
                seen.push(match event {
                    Ok(TtsEvent::Audio(_)) => "sound".into(),
                    Ok(TtsEvent::ClauseEnd) => "end".into(),
                    Ok(event) => format!("{event:?}"),
                    Err(error) => error.to_string(),
                });
            }
            seen.dedup();
            seen
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
        }
    }

    #[test]
    fn the_next_clause_is_asked_for_once_the_last_is_heard() {
        let mut world = World::new();
        world.write("One\0.");
        world.write("Two.");
        world.write("Three.");
        assert!(world.drain().is_empty());
        assert_eq!(world.asked(), ["One ."]);
        world.sound(0, 0.1);
        assert_eq!(world.drain(), ["sound"]);
        assert_eq!(world.asked(), ["One .", "Two."]);
        // The second may be done first; its turn comes later.
        world.sound(1, 0.1);
        world.end(1);
        assert!(world.drain().is_empty());
        world.sound(0, 0.1);
        world.end(0);
        assert_eq!(world.drain(), ["sound", "end", "sound", "end"]);
        assert_eq!(world.asked(), ["One .", "Two.", "Three."]);
    }

    #[test]
    fn an_error_comes_in_its_turn() {
        let mut world = World::new();
        world.write("One.");
        world.write("Two.");
        world.drain();
        world.sound(0, 0.1);
        world.drain();
        let error = EngineError::Failed { engine: "test", reason: "gone".into() };
        world.server(1).unbounded_send(Err(error)).unwrap();
        world.end(0);
        assert_eq!(world.drain(), ["sound", "end", "test failed: gone"]);
        assert!(world.text.is_closed());
    }

    #[test]
    fn what_has_no_sound_is_only_ended() {
        let text = stream::iter(["", "...", "\0", "\u{1f600}"].map(str::to_owned)).boxed();
        let events = speak(Arc::default(), text, |_| unreachable!());
        assert_eq!(block_on(events.collect::<Vec<_>>()), [const { Ok(TtsEvent::ClauseEnd) }; 4]);
    }

    #[test]
    fn a_server_that_is_ahead_has_to_wait() {
        let mut world = World::new();
        world.write("One.");
        world.write("Two.");
        world.drain();
        world.sound(0, 0.1);
        world.drain();
        for _ in 0..100 {
            world.sound(1, 0.1);
        }
        world.drain();
        let pulled = world.asked.lock().unwrap()[1].1.len();
        assert!(pulled >= 100 - AHEAD_MAX / 12_000 - 1, "{pulled}");
    }
}
