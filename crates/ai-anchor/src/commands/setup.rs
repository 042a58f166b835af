//! `ai-anchor setup`

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Stdio;

use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Context;
use crate::config::{Config, PROFILES};
use crate::error::Error;
use crate::machine::{Facts, probe};
use crate::models::{self, Access, Model, Source, data_folder};
use crate::servers;
use crate::setup::{Cuda, Level, ModelFact, Pull, SetupPlan, Wishes, apply, plan};

/// Build the environment and download the models of the studio profile
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Download micromamba where neither it nor mamba nor conda is found
    #[arg(long)]
    install_micromamba: bool,
    /// Packages for this CUDA rather than for the driver's; also sets up a machine whose GPU is not here yet
    #[arg(long, value_name = "VERSION")]
    cuda: Option<Cuda>,
    /// Download no models
    #[arg(long)]
    no_models: bool,
    /// Accept the models' licences, which `ai-anchor models list` names
    #[arg(long)]
    accept_licences: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let data = data_folder();
    let facts = probe(&data, &ports(&config)).await;
    let models = if args.no_models { Vec::new() } else { wanted_models(&needing_models(config.clone())).await };
    let wishes = Wishes { cuda: args.cuda, install_micromamba: args.install_micromamba, higgs: true, models };
    let plan = plan(&facts, &wishes);
    context.out.result(&json(&facts, &plan), &plan)?;
    if args.dry_run {
        return Ok(());
    }
    if plan.is_blocked() {
        let count = plan.findings.iter().filter(|finding| finding.level == Level::Problem).count();
        return Err(Error::Machine { count, unusable: facts.gpus.is_err() });
    }
    if !args.yes && !agreed()? {
        return Err(Error::Usage("nothing was done. Say yes, or run ai-anchor setup --yes".into()));
    }
    let pull = ByProgram { accept: args.accept_licences };
    let port =
        |name| servers::ports(&config).into_iter().find(|(server, _)| *server == name).map_or(0, |(_, port)| port);
    apply(&plan, &data, port("ollama"), &pull, interrupted()?).await?;
    let text = "Done. See that all models run together before going on air: ai-anchor doctor --load";
    Ok(context.out.result(&json!({ "done": true }), text)?)
}

/// The ports that matter here: the model servers', and this program's.
pub(super) fn ports(config: &Config) -> Vec<(&'static str, u16)> {
    let mut ports = servers::ports(config);
    ports.push(("anchor", config.server.port));
    ports
}

/// The configuration, or that of the studio where its engines need no models: there is nothing else to set up.
fn needing_models(config: Config) -> Config {
    let chosen = &config.engines;
    let names = [&chosen.stt, &chosen.llm, &chosen.tts].into_iter().flatten().map(String::as_str);
    let needs_none = models::needed_for(names).is_empty();
    match PROFILES.iter().find(|profile| profile.name == "studio") {
        Some(studio) if needs_none => Config { models: config.models, ..Config::of(studio) },
        _ => config,
    }
}

/// The models that the engines chosen cannot work without.
pub(super) async fn wanted_models(config: &Config) -> Vec<ModelFact> {
    let engines = &config.engines;
    let names = [&engines.stt, &engines.llm, &engines.tts].into_iter().flatten().map(String::as_str);
    let access = Access::of(config);
    let fact = async |model: &'static Model| ModelFact {
        name: model.name,
        about: model.about,
        bytes: model.bytes,
        ollama: matches!(model.source, Source::Ollama(_)),
        here: models::is_here(model, &access).await,
    };
    futures::future::join_all(models::needed_for(names).into_iter().map(fact)).await
}

/// Downloads models with the command that does it alone, too.
struct ByProgram {
    accept: bool,
}

impl Pull for ByProgram {
    fn pull<'a>(&'a self, model: &'a str, tell: &'a (dyn Fn(&str) + Sync)) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ai-anchor"));
            let mut command = Command::new(program);
            command.args(["models", "pull", model]).args(self.accept.then_some("--accept-licence"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().map_err(|error| format!("cannot start ai-anchor: {error}"))?;
            let mut last = String::new();
            if let Some(stderr) = child.stderr.take() {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    tell(&line);
                    last = line;
                }
            }
            let status = child.wait().await.map_err(|error| format!("ai-anchor models pull: {error}"))?;
            if status.success() { Ok(()) } else { Err(last.trim_start_matches("ai-anchor: ").to_owned()) }
        })
    }
}

/// Asks on a terminal. Elsewhere nobody can answer, and `--yes` says it beforehand.
fn agreed() -> Result<bool, Error> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    write!(std::io::stderr(), "\nDo this now? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn interrupted() -> Result<impl Future<Output = ()>, Error> {
    let system = |source| Error::System { what: "word of Ctrl-C", source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn json(facts: &Facts, plan: &SetupPlan) -> serde_json::Value {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "what": step.what,
                "why": step.why,
                "command": step.work.to_string(),
                "done": step.done,
                "bytes": step.bytes,
            })
        })
        .collect();
    json!({
        "folder": facts.data,
        "findings": plan.findings,
        "steps": steps,
        "bytes": plan.bytes(),
        "blocked": plan.is_blocked(),
    })
}
