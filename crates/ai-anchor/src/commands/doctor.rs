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

use super::load_check;
use super::setup::{ports, wanted_models};
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
    /// Instead, load all models at once, have them work at the same time, and compare their memory with the plan
    #[arg(long, conflicts_with = "deep")]
    load: bool,
}

/// vLLM and PyTorch read some gigabytes when they are first loaded from a cold disk.
const DEEP_PATIENCE: Duration = Duration::from_secs(300);

/// What the servers cannot start without, and whether PyTorch sees the GPU.
const DEEP: &str = "import torch, vllm; print(vllm.__version__, torch.version.cuda, torch.cuda.is_available())";

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    if args.load {
        return load_check::run(context).await;
    }
    let config = context.config([])?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let facts = probe(&data_folder(), &ports(&config)).await;
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

/// The engines chosen, and why each cannot be used. Those behind a network are the servers' matter.
fn engines(config: &Config, rundown: &watch::Receiver<OnAir>) -> Vec<(String, Option<String>)> {
    let mut found = tried::<dyn Stt>(config, rundown);
    found.extend(tried::<dyn Llm>(config, rundown));
    found.extend(tried::<dyn Tts>(config, rundown));
    found.extend(tried::<dyn VadModel>(config, rundown));
    found
}

fn tried<E: Kind + ?Sized>(config: &Config, rundown: &watch::Receiver<OnAir>) -> Vec<(String, Option<String>)> {
    let try_one = |name: &String| {
        let options = config.options(E::KIND, name);
        let wrong = match find::<E>(name) {
            Ok(entry) => {
                (entry.load)(&LoadContext { rundown: rundown.clone(), options }).err().map(|error| error.to_string())
            }
            Err(unknown) => Some(unknown.to_string()),
        };
        (format!("{} ({})", name, E::KIND.name()), wrong)
    };
    config.engines.chain(E::KIND).iter().map(try_one).collect()
}

/// The model servers that the engines chosen need on this machine.
fn servers(config: &Config) -> Vec<&'static str> {
    if !config.servers.start {
        return Vec::new();
    }
    let needed = crate::servers::needed(config, |_, model| model.to_owned());
    needed.into_iter().map(|order| order.server.name()).collect()
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
