//! Recognisers that break off within a turn.

use anchor_core::audio::AudioFrame;
use futures::channel::mpsc;

use super::*;

/// A recogniser that tells how many samples it has heard: of each frame as a partial, and of the turn as its final.
/// It fails when it has heard so many.
struct Counting {
    name: &'static str,
    fails_at: Option<usize>,
    stalls: bool,
}

impl Stt for Counting {
    fn transcribe(&self, _: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let (name, fails_at, stalls) = (self.name, self.fails_at, self.stalls);
        stream::unfold((audio, 0, false), move |(mut audio, heard, over)| async move {
            if over {
                return None;
            }
            if fails_at.is_some_and(|at| heard >= at) {
                return Some((Err(broken(name)), (audio, heard, true)));
            }
            match audio.next().await {
                Some(frame) => {
                    let heard = heard + frame.len();
                    Some((Ok(SttEvent::Partial(format!("{name} {heard}"))), (audio, heard, false)))
                }
                None if stalls => std::future::pending().await,
                None => Some((Ok(SttEvent::Final(format!("{name} {heard}"))), (audio, heard, true))),
            }
        })
        .boxed()
    }
}

fn chain(board: &Board, fails_at: Option<usize>, stalls: bool) -> Chain<dyn Stt> {
    let good: Arc<dyn Stt> = Arc::new(Counting { name: "good", fails_at, stalls });
    let spare: Arc<dyn Stt> = Arc::new(Counting { name: "spare", fails_at: None, stalls: false });
    Chain::new(board.loaded("good", good), vec![board.loaded("spare", spare)], board, PATIENCE)
}

/// What comes of a turn of five frames, one every 20 ms.
async fn turn(chain: &Chain<dyn Stt>) -> Vec<String> {
    let audio = stream::iter(0..5).then(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        AudioFrame::new(vec![0.0; 10])
    });
    let events = chain.transcribe(SttRequest::default(), audio.boxed());
    let said = events.map(|event| match event.unwrap() {
        SttEvent::Partial(text) => text,
        SttEvent::Final(text) => format!("final {text}"),
    });
    said.collect().await
}

#[tokio::test(start_paused = true)]
async fn the_next_hears_the_turn_from_its_start() {
    let board = Board::default();
    assert_eq!(turn(&chain(&board, None, false)).await.last().unwrap(), "final good 50");
    for fails_at in [0, 10, 30, 50] {
        let board = Board::default();
        let chain = chain(&board, Some(fails_at), false);
        assert_eq!(turn(&chain).await.last().unwrap(), "final spare 50", "{fails_at}");
        assert_eq!(
            told(&board),
            ["switched_over: good does not listen (the line is dead). spare listens until it is back."]
        );
        assert_eq!(turn(&chain).await.first().unwrap(), "spare 10", "the next turn goes to the one that works");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_after_the_turn_is_left() {
    let board = Board::default();
    let begun = tokio::time::Instant::now();
    assert_eq!(turn(&chain(&board, None, true)).await.last().unwrap(), "final spare 50");
    assert!(begun.elapsed() < PATIENCE + Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_is_no_silence_and_an_empty_transcript_is_an_answer() {
    let board = Board::default();
    let mut turns = VecDeque::from([Step::Give(SttEvent::Final(String::new()))]);
    struct Deaf(Mutex<VecDeque<Step<SttEvent>>>);
    impl Stt for Deaf {
        fn transcribe(&self, _: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
            let step = self.0.lock().unwrap().pop_front();
            stream::once(async move {
                audio.collect::<Vec<_>>().await;
                match step {
                    Some(Step::Give(event)) => Ok(event),
                    _ => Err(broken("deaf")),
                }
            })
            .boxed()
        }
    }
    turns.push_back(Step::Fail);
    let deaf: Arc<dyn Stt> = Arc::new(Deaf(Mutex::new(turns)));
    let spare: Arc<dyn Stt> = Arc::new(Counting { name: "spare", fails_at: None, stalls: false });
    let chain = Chain::new(board.loaded("deaf", deaf), vec![board.loaded("spare", spare)], &board, PATIENCE);
    let (sender, audio) = mpsc::unbounded();
    let events = tokio::spawn(chain.transcribe(SttRequest::default(), audio.boxed()).collect::<Vec<_>>());
    tokio::time::sleep(60 * PATIENCE).await;
    drop(sender);
    assert_eq!(events.await.unwrap(), [Ok(SttEvent::Final(String::new()))]);
    assert!(told(&board).is_empty());
    assert_eq!(turn(&chain).await.last().unwrap(), "final spare 50");
}
