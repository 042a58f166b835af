//! Slots: engines that load when they are first used.
//!
//! A slot is an engine itself, so nobody behind it knows whether loading takes a millisecond or a minute, and an engine
//! that cannot be loaded is an error of the call that needed it, not the end of the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anchor_core::engine::{
    AudioInput, EngineError, EngineKind, EngineState, EventStream, Later, Llm, LlmEvent, LlmRequest, Stt, SttEvent,
    SttRequest, TextInput, Tts, TtsEvent, TtsRequest, VadModel, Voice,
};
use futures::{FutureExt, StreamExt};

use crate::board::Light;
use crate::{Entry, LLM, LoadContext, STT, TTS, VAD};

pub use crate::board::Board;

/// An engine that could not be loaded is tried again after this pause: rare enough that many who want it at once do not
/// eat the processor. It is shorter than the shortest pause of a chain's breaker, so that whoever the chain sends to look
/// whether the engine works really loads it; how often that is, the breaker decides.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A kind of engine and its table.
pub trait Kind: Send + Sync + 'static {
    /// The kind.
    const KIND: EngineKind;

    /// The engines there are of it.
    fn table() -> &'static [Entry<Self>];

    /// Whether the engine would take a request now.
    fn probe(&self) -> Later<()>;
}

impl Kind for dyn Stt {
    const KIND: EngineKind = EngineKind::Stt;

    fn table() -> &'static [Entry<Self>] {
        STT
    }

    fn probe(&self) -> Later<()> {
        Stt::probe(self)
    }
}

impl Kind for dyn Llm {
    const KIND: EngineKind = EngineKind::Llm;

    fn table() -> &'static [Entry<Self>] {
        LLM
    }

    fn probe(&self) -> Later<()> {
        Llm::probe(self)
    }
}

impl Kind for dyn Tts {
    const KIND: EngineKind = EngineKind::Tts;

    fn table() -> &'static [Entry<Self>] {
        TTS
    }

    fn probe(&self) -> Later<()> {
        Tts::probe(self)
    }
}

impl Kind for dyn VadModel {
    const KIND: EngineKind = EngineKind::Vad;

    fn table() -> &'static [Entry<Self>] {
        VAD
    }

    fn probe(&self) -> Later<()> {
        async { Ok(()) }.boxed()
    }
}

/// No engine of this kind has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {} engine called '{name}'{}. There is: {}", kind.name(), did_you_mean(name, known), known.join(", "))]
pub struct UnknownEngine {
    /// What it should have done.
    pub kind: EngineKind,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

fn did_you_mean(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, nearest)| format!(" (did you mean '{nearest}'?)"))
}

/// The engine with this name.
pub fn find<E: Kind + ?Sized>(name: &str) -> Result<&'static Entry<E>, UnknownEngine> {
    E::table().iter().find(|entry| entry.name == name).ok_or_else(|| UnknownEngine {
        kind: E::KIND,
        name: name.into(),
        known: E::table().iter().map(|entry| entry.name).collect(),
    })
}

impl Board {
    /// Puts an engine on the board.
    pub fn slot<E: Kind + ?Sized>(&self, entry: &'static Entry<E>, context: LoadContext) -> Slot<E> {
        let light = self.light(E::KIND, entry.name);
        Slot(Arc::new(Inner { entry, context, loaded: OnceLock::new(), failure: Mutex::new(None), light }))
    }

    /// Puts an engine that is loaded already on the board.
    #[cfg(test)]
    pub(crate) fn loaded<E: Kind + ?Sized>(&self, name: &'static str, engine: Arc<E>) -> Slot<E> {
        let load = |_: &LoadContext| Err(EngineError::Cancelled);
        let needs = crate::Needs { gpu_bytes: 0, packages: &[], network: false };
        let entry = Box::leak(Box::new(Entry { name, about: "", needs, load }));
        let rundown = tokio::sync::watch::Sender::default().subscribe();
        let slot = self.slot(entry, LoadContext { rundown, options: toml::Table::new() });
        assert!(slot.0.loaded.set(engine).is_ok());
        slot
    }
}

/// A place for one engine. Clones are the same place.
pub struct Slot<E: ?Sized + 'static>(Arc<Inner<E>>);

impl<E: ?Sized> Clone for Slot<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<E: ?Sized + 'static> {
    entry: &'static Entry<E>,
    context: LoadContext,
    loaded: OnceLock<Arc<E>>,
    /// The last attempt, if it failed. Held while loading, so that everybody else waits for the same engine.
    failure: Mutex<Option<(Instant, EngineError)>>,
    light: Light,
}

impl<E: Kind + ?Sized> Slot<E> {
    /// The engine, loaded if it is not yet. Blocks while it loads: call it where blocking is allowed.
    pub fn load(&self) -> Result<Arc<E>, EngineError> {
        let mut failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = self.0.loaded.get() {
            return Ok(engine.clone());
        }
        if let Some((at, error)) = &*failure
            && at.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        self.0.light.show(EngineState::Loading);
        let name = self.0.entry.name;
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.0.entry.load)(&self.0.context))).unwrap_or_else(|_| {
            Err(EngineError::Failed { engine: name, reason: "it stopped on an internal error while loading".into() })
        });
        match outcome {
            Ok(engine) => {
                *failure = None;
                self.0.light.show(EngineState::Ready);
                tracing::info!(kind = E::KIND.name(), engine = name, "loaded");
                Ok(self.0.loaded.get_or_init(|| engine).clone())
            }
            Err(error) => {
                // A chain tries for as long as it takes; the same news once is enough.
                if failure.as_ref().is_none_or(|(_, before)| *before != error) {
                    tracing::warn!(kind = E::KIND.name(), engine = name, %error, "could not be loaded");
                }
                self.0.light.show(EngineState::Failed(error.to_string()));
                *failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Its name in the table of its kind.
    pub fn name(&self) -> &'static str {
        self.0.entry.name
    }

    /// How the engine is.
    pub fn state(&self) -> EngineState {
        self.0.light.read()
    }

    /// The engine, if it is loaded.
    pub fn loaded(&self) -> Option<Arc<E>> {
        self.0.loaded.get().cloned()
    }

    /// Shows on the board that the engine does not work, for this reason. It is ready again with its next event.
    pub(crate) fn show_trouble(&self, error: &EngineError) {
        self.0.light.show(match error {
            EngineError::Failed { .. } if self.loaded().is_some() => EngineState::Degraded(error.to_string()),
            _ => EngineState::Failed(error.to_string()),
        });
    }

    /// Shows on the board whether requests go to the engine first.
    pub(crate) fn show_in_use(&self, in_use: bool) {
        self.0.light.show_in_use(in_use);
    }

    /// Loads the engine if need be and asks it whether it would take a request.
    pub(crate) async fn probe(&self) -> Result<(), EngineError> {
        let engine = match self.loaded() {
            Some(engine) => engine,
            None => {
                let slot = self.clone();
                let loaded = tokio::task::spawn_blocking(move || slot.load()).await;
                loaded.map_err(|_| EngineError::Cancelled)??
            }
        };
        engine.probe().await?;
        self.0.light.show(EngineState::Ready);
        Ok(())
    }

    /// Calls the engine as soon as it is loaded. The load goes on when the stream is dropped: the next call wants it.
    fn call<T: Send + 'static>(&self, call: impl FnOnce(&E) -> EventStream<T> + Send + 'static) -> EventStream<T> {
        let slot = self.clone();
        if let Some(engine) = self.0.loaded.get() {
            return slot.watched(call(engine));
        }
        let loading = slot.clone();
        async move {
            match tokio::task::spawn_blocking(move || loading.load()).await {
                Ok(Ok(engine)) => slot.watched(call(&engine)),
                Ok(Err(error)) => futures::stream::iter([Err(error)]).boxed(),
                // The program is shutting down.
                Err(_) => futures::stream::iter([Err(EngineError::Cancelled)]).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }

    /// Keeps the board true: an engine that breaks while working is degraded until it works again.
    fn watched<T: 'static>(self, events: EventStream<T>) -> EventStream<T> {
        events
            .inspect(move |event| match event {
                Ok(_) => self.0.light.show(EngineState::Ready),
                Err(error @ (EngineError::Failed { .. } | EngineError::Unavailable { .. })) => self.show_trouble(error),
                Err(EngineError::Unsupported { .. } | EngineError::Cancelled) => {}
            })
            .boxed()
    }
}

impl Stt for Slot<dyn Stt> {
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        self.call(move |engine| engine.transcribe(request, audio))
    }

    fn probe(&self) -> Later<()> {
        let slot = self.clone();
        async move { Slot::probe(&slot).await }.boxed()
    }
}

impl Llm for Slot<dyn Llm> {
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        self.call(move |engine| engine.generate(request))
    }

    fn probe(&self) -> Later<()> {
        let slot = self.clone();
        async move { Slot::probe(&slot).await }.boxed()
    }
}

impl Tts for Slot<dyn Tts> {
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        self.call(move |engine| engine.speak(request, text))
    }

    /// Of an engine that cannot be loaded: none. Blocks while it loads.
    fn voices(&self) -> Vec<Voice> {
        self.load().map_or_else(|_| Vec::new(), |engine| engine.voices())
    }

    fn probe(&self) -> Later<()> {
        let slot = self.clone();
        async move { Slot::probe(&slot).await }.boxed()
    }
}

// A `VadModel` has no slot of its own: a detector is needed from the first sample on and its call cannot fail, so it is
// loaded, with `Slot::load`, before anybody is heard.

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anchor_core::rundown::OnAir;
    use tokio::sync::watch;

    use super::*;

    struct Parrot;

    impl Llm for Parrot {
        fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
            let event = match request.instructions.as_str() {
                "break" => Err(EngineError::Failed { engine: "parrot", reason: "it flew away".into() }),
                text => Ok(LlmEvent::Delta(text.into())),
            };
            futures::stream::iter([event]).boxed()
        }
    }

    const fn entry(load: fn(&LoadContext) -> Result<Arc<dyn Llm>, EngineError>) -> Entry<dyn Llm> {
        let needs = crate::Needs { gpu_bytes: 0, packages: &[], network: false };
        Entry { name: "parrot", about: "", needs, load }
    }

    fn context() -> LoadContext {
        LoadContext { rundown: watch::Sender::new(OnAir::default()).subscribe(), options: toml::Table::new() }
    }

    fn saying(text: &str) -> LlmRequest {
        LlmRequest { instructions: text.into(), ..LlmRequest::default() }
    }

    #[tokio::test]
    async fn loads_once_for_all_who_wait_and_shows_it() {
        static LOADS: AtomicUsize = AtomicUsize::new(0);
        static SLOW: Entry<dyn Llm> = entry(|_| {
            std::thread::sleep(Duration::from_millis(50));
            LOADS.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(Parrot))
        });
        let board = Board::default();
        let slot = board.slot(&SLOW, context());
        let mut watch = board.watch();
        assert_eq!(watch.borrow_and_update()[0].state, EngineState::Idle);

        let calls = (0..4).map(|_| slot.generate(saying("hello")).collect::<Vec<_>>());
        let answers = tokio::spawn(futures::future::join_all(calls));
        watch.changed().await.unwrap();
        assert_eq!(watch.borrow_and_update()[0].state, EngineState::Loading);
        for answer in answers.await.unwrap() {
            assert_eq!(answer, [Ok(LlmEvent::Delta("hello".into()))]);
        }
        assert_eq!(LOADS.load(Ordering::SeqCst), 1);
        assert_eq!(watch.borrow()[0].state, EngineState::Ready);
    }

    #[tokio::test]
    async fn a_failed_load_is_an_error_of_the_call() {
        static BROKEN: Entry<dyn Llm> = entry(|_| panic!("no"));
        let board = Board::default();
        let slot = board.slot(&BROKEN, context());
        for _ in 0..2 {
            let events: Vec<_> = slot.generate(saying("hello")).collect().await;
            assert!(matches!(events[..], [Err(EngineError::Failed { .. })]));
        }
        assert!(matches!(board.watch().borrow()[0].state, EngineState::Failed(_)));
    }

    #[tokio::test]
    async fn a_break_degrades_until_the_next_success() {
        static SOUND: Entry<dyn Llm> = entry(|_| Ok(Arc::new(Parrot)));
        let board = Board::default();
        let slot = board.slot(&SOUND, context());
        let _: Vec<_> = slot.generate(saying("break")).collect().await;
        assert_eq!(board.watch().borrow()[0].state, EngineState::Degraded("parrot failed: it flew away".into()));
        let _: Vec<_> = slot.generate(saying("fine")).collect().await;
        assert_eq!(board.watch().borrow()[0].state, EngineState::Ready);
    }

    #[test]
    fn an_unknown_engine_names_the_nearest() {
        let error = UnknownEngine { kind: EngineKind::Tts, name: "flight".into(), known: vec!["flite", "espeak"] };
        assert_eq!(
            error.to_string(),
            "there is no tts engine called 'flight' (did you mean 'flite'?). There is: flite, espeak"
        );
    }
}
