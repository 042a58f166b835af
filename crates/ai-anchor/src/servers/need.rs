//! Which model servers the chosen engines need.

use std::net::IpAddr;
use std::path::Path;

use anchor_core::engine::EngineKind;
use reqwest::Url;

use super::recipe::{Order, Recipe, address, recipe};
use crate::config::Config;
use crate::memory::{Server, Shares};
use crate::models;

/// What the table below says of one engine that needs a server.
struct Need {
    engine: (EngineKind, &'static str),
    server: Server,
    /// Where the engine calls it, and what it calls the model, unless its options say otherwise.
    url: &'static str,
    model: &'static str,
}

/// The engines that need a server, in the order in which the servers are started.
const NEEDS: [Need; 4] = [
    Need {
        engine: (EngineKind::Llm, "ollama"),
        server: Server::Ollama,
        url: models::ollama::ADDRESS,
        model: "hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M",
    },
    Need {
        engine: (EngineKind::Tts, "higgs-server"),
        server: Server::Higgs,
        url: "http://127.0.0.1:8001",
        model: "bosonai/higgs-audio-v2-generation-3B-base",
    },
    Need {
        engine: (EngineKind::Stt, "voxtral-vllm"),
        server: Server::Voxtral,
        url: "http://127.0.0.1:8000",
        model: "mistralai/Voxtral-Mini-3B-2507",
    },
    Need {
        engine: (EngineKind::Stt, "voxtral-realtime"),
        server: Server::Voxtral,
        url: "http://127.0.0.1:8000",
        model: "mistralai/Voxtral-Mini-4B-Realtime-2602",
    },
];

impl Need {
    /// Where its engine looks for the server.
    fn addresses(&self, config: &Config) -> Vec<Url> {
        let (kind, engine) = self.engine;
        let urls: Vec<String> = match config.options(kind, engine).get("url") {
            Some(toml::Value::Array(urls)) => urls.iter().filter_map(|url| url.as_str()).map(str::to_owned).collect(),
            Some(url) => url.as_str().map(str::to_owned).into_iter().collect(),
            None => vec![self.url.to_owned()],
        };
        urls.iter().filter_map(|url| address(url)).collect()
    }
}

/// The ports of this machine where the model servers belong, by the servers' names: where the engines look for them, or
/// where they listen by themselves if the engines look elsewhere.
pub fn ports(config: &Config) -> Vec<(&'static str, u16)> {
    let mut ports: Vec<(&'static str, u16)> = Vec::new();
    for need in &NEEDS {
        let name = need.server.name();
        if ports.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let local = need.addresses(config).into_iter().find(is_local).or_else(|| address(need.url));
        ports.extend(local.and_then(|url| url.port_or_known_default()).map(|port| (name, port)));
    }
    ports
}

/// The address of Ollama: where its engine looks for it first.
pub fn ollama(config: &Config) -> String {
    let url = NEEDS
        .iter()
        .find(|need| need.server == Server::Ollama)
        .and_then(|need| need.addresses(config).into_iter().next());
    url.map_or_else(|| models::ollama::ADDRESS.into(), |url| url.to_string().trim_end_matches('/').to_owned())
}

/// The servers on this machine that the engines of the configuration need, in the order in which they are started.
/// `source` tells where the files of a model lie. A server elsewhere is its operator's to start.
pub fn needed(config: &Config, source: impl Fn(Server, &str) -> String) -> Vec<Order> {
    let mut orders = Vec::new();
    for need in &NEEDS {
        let (kind, engine) = need.engine;
        // Of two engines with one server, the better one says which model that serves.
        if orders.iter().any(|order: &Order| order.server == need.server) {
            continue;
        }
        if !config.engines.chain(kind).iter().any(|name| name == engine) {
            continue;
        }
        let options = config.options(kind, engine);
        let text = |key: &str| options.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let model = text("model").filter(|model| !model.is_empty()).unwrap_or_else(|| need.model.into());
        // Of several endpoints the first on this machine is the one to start: a second one would need a second card.
        if let Some(url) = need.addresses(config).into_iter().find(is_local) {
            let source = source(need.server, &model);
            orders.push(Order { server: need.server, url, model, source });
        }
    }
    orders
}

/// How to run the servers that are needed, with the programs of the conda environment at `environment`. Empty where the
/// configuration says to start none.
pub fn recipes(
    config: &Config,
    environment: &Path,
    shares: &Shares,
    source: impl Fn(Server, &str) -> String,
) -> Vec<Recipe> {
    if !config.servers.start {
        return Vec::new();
    }
    needed(config, source).iter().map(|order| recipe(order, environment, shares, &config.servers)).collect()
}

/// Whether an address is one of this machine alone.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PROFILES;

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

    fn studio() -> Config {
        let mut config = Config::of(&PROFILES[0]);
        config.engines.stt = vec!["voxtral-vllm".into(), "pocketsphinx".into()];
        config.engines.llm = vec!["ollama".into(), "desk".into()];
        config.engines.tts = vec!["higgs-server".into(), "flite".into()];
        config
    }

    fn option(config: &mut Config, kind: EngineKind, engine: &str, text: &str) {
        config.options.insert((kind, engine.into()), text.parse().unwrap());
    }

    fn orders(config: &Config) -> Vec<(Server, String, String)> {
        let orders = needed(config, |kind, _| format!("/models/{}", kind.name()));
        orders.into_iter().map(|order| (order.server, order.url.to_string(), order.model)).collect()
    }

    #[test]
    fn servers_are_started_in_the_order_that_memory_demands() {
        let kinds: Vec<Server> = orders(&studio()).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, Server::ALL);
    }

    #[test]
    fn engines_that_compute_themselves_need_none() {
        assert_eq!(orders(&Config::of(&PROFILES[0])), []);
    }

    #[test]
    fn a_server_elsewhere_is_not_started_here() {
        let mut config = studio();
        option(&mut config, EngineKind::Stt, "voxtral-vllm", "url = 'http://gpu.example:8000'");
        option(
            &mut config,
            EngineKind::Llm,
            "ollama",
            "url = ['http://gpu.example', 'http://localhost:9/v1']\nmodel = 'm'",
        );
        option(&mut config, EngineKind::Tts, "higgs-server", "url = 'https://127.0.0.1:1'");
        assert_eq!(orders(&config), [(Server::Ollama, "http://localhost:9/".into(), "m".into())]);
    }

    #[test]
    fn none_is_started_where_the_settings_say_so() {
        let recipes = |config: &Config| recipes(config, Path::new("/env"), &SHARES, |_, model| model.into());
        let mut config = studio();
        let names: Vec<String> = recipes(&config).into_iter().map(|recipe| recipe.name).collect();
        assert_eq!(names, ["ollama", "higgs", "voxtral"]);
        config.servers.start = false;
        assert_eq!(recipes(&config), []);
    }

    #[test]
    fn ports_are_where_the_engines_look_on_this_machine() {
        let mut config = studio();
        assert_eq!(ports(&config), [("ollama", 11434), ("higgs", 8001), ("voxtral", 8000)]);
        assert_eq!(ollama(&config), "http://127.0.0.1:11434");
        option(&mut config, EngineKind::Llm, "ollama", "url = 'http://localhost:9'");
        option(&mut config, EngineKind::Tts, "higgs-server", "url = 'http://speaker.example:70'");
        option(&mut config, EngineKind::Stt, "voxtral-vllm", "url = ['http://other.example:71', 'http://[::1]:72']");
        assert_eq!(ports(&config), [("ollama", 9), ("higgs", 8001), ("voxtral", 72)]);
        assert_eq!(ollama(&config), "http://localhost:9");
    }
}
