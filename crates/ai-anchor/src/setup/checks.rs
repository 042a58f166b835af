//! What `doctor` looks at: a list of checks over the facts and the configuration, each with the command that mends it.

use super::files::{CUDA12, CUDA13};
use super::plan::Bytes;
use super::trouble::{Cuda, Finding, ok, problem, trouble, warning};
use crate::machine::{Facts, Listener, Port};

/// One model that is wanted, and whether it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFact {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// About how many bytes it takes.
    pub bytes: u64,
    /// Ollama keeps it.
    pub ollama: bool,
    /// It is here, whole.
    pub here: bool,
}

/// One check.
pub type Check = Finding;

/// What the configuration says that the checks are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The engines chosen, and the Debian packages that each still lacks or why else it cannot be used.
    pub engines: Vec<(String, Option<String>)>,
    /// The model servers that run on this machine, as their ports are named in the facts.
    pub servers: Vec<&'static str>,
    /// The models they need.
    pub models: Vec<ModelFact>,
    /// The address the program listens on.
    pub host: String,
}

/// Less than this left over makes logs and updates fail before long.
const LITTLE_SPACE: u64 = 2_000_000_000;

/// From this release on, Ollama runs every model in llama.cpp's own server.
const OLLAMA_NEW: (u32, u32) = (0, 30);

/// Everything worth saying, in the order in which things depend on each other.
pub fn checks(facts: &Facts, given: &Given) -> Vec<Check> {
    let mut found = Vec::new();
    let local = !given.servers.is_empty();
    if local {
        found.extend(trouble(facts));
        found.push(conda(facts));
        found.extend(environment(facts, given));
        found.extend(given.models.iter().map(model));
    }
    found.push(disk(facts));
    let wanted = |port: &&Port| port.server == "anchor" || given.servers.contains(&port.server);
    found.extend(facts.ports.iter().filter(wanted).map(port));
    found.extend(given.engines.iter().map(engine));
    found.push(microphone(&given.host));
    found
}

fn conda(facts: &Facts) -> Check {
    match facts.conda.first() {
        Some(conda) => ok("conda", format!("{} {} at {}", conda.kind.name(), conda.version, conda.program.display())),
        None if facts.environment.is_whole() => warning(
            "conda",
            "no longer here; the environment works without it".into(),
            "ai-anchor setup --install-micromamba before the next update",
        ),
        None => problem(
            "conda",
            "neither micromamba nor mamba nor conda is here".into(),
            "ai-anchor setup --install-micromamba",
        ),
    }
}

fn environment(facts: &Facts, given: &Given) -> Vec<Check> {
    let environment = &facts.environment;
    let place = environment.prefix.display();
    if !environment.exists {
        return vec![problem("environment", format!("there is none at {place}"), "ai-anchor setup")];
    }
    if !environment.is_conda {
        let what = format!("{place} is not empty, and conda did not make it");
        return vec![problem(
            "environment",
            what,
            &format!("Move it away: mv {place} {place}.old; then ai-anchor setup"),
        )];
    }
    let mut found = Vec::new();
    let lacks: Vec<_> =
        crate::machine::Environment::PROGRAMS.into_iter().filter(|it| !environment.programs.contains(it)).collect();
    if lacks.is_empty() {
        found.push(ok("environment", format!("whole, at {place}")));
    } else {
        found.push(problem("environment", format!("{place} lacks {}", lacks.join(", ")), "ai-anchor setup"));
    }
    if given.servers.iter().any(|server| *server != "ollama") {
        found.push(packages(facts));
    }
    if given.servers.contains(&"ollama") {
        found.extend(ollama(facts));
    }
    found
}

fn packages(facts: &Facts) -> Check {
    let driver = facts.gpus.as_ref().ok().and_then(|gpus| Cuda::of_driver(&gpus.first()?.driver));
    let missing = |text: &'static str| facts.environment.missing(text);
    let (of_12, of_13) = (missing(CUDA12.text), missing(CUDA13.text));
    match driver {
        Some(Cuda::Cuda12) if of_13.is_empty() => problem(
            "packages",
            "they are those for CUDA 13, which this driver does not run".into(),
            "Install driver 580 or newer, or ai-anchor setup, which takes those for CUDA 12",
        ),
        Some(Cuda::Cuda12) if of_12.is_empty() => ok("packages", "all there, for CUDA 12".into()),
        Some(Cuda::Cuda13) | None if of_13.is_empty() => ok("packages", "all there, for CUDA 13".into()),
        Some(Cuda::Cuda13) | None if of_12.is_empty() => warning(
            "packages",
            "they are those for CUDA 12, and this driver runs CUDA 13".into(),
            "ai-anchor setup brings the newer ones",
        ),
        _ => {
            let lacks = if driver == Some(Cuda::Cuda12) { of_12 } else { of_13 };
            let first: Vec<_> = lacks.iter().take(4).map(|(name, version)| format!("{name} {version}")).collect();
            let more = if lacks.len() > first.len() {
                format!(" and {} more", lacks.len() - first.len())
            } else {
                String::new()
            };
            problem("packages", format!("missing or of another version: {}{more}", first.join(", ")), "ai-anchor setup")
        }
    }
}

fn ollama(facts: &Facts) -> Option<Check> {
    let environment = &facts.environment;
    let version = environment.ollama.as_ref()?;
    if !environment.ollama_cuda {
        let place = environment.prefix.display();
        let remedy =
            format!("conda remove --prefix {place} ollama (or with mamba or micromamba), then ai-anchor setup");
        return Some(problem("Ollama", format!("version {version} was built for the processor, not the GPU"), &remedy));
    }
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let what = format!("version {version}, built for CUDA");
    Some(if number < OLLAMA_NEW {
        let what = format!("{what}: older than 0.30, with the engine before llama.cpp's own server");
        warning(
            "Ollama",
            what,
            "It works. For the newer engine, run Ollama's own release (ollama.com/download) on its port; it is used then",
        )
    } else {
        ok("Ollama", what)
    })
}

fn model(model: &ModelFact) -> Check {
    if model.here {
        ok("model", format!("{} is here", model.name))
    } else {
        let remedy = format!("ai-anchor models pull {}", model.name);
        problem("model", format!("{} is not here ({})", model.name, Bytes(model.bytes)), &remedy)
    }
}

fn disk(facts: &Facts) -> Check {
    let place = facts.data.display();
    if !facts.disk_writable {
        return problem("disk", format!("{place} cannot be written to"), &format!("sudo chown -R \"$USER\" {place}"));
    }
    match facts.disk_free {
        None => warning("disk", format!("how much is free in {place} is not known"), &format!("df -h {place}")),
        Some(free) if free < LITTLE_SPACE => warning(
            "disk",
            format!("{} free in {place}", Bytes(free)),
            &format!("See what can go: du -sh {place}/*; ai-anchor models remove NAME"),
        ),
        Some(free) => ok("disk", format!("{} free in {place}", Bytes(free))),
    }
}

fn port(port: &Port) -> Check {
    let Port { server, number, listener } = port;
    let place = format!("port {number} of {server}");
    let who = format!("See who it is: ss -ltnp 'sport = :{number}'; end it, or set another port");
    match (*server, listener) {
        (_, Listener::Nobody) => ok("port", format!("{place} is free")),
        ("ollama", Listener::Ollama(version)) => ok("port", format!("{place}: Ollama {version} answers")),
        ("anchor", Listener::Anchor) => ok("port", format!("{place}: AI Anchor runs already")),
        ("voxtral" | "higgs", Listener::Models(models))
            if models.iter().any(|model| model.to_lowercase().contains(server)) =>
        {
            ok("port", format!("{place}: {} answers", models.join(", ")))
        }
        (_, Listener::Models(models)) => {
            problem("port", format!("{place}: a server of {} answers", models.join(", ")), &who)
        }
        (_, Listener::Ollama(_)) => problem("port", format!("{place}: Ollama answers"), &who),
        (_, Listener::Anchor) => problem("port", format!("{place}: AI Anchor itself answers"), &who),
        (_, Listener::Other) => problem("port", format!("{place} is taken by another program"), &who),
    }
}

fn engine((name, wrong): &(String, Option<String>)) -> Check {
    match wrong {
        None => ok("engine", format!("{name} can be used")),
        Some(wrong) => problem("engine", wrong.clone(), "Then see again: ai-anchor engines"),
    }
}

fn microphone(host: &str) -> Check {
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback {
        return ok("microphone", "browsers on this machine give it out to http://localhost".into());
    }
    warning(
        "microphone",
        format!("server.host is {host}, and browsers on other machines give out the microphone over HTTPS alone"),
        "Put a proxy with a certificate in front (docs/setup.md), or listen on 127.0.0.1",
    )
}
