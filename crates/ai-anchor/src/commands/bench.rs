//! `ai-anchor bench`

use crate::bench::host::Host;
use crate::bench::turn::{self, BenchError, Questions};
use crate::cli::Context;
use crate::error::Error;

/// Measure this machine with real engines and real speech
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
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let Name::Turn { questions } = args.name;
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

/// A line to standard error for every call: the benchmark takes minutes.
#[allow(clippy::print_stderr, reason = "progress is for the person who waits")]
fn progress(done: usize, total: usize, call: &turn::Call) {
    let right = if call.answered.as_deref() == Some(&call.story) { "right" } else { "WRONG" };
    let silence =
        call.silence.map_or("not interrupted".into(), |silence| format!("silent after {:.0} ms", ms(silence)));
    eprintln!(
        "{done:>3} of {total}  {:6} {:>5.0} ms  {silence}  {right}: {:?} heard as {:?}",
        call.voice,
        ms(call.wait),
        call.question,
        call.understood
    );
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
