//! `ai-anchor bench`

use crate::bench::host::Host;
use crate::bench::server;
use crate::bench::server::load::{self, Point};
use crate::bench::server::report::{HEADINGS, Report};
use crate::bench::server::subject::{self, Kind};
use crate::bench::turn::{self, BenchError, Questions};
use crate::cli::Context;
use crate::error::Error;

/// Measure this machine
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    name: Name,
}

#[derive(clap::Subcommand)]
enum Name {
    /// Ask 40 spoken questions: the wait for an answer by stage, barge-in to silence, right answers, word errors
    Turn {
        /// Ask only the first so many
        #[arg(long, value_name = "COUNT")]
        questions: Option<usize>,
    },
    /// Hold more and more conversations at once, over WebSockets with generators for engines: sessions held, added latency,
    /// CPU and memory for each; the same with Pipecat where it is installed
    Server(ServerArgs),
}

#[derive(clap::Args)]
struct ServerArgs {
    /// Measure this many sessions only, instead of looking for the most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: Option<u32>,
    /// How long each measurement counts
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Leave Pipecat out
    #[arg(long)]
    alone: bool,
    /// Let sessions come and go instead (50, unless --sessions says otherwise), and watch the memory
    #[arg(long, conflicts_with_all = ["seconds", "alone"])]
    churn: bool,
    /// How long they come and go
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0, requires = "churn")]
    minutes: f64,
    /// Be the server that is measured
    #[arg(long, hide = true)]
    under_test: bool,
}

/// Sessions that come and go at the same time.
const COMING_AND_GOING: usize = 50;

/// How to get what the anchor is compared with.
const INSTALL_PIPECAT: &str = "Pipecat is not installed, so it is left out. To compare with it:\n  \
                               python3 -m venv ~/.cache/ai-anchor/bench-pipecat\n  \
                               ~/.cache/ai-anchor/bench-pipecat/bin/pip install 'pipecat-ai[websocket]==1.14.0' uvicorn==0.54.0";

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    match args.name {
        Name::Turn { questions } => turn(questions, context).await,
        Name::Server(args) => measure(args, context).await,
    }
}

async fn measure(args: ServerArgs, context: &Context) -> Result<(), Error> {
    if args.under_test {
        return Ok(subject::serve(|port| context.out.bytes(format!("{port}\n").as_bytes())).await?);
    }
    subject::allow_many_sessions();
    let program = std::env::current_exe().map_err(|source| Error::System { what: "to name this program", source })?;
    let anchor = Kind::Anchor(program);
    if args.churn {
        let sessions = args.sessions.map_or(COMING_AND_GOING, |sessions| sessions as usize);
        let churn = load::churn(&anchor, sessions, args.minutes).await?;
        return Ok(context.out.result(&churn, &churn)?);
    }
    let pipecat = if args.alone { None } else { Kind::pipecat() };
    if pipecat.is_none() && !args.alone {
        tell(INSTALL_PIPECAT);
    }
    let mut report = Report::new();
    for kind in std::iter::once(anchor).chain(pipecat) {
        tell(&format!("{}\n{HEADINGS}", kind.name()));
        let points = match args.sessions {
            Some(sessions) => {
                let point = load::measure(&kind, sessions as usize, args.seconds).await?;
                tell(&point.to_string());
                vec![point]
            }
            None => server::search(&kind, args.seconds, |point: &Point| tell(&point.to_string())).await?,
        };
        report.add(&kind, points);
    }
    Ok(context.out.result(&report, &report)?)
}

/// Progress to standard error: the benchmark takes minutes.
#[allow(clippy::print_stderr, reason = "progress is for the person who waits")]
fn tell(line: &str) {
    eprintln!("{line}");
}

async fn turn(questions: Option<usize>, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let host = Host::start(&config, config.rundown_path().as_deref()).await?;
    let mut asked = Questions::sample().question;
    asked.truncate(questions.unwrap_or(usize::MAX));
    let total = asked.len();
    let mut done = 0;
    let report = turn::run(&host.line(), &host.engines, &asked, |call| {
        done += 1;
        progress(done, total, call);
    })
    .await
    .map_err(|error| match error {
        BenchError::Engine(error) => Error::Engine(error),
        BenchError::Call(error) => Error::Call(error),
    })?;
    Ok(context.out.result(&report, &report)?)
}

/// A line for every call.
fn progress(done: usize, total: usize, call: &turn::Call) {
    let right = if call.answered.as_deref() == Some(&call.story) { "right" } else { "WRONG" };
    let silence =
        call.silence.map_or("not interrupted".into(), |silence| format!("silent after {:.0} ms", ms(silence)));
    tell(&format!(
        "{done:>3} of {total}  {:6} {:>5.0} ms  {silence}  {right}: {:?} heard as {:?}",
        call.voice,
        ms(call.wait),
        call.question,
        call.understood
    ));
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
