//! `ai-anchor doctor --load`: the rehearsal, in words.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anchor_core::engine::Later;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::model_servers;
use crate::cli::Context;
use crate::config::Config;
use crate::engines::Crew;
use crate::error::Error;
use crate::on_air;
use crate::rehearsal::{self, Stage, Taken};
use crate::servers::{ServerState, ServerStatus};

/// How long engines may take until they answer, once their servers are up.
const ENGINES_MAX: Duration = Duration::from_secs(10 * 60);

/// Pause between two questions whether an engine answers.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Loads everything at once, has every engine work at the same time, and compares the memory with the plan. The engines
/// are the first of each chain: those that stand in for them are not what is rehearsed.
pub(crate) async fn run(context: &Context) -> Result<(), Error> {
    let mut config = context.config([])?;
    for chain in [&mut config.engines.stt, &mut config.engines.llm, &mut config.engines.tts] {
        chain.truncate(1);
    }
    // All of them are needed now, so that none is started later.
    let servers = &mut config.servers;
    for lazy in [&mut servers.ollama_lazy, &mut servers.higgs_lazy, &mut servers.voxtral_lazy] {
        *lazy = false;
    }
    let rundown = on_air::fixed(config.rundown_path().as_deref())?;
    let prepared = model_servers::prepare(&mut config);
    let crew = Arc::new(Crew::of(&config, &rundown)?);
    let supervisor = model_servers::start(&config, prepared, &crew)?;
    if let Some(supervisor) = &supervisor {
        model_servers::tell("Loading the models, one after the other.");
        settled(supervisor.status()).await;
    }
    let outcome = rehearse(&config, &crew).await;
    if let Some(supervisor) = supervisor {
        model_servers::stop(supervisor).await;
    }
    let Rehearsal { stages, memory } = outcome?;
    let fits = !memory.as_ref().is_ok_and(|rows| rows.iter().any(Taken::exceeds));
    // Where no memory can be measured, as with servers on another machine, nothing is wrong, but nobody can call it ready.
    let good = fits && stages.iter().all(|stage| stage.outcome.is_ok());
    let json = json!({
        "ready": good && memory.is_ok(),
        "stages": stages.iter().map(stage_json).collect::<Vec<_>>(),
        "memory": memory.as_ref().ok(),
        "memory_unknown": memory.as_ref().err(),
    });
    context.out.result(&json, report(&stages, &memory, good))?;
    if good { Ok(()) } else { Err(Error::NotReady) }
}

struct Rehearsal {
    stages: Vec<Stage>,
    /// Or why it is not known.
    memory: Result<Vec<Taken>, String>,
}

async fn rehearse(config: &Config, crew: &Crew) -> Result<Rehearsal, Error> {
    let engines = tokio::task::block_in_place(|| crew.engines())?;
    answers(|| engines.stt.probe()).await?;
    answers(|| engines.llm.probe()).await?;
    answers(|| engines.tts.probe()).await?;
    model_servers::tell("Everything is loaded. Now all of it works at the same time.");
    let stages = rehearsal::turn(&engines).await;
    let memory = match model_servers::plan(config) {
        Ok(plan) => rehearsal::taken(&plan).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Ok(Rehearsal { stages, memory })
}

/// Waits until every server is up or has failed.
async fn settled(mut status: watch::Receiver<Vec<ServerStatus>>) {
    let over = |server: &ServerStatus| !matches!(server.state, ServerState::Starting { .. });
    // The supervisor lives as long as this waits.
    let _ = status.wait_for(|servers| servers.iter().all(over)).await;
}

/// Asks an engine until it would take a request; its last answer where it never does.
async fn answers(probe: impl Fn() -> Later<()>) -> Result<(), Error> {
    let start = Instant::now();
    let mut told = String::new();
    loop {
        let error = match probe().await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > ENGINES_MAX => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        if error != told {
            model_servers::tell(&error);
            told = error;
        }
        sleep(ASK_AGAIN).await;
    }
}

fn report(stages: &[Stage], memory: &Result<Vec<Taken>, String>, good: bool) -> String {
    let mut text = String::from("All at the same time:\n");
    for Stage { kind, outcome } in stages {
        let _ = match outcome {
            Ok(took) => writeln!(
                text,
                "  {:4} first after {:>5} ms, all after {:>5} ms: {}",
                kind.name(),
                took.first_ms,
                took.all_ms,
                took.gave
            ),
            Err(error) => writeln!(text, "  {:4} {error}", kind.name()),
        };
    }
    text += "\nMemory of the GPU:\n";
    match memory {
        Ok(rows) => {
            for row in rows {
                let warning = if row.exceeds() { "  MORE THAN PLANNED" } else { "" };
                let _ = writeln!(text, "  {row}{warning}");
            }
        }
        Err(reason) => {
            let _ = writeln!(text, "  not known: {reason}");
        }
    }
    text + match (good, memory) {
        (true, Ok(_)) => "\nReady to go live.",
        (true, Err(_)) => {
            "\nEverything answers at the same time, but nobody knows how much memory is left: watch it when you go live."
        }
        (false, _) => "\nNot ready to go live.",
    }
}

fn stage_json(stage: &Stage) -> serde_json::Value {
    match &stage.outcome {
        Ok(took) => json!({ "kind": stage.kind.name(), "took": took }),
        Err(error) => json!({ "kind": stage.kind.name(), "problem": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use anchor_core::engine::{EngineError, EngineKind};

    use super::*;
    use crate::rehearsal::Took;

    #[test]
    fn the_report_can_be_read() {
        let took = |gave: &str| Ok(Took { first_ms: 61, all_ms: 740, gave: gave.into() });
        let stages = [
            Stage { kind: EngineKind::Stt, outcome: took("5 words") },
            Stage {
                kind: EngineKind::Llm,
                outcome: Err(EngineError::Failed { engine: "ollama", reason: "it gave nothing".into() }),
            },
        ];
        let taken = |server: &str, planned, measured| Taken { server: server.into(), planned, measured };
        let memory = Ok(vec![taken("ollama", 16 << 30, Some(15 << 30)), taken("higgs", 15 << 30, Some(17 << 30))]);
        insta::assert_snapshot!(report(&stages, &memory, false), @r"
        All at the same time:
          stt  first after    61 ms, all after   740 ms: 5 words
          llm  ollama failed: it gave nothing

        Memory of the GPU:
          ollama   planned  16.00 GiB, measured  15.00 GiB (94 %)
          higgs    planned  15.00 GiB, measured  17.00 GiB (113 %)  MORE THAN PLANNED

        Not ready to go live.
        ");
    }

    #[test]
    fn memory_that_nobody_measured_is_not_called_ready() {
        let told = report(&[], &Err("there is no driver".into()), true);
        insta::assert_snapshot!(told, @r"
        All at the same time:

        Memory of the GPU:
          not known: there is no driver

        Everything answers at the same time, but nobody knows how much memory is left: watch it when you go live.
        ");
    }
}
