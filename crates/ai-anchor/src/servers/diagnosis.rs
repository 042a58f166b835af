//! Why a server did not come up or went away, in words, with what to do about it. Read from its last lines.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::log::says_something;
use super::recipe::Recipe;

/// How a server ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It ended by itself.
    Exit(ExitStatus),
    /// It did not answer in time.
    Late,
    /// It refused a real request again and again.
    Refused,
}

/// What servers print when something is wrong, with what that means.
struct Sign {
    /// Any of these, in lower case.
    prints: &'static [&'static str],
    means: Meaning,
}

#[derive(Clone, Copy)]
enum Meaning {
    Memory,
    PortTaken,
    NoModel,
    NoProgram,
    Driver,
}

/// The likeliest cause first: memory that ran out draws all kinds of errors after it.
const SIGNS: &[Sign] = &[
    Sign {
        prints: &[
            "cuda out of memory",
            "outofmemoryerror",
            "cuda error: out of memory",
            "cudamalloc failed: out of memory",
            "cuda_error_out_of_memory",
            "less than desired gpu memory utilization",
            "no available memory for the cache blocks",
            "kv cache is needed, which is larger than the available",
        ],
        means: Meaning::Memory,
    },
    Sign { prints: &["address already in use"], means: Meaning::PortTaken },
    Sign {
        prints: &[
            "repository not found",
            "repositorynotfounderror",
            "gatedrepoerror",
            "localentrynotfounderror",
            "is not a valid model identifier",
            "is not a local folder",
            "does not appear to have a file named",
            "cannot find any model weights",
            "invalid repository id or local directory",
        ],
        means: Meaning::NoModel,
    },
    Sign { prints: &["no module named", "modulenotfounderror", "command not found"], means: Meaning::NoProgram },
    Sign {
        prints: &[
            "driver on your system is too old",
            "driver version is insufficient",
            "no cuda-capable device",
            "no cuda gpus are available",
            "found no nvidia driver",
        ],
        means: Meaning::Driver,
    },
];

/// What happened to the server of `recipe`, whose newest lines are `lines`, oldest first; `asked` is what it said when it
/// was last asked, empty where that says nothing.
pub(super) fn diagnose(recipe: &Recipe, end: End, lines: &[String], asked: &str) -> String {
    let said = lines.iter().map(String::as_str).chain([asked]);
    let lower: Vec<String> = said.map(str::to_lowercase).collect();
    let sign = SIGNS.iter().find(|sign| lower.iter().any(|line| sign.prints.iter().any(|print| line.contains(print))));
    if let Some(sign) = sign {
        return meaning(sign.means, recipe);
    }
    let last = lines.iter().rev().find(|line| says_something(line)).map_or("", |line| line.trim());
    let last = if last.is_empty() { "It printed nothing.".into() } else { format!("Its last line: {last}") };
    match end {
        End::Exit(status) if status.signal() == Some(9) => {
            "it was killed (signal 9), which is what the system does when main memory runs out. `journalctl -k` tells. \
             Close other programs or add memory"
                .into()
        }
        End::Exit(status) => match (status.code(), status.signal()) {
            (Some(127), _) => meaning(Meaning::NoProgram, recipe),
            (Some(code), _) => format!("it ended with exit code {code}. {last}"),
            (None, signal) => format!("it was ended by signal {}. {last}", signal.unwrap_or_default()),
        },
        End::Late => {
            let asked = if asked.is_empty() { String::new() } else { format!(" Asked, {asked}.") };
            format!("it did not answer within {} s.{asked} {last}", recipe.start.as_secs())
        }
        End::Refused => format!("it runs but does not do its work: {asked}. {last}"),
    }
}

/// What to do where the server's program cannot be started at all.
pub(super) fn not_started(recipe: &Recipe, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return format!("there is no program {}. {INSTALL}", recipe.program.display());
    }
    format!("{} cannot be started: {error}", recipe.program.display())
}

/// What to do where something else answers at the server's address.
pub(super) fn taken(recipe: &Recipe, problem: &str) -> String {
    let port = recipe.url.port_or_known_default().unwrap_or_default();
    format!(
        "something else listens on port {port}: {problem}. End that program (`ss -ltnp 'sport = :{port}'` names it), or \
         give the engine another `url`"
    )
}

const INSTALL: &str = "`ai-anchor setup` installs what is missing";

fn meaning(meaning: Meaning, recipe: &Recipe) -> String {
    match meaning {
        Meaning::Memory => format!(
            "the GPU's memory does not suffice for {}. `ai-anchor plan` tells what fits; `nvidia-smi` tells who else uses the card",
            recipe.share
        ),
        Meaning::PortTaken => taken(recipe, "the server found it in use"),
        Meaning::NoModel => {
            format!("it does not find its model. `ai-anchor models pull {}` downloads it", recipe.name)
        }
        Meaning::NoProgram => format!("a part of its program is missing. {INSTALL}"),
        Meaning::Driver => {
            "the GPU or its driver cannot be used. `ai-anchor doctor` tells what is wrong with it".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::recipe::{Proof, address};
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            name: "voxtral".into(),
            program: "/env/bin/vllm".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            url: address("http://127.0.0.1:8000").unwrap(),
            proof: Proof::Transcription { model: "m".into() },
            start: Duration::from_secs(900),
            lazy: false,
            idle: None,
            share: "0.28 of the card (--gpu-memory-utilization)".into(),
        }
    }

    fn say(code: i32, lines: &[&str]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        diagnose(&recipe(), End::Exit(ExitStatus::from_raw(code << 8)), &lines, "")
    }

    #[test]
    fn too_little_memory_names_the_plan() {
        let vllm = say(
            1,
            &[
                "ValueError: Free memory on device cuda:0 (7.34/47.5 GiB) on startup is less than desired GPU memory utilization (0.28, 13.3 GiB).",
                "RuntimeError: Engine core initialization failed. See root cause above.",
            ],
        );
        insta::assert_snapshot!(vllm, @"the GPU's memory does not suffice for 0.28 of the card (--gpu-memory-utilization). `ai-anchor plan` tells what fits; `nvidia-smi` tells who else uses the card");
        let torch = say(1, &["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 96.00 MiB."]);
        let ollama = say(1, &["cudaMalloc failed: out of memory", "OSError: [Errno 98] Address already in use"]);
        assert_eq!((&torch, &ollama), (&vllm, &vllm));
    }

    #[test]
    fn a_taken_port_a_missing_model_and_a_missing_program_name_their_remedy() {
        insta::assert_snapshot!(say(1, &["OSError: [Errno 98] Address already in use"]), @"something else listens on port 8000: the server found it in use. End that program (`ss -ltnp 'sport = :8000'` names it), or give the engine another `url`");
        insta::assert_snapshot!(say(1, &["OSError: /models/x is not a local folder and is not a valid model identifier"]), @"it does not find its model. `ai-anchor models pull voxtral` downloads it");
        insta::assert_snapshot!(say(1, &["ModuleNotFoundError: No module named 'vllm_omni'"]), @"a part of its program is missing. `ai-anchor setup` installs what is missing");
        assert_eq!(say(127, &["sh: 1: vllm: not found"]), say(1, &["No module named 'x'"]));
        insta::assert_snapshot!(say(1, &["RuntimeError: The NVIDIA driver on your system is too old"]), @"the GPU or its driver cannot be used. `ai-anchor doctor` tells what is wrong with it");
    }

    #[test]
    fn anything_else_is_quoted() {
        insta::assert_snapshot!(say(3, &["Starting", "RuntimeError: cold feet", ""]), @"it ended with exit code 3. Its last line: RuntimeError: cold feet");
        insta::assert_snapshot!(say(3, &[]), @"it ended with exit code 3. It printed nothing.");
        let signal = |number| diagnose(&recipe(), End::Exit(ExitStatus::from_raw(number)), &[], "");
        insta::assert_snapshot!(signal(11), @"it was ended by signal 11. It printed nothing.");
        insta::assert_snapshot!(signal(9), @"it was killed (signal 9), which is what the system does when main memory runs out. `journalctl -k` tells. Close other programs or add memory");
        let late = diagnose(&recipe(), End::Late, &["Loading weights: 50%".into()], "/health answers 503");
        let refused = |asked| diagnose(&recipe(), End::Refused, &[], asked);
        insta::assert_snapshot!(refused("/v1/audio/speech answers 500: {}"), @"it runs but does not do its work: /v1/audio/speech answers 500: {}. It printed nothing.");
        let memory = refused("/api/chat answers 500: cudaMalloc failed: out of memory");
        assert!(memory.starts_with("the GPU's memory does not suffice"), "{memory}");
        insta::assert_snapshot!(late, @"it did not answer within 900 s. Asked, /health answers 503. Its last line: Loading weights: 50%");
    }
}
