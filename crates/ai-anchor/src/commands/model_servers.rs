//! What commands that need the model servers share: starting them by the plan, telling how they come up, stopping them.

use std::sync::Arc;

use anchor_core::engine::{EngineKind, Notice, NoticeKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::engines::Crew;
use crate::error::Error;
use crate::memory::{self, Plan, PlanError, Wishes};
use crate::models;
use crate::servers::{self, ServerState, ServerStatus, Supervisor};

/// How often the progress of a model server that starts is told, in seconds.
const TELL_EVERY: u64 = 15;

/// What the model servers are going to be started with.
pub(crate) enum Prepared {
    /// The engines need none on this machine.
    NotNeeded,
    /// They fit together like this.
    Planned(Box<Plan>),
    /// They do not, or nobody can tell: why, and what to do.
    Refused(String),
}

/// Plans the model servers that the engines of the configuration need, and has the engines ask for what was planned.
pub(crate) fn prepare(config: &mut Config) -> Prepared {
    if !config.servers.start || servers::needed(config, |_, model| model.to_owned()).is_empty() {
        return Prepared::NotNeeded;
    }
    match plan(config) {
        Ok(plan) => {
            // Another context than the server's own would have it load the model anew.
            let options = config.options.entry((EngineKind::Llm, "ollama".into())).or_default();
            options.entry("num_ctx").or_insert(i64::from(plan.shares().llm_context).into());
            Prepared::Planned(Box::new(plan))
        }
        Err(error) => Prepared::Refused(format!("The model servers are not started: {error}")),
    }
}

/// Starts them in the background: until they are up, the engines that need none answer. Servers whose models do not fit
/// would only keep each other from starting, so then none is started, and the programme goes on with what there is.
pub(crate) fn start(config: &Config, prepared: Prepared, crew: &Arc<Crew>) -> Result<Option<Supervisor>, Error> {
    let plan = match prepared {
        Prepared::NotNeeded => return Ok(None),
        Prepared::Planned(plan) => plan,
        Prepared::Refused(text) => {
            crew.notify(Notice { what: NoticeKind::ServerGivenUp, about: "model servers".into(), text });
            return Ok(None);
        }
    };
    let files = |_, model: &str| {
        let folder = models::folder(config).join(model.replace('/', "--"));
        if folder.is_dir() { folder.display().to_string() } else { model.to_owned() }
    };
    let mut recipes = servers::recipes(config, &models::data_folder().join("env"), &plan.shares(), files);
    if let Some(index) = plan.card.index {
        recipes.iter_mut().for_each(|recipe| recipe.on_card(index));
    }
    let notices = {
        let crew = Arc::downgrade(crew);
        Arc::new(move |notice: Notice| {
            if let Some(crew) = crew.upgrade() {
                crew.notify(notice);
            }
        })
    };
    let supervisor = Supervisor::start(recipes, notices)
        .map_err(|error| Error::System { what: "to ask the model servers", source: std::io::Error::other(error) })?;
    for server in plan.parts.iter().map(|part| part.server) {
        let handle = supervisor.handle();
        crew.on_use(server.engine_kind(), move || handle.wanted(server.name()));
    }
    tokio::spawn(tell_progress(supervisor.status()));
    Ok(Some(supervisor))
}

/// The plan for the card of this machine and the engines of the configuration.
pub(crate) fn plan(config: &Config) -> Result<Plan, PlanError> {
    let card = memory::card(config, None)?;
    memory::plan(config, &card, &Wishes::of(config))
}

/// Stops them. Who asks a second time does not want to wait.
pub(crate) async fn stop(supervisor: Supervisor) {
    match asked_to_stop() {
        Ok(again) => tokio::select! {
            () = supervisor.shutdown() => {}
            () = again => {}
        },
        Err(_) => supervisor.shutdown().await,
    }
}

/// Says something to the person who watches.
#[allow(clippy::print_stderr, reason = "progress is for the person who watches")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

/// Tells on standard error how the model servers come up.
async fn tell_progress(mut status: watch::Receiver<Vec<ServerStatus>>) {
    let mut told: Vec<Option<String>> = Vec::new();
    loop {
        let now = status.borrow_and_update().clone();
        told.resize(now.len(), None);
        for (server, told) in now.iter().zip(&mut told) {
            let key = match &server.state {
                ServerState::Starting { seconds, .. } => format!("starting {}", seconds / TELL_EVERY),
                state => state.to_string(),
            };
            if told.as_ref() != Some(&key) {
                tell(&format!("  {:8} {}", server.name, server.state));
                *told = Some(key);
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Completes when the program is asked to stop: by Ctrl-C, or by whoever supervises it.
pub(crate) fn asked_to_stop() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    })
}
