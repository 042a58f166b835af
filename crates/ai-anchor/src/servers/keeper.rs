//! Keeps one model server up: its life from one start to the next.

use std::future::pending;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anchor_core::engine::NoticeKind;
use tokio::sync::watch;
use tokio::time::sleep;

use super::board::Board;
use super::check::{Check, Doubt, Works};
use super::diagnosis::{End, diagnose, not_started, taken};
use super::gate::Gate;
use super::log::Tail;
use super::policy::{Next, Pace, Pulse, Restarts, idle};
use super::process::{Folder, Groups, Process};
use super::recipe::Recipe;
use super::record::{self, Left, Record};
use super::status::ServerState;

/// Real requests in a row that a server may refuse before it counts as broken: asking further would load a model that does
/// not fit again and again.
const REFUSALS: u32 = 3;

/// Keeps one server up.
pub(super) struct Keeper {
    pub(super) recipe: Recipe,
    /// Its place in the order of starting.
    pub(super) rank: usize,
    pub(super) pace: Pace,
    pub(super) folder: Folder,
    pub(super) groups: Groups,
    pub(super) check: Check,
    pub(super) gate: Arc<Gate>,
    pub(super) board: Board,
    /// When it was last used.
    pub(super) wanted: watch::Receiver<Option<Instant>>,
    /// Changes when the operator wants a server that was given up tried again.
    pub(super) retry: watch::Receiver<()>,
    pub(super) restarts: Restarts,
    /// The server, where this program started it.
    pub(super) process: Option<Process>,
}

/// Why a server is not up.
enum Failure {
    /// It ended.
    Ended(ExitStatus),
    /// It did not come up in time; what it said when it was last asked.
    Late(String),
    /// It refuses its work; what it said when it was last asked.
    Refused(String),
    /// This.
    Told(String),
}

impl Keeper {
    /// Keeps the server up. Never completes; dropping the future leaves the server as it is, for [`end`](Self::end).
    pub(super) async fn keep(&mut self) {
        if self.recipe.lazy {
            self.show(ServerState::Stopped);
            self.until_wanted().await;
        }
        loop {
            let (why, up) = match self.start().await {
                Err(why) => (why, None),
                Ok(works) => {
                    let since = Instant::now();
                    match self.watch(works, since).await {
                        None => {
                            self.end().await;
                            self.show(ServerState::Stopped);
                            self.until_wanted().await;
                            continue;
                        }
                        Some(failure) => (self.put_away(failure).await, Some(since.elapsed())),
                    }
                }
            };
            self.wait_to_restart(why, up).await;
        }
    }

    /// Ends the server, if this program started it.
    pub(super) async fn end(&mut self) {
        if let Some(process) = &mut self.process {
            process.end(self.pace.stop).await;
        }
        self.process = None;
    }

    pub(super) fn show(&self, state: ServerState) {
        self.board.show(self.rank, state, self.process.is_none());
    }

    /// Starts the server, or finds it running, when its turn comes. The next one's turn comes when this one is up, or
    /// gone again.
    async fn start(&mut self) -> Result<Works, String> {
        let gate = self.gate.clone();
        self.show(ServerState::waiting());
        let _pass = gate.enter(self.rank).await;
        let began = Instant::now();
        match self.bring_up(began).await {
            Ok(works) => {
                self.announce(&works, began.elapsed());
                Ok(works)
            }
            Err(failure) => Err(self.put_away(failure).await),
        }
    }

    async fn bring_up(&mut self, began: Instant) -> Result<Works, Failure> {
        self.show(ServerState::Starting { seconds: 0, line: String::new() });
        self.clear_away(began).await?;
        if self.check.listens().await {
            let known = self.check.is_it(self.pace.answer).await;
            known.map_err(|problem| Failure::Told(taken(&self.recipe, &problem)))?;
        } else {
            let process = Process::spawn(&self.recipe, &self.folder, &self.groups);
            self.process = Some(process.map_err(|error| Failure::Told(not_started(&self.recipe, &error)))?);
        }
        self.until_it_works(began).await
    }

    /// Ends what a crash of this program left behind of this server. One that another AI Anchor keeps up is left alone,
    /// and waited for.
    async fn clear_away(&self, began: Instant) -> Result<(), Failure> {
        let path = self.folder.record(&self.recipe.name);
        loop {
            match Record::look(&path) {
                Left::Nothing => return Ok(()),
                Left::Orphan(group) => {
                    let number = group.as_raw_nonzero();
                    tracing::warn!(server = self.recipe.name, group = number, "ends what an earlier run left behind");
                    if !record::end_group(group, self.pace.stop, || {}).await {
                        let problem =
                            format!("an earlier run left it behind as process group {number}, which does not end");
                        return Err(Failure::Told(problem));
                    }
                    record::remove(&path);
                    return Ok(());
                }
                Left::Held(owner) => {
                    if self.check.is_it(self.pace.answer).await.is_ok() {
                        return Ok(());
                    }
                    if began.elapsed() >= self.recipe.start {
                        let problem = format!("another AI Anchor, process {owner}, has it, and it does not answer");
                        return Err(Failure::Told(problem));
                    }
                    let line = format!("another AI Anchor, process {owner}, starts it");
                    self.show(ServerState::Starting { seconds: began.elapsed().as_secs(), line });
                    sleep(self.pace.look).await;
                }
            }
        }
    }

    /// Asks the server until it works, ends, or has had its time.
    async fn until_it_works(&mut self, began: Instant) -> Result<Works, Failure> {
        let (mut asked, mut refusals) = (String::new(), 0);
        loop {
            let left = self.recipe.start.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(Failure::Late(asked));
            }
            let check = self.check.clone();
            let answering = check.works(self.pace.answer, left);
            let mut answering = std::pin::pin!(answering);
            let outcome = loop {
                tokio::select! {
                    status = ended(&mut self.process) => return Err(Failure::Ended(status)),
                    outcome = &mut answering => break outcome,
                    () = sleep(self.pace.look) => self.show(self.starting(began)),
                }
            };
            match outcome {
                Ok(works) => return Ok(works),
                Err(Doubt::Refused(problem)) if refusals + 1 >= REFUSALS => return Err(Failure::Refused(problem)),
                Err(Doubt::Refused(problem)) => (asked, refusals) = (problem, refusals + 1),
                Err(Doubt::NotYet(problem)) => (asked, refusals) = (problem, 0),
            }
            tokio::select! {
                status = ended(&mut self.process) => return Err(Failure::Ended(status)),
                () = sleep(self.pace.look) => self.show(self.starting(began)),
            }
        }
    }

    fn starting(&self, began: Instant) -> ServerState {
        let line = self.process.as_ref().map(|process| process.tail().last()).unwrap_or_default();
        ServerState::Starting { seconds: began.elapsed().as_secs(), line }
    }

    /// Watches a server that has been up since `up`, until it is lost, or has been idle for long: `None`.
    async fn watch(&mut self, mut works: Works, up: Instant) -> Option<Failure> {
        let mut pulse = Pulse::default();
        loop {
            tokio::select! {
                status = ended(&mut self.process) => return Some(Failure::Ended(status)),
                () = sleep(self.pace.beat) => {}
            }
            let answer = self.check.answers(self.pace.answer).await;
            let lost = pulse.lost(&self.pace, answer.is_ok());
            if let (true, Err(problem)) = (lost, &answer) {
                return Some(Failure::Told(format!("it stopped answering. Asked, {problem}")));
            }
            if let Some(process) = &mut self.process {
                process.note();
            }
            if matches!(works, Works::Lacks(_))
                && let Ok(now) = self.check.works(self.pace.answer, self.recipe.start).await
                && now != works
            {
                self.announce(&now, up.elapsed());
                works = now;
            }
            let used = *self.wanted.borrow_and_update();
            if self.process.is_some() && idle(self.recipe.idle, up, used, Instant::now()) {
                return None;
            }
        }
    }

    /// Says that the server is up, and how well.
    fn announce(&self, works: &Works, took: Duration) {
        let name = &self.recipe.name;
        let how = if self.process.is_some() {
            format!("{name} is up after {} s", took.as_secs())
        } else {
            format!("{name} runs already at {} and is used as it is", self.recipe.url)
        };
        match works {
            Works::Well => {
                self.board.notice(NoticeKind::ServerReady, name, format!("{how}."));
                self.show(ServerState::Ready);
            }
            Works::Badly(problem) => {
                self.board.notice(NoticeKind::ServerReady, name, format!("{how}, but {problem}."));
                self.show(ServerState::Degraded(problem.clone()));
            }
            Works::Lacks(problem) => {
                self.board.notice(NoticeKind::ServerGivenUp, name, format!("{problem}."));
                self.show(ServerState::Failed { why: problem.clone(), again: None });
            }
        }
    }

    /// Ends what is left of a server that failed, and says why it failed.
    async fn put_away(&mut self, failure: Failure) -> String {
        let tail = self.process.as_ref().map_or_else(Tail::default, |process| process.tail().clone());
        self.end().await;
        match failure {
            Failure::Ended(status) => diagnose(&self.recipe, End::Exit(status), &tail.lines(), ""),
            Failure::Late(asked) => diagnose(&self.recipe, End::Late, &tail.lines(), &asked),
            Failure::Refused(asked) => diagnose(&self.recipe, End::Refused, &tail.lines(), &asked),
            Failure::Told(why) => why,
        }
    }

    /// Waits until the server, which failed for the reason `why` after it was up for `up`, is to be started again.
    async fn wait_to_restart(&mut self, why: String, up: Option<Duration>) {
        let name = self.recipe.name.clone();
        match self.restarts.failed(&self.pace, Instant::now(), up.unwrap_or_default()) {
            Next::After(wait) => {
                if up.is_some() {
                    let text = format!("{name} was lost and is started again: {why}.");
                    self.board.notice(NoticeKind::ServerLost, &name, text);
                }
                self.show(ServerState::Failed { why, again: Some(wait) });
                let attached = up.is_some() && self.board.attached(self.rank);
                sleep(wait).await;
                if attached {
                    self.until_back().await;
                }
            }
            Next::GiveUp => {
                let text = format!("{name} failed {} times and is left alone: {why}.", self.pace.failures);
                self.board.notice(NoticeKind::ServerGivenUp, &name, text);
                self.show(ServerState::Failed { why, again: None });
                self.until_somebody_acts().await;
            }
        }
    }

    /// Somebody else's server is given time to come back before one is started in its place.
    async fn until_back(&self) {
        let began = Instant::now();
        while began.elapsed() < self.pace.absence && !self.check.listens().await {
            sleep(self.pace.look).await;
        }
    }

    /// Until the operator asks for another try, or has started the server by hand.
    async fn until_somebody_acts(&mut self) {
        let by_hand = async {
            loop {
                sleep(self.pace.beat).await;
                if self.check.is_it(self.pace.answer).await.is_ok() {
                    break;
                }
            }
        };
        tokio::select! {
            () = by_hand => {}
            () = changed(&mut self.retry) => {}
        }
    }

    async fn until_wanted(&mut self) {
        changed(&mut self.wanted).await;
    }
}

/// How the server ended, once it has; never where it is somebody else's.
async fn ended(process: &mut Option<Process>) -> ExitStatus {
    let Some(process) = process else { return pending().await };
    // A child of this process that nobody else reaps can always be waited for.
    process.ended().await.unwrap_or_default()
}

/// A change that was not seen yet. Where nobody can make one any more, never.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        pending().await
    }
}
