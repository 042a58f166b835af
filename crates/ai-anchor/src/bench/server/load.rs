//! Many people at once: as many as are asked for together, or ever others in the same number.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::BEARABLE_MS;
use super::person::{Heard, Span, talk};
use super::subject::{Kind, StartError, Subject};
use super::usage::{Usage, machine_time, slope};
use crate::bench::Spread;

/// All sessions are opened within this time.
const JOINING: Duration = Duration::from_secs(3);
/// Nothing is counted until answers are under way everywhere.
const SETTLING: Duration = Duration::from_secs(4);
/// A session that comes and goes lives at least this long, and at most three times as long.
const STAY: Duration = Duration::from_secs(10);
/// Memory is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// What a number of sessions came to.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Sessions asked for.
    pub sessions: usize,
    /// Of them, not let in.
    pub refused: usize,
    /// Of them, ended before their time.
    pub lost: usize,
    /// Why, of the first of those.
    pub trouble: Option<String>,
    /// Turns that were not answered.
    pub unanswered: usize,
    /// Frames that did not come, or came spoilt.
    pub missing: usize,
    /// From when a frame was due in the engine to the client, in ms.
    pub latency: Option<Spread>,
    /// The same of each answer's first frame, in ms.
    pub first: Option<Spread>,
    /// From talking over an answer to the last that came of it, in ms.
    pub silence: Option<Spread>,
    /// Processor time of the server for each session, in percent of one core.
    pub cpu: f64,
    /// Memory the sessions added to the server, for each, in KB.
    pub rss_kb: f64,
    /// Processor time of the load, in percent of one core.
    pub load_cpu: f64,
    /// Processor time of other programs, in percent of one core. Their share is missing to the server.
    pub others_cpu: f64,
}

/// What sessions that come and go left behind.
#[derive(Clone, Debug, Serialize)]
pub struct Churn {
    /// Sessions at the same time.
    pub sessions: usize,
    /// Sessions there were in all.
    pub opened: usize,
    /// How long it went on, in minutes.
    pub minutes: f64,
    /// Sessions that were not let in or ended before their time.
    pub lost: usize,
    /// Why, of the first.
    pub trouble: Option<String>,
    /// From when a frame was due in the engine to the client, in ms.
    pub latency: Option<Spread>,
    /// Memory of the server when it was looked at first and last, in KB. What comes before the first fifth of the time is
    /// over does not count: buffers still grow to their size.
    pub rss_kb: [u64; 2],
    /// KB a minute by which its memory grows.
    pub slope: Option<f64>,
}

impl Point {
    /// All sessions were held, complete and in time.
    pub fn held(&self) -> bool {
        let whole = self.refused + self.lost + self.unanswered + self.missing == 0;
        whole && self.latency.is_some_and(|latency| latency.p99 <= BEARABLE_MS)
    }
}

/// Starts the server and measures it for so many seconds with so many sessions.
pub async fn measure(kind: &Kind, sessions: usize, seconds: u64) -> Result<Point, StartError> {
    let server = kind.start().await?;
    let idle = Usage::of(server.pid);
    let begin = Instant::now();
    let counted_from = begin + JOINING + SETTLING;
    let until = counted_from + Duration::from_secs(seconds);
    let mut people = JoinSet::new();
    for place in 0..sessions {
        let from = begin + JOINING.mul_f64(place as f64 / sessions as f64);
        people.spawn(talk(server.url.clone(), server.dialect, place, Span { from, counted_from, until }));
    }
    sleep_until(counted_from).await;
    let before = Clocks::of(&server);
    sleep_until(until).await;
    let after = Clocks::of(&server);
    let heard = people.join_all().await;

    let percent = |time: Duration| time.as_secs_f64() / (until - counted_from).as_secs_f64() * 100.0;
    let [cpu, load_cpu, machine] = after.since(&before).map(percent);
    let added = after.server.rss_kb.saturating_sub(idle.rss_kb);
    let each = |all: f64| all / sessions.max(1) as f64;
    Ok(Point {
        sessions,
        refused: heard.iter().filter(|heard| heard.refused.is_some()).count(),
        lost: heard.iter().filter(|heard| heard.lost.is_some()).count(),
        trouble: trouble(&heard),
        unanswered: heard.iter().map(|heard| heard.unanswered).sum(),
        missing: heard.iter().map(|heard| heard.missing).sum(),
        latency: spread(&heard, |heard| &heard.latency),
        first: spread(&heard, |heard| &heard.first),
        silence: spread(&heard, |heard| &heard.silence),
        cpu: each(cpu),
        rss_kb: each(added as f64),
        load_cpu,
        others_cpu: (machine - cpu - load_cpu).max(0.0),
    })
}

/// Keeps so many places taken, each by one session after the other, and watches the server's memory.
pub async fn churn(kind: &Kind, sessions: usize, minutes: f64) -> Result<Churn, StartError> {
    let server = kind.start().await?;
    let begin = Instant::now();
    let until = begin + Duration::from_secs_f64(minutes * 60.0);
    let mut places = JoinSet::new();
    for place in 0..sessions {
        places.spawn(take_turns(server.url.clone(), server.dialect, place, begin, until));
    }
    let mut memory = Vec::new();
    while Instant::now() + LOOK < until {
        sleep_until(Instant::now() + LOOK).await;
        let passed = begin.elapsed();
        if passed >= (until - begin) / 5 {
            memory.push((passed, Usage::of(server.pid).rss_kb));
        }
    }
    let heard: Vec<Heard> = places.join_all().await.into_iter().flatten().collect();
    Ok(Churn {
        sessions,
        opened: heard.len(),
        minutes,
        lost: heard.iter().filter(|heard| heard.lost.is_some() || heard.refused.is_some()).count(),
        trouble: trouble(&heard),
        latency: spread(&heard, |heard| &heard.latency),
        rss_kb: [memory.first(), memory.last()].map(|sample| sample.map_or(0, |(_, kb)| *kb)),
        slope: slope(&memory),
    })
}

/// One session after the other in one place.
async fn take_turns(
    url: String,
    dialect: super::subject::Dialect,
    place: usize,
    begin: Instant,
    until: Instant,
) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut from = begin + JOINING.mul_f64((place % 16) as f64 / 16.0);
    while from < until {
        // Spread without chance, so that two runs are alike.
        let stay = STAY.mul_f64(1.0 + ((place * 7 + heard.len() * 5) % 20) as f64 / 10.0);
        let end = until.min(from + stay);
        let span = Span { from, counted_from: from, until: end };
        heard.push(talk(url.clone(), dialect, place + heard.len(), span).await);
        from = Instant::now().max(end);
    }
    heard
}

/// Processor time used so far.
struct Clocks {
    server: Usage,
    load: Usage,
    machine: Duration,
}

impl Clocks {
    fn of(server: &Subject) -> Self {
        Self { server: Usage::of(server.pid), load: Usage::of(std::process::id()), machine: machine_time() }
    }

    /// Of the server, the load, and the machine as a whole.
    fn since(&self, before: &Self) -> [Duration; 3] {
        [(self.server.cpu, before.server.cpu), (self.load.cpu, before.load.cpu), (self.machine, before.machine)]
            .map(|(now, then)| now.saturating_sub(then))
    }
}

fn spread(heard: &[Heard], of: impl Fn(&Heard) -> &Vec<u32>) -> Option<Spread> {
    Spread::of(heard.iter().flat_map(of).map(|micros| Duration::from_micros(u64::from(*micros))))
}

fn trouble(heard: &[Heard]) -> Option<String> {
    heard.iter().find_map(|heard| heard.lost.clone().or_else(|| heard.refused.clone()))
}
