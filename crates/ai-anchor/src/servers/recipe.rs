//! What each model server is: its program, flags and environment, and how one sees that it works. The flags themselves
//! are in `flags.rs`.
//!
//! Everything here is a pure function of what it is given, so that the command lines can be read in the tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::flags;
use crate::config::Servers;
use crate::memory::{Server, Shares};

/// One server that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which.
    pub server: Server,
    /// Where it is to answer, as [`address`] gives it.
    pub url: Url,
    /// What its engine calls the model.
    pub model: String,
    /// Folder of the model's files, or the name of its repository. Ollama keeps its models itself and has no use for it.
    pub source: String,
}

/// How to run one model server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name in settings, logs and messages. No two servers of one supervisor have the same.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How its environment differs from this program's.
    pub environment: Vec<(String, Change)>,
    /// The folder it runs in; `None` is this program's.
    pub directory: Option<PathBuf>,
    /// Where it answers: scheme, host and port.
    pub url: Url,
    /// How one sees that it works.
    pub proof: Proof,
    /// How long it may take until it does.
    pub start: Duration,
    /// Start it when it is first used rather than at once.
    pub lazy: bool,
    /// Stop it after this long without use.
    pub idle: Option<Duration>,
    /// What it was given of the card, in words, for the message that it was not enough.
    pub share: String,
}

impl Recipe {
    /// Runs it on this card of several, by its place in the driver's list.
    pub fn on_card(&mut self, index: u32) {
        // By itself CUDA counts the fastest card first (docs.nvidia.com/cuda, "CUDA environment variables").
        for (name, value) in
            [("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()), ("CUDA_VISIBLE_DEVICES", index.to_string())]
        {
            self.environment.push((name.into(), Change::Set(value)));
        }
    }
}

/// How one variable of the environment differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value.
    Set(String),
    /// It is a list, and this comes first.
    First(String),
    /// It is not there.
    Gone,
}

/// How one sees that a server works: with a real request, as small as there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Ollama: the model is loaded for good and lies on the card as a whole.
    /// Source: `docs/api.md` of github.com/ollama/ollama.
    Ollama {
        /// Its name.
        model: String,
        /// The context it is loaded with, in tokens.
        context: u32,
    },
    /// An OpenAI-compatible recogniser: half a second of silence is transcribed.
    Transcription {
        /// Name of the model.
        model: String,
    },
    /// An OpenAI-compatible voice: one word is spoken.
    Speech {
        /// Name of the model.
        model: String,
    },
}

/// How to run the server that `order` asks for, with the programs of the conda environment at `environment`.
pub fn recipe(order: &Order, environment: &Path, shares: &Shares, settings: &Servers) -> Recipe {
    let (server, url) = (order.server, order.url.clone());
    let own = match server {
        Server::Ollama => flags::ollama(order, shares),
        Server::Higgs => flags::higgs(order, shares),
        Server::Voxtral => flags::voxtral(order, shares),
    };
    let (command, lazy, idle) = match server {
        Server::Ollama => (&settings.ollama_command, settings.ollama_lazy, settings.ollama_idle_minutes),
        Server::Higgs => (&settings.higgs_command, settings.higgs_lazy, settings.higgs_idle_minutes),
        Server::Voxtral => (&settings.voxtral_command, settings.voxtral_lazy, settings.voxtral_idle_minutes),
    };
    let (program, arguments) = if command.trim().is_empty() {
        (environment.join("bin").join(own.program), own.arguments)
    } else {
        (PathBuf::from("/bin/sh"), vec!["-c".into(), command.clone()])
    };
    Recipe {
        name: server.name().into(),
        program,
        arguments,
        environment: [flags::in_environment(environment), own.environment].concat(),
        directory: None,
        url,
        proof: own.proof,
        start: flags::START,
        lazy,
        idle: (idle > 0).then(|| Duration::from_secs(60 * u64::from(idle))),
        share: own.share,
    }
}

/// Scheme, host and port of a server that is spoken to in plain HTTP; its path is left out of account. `None` where the
/// text is no such address.
pub fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http")?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Url::parse(&format!("http://{host}:{port}/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, PROFILES};

    const SHARES: Shares = Shares {
        llm_context: 8192,
        llm_cache_type: "f16",
        stt_utilization: 0.28,
        stt_context: 8192,
        tts_utilization: 0.3,
        tts_context: 4096,
        tts_codec_utilization: 0.04,
        sequences: 16,
    };

    fn settings() -> Servers {
        Config::of(&PROFILES[0]).servers
    }

    fn order(server: Server, url: &str) -> Order {
        let (model, source) = match server {
            Server::Ollama => ("hf.co/someone/model-GGUF:Q4_K_M", ""),
            Server::Higgs => ("bosonai/higgs-audio-v2-generation-3B-base", "/models/higgs"),
            Server::Voxtral => ("mistralai/Voxtral-Mini-3B-2507", "/models/voxtral"),
        };
        Order { server, url: address(url).unwrap(), model: model.into(), source: source.into() }
    }

    fn of(server: Server, settings: &Servers) -> Recipe {
        recipe(&order(server, "http://127.0.0.1:8000/v1"), Path::new("/env"), &SHARES, settings)
    }

    /// The recipe as one would type it.
    fn typed(recipe: &Recipe) -> String {
        let mut text = String::new();
        for (name, change) in &recipe.environment {
            text += &match change {
                Change::Set(value) => format!("{name}={value}\n"),
                Change::First(value) => format!("{name}={value}:${name}\n"),
                Change::Gone => format!("unset {name}\n"),
            };
        }
        text += &recipe.program.display().to_string();
        for argument in &recipe.arguments {
            text += if argument.starts_with("--") { "\n  " } else { " " };
            text += argument;
        }
        text + &format!("\n{}", recipe.share)
    }

    #[test]
    fn ollama_is_told_by_its_environment() {
        insta::assert_snapshot!(typed(&of(Server::Ollama, &settings())), @r#"
        CONDA_PREFIX=/env
        PATH=/env/bin:$PATH
        LD_LIBRARY_PATH=/env/lib:$LD_LIBRARY_PATH
        unset VIRTUAL_ENV
        unset PYTHONHOME
        unset PYTHONPATH
        OLLAMA_HOST=127.0.0.1:8000
        OLLAMA_CONTEXT_LENGTH=8192
        OLLAMA_KEEP_ALIVE=-1
        OLLAMA_KV_CACHE_TYPE=f16
        OLLAMA_FLASH_ATTENTION=1
        OLLAMA_NUM_PARALLEL=1
        OLLAMA_MAX_LOADED_MODELS=1
        OLLAMA_LOAD_TIMEOUT=900s
        unset OLLAMA_DEBUG
        /env/bin/ollama serve
        a context of 8192 tokens (num_ctx) with a cache of type f16
        "#);
    }

    #[test]
    fn voxtral_is_told_by_its_flags() {
        insta::assert_snapshot!(typed(&of(Server::Voxtral, &settings())), @r#"
        CONDA_PREFIX=/env
        PATH=/env/bin:$PATH
        LD_LIBRARY_PATH=/env/lib:$LD_LIBRARY_PATH
        unset VIRTUAL_ENV
        unset PYTHONHOME
        unset PYTHONPATH
        VLLM_NO_USAGE_STATS=1
        VLLM_ENGINE_READY_TIMEOUT_S=900
        unset VLLM_LOGGING_LEVEL
        /env/bin/vllm serve /models/voxtral
          --host 127.0.0.1
          --port 8000
          --served-model-name mistralai/Voxtral-Mini-3B-2507
          --max-num-seqs 16
          --no-enable-log-requests
          --disable-uvicorn-access-log
          --tokenizer-mode mistral
          --config-format mistral
          --load-format mistral
          --max-model-len 8192
          --gpu-memory-utilization 0.28
          --limit-mm-per-prompt {"audio":1}
        0.28 of the card (--gpu-memory-utilization)
        "#);
    }

    #[test]
    fn the_stages_of_higgs_share_what_it_was_given() {
        insta::assert_snapshot!(typed(&of(Server::Higgs, &settings())), @r#"
        CONDA_PREFIX=/env
        PATH=/env/bin:$PATH
        LD_LIBRARY_PATH=/env/lib:$LD_LIBRARY_PATH
        unset VIRTUAL_ENV
        unset PYTHONHOME
        unset PYTHONPATH
        VLLM_NO_USAGE_STATS=1
        VLLM_ENGINE_READY_TIMEOUT_S=900
        unset VLLM_LOGGING_LEVEL
        /env/bin/vllm serve /models/higgs
          --host 127.0.0.1
          --port 8000
          --served-model-name bosonai/higgs-audio-v2-generation-3B-base
          --max-num-seqs 16
          --no-enable-log-requests
          --disable-uvicorn-access-log
          --omni
          --stage-overrides {"0":{"gpu_memory_utilization":0.26,"max_model_len":4096},"1":{"gpu_memory_utilization":0.04}}
          --stage-init-timeout 900
          --init-timeout 900
        0.26 and 0.04 of the card for its two stages (gpu_memory_utilization)
        "#);
    }

    #[test]
    fn another_command_gets_the_same_environment_and_the_same_proof() {
        let command = "docker run --rm -p 8000:8000 bosonai/higgs-audio-vllm".to_owned();
        let own = of(Server::Higgs, &settings());
        let other = of(Server::Higgs, &Servers { higgs_command: command.clone(), ..settings() });
        assert_eq!((other.program, other.arguments), ("/bin/sh".into(), vec!["-c".to_owned(), command]));
        assert_eq!((other.environment, other.proof), (own.environment, own.proof));
    }

    #[test]
    fn settings_say_when_to_start_and_to_stop() {
        let recipe = of(Server::Voxtral, &Servers { voxtral_lazy: true, voxtral_idle_minutes: 30, ..settings() });
        assert_eq!((recipe.lazy, recipe.idle), (true, Some(Duration::from_secs(1800))));
        let other = of(Server::Ollama, &Servers { voxtral_lazy: true, voxtral_idle_minutes: 30, ..settings() });
        assert_eq!((other.lazy, other.idle), (false, None));
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        assert_eq!(address("http://localhost:8000/v1/").unwrap().as_str(), "http://localhost:8000/");
        assert_eq!(address("http://[::1]:8000").unwrap().as_str(), "http://[::1]:8000/");
        let made = recipe(&order(Server::Ollama, "http://[::1]"), Path::new("/env"), &SHARES, &settings());
        assert!(made.environment.contains(&("OLLAMA_HOST".into(), Change::Set("[::1]:80".into()))), "{made:?}");
        for none in ["here", "https://127.0.0.1:1", "unix:/run/x"] {
            assert_eq!(address(none), None);
        }
    }
}
