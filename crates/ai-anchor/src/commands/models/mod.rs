//! `ai-anchor models`

mod told;

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use indicatif::DecimalBytes;
use serde_json::json;

use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::models::{self, Access, Answers, CATALOGUE, Model, ModelError, Presence, Progress};

pub(crate) use told::Told;

/// List, download, verify and remove models
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Address of Ollama, which keeps some of the models [default: where its engine looks for it]
    #[arg(long, global = true, value_name = "URL")]
    ollama: Option<String>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the models: what for, how large, whether here, under which licence
    List,
    /// Download models, or go on where a download stopped
    Pull(Pull),
    /// Read all files of models and compare them with their checksums
    Verify {
        /// Names of models; none stands for all that are here
        names: Vec<String>,
    },
    /// Remove models from the disk
    Remove {
        /// Names of models
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Pull {
    /// Names of models; none stands for those the configured engines need
    names: Vec<String>,
    /// Accept the licences that have to be accepted
    #[arg(long, visible_alias = "accept-license")]
    accept_licence: bool,
    /// Copy from this folder instead of asking the network
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let mut access = Access::of(&config);
    access.ollama = args.ollama.unwrap_or(access.ollama);
    match args.action {
        Action::List => list(&access, context).await,
        Action::Pull(pull) => {
            access.from = pull.from.clone().or(access.from.take());
            unless_stopped(fetch(&pull, &config, &access, context)).await
        }
        Action::Verify { names } => unless_stopped(verify(&names, &access, context)).await,
        Action::Remove { names, yes } => remove(&names, yes, &access, context).await,
    }
}

/// Ends the work at Ctrl-C, with a word about how to go on.
async fn unless_stopped(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::select! {
        // Questions are asked before the work waits for anything, and so before Ctrl-C is listened for: at a question it
        // ends the program as usual.
        biased;
        outcome = work => outcome,
        stopped = tokio::signal::ctrl_c() => {
            stopped.map_err(|source| Error::System { what: "to hear of Ctrl-C", source })?;
            Err(ModelError::Stopped.into())
        }
    }
}

async fn list(access: &Access, context: &Context) -> Result<(), Error> {
    let mut rows = Vec::new();
    for model in CATALOGUE {
        rows.push((model, models::presence(model, access).await));
    }
    let json: serde_json::Value = rows.iter().map(|(model, presence)| row(model, presence, access)).collect();
    Ok(context.out.result(&json, table(&rows, access))?)
}

fn row(model: &Model, presence: &Presence, access: &Access) -> serde_json::Value {
    let (state, bytes) = match presence {
        Presence::Here { bytes } => ("here", Some(*bytes)),
        Presence::Partly { bytes } => ("partly", Some(*bytes)),
        Presence::Missing => ("missing", None),
        Presence::Unknown { .. } => ("unknown", None),
    };
    json!({
        "name": model.name,
        "about": model.about,
        "role": model.role,
        "origin": model.origin(),
        "server": model.server,
        "engines": model.engines,
        "bytes": bytes.filter(|_| state == "here").unwrap_or(model.bytes),
        "bytes_here": bytes.unwrap_or(0),
        "state": state,
        "problem": match presence { Presence::Unknown { reason } => Some(reason), _ => None },
        "licence": model.licence.name,
        "licence_address": model.licence.address,
        "folder": model.folder_in(&access.folder),
    })
}

fn table(rows: &[(&Model, Presence)], access: &Access) -> String {
    let width = rows.iter().map(|(model, _)| model.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (model, presence) in rows {
        let (size, state) = match presence {
            Presence::Here { bytes } => (*bytes, "here".into()),
            Presence::Partly { bytes } => (model.bytes, format!("{} here", DecimalBytes(*bytes))),
            Presence::Missing => (model.bytes, "not here".into()),
            Presence::Unknown { reason } => (model.bytes, reason.clone()),
        };
        let (name, role, size) = (model.name, model.role.name(), DecimalBytes(size).to_string());
        lines.push(format!("{name:width$}  {role:5}  {size:>9}  {state}"));
        lines.push(format!("{:width$}  {}. {}", "", model.about, model.licence.name));
    }
    lines.push(format!("\nThe folder of the models is {}", access.folder.display()));
    lines.join("\n")
}

async fn fetch(pull: &Pull, config: &Config, access: &Access, context: &Context) -> Result<(), Error> {
    let wanted = named(&pull.names)?.unwrap_or_else(|| {
        let engines = &config.engines;
        models::needed_for([&engines.stt, &engines.llm, &engines.tts].into_iter().flatten().map(String::as_str))
    });
    if wanted.is_empty() {
        let text = format!("The engines of the profile {} need no models. To pull others, name them.", config.profile);
        return Ok(context.out.result(&json!({ "step": "nothing" }), text)?);
    }
    // All licences first, so that nobody has to come back for the second question.
    let mut accepted = Vec::new();
    for model in wanted {
        accepted.push((model, ask(model, access, pull.accept_licence)?));
    }
    for (model, by) in accepted {
        let told = Told::new(context.out, model.name);
        let pulled = models::pull(model, access, by.as_deref(), &told).await?;
        told.end();
        let folder = model.folder_in(&access.folder);
        let json = json!({
            "step": "done", "model": model.name, "files": pulled.files, "bytes": pulled.bytes, "already": pulled.already,
            "folder": folder,
        });
        let was = if pulled.already { "was here already" } else { "is here now" };
        let place = if pulled.files == 0 { "in Ollama".into() } else { format!("in {}", folder.display()) };
        context.out.result(&json, format!("{} {was}: {} {place}", model.name, DecimalBytes(pulled.bytes)))?;
    }
    Ok(())
}

/// The models called so; `None` if nothing is named.
fn named(names: &[String]) -> Result<Option<Vec<&'static Model>>, ModelError> {
    let found: Vec<_> = names.iter().map(|name| models::find(name)).collect::<Result<_, _>>()?;
    Ok((!found.is_empty()).then_some(found))
}

/// Shows the licence at standard error, and asks where somebody sits.
pub(crate) fn ask(model: &Model, access: &Access, accept: bool) -> Result<Option<String>, ModelError> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into());
    let (mut stdin, mut stderr) = (std::io::stdin().lock(), std::io::stderr().lock());
    let typed = (stdin.is_terminal() && stderr.is_terminal()).then_some(&mut stdin as &mut dyn BufRead);
    models::consent(model, &access.folder, &mut Answers { show: &mut stderr, typed, accept, user: &user })
}

async fn verify(names: &[String], access: &Access, context: &Context) -> Result<(), Error> {
    let mut wanted = named(names)?.unwrap_or_default();
    if names.is_empty() {
        for model in CATALOGUE {
            if matches!(models::presence(model, access).await, Presence::Here { .. } | Presence::Partly { .. }) {
                wanted.push(model);
            }
        }
    }
    let (mut count, mut bad) = (0, Vec::new());
    for model in wanted {
        let told = Told::new(context.out, model.name);
        let damage = models::verify(model, access, &told as &dyn Progress).await?;
        told.end();
        let texts: Vec<String> = damage.iter().map(ToString::to_string).collect();
        let json = json!({ "step": "verified", "model": model.name, "whole": damage.is_empty(), "damage": texts });
        let text = if damage.is_empty() { "whole".into() } else { texts.join("; ") };
        context.out.result(&json, format!("{}: {text}", model.name))?;
        if !damage.is_empty() {
            count += damage.len();
            bad.push(model.name);
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(ModelError::Damaged { count, models: bad }.into()) }
}

async fn remove(names: &[String], yes: bool, access: &Access, context: &Context) -> Result<(), Error> {
    for model in named(names)?.unwrap_or_default() {
        let bytes = match models::presence(model, access).await {
            Presence::Here { bytes } | Presence::Partly { bytes } => bytes,
            Presence::Missing | Presence::Unknown { .. } => 0,
        };
        if bytes > 0 && !yes && !confirmed(model, bytes)? {
            let json = json!({ "step": "kept", "model": model.name });
            context.out.result(&json, format!("{} was kept", model.name))?;
            continue;
        }
        let freed = models::remove(model, access).await?;
        let json = json!({ "step": "removed", "model": model.name, "bytes": freed });
        let text = match freed {
            0 => format!("{} was not here", model.name),
            _ => format!("{} is removed, and {} are free again", model.name, DecimalBytes(freed)),
        };
        context.out.result(&json, text)?;
    }
    Ok(())
}

/// Whether the person at the terminal says yes.
fn confirmed(model: &Model, bytes: u64) -> Result<bool, Error> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        let what = format!("nobody can be asked whether to remove {}. Add --yes", model.name);
        return Err(Error::Usage(what));
    }
    write!(stderr, "Remove {} ({})? Type yes to remove it: ", model.name, DecimalBytes(bytes))?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}
