//! Chains of scripted engines, which fail, stall, panic and come back as told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anchor_core::engine::{
    AudioInput, EngineState, Later, Llm, LlmEvent, LlmRequest, Notices, Stt, SttEvent, SttRequest,
};
use futures::FutureExt;

use super::*;

mod listening;
mod speaking;
mod writing;

/// Longer than a scripted engine takes for anything, shorter than a stall.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What a scripted engine does next.
#[derive(Clone, Debug)]
enum Step<T> {
    Give(T),
    Wait(u64),
    Fail,
    Refuse,
    Stall,
    Panic,
}

/// An engine that does with each call what the next script says, and with the last script from then on.
struct Scripted<R, T> {
    name: &'static str,
    scripts: Mutex<VecDeque<Vec<Step<T>>>>,
    asked: Mutex<Vec<R>>,
    up: AtomicBool,
    probes: AtomicUsize,
    /// One reference for each stream that lives.
    alive: Arc<()>,
}

impl<R, T: Clone + Send + 'static> Scripted<R, T> {
    fn new(name: &'static str, scripts: &[&[Step<T>]]) -> Arc<Self> {
        Arc::new(Self {
            name,
            scripts: Mutex::new(scripts.iter().map(|script| script.to_vec()).collect()),
            asked: Mutex::default(),
            up: AtomicBool::new(true),
            probes: AtomicUsize::new(0),
            alive: Arc::default(),
        })
    }

    fn call(&self, request: R) -> EventStream<T> {
        self.asked.lock().unwrap().push(request);
        let mut scripts = self.scripts.lock().unwrap();
        let script = if scripts.len() > 1 { scripts.pop_front().unwrap() } else { scripts[0].clone() };
        let (name, alive) = (self.name, self.alive.clone());
        stream::iter(script)
            .then(move |step| {
                let _alive = alive.clone();
                async move {
                    match step {
                        Step::Give(event) => Some(Ok(event)),
                        Step::Wait(ms) => {
                            tokio::time::sleep(Duration::from_millis(ms)).await;
                            None
                        }
                        Step::Fail => Some(Err(broken(name))),
                        Step::Refuse => Some(Err(refused(name))),
                        Step::Stall => std::future::pending().await,
                        Step::Panic => panic!("as told"),
                    }
                }
            })
            .filter_map(|event| async { event })
            .boxed()
    }

    fn look(&self) -> Later<()> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        let outcome = if self.up.load(Ordering::SeqCst) { Ok(()) } else { Err(broken(self.name)) };
        async { outcome }.boxed()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn streams(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }
}

impl Llm for Scripted<LlmRequest, LlmEvent> {
    fn generate(&self, request: LlmRequest) -> EventStream<LlmEvent> {
        self.call(request)
    }

    fn probe(&self) -> Later<()> {
        self.look()
    }
}

fn broken(engine: &'static str) -> EngineError {
    EngineError::Failed { engine, reason: "the line is dead".into() }
}

fn refused(engine: &'static str) -> EngineError {
    EngineError::Unsupported { engine, reason: "it is deaf".into() }
}

type Model = Scripted<LlmRequest, LlmEvent>;

fn says(text: &str) -> Step<LlmEvent> {
    Step::Give(LlmEvent::Delta(text.into()))
}

fn chain_of(board: &Board, models: &[&Arc<Model>]) -> Chain<dyn Llm> {
    let mut slots: Vec<Slot<dyn Llm>> =
        models.iter().map(|model| board.loaded(model.name, (*model).clone() as Arc<dyn Llm>)).collect();
    let first = slots.remove(0);
    Chain::new(first, slots, board, PATIENCE)
}

async fn answer(chain: &Chain<dyn Llm>) -> Result<String, EngineError> {
    let mut text = String::new();
    let mut events = chain.generate(LlmRequest::default());
    while let Some(event) = events.next().await {
        if let LlmEvent::Delta(delta) = event? {
            text.push_str(&delta);
        }
    }
    Ok(text)
}

fn told(board: &Board) -> Vec<String> {
    let notices: Notices = board.notices().borrow().clone();
    notices.recent.into_iter().map(|(_, notice)| format!("{}: {}", notice.what.name(), notice.text)).collect()
}

fn in_use(board: &Board) -> Vec<String> {
    let rows = board.watch().borrow().clone();
    rows.into_iter().filter(|row| row.in_use).map(|row| row.name).collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_takes_over_and_gives_back() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Fail], &[says("good")]]);
    let spare = Model::new("spare", &[&[says("spare")]]);
    let chain = chain_of(&board, &[&good, &spare]);
    assert_eq!(in_use(&board), ["good"]);
    good.up.store(false, Ordering::SeqCst);

    assert_eq!(answer(&chain).await.unwrap(), "spare");
    assert_eq!(answer(&chain).await.unwrap(), "spare", "it is not asked again at once");
    assert_eq!((good.asked(), spare.asked()), (1, 2));
    assert_eq!(in_use(&board), ["spare"]);
    assert!(matches!(board.watch().borrow()[0].state, EngineState::Degraded(_)));

    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(good.probes.load(Ordering::SeqCst), 4, "after 1, 3, 7 and 15 seconds");
    assert_eq!(answer(&chain).await.unwrap(), "spare");
    good.up.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(answer(&chain).await.unwrap(), "good");
    assert_eq!(good.probes.load(Ordering::SeqCst), 5, "what works is not looked after");
    assert_eq!(in_use(&board), ["good"]);
    assert_eq!(board.watch().borrow()[0].state, EngineState::Ready);
    assert_eq!(
        told(&board),
        [
            "switched_over: good does not answer (the line is dead). spare answers until it is back.",
            "switched_back: good answers again and has taken over from spare.",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn silence_and_panics_are_failures() {
    for trouble in [Step::Stall, Step::Panic] {
        let board = Board::default();
        let good = Model::new("good", &[&[trouble]]);
        let spare = Model::new("spare", &[&[Step::Wait(900), says("spare")]]);
        let chain = chain_of(&board, &[&good, &spare]);
        let begun = tokio::time::Instant::now();
        assert_eq!(answer(&chain).await.unwrap(), "spare");
        assert!(begun.elapsed() <= PATIENCE + Duration::from_millis(910));
        assert_eq!(told(&board).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_may_take_its_time() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Fail]]);
    let spare = Model::new("spare", &[&[Step::Wait(60_000), says("spare")]]);
    assert_eq!(answer(&chain_of(&board, &[&good, &spare])).await.unwrap(), "spare");
    let slow = Model::new("slow", &[&[Step::Wait(60_000), says("slow")]]);
    assert_eq!(answer(&chain_of(&board, &[&slow])).await.unwrap(), "slow", "a chain of one is its engine");
}

#[tokio::test(start_paused = true)]
async fn where_all_fail_the_error_names_them_all_and_all_are_asked_again() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Fail], &[Step::Fail], &[says("good")]]);
    let spare = Model::new("spare", &[&[Step::Fail]]);
    let chain = chain_of(&board, &[&good, &spare]);
    for _ in 0..2 {
        assert_eq!(
            answer(&chain).await.unwrap_err().to_string(),
            "spare failed: the line is dead (and before it: good failed: the line is dead)"
        );
    }
    assert_eq!(answer(&chain).await.unwrap(), "good", "somebody waits, so it is worth a try");
    assert_eq!(
        told(&board),
        [
            "switched_over: good does not answer (the line is dead). spare answers until it is back.",
            "switched_over: spare does not answer (the line is dead). No other is left.",
            "switched_back: good answers again.",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_is_no_failure() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Refuse]]);
    let spare = Model::new("spare", &[&[says("spare")]]);
    let chain = chain_of(&board, &[&good, &spare]);
    assert_eq!(answer(&chain).await.unwrap_err(), refused("good"));
    assert_eq!((spare.asked(), told(&board).len()), (0, 0));
    // A deputy that refuses is no answer, either: the next is asked.
    let broken = Model::new("broken", &[&[Step::Fail]]);
    let chain = chain_of(&board, &[&broken, &good, &spare]);
    assert_eq!(answer(&chain).await.unwrap(), "spare");
}

#[tokio::test(start_paused = true)]
async fn what_passes_its_probe_and_fails_again_is_asked_ever_more_rarely() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Fail]]);
    let spare = Model::new("spare", &[&[says("spare")]]);
    let chain = chain_of(&board, &[&good, &spare]);
    for _ in 0..600 {
        assert_eq!(answer(&chain).await.unwrap(), "spare");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(good.asked() < 16, "{} times in five minutes", good.asked());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_drops_the_members_and_dropping_the_chain_ends_its_tasks() {
    let board = Board::default();
    let good = Model::new("good", &[&[says("one two"), Step::Fail]]);
    let spare = Model::new("spare", &[&[says("three four"), Step::Wait(10), says(" five"), Step::Stall]]);
    good.up.store(false, Ordering::SeqCst);
    let chain = chain_of(&board, &[&good, &spare]);
    let mut events = chain.generate(LlmRequest::default());
    assert!(events.next().await.unwrap().is_ok());
    assert_eq!((good.streams(), spare.streams()), (1, 0));
    assert!(events.next().await.unwrap().is_ok());
    assert_eq!((good.streams(), spare.streams()), (0, 1));
    drop(events);
    assert_eq!((good.streams(), spare.streams()), (0, 0));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1, "the lookout");
    drop(chain);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_down_is_known_before_the_first_turn() {
    let board = Board::default();
    let good = Model::new("good", &[&[says("good")]]);
    let spare = Model::new("spare", &[&[says("spare")]]);
    good.up.store(false, Ordering::SeqCst);
    let chain = chain_of(&board, &[&good, &spare]);
    chain.meet().await;
    assert_eq!(answer(&chain).await.unwrap(), "spare");
    assert_eq!(good.asked(), 0, "the first turn went to an engine that is down");
    good.up.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(answer(&chain).await.unwrap(), "good");
}

#[tokio::test]
async fn every_request_is_told_of_whoever_serves_it() {
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Fail]]);
    let spare = Model::new("spare", &[&[says("spare")]]);
    let chain = chain_of(&board, &[&good, &spare]);
    let uses = Arc::new(AtomicUsize::new(0));
    let counter = uses.clone();
    chain.on_use(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    for _ in 0..3 {
        assert_eq!(answer(&chain).await.unwrap(), "spare");
    }
    assert_eq!(uses.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn members_load_together_and_one_is_enough() {
    static BROKEN: crate::Entry<dyn Llm> = crate::Entry {
        name: "broken",
        about: "",
        needs: crate::Needs { gpu_bytes: 0, packages: &[], network: false },
        load: |_| Err(broken("broken")),
    };
    let context = || crate::LoadContext {
        rundown: tokio::sync::watch::Sender::default().subscribe(),
        options: toml::Table::new(),
    };
    let board = Board::default();
    let spare = Model::new("spare", &[&[says("spare")]]);
    let slot = board.loaded("spare", spare.clone() as Arc<dyn Llm>);
    let chain = Chain::new(board.slot(&BROKEN, context()), vec![slot], &board, PATIENCE);
    assert_eq!(chain.load(), Ok(()));
    assert_eq!(in_use(&board), ["spare"]);
    assert!(matches!(board.watch().borrow()[1].state, EngineState::Failed(_)));
    assert_eq!(answer(&chain).await.unwrap(), "spare");
    assert_eq!(told(&board).len(), 1);
    let alone = Chain::new(board.slot(&BROKEN, context()), vec![], &board, PATIENCE);
    assert_eq!(alone.load(), Err(broken("broken")));
}
