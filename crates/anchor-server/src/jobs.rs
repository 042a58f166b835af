//! The work engines do for one session: started, fed, finished and cancelled as the conversation says; what they answer
//! comes back as one stream of inputs, each with the id of its job.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use anchor_core::audio::AudioFrame;
use anchor_core::engine::{
    EngineError, Engines, EventStream, LlmEvent, LlmRequest, SttEvent, SttRequest, TtsEvent, TtsRequest,
};
use anchor_core::{Input, Job, Progress, ResponseId, TurnId};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{Span, debug, info_span};

/// Pieces of input an engine may be behind before its job is given up: the longest turn, two minutes, in pieces of
/// 10 ms. An engine that far behind never catches up, and the memory is better spent on another session.
const PIECES_BEHIND: usize = 12_000;

/// Every job of one session. Dropping it cancels them all.
pub(crate) struct Jobs {
    stt: JobSet<TurnId, AudioFrame, SttEvent>,
    llm: JobSet<ResponseId, (), LlmEvent>,
    tts: JobSet<ResponseId, String, TtsEvent>,
}

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { stt: JobSet::new("stt"), llm: JobSet::new("llm"), tts: JobSet::new("tts") }
    }

    pub(crate) fn stt(&mut self, engines: &Engines, turn: TurnId, job: Job<SttRequest, AudioFrame>) {
        let span = info_span!("stt", turn = turn.0);
        self.stt.take(turn, job, span, |request, audio| engines.stt.transcribe(request, audio));
    }

    pub(crate) fn llm(&mut self, engines: &Engines, response: ResponseId, job: Job<LlmRequest, ()>) {
        let span = info_span!("llm", response = response.0);
        self.llm.take(response, job, span, |request, _| engines.llm.generate(request));
    }

    pub(crate) fn tts(&mut self, engines: &Engines, response: ResponseId, job: Job<TtsRequest, String>) {
        let span = info_span!("tts", response = response.0);
        self.tts.take(response, job, span, |request, text| engines.tts.speak(request, text));
    }

    /// The next news of any job. Loses nothing when dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Input {
        poll_fn(|cx| {
            // The voice first: what is heard late is heard.
            if let Poll::Ready((id, progress)) = self.tts.poll_next(cx) {
                return Poll::Ready(Input::Tts(id, progress));
            }
            if let Poll::Ready((id, progress)) = self.llm.poll_next(cx) {
                return Poll::Ready(Input::Llm(id, progress));
            }
            self.stt.poll_next(cx).map(|(id, progress)| Input::Stt(id, progress))
        })
        .await
    }
}

/// The input of a job as its engine sees it.
type Feed<P> = Pin<Box<dyn Stream<Item = P> + Send>>;

/// The jobs of one kind of engine.
struct JobSet<I, P, E> {
    /// Its name in messages.
    kind: &'static str,
    running: Vec<Running<I, P, E>>,
}

struct Running<I, P, E> {
    id: I,
    /// `None` once there is no more input.
    feed: Option<mpsc::Sender<P>>,
    events: EventStream<E>,
    span: Span,
}

impl<I: Copy + PartialEq, P: Send + 'static, E: Send + 'static> JobSet<I, P, E> {
    fn new(kind: &'static str) -> Self {
        Self { kind, running: Vec::new() }
    }

    /// Does what the conversation asks for. What concerns a job that has ended is nobody's concern any more.
    fn take<R>(&mut self, id: I, job: Job<R, P>, span: Span, start: impl FnOnce(R, Feed<P>) -> EventStream<E>) {
        match job {
            Job::Start(request) => {
                let (feed, pieces) = mpsc::channel(PIECES_BEHIND);
                let events = span.in_scope(|| {
                    debug!("started");
                    start(request, Box::pin(ReceiverStream::new(pieces)))
                });
                self.running.push(Running { id, feed: Some(feed), events, span });
            }
            Job::Feed(piece) => {
                let kind = self.kind;
                if let Some(running) = self.find(id) {
                    running.give(piece, kind);
                }
            }
            Job::Finish => {
                if let Some(running) = self.find(id) {
                    running.feed = None;
                }
            }
            Job::Cancel => self.running.retain(|running| running.id != id),
        }
    }

    fn find(&mut self, id: I) -> Option<&mut Running<I, P, E>> {
        self.running.iter_mut().find(|running| running.id == id)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(I, Progress<E>)> {
        for index in 0..self.running.len() {
            let Running { id, events, span, .. } = &mut self.running[index];
            let (id, _in_span) = (*id, span.clone().entered());
            let progress = match events.poll_next_unpin(cx) {
                Poll::Pending => continue,
                Poll::Ready(Some(Ok(event))) => return Poll::Ready((id, Progress::Event(event))),
                Poll::Ready(Some(Err(error))) => Progress::Failed(error),
                Poll::Ready(None) => Progress::Finished,
            };
            match &progress {
                Progress::Failed(error) => debug!(%error, "failed"),
                _ => debug!("finished"),
            }
            self.running.remove(index);
            return Poll::Ready((id, progress));
        }
        Poll::Pending
    }
}

impl<I, P, E: Send + 'static> Running<I, P, E> {
    /// Hands a piece of input over. An engine that has ended its input early does not get it; one that is hopelessly
    /// behind is dropped, and its job fails.
    fn give(&mut self, piece: P, kind: &'static str) {
        let Some(feed) = &self.feed else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = feed.try_send(piece) {
            let reason = "it fell minutes behind and was stopped".to_owned();
            let failed = Err(EngineError::Failed { engine: kind, reason });
            self.feed = None;
            self.events = futures::stream::iter([failed]).boxed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;

    type Echo = JobSet<u64, String, String>;

    /// An engine that says back what it is fed, then `Done`.
    fn echo(request: &str, text: Feed<String>) -> EventStream<String> {
        let request = request.to_owned();
        text.map(move |text| Ok(format!("{request} {text}"))).chain(futures::stream::iter([Ok("done".into())])).boxed()
    }

    fn take(jobs: &mut Echo, id: u64, job: Job<&str, String>) {
        jobs.take(id, job, Span::none(), echo);
    }

    fn next(jobs: &mut Echo) -> Option<(u64, Progress<String>)> {
        poll_fn(|cx| jobs.poll_next(cx)).now_or_never()
    }

    fn says(text: &str) -> Progress<String> {
        Progress::Event(text.into())
    }

    #[test]
    fn a_job_is_fed_and_finished_and_says_so_once() {
        let mut jobs = Echo::new("echo");
        take(&mut jobs, 1, Job::Start("a"));
        assert_eq!(next(&mut jobs), None);
        take(&mut jobs, 1, Job::Feed("b".into()));
        assert_eq!(next(&mut jobs), Some((1, says("a b"))));
        assert_eq!(next(&mut jobs), None);
        take(&mut jobs, 1, Job::Finish);
        assert_eq!(next(&mut jobs), Some((1, says("done"))));
        assert_eq!(next(&mut jobs), Some((1, Progress::Finished)));
        assert_eq!(next(&mut jobs), None);
    }

    #[test]
    fn jobs_do_not_hear_each_others_input() {
        let mut jobs = Echo::new("echo");
        take(&mut jobs, 1, Job::Start("a"));
        take(&mut jobs, 2, Job::Start("b"));
        take(&mut jobs, 2, Job::Feed("x".into()));
        take(&mut jobs, 3, Job::Feed("nobody's".into()));
        assert_eq!(next(&mut jobs), Some((2, says("b x"))));
        assert_eq!(next(&mut jobs), None);
    }

    #[test]
    fn a_cancelled_job_is_dropped_at_once_and_says_no_more() {
        let mut jobs = Echo::new("echo");
        let alive = Arc::new(());
        let held = alive.clone();
        jobs.take(1, Job::Start(()), Span::none(), move |(), _| {
            futures::stream::repeat_with(move || Ok(format!("{}", Arc::strong_count(&held)))).boxed()
        });
        assert_eq!(next(&mut jobs), Some((1, says("2"))));
        take(&mut jobs, 1, Job::Cancel);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(next(&mut jobs), None);
    }

    #[test]
    fn an_engine_that_never_reads_fails_instead_of_filling_the_memory() {
        let mut jobs = Echo::new("echo");
        jobs.take(1, Job::Start(()), Span::none(), |(), feed| futures::stream::pending().chain(feed.map(Ok)).boxed());
        for _ in 0..=PIECES_BEHIND {
            take(&mut jobs, 1, Job::Feed("x".into()));
        }
        let Some((1, Progress::Failed(error))) = next(&mut jobs) else { panic!("it did not fail") };
        assert_eq!(error.to_string(), "echo failed: it fell minutes behind and was stopped");
        assert_eq!(next(&mut jobs), None);
    }
}
