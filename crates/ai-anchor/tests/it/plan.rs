//! The memory plan from outside: results, refusals and exit codes. No GPU is asked: every plan names its card.

use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs `ai-anchor plan` where no model is downloaded and nothing is configured.
fn plan(arguments: &[&str]) -> Output {
    let place = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ai-anchor"));
    command.arg("plan").args(arguments).current_dir(&place);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANCHOR_")) {
        command.env_remove(name);
    }
    command.env("HOME", place.path()).env("XDG_DATA_HOME", place.path()).env_remove("OLLAMA_MODELS");
    command.output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn complaint(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn a_plan_is_told_to_people_and_to_machines() {
    let output = plan(&["--gpu", "rtx6000-48gb"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--gpu-memory-utilization 0.25 --max-model-len 8192"), "{text}");

    let told = json(&plan(&["--gpu", "rtx6000-48gb", "--json"]));
    assert_eq!(told["fits"], true);
    assert_eq!(told["settings"]["llm_quantization"], "Q4_K_M");
    assert_eq!(told["settings"]["llm_context"], 8192);
    let planned = told["servers"].as_array().unwrap().iter().map(|server| server["planned"].as_u64().unwrap());
    assert_eq!(planned.sum::<u64>(), told["total"].as_u64().unwrap());
}

#[test]
fn what_cannot_fit_is_refused_with_what_to_change() {
    let output = plan(&["--gpu", "rtx4090-24gb", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(json(&output)["fits"], false);
    assert!(complaint(&output).contains("speak with an embedded voice (--tts flite)"), "{}", complaint(&output));
    // And what it proposes is a plan.
    assert_eq!(plan(&["--gpu", "rtx4090-24gb", "--without", "tts"]).status.code(), Some(0));
}

#[test]
fn flags_that_cannot_be_are_told_so() {
    let code = |arguments: &[&str]| plan(arguments).status.code();
    assert_eq!(code(&["--gpu", "rtx4090"]), Some(2));
    assert_eq!(code(&["--gpu", "48gb", "--without", "stt,llm,tts"]), Some(2));
    assert_eq!(code(&["--gpu", "48gb", "--context", "0"]), Some(2));
    assert_eq!(code(&["--gpu", "48gb", "--kv", "q5_0"]), Some(2));
}
