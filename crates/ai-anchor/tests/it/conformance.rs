//! Clients that others wrote, against the real server with the embedded engines and real speech. Each of them goes through
//! each scenario; every event it receives is checked against the published schema and the grammar of sessions.
//!
//! Runs where `ANCHOR_CONFORMANCE` names the folder that `conformance/install` made.

#[path = "../../../anchor-server/tests/it/support/grammar.rs"]
mod grammar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anchor_core::grammar::Line;
use serde_json::Value;

use crate::support::served::Served;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance");
const SCENARIOS: [&str; 5] = ["voice", "text", "tool", "barge-in", "malformed"];
/// All the headlines take half a minute to hear.
const PATIENCE: Duration = Duration::from_secs(150);

/// Where the clients are installed; `None` where they are not.
fn installed() -> Option<PathBuf> {
    std::env::var_os("ANCHOR_CONFORMANCE").map(PathBuf::from)
}

#[test]
fn openai_python() {
    conforms("openai-python", &["official/bin/python"], "python/openai_client.py");
}

#[test]
fn openai_node() {
    conforms("openai-node", &["node"], "node/openai.mjs");
}

#[test]
fn agents_js_over_websocket() {
    conforms("agents-js", &["node"], "node/agents.mjs");
}

#[test]
fn pipecat() {
    conforms("pipecat", &["frameworks/bin/python"], "python/pipecat_client.py");
}

#[test]
fn livekit() {
    conforms("livekit", &["frameworks/bin/python"], "python/livekit_client.py");
}

/// Runs all scenarios and prints what came of each.
#[allow(clippy::print_stdout, reason = "the outcomes are read by people")]
fn conforms(client: &str, interpreter: &[&str], script: &str) {
    let Some(folder) = installed() else { return };
    let program = match interpreter {
        ["node"] => PathBuf::from("node"),
        [python] => folder.join(python),
        _ => unreachable!("one interpreter each"),
    };
    if program.is_absolute() && !program.exists() {
        println!("skipped: {client}, because {} is not there", program.display());
        return;
    }
    let only = std::env::var("ANCHOR_CONFORMANCE_ONLY").unwrap_or_default();
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance").join(client);
    fs::create_dir_all(&work).unwrap();
    let question = question(&work);
    let mut failures = Vec::new();
    for scenario in SCENARIOS.into_iter().filter(|scenario| only.is_empty() || *scenario == only) {
        let served = Served::start();
        let events = work.join(format!("{scenario}.jsonl"));
        let _ = fs::remove_file(&events);
        let mut command = Command::new(&program);
        command
            .args([&format!("{HERE}/{script}"), scenario])
            .env("ANCHOR_URL", served.page())
            .env("ANCHOR_QUESTION", &question)
            .env("ANCHOR_EVENTS", &events)
            .env("ANCHOR_NODE", folder.join("node"));
        let mut found = run(command, &work.join(format!("{scenario}.log"))).err().into_iter().collect::<Vec<_>>();
        found.extend(in_order(&events).err());
        let mut check = Command::new(folder.join("official/bin/python"));
        check.arg(format!("{HERE}/python/validate.py")).arg(&events);
        found.extend(run(check, &work.join(format!("{scenario}.schema.log"))).err());
        let outcome = if found.is_empty() { "pass".to_owned() } else { found.join("\n  ") };
        println!("{client} {scenario}: {outcome}");
        failures.extend((!found.is_empty()).then(|| format!("{scenario}: {outcome}")));
    }
    assert!(failures.is_empty(), "{client}\n{}", failures.join("\n"));
}

/// Real speech, as raw samples at 24 kHz.
fn question(work: &Path) -> PathBuf {
    let (wav, raw) = (work.join("question.wav"), work.join("question.pcm"));
    let status = Command::new(env!("CARGO_BIN_EXE_ai-anchor"))
        .args(["say", "--output"])
        .arg(&wav)
        .arg("what is the weather going to be like tonight")
        .status();
    assert!(status.unwrap().success());
    let mut reader = hound::WavReader::open(&wav).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (24_000, 1));
    let samples: Vec<u8> = reader.samples::<i16>().flat_map(|sample| sample.unwrap().to_le_bytes()).collect();
    fs::write(&raw, samples).unwrap();
    raw
}

/// Runs it to its end; what it said last if it failed.
fn run(mut command: Command, log: &Path) -> Result<(), String> {
    let output = fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = fs::read_to_string(log).unwrap_or_default();
    let last: Vec<_> = said.lines().rev().take(15).collect();
    if status.success() { Ok(()) } else { Err(last.into_iter().rev().collect::<Vec<_>>().join("\n  ")) }
}

/// The events keep to the grammar. There has to be one session in the file.
fn in_order(events: &Path) -> Result<(), String> {
    let mut checker = grammar::Checker::new(Line::WebSocket);
    let text = fs::read_to_string(events).map_err(|_| "no events came".to_owned())?;
    text.lines().try_for_each(|line| {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
        checker.read(&event)
    })
}
