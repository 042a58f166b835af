//! `ai-anchor doctor`

use std::process::Stdio;
use std::time::Duration;

use anchor_core::engine::{Llm, Stt, Tts, VadModel};
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::slot::{Kind, find};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::watch;

use super::setup::{HIGGS, OLLAMA, VOXTRAL, wanted_models};
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::machine::{Facts, probe};
use crate::models::data_folder;
use crate::on_air;
use crate::setup::{Check, Given, Level, checks};

/// Tell what is wrong with this machine, and how to mend it
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also load the servers' Python packages, which takes a minute or two
    #[arg(long)]
    deep: bool,
}

/// vLLM and PyTorch read some gigabytes when they are first loaded from a cold disk.
const DEEP_PATIENCE: Duration = Duration::from_secs(300);

/// What the servers cannot start without, and whether PyTorch sees the GPU.
const DEEP: &str = "import torch, vllm; print(vllm.__version__, torch.version.cuda, torch.cuda.is_available())";

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let facts = probe(&data_folder(), &[VOXTRAL, HIGGS, OLLAMA, ("anchor", config.server.port)]).await;
    let given = Given {
        engines: engines(&config, &rundown),
        servers: servers(&config),
        models: wanted_models(&config).await,
        host: config.server.host.clone(),
    };
    let mut found = checks(&facts, &given);
    if args.deep && !given.servers.is_empty() {
        found.push(deep(&facts).await);
    }
    let text: Vec<_> = found.iter().map(ToString::to_string).collect();
    let count = found.iter().filter(|check| check.level == Level::Problem).count();
    context.out.result(&json!({ "checks": found, "problems": count }), text.join("\n"))?;
    if count == 0 {
        return Ok(());
    }
    let unusable = |check: &Check| {
        check.level == Level::Problem && ["engine", "GPU", "driver", "processor"].contains(&check.about)
    };
    Err(Error::Machine { count, unusable: found.iter().any(unusable) })
}

/// The engines chosen, and why each cannot be used.
fn engines(config: &Config, rundown: &watch::Receiver<OnAir>) -> Vec<(String, Option<String>)> {
    vec![
        tried::<dyn Stt>(config, rundown, &config.engines.stt),
        tried::<dyn Llm>(config, rundown, &config.engines.llm),
        tried::<dyn Tts>(config, rundown, &config.engines.tts),
        tried::<dyn VadModel>(config, rundown, &config.engines.vad),
    ]
}

fn tried<E: Kind + ?Sized>(config: &Config, rundown: &watch::Receiver<OnAir>, name: &str) -> (String, Option<String>) {
    let options = config.options(E::KIND, name);
    let wrong = match find::<E>(name) {
        Ok(entry) => {
            (entry.load)(&LoadContext { rundown: rundown.clone(), options }).err().map(|error| error.to_string())
        }
        Err(unknown) => Some(unknown.to_string()),
    };
    (format!("{} ({})", name, E::KIND.name()), wrong)
}

/// The model servers that the engines chosen need on this machine.
fn servers(config: &Config) -> Vec<&'static str> {
    let engines = &config.engines;
    let needed = [
        (OLLAMA.0, engines.llm == "ollama"),
        (HIGGS.0, engines.tts == "higgs-server"),
        (VOXTRAL.0, engines.stt.starts_with("voxtral") || engines.llm.starts_with("voxtral")),
    ];
    needed.into_iter().filter(|(_, needed)| *needed && config.servers.start).map(|(server, _)| server).collect()
}

/// Loads the packages as the servers do.
async fn deep(facts: &Facts) -> Check {
    let python = facts.environment.prefix.join("bin/python");
    let mut command = Command::new(&python);
    command
        .args(["-c", DEEP])
        .env_remove("VIRTUAL_ENV")
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let (level, what) = match tokio::time::timeout(DEEP_PATIENCE, command.output()).await {
        Err(_) => (Level::Problem, format!("they were not loaded within {} seconds", DEEP_PATIENCE.as_secs())),
        Ok(Err(error)) => (Level::Problem, format!("{} cannot be run: {error}", python.display())),
        Ok(Ok(output)) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            // PyTorch's word on the GPU comes last.
            if said.ends_with("True") {
                (Level::Ok, format!("they load, and see the GPU: {said}"))
            } else {
                (Level::Problem, format!("they load, but see no GPU: {said}"))
            }
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
            (Level::Problem, format!("they do not load: {said}"))
        }
    };
    let remedy = if level == Level::Ok { "" } else { "Remove the environment and make it anew: ai-anchor setup" };
    Check { level, about: "packages, loaded", what, remedy: remedy.into() }
}
