//! `ai-anchor serve`

use std::net::SocketAddr;
use std::sync::Arc;

use anchor_core::engine::{EngineState, EngineStatus, Voice};
use anchor_core::rundown::OnAir;
use anchor_server::{App, CallSocket};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::model_servers::{self, asked_to_stop};
use crate::cli::Context;
use crate::config::{Config, ConfigError, Flag, Mistake};
use crate::engines::Crew;
use crate::error::Error;
use crate::on_air;

/// Ports looked at for one to suggest, where the one asked for is taken.
const SUGGESTIONS: u16 = 50;

/// Put the anchor on air: serve the studio page and conversations
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on; 0 takes any that is free
    #[arg(long, value_name = "NUMBER")]
    port: Option<String>,
    /// Address at which clients elsewhere reach this machine, for the sound of WebRTC calls
    #[arg(long, value_name = "ADDRESS")]
    public_ip: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Error> {
    let flags = [
        args.host.map(|host| Flag::new("--host", "server.host", host)),
        args.port.map(|port| Flag::new("--port", "server.port", port)),
        args.public_ip.map(|ip| Flag::new("--public-ip", "server.public_ip", ip)),
    ];
    let mut config = context.config(flags.into_iter().flatten())?;
    let rundown = match config.rundown_path() {
        Some(path) => on_air::follow(&path)?,
        None => on_air::fixed(None)?,
    };
    let stories = on_air::count(&rundown.borrow().rundown);
    let (listener, address) = listen(&config).await?;
    let calls = call_socket(&config, address).await?;
    let shutdown = asked_to_stop().map_err(|source| Error::System { what: "to tell when to stop", source })?;

    let prepared = model_servers::prepare(&mut config);
    let crew = Arc::new(Crew::of(&config, &rundown)?);
    let supervisor = model_servers::start(&config, prepared, &crew)?;
    let mut app = load(&crew, config.clone(), rundown).await?;
    app.calls = calls;
    check_voice(&config, &app.voices, &crew).await?;
    let engines = crew.status().borrow().clone();
    let json = json!({
        "url": url(&config.server.host, address),
        "engines": engines.iter().map(row).collect::<Vec<_>>(),
    });
    context.out.result(&json, greeting(&config, address, &engines, &stories))?;
    let served = anchor_server::serve(listener, app, shutdown).await;
    if let Some(supervisor) = supervisor {
        model_servers::stop(supervisor).await;
    }
    Ok(served?)
}

async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let (host, port) = (config.server.host.clone(), config.server.port);
    let bound = TcpListener::bind((host.as_str(), port)).await;
    match bound.and_then(|listener| listener.local_addr().map(|address| (listener, address))) {
        Ok(bound) => Ok(bound),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let mut free = None;
            for candidate in port.saturating_add(1)..=port.saturating_add(SUGGESTIONS) {
                if TcpListener::bind((host.as_str(), candidate)).await.is_ok() {
                    free = Some(candidate);
                    break;
                }
            }
            Err(Error::PortInUse { host, port, free })
        }
        Err(source) => Err(Error::Listen { host, port, source }),
    }
}

/// The UDP port of WebRTC calls, unless they are off.
async fn call_socket(config: &Config, address: SocketAddr) -> Result<Option<CallSocket>, Error> {
    let server = &config.server;
    if !server.webrtc {
        return Ok(None);
    }
    let (ip, port) = (address.ip(), server.webrtc_port.unwrap_or(address.port()));
    // Empty stands for none; anything else was checked with the settings.
    let public_ip = server.public_ip.parse().ok();
    let bound = CallSocket::bind(SocketAddr::new(ip, port), public_ip).await;
    bound.map(Some).map_err(|source| Error::CallPort { ip, port, source })
}

/// Loads the engines. The voice is always loaded: the studio shows what it can do.
async fn load(crew: &Arc<Crew>, config: Config, rundown: watch::Receiver<OnAir>) -> Result<App, Error> {
    let crew = crew.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        if config.engines.preload {
            crew.preload();
        }
        crew.app(&config, rundown)
    });
    Ok(loaded.await.map_err(|error| Error::System { what: "to load the engines", source: error.into() })??)
}

/// A voice that no engine has would fail in the first answer; better now. Where an engine could not be loaded, that is
/// said on the board, and whose voice it is shows when it can.
async fn check_voice(config: &Config, voices: &[Voice], crew: &Arc<Crew>) -> Result<(), ConfigError> {
    let voice = &config.anchor.voice;
    let has = |voices: &[Voice]| voices.iter().any(|known| known.name == *voice);
    if voice.is_empty() || voices.is_empty() || has(voices) {
        return Ok(());
    }
    let crew = crew.clone();
    let all = tokio::task::spawn_blocking(move || crew.all_voices()).await.ok().flatten();
    let Some(all) = all.filter(|all| !has(all)) else { return Ok(()) };
    let known = all.iter().map(|voice| voice.name.as_str()).collect::<Vec<_>>().join(", ");
    let what = match &config.engines.tts[..] {
        [only] => format!("{only} has no voice '{voice}'. It has: {known}"),
        several => format!("none of {} has the voice '{voice}'. There is: {known}", several.join(", ")),
    };
    Err(ConfigError::Mistakes(vec![Mistake { place: "anchor.voice".into(), what }]))
}

fn greeting(config: &Config, address: SocketAddr, engines: &[EngineStatus], stories: &str) -> String {
    let mut text = format!("{} has {stories} in the rundown.\n", config.anchor.name);
    for engine in engines {
        let (state, problem) = words(&engine.state);
        text += &format!("  {:4} {:13} {state}\n", engine.kind.name(), engine.name);
        if let Some(problem) = problem {
            text += &format!("       {problem}\n");
        }
    }
    text += &format!("\nOn air: {}\n", url(&config.server.host, address));
    if !address.ip().is_loopback() {
        text += "Everybody who can reach this machine can talk to the anchor. From other machines, browsers give out the\n\
                 microphone only over HTTPS, so put a proxy with a certificate in front.\n";
    }
    text + "Open the link in a browser, allow the microphone, and ask for the headlines. Stop with Ctrl-C."
}

/// The link a person on this machine opens.
fn url(host: &str, address: SocketAddr) -> String {
    let port = address.port();
    if address.ip().is_unspecified() || host == "localhost" {
        format!("http://localhost:{port}/")
    } else {
        format!("http://{address}/")
    }
}

fn row(engine: &EngineStatus) -> serde_json::Value {
    let (state, problem) = words(&engine.state);
    json!({ "kind": engine.kind.name(), "name": engine.name, "state": state, "problem": problem })
}

/// A state in words: its name, and what is wrong.
fn words(state: &EngineState) -> (&'static str, Option<&str>) {
    match state {
        EngineState::Idle => ("loads when it is needed", None),
        EngineState::Loading => ("loading", None),
        EngineState::Ready => ("ready", None),
        EngineState::Degraded(problem) => ("degraded", Some(problem)),
        EngineState::Failed(problem) => ("failed", Some(problem)),
    }
}
