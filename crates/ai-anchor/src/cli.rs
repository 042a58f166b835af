//! The command line, from arguments to an exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::commands::{
    ask, bench, completions, config, doctor, engines, keys, models, plan, rundown, say, serve, setup, transcribe,
};
use crate::config::{Config, ConfigError, Flag, Sources};
use crate::error::Error;
use crate::out::Out;

/// A voice anchor for broadcasting: it listens, answers from the rundown, and stops when talked over.
#[derive(Parser)]
#[command(name = "ai-anchor", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 configuration or rundown cannot be used, \
                          4 an engine cannot be used on this machine or the models do not fit, 5 the address cannot be listened on.";

/// What every command takes.
#[derive(Args)]
struct Global {
    /// Settings to read instead of ./anchor.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Choice of engines: embedded, studio
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The stories to read instead of the configured ones
    #[arg(long, global = true, value_name = "FILE")]
    rundown: Option<String>,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// What to log to standard error, such as debug or anchor_server=trace
    #[arg(long, global = true, value_name = "FILTER", env = "ANCHOR_LOG", default_value = "warn")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Say(say::Args),
    Transcribe(transcribe::Args),
    Ask(ask::Args),
    Engines(engines::Args),
    Setup(setup::Args),
    Doctor(doctor::Args),
    Plan(plan::Args),
    Models(models::Args),
    Config(config::Args),
    Rundown(rundown::Args),
    Keys(keys::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

/// What a command works with beside its own arguments.
pub(crate) struct Context {
    sources: Sources,
    /// Where its results go.
    pub(crate) out: Out,
}

impl Context {
    /// The checked configuration, with `flags` on top.
    pub(crate) fn config(&self, flags: impl IntoIterator<Item = Flag>) -> Result<Config, ConfigError> {
        let mut sources = self.sources.clone();
        sources.flags.extend(flags);
        sources.read()
    }
}

/// Parses the arguments, runs the command, prints what went wrong.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                complain(&error);
            }
            ExitCode::from(code)
        }
    }
}

fn start(cli: Cli) -> Result<(), Error> {
    let Global { config, profile, rundown, json, log } = cli.global;
    let filter = EnvFilter::try_new(&log).map_err(|error| Error::Usage(format!("--log {log}: {error}")))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let rundown = rundown.map(|value| Flag::new("--rundown", "rundown.path", value));
    let sources = Sources::of_process(config, profile, rundown.into_iter().collect());
    let context = Context { sources, out: Out::new(json) };
    let runtime =
        tokio::runtime::Runtime::new().map_err(|source| Error::System { what: "threads to work on", source })?;
    let outcome = runtime.block_on(dispatch(cli.command, &context));
    // An engine that still computes is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(command: Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::Serve(args) => serve::run(args, context).await,
        Command::Say(args) => say::run(args, context).await,
        Command::Transcribe(args) => transcribe::run(args, context).await,
        Command::Ask(args) => ask::run(args, context).await,
        Command::Engines(args) => engines::run(args, context).await,
        Command::Setup(args) => setup::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Plan(args) => plan::run(args, context).await,
        Command::Models(args) => models::run(args, context).await,
        Command::Config(args) => config::run(args, context),
        Command::Rundown(args) => rundown::run(args, context),
        Command::Keys(args) => keys::run(args, context),
        Command::Bench(args) => bench::run(args, context).await,
        Command::Completions(args) => completions::run::<Cli>(args, context),
    }
}

#[allow(clippy::print_stderr, reason = "the one place that complains to a person")]
fn complain(error: &Error) {
    eprintln!("ai-anchor: {error}");
}
