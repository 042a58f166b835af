//! `ai-anchor engines`

use std::fmt::Write;
use std::time::Duration;

use anchor_core::engine::{EngineError, EngineKind, Llm, Stt, Tts, VadModel};
use anchor_core::rundown::OnAir;
use anchor_engines::slot::Kind;
use anchor_engines::{LoadContext, Needs};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::on_air;

/// List the engines and whether this machine can use them
#[derive(clap::Args)]
pub(crate) struct Args {}

/// A server that is not heard of for so long is not here; its engine's own patience is shorter.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// One engine, tried.
struct Row {
    kind: EngineKind,
    name: &'static str,
    about: &'static str,
    needs: Needs,
    /// It is a configured one of its kind.
    chosen: bool,
    problem: Option<EngineError>,
}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<(), Error> {
    let config = context.config([])?;
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let mut rows = Vec::new();
    rows.extend(tried::<dyn Stt>(&config, &rundown, &config.engines.stt).await);
    rows.extend(tried::<dyn Llm>(&config, &rundown, &config.engines.llm).await);
    rows.extend(tried::<dyn Tts>(&config, &rundown, &config.engines.tts).await);
    rows.extend(tried::<dyn VadModel>(&config, &rundown, std::slice::from_ref(&config.engines.vad)).await);
    Ok(context.out.result(&json(&rows), table(&rows))?)
}

/// The engines of one kind. Whether one can be used is known by loading it, and by asking its server if it has one.
async fn tried<E: Kind + ?Sized>(config: &Config, rundown: &watch::Receiver<OnAir>, chosen: &[String]) -> Vec<Row> {
    let row = async |entry: &'static anchor_engines::Entry<E>| {
        let context = LoadContext { rundown: rundown.clone(), options: config.options(E::KIND, entry.name) };
        let problem = match (entry.load)(&context) {
            Ok(engine) => timeout(PROBE_MAX, engine.probe()).await.ok().and_then(Result::err),
            Err(error) => Some(error),
        };
        Row {
            kind: E::KIND,
            name: entry.name,
            about: entry.about,
            needs: entry.needs,
            chosen: chosen.iter().any(|name| name == entry.name),
            problem,
        }
    };
    futures::future::join_all(E::table().iter().map(row)).await
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut last = None;
    for Row { kind, name, about, needs, chosen, problem } in rows {
        if last.replace(*kind) != Some(*kind) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", heading(*kind));
        }
        let mark = if *chosen { '*' } else { ' ' };
        let state = problem.as_ref().map_or_else(|| "usable here".into(), ToString::to_string);
        let _ = writeln!(
            text,
            "{mark} {name:width$}  {about}\n  {:width$}  needs: {}\n  {:width$}  {state}",
            "",
            need(needs),
            ""
        );
    }
    text + "\n* chosen by the configuration"
}

fn heading(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Stt => "Recognisers (stt)",
        EngineKind::Llm => "Language models (llm)",
        EngineKind::Tts => "Voices (tts)",
        EngineKind::Vad => "Voice activity detectors (vad)",
    }
}

fn need(needs: &Needs) -> String {
    let mut parts = Vec::new();
    if !needs.packages.is_empty() {
        parts.push(format!("the packages {}", needs.packages.join(", ")));
    }
    if needs.gpu_bytes > 0 {
        parts.push(format!("{:.1} GB of GPU memory", needs.gpu_bytes as f64 / 1e9));
    }
    if needs.network {
        parts.push("a server on the network".into());
    }
    if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
}

fn json(rows: &[Row]) -> serde_json::Value {
    rows.iter()
        .map(|row| {
            json!({
                "kind": row.kind.name(),
                "name": row.name,
                "about": row.about,
                "packages": row.needs.packages,
                "gpu_bytes": row.needs.gpu_bytes,
                "network": row.needs.network,
                "chosen": row.chosen,
                "usable": row.problem.is_none(),
                "problem": row.problem.as_ref().map(ToString::to_string),
            })
        })
        .collect()
}
