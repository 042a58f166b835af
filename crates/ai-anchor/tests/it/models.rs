//! `ai-anchor models` from outside, with servers that speak as Hugging Face and Ollama do.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

/// Weights of a tiny model: what they are does not matter here, only that all of them come.
fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[derive(Default)]
struct Store {
    /// The next file stops after half and says nothing more.
    stall: bool,
    asked: Vec<String>,
}

/// Where the program runs, and the server it asks.
struct Place {
    folder: tempfile::TempDir,
    address: String,
    store: Arc<Mutex<Store>>,
    _runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = Arc::new(Mutex::new(Store::default()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(store.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { folder: tempfile::tempdir().unwrap(), address, store, _runtime: runtime }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-anchor"));
        command.args(["models", "--ollama", &self.address]).args(arguments).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANCHOR_")) {
            command.env_remove(name);
        }
        command.env("ANCHOR_MODELS_PATH", self.models()).env("ANCHOR_MODELS_MIRROR", &self.address);
        command.env("HF_TOKEN", "hf_very_secret").env("USER", "alex");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn models(&self) -> std::path::PathBuf {
        self.folder.path().join("models")
    }

    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> (String, String) {
        self.ended(code, self.command(arguments).output().unwrap())
    }

    /// What was printed, with the names of this place made the same for every run.
    #[track_caller]
    fn ended(&self, code: i32, output: Output) -> (String, String) {
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap().replace(self.folder.path().to_str().unwrap(), "/place");
            text.replace(&self.address, "http://hub").trim_end().to_owned()
        };
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
        (out, err)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.store.lock().unwrap().asked)
    }
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response<Body> {
    let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (path, range) = (request.uri().path().to_owned(), header("range"));
    let mut store = store.lock().unwrap();
    store.asked.push(format!("{} {path} {range} {}", request.method(), header("authorization")));
    let empty = || Body::from(r#"{"models":[]}"#);
    let Some((_, file)) = path.split_once("/resolve/main/") else {
        let body = match &*path {
            "/api/pull" => Body::from("{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n"),
            path if path.ends_with("/tree/main") => Body::from(listed().to_string()),
            _ => empty(),
        };
        return Response::new(body);
    };
    let content = content(file);
    let start: usize =
        range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    let (rest, size) = (content[start..].to_vec(), content.len());
    let mut response = Response::builder().header("content-length", rest.len());
    if start > 0 {
        response = response.status(206).header("content-range", format!("bytes {start}-{}/{size}", size - 1));
    }
    let body = if std::mem::take(&mut store.stall) {
        let half = Bytes::copy_from_slice(&rest[..rest.len() / 2]);
        Body::from_stream(stream::iter([Ok::<_, std::io::Error>(half)]).chain(stream::pending()))
    } else {
        Body::from(rest)
    };
    response.body(body).unwrap()
}

fn content(file: &str) -> Vec<u8> {
    if file.ends_with(".safetensors") { weights() } else { b"{}".to_vec() }
}

/// What every repository of the server has. The checksum of the weights is that of `sha256sum`, that of `{}` is that of
/// `git hash-object`.
fn listed() -> Value {
    let files = ["params.json", "tekken.json", "config.json", "tokenizer.json"];
    let mut list: Vec<Value> = files
        .iter()
        .map(|path| json!({ "type": "file", "path": path, "size": 2, "oid": "9e26dfeeb6e641a33dae4961196235bdb965b21b" }))
        .collect();
    for path in ["consolidated.safetensors", "model-00001-of-00002.safetensors"] {
        list.push(json!({
            "type": "file", "path": path, "size": 200_000, "oid": "0".repeat(40),
            "lfs": { "oid": WEIGHTS, "size": 200_000, "pointerSize": 134 },
        }));
    }
    list.into()
}

const WEIGHTS: &str = "2c4085b1ab9817526311b5a5b04451140dc922067c6922a59a77e1503918357b";

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_model_is_pulled_verified_mended_and_removed() {
    let place = Place::new();
    let (out, err) = place.run(0, &["pull", "voxtral"]);
    insta::assert_snapshot!(out, @"voxtral is here now: 200.00 kB in /place/models/mistralai--Voxtral-Mini-3B-2507");
    insta::assert_snapshot!(err, @"voxtral (mistralai/Voxtral-Mini-3B-2507) is licensed as Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0");
    let folder = place.models().join("mistralai--Voxtral-Mini-3B-2507");
    assert!(!folder.join("model-00001-of-00002.safetensors").exists());
    assert_eq!(std::fs::read(folder.join("consolidated.safetensors")).unwrap(), weights());
    insta::assert_snapshot!(place.run(0, &["pull", "voxtral"]).0, @"voxtral was here already: 200.00 kB in /place/models/mistralai--Voxtral-Mini-3B-2507");
    insta::assert_snapshot!(place.run(0, &["verify"]).0, @"voxtral: whole");

    std::fs::write(folder.join("tekken.json"), "[]").unwrap();
    let (out, err) = place.run(1, &["verify", "voxtral"]);
    insta::assert_snapshot!(format!("{out}\n{err}"), @"
    voxtral: tekken.json is damaged: its SHA-256 is 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945 instead of 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    ai-anchor: damaged or missing: 1 file. Mend it: ai-anchor models pull voxtral
    ");
    place.run(0, &["pull", "voxtral"]);
    assert_eq!(place.run(0, &["verify", "voxtral"]).0, "voxtral: whole");

    insta::assert_snapshot!(place.run(2, &["remove", "voxtral"]).1, @"ai-anchor: nobody can be asked whether to remove voxtral. Add --yes");
    insta::assert_snapshot!(place.run(0, &["remove", "voxtral", "--yes"]).0, @"voxtral is removed, and 200.00 kB are free again");
    assert!(!folder.exists());
    assert_eq!(place.run(0, &["remove", "voxtral"]).0, "voxtral was not here");
}

#[test]
fn machines_get_a_line_for_each_step() {
    let place = Place::new();
    let pulled = lines(&place.run(0, &["pull", "voxtral", "--json"]).0);
    assert_eq!(pulled[0], json!({ "model": "voxtral", "step": "list" }));
    let whole: Vec<_> = pulled.iter().filter(|line| line["step"] == "whole").collect();
    assert_eq!(whole.len(), 3);
    let last = pulled.last().unwrap();
    assert_eq!((&last["step"], &last["bytes"], &last["files"]), (&json!("done"), &json!(200_004), &json!(3)));

    let list: Value = serde_json::from_str(&place.run(0, &["list", "--json"]).0).unwrap();
    let state =
        |name: &str| list.as_array().unwrap().iter().find(|model| model["name"] == name).unwrap()["state"].clone();
    assert_eq!(
        (state("voxtral"), state("higgs"), state("mistral-small")),
        ("here".into(), "missing".into(), "missing".into())
    );
    let verified = lines(&place.run(0, &["verify", "--json"]).0);
    assert_eq!(
        verified.last().unwrap(),
        &json!({ "step": "verified", "model": "voxtral", "whole": true, "damage": [] })
    );
}

#[test]
fn people_see_what_there_is() {
    let place = Place::new();
    place.run(0, &["pull", "voxtral"]);
    std::fs::create_dir_all(place.models().join("mistralai--Voxtral-Mini-4B-Realtime-2602")).unwrap();
    std::fs::write(
        place.models().join("mistralai--Voxtral-Mini-4B-Realtime-2602/consolidated.safetensors.part"),
        [0; 3000],
    )
    .unwrap();
    let mut command = place.command(&["list"]);
    // Nothing listens on port 1.
    command.args(["--ollama", "http://127.0.0.1:1"]);
    insta::assert_snapshot!(place.ended(0, command.output().unwrap()).0, @"
    voxtral               stt    200.00 kB  here
                          Voxtral Mini 3B: recognises eight languages and understands questions. Apache-2.0
    voxtral-realtime      stt      8.87 GB  3.00 kB here
                          Voxtral Mini 4B Realtime: recognises while a person speaks. Apache-2.0
    mistral-small         llm     14.33 GB  Ollama at http://127.0.0.1:1: it cannot be reached: Connection refused (os error 111). Start it with: ollama serve
                          Mistral Small 24B Instruct, abliterated, four bits a weight. Apache-2.0
    higgs                 tts     11.54 GB  not here
                          Higgs Audio v2: speaks with feeling, in a voice it is shown. Boson Higgs Audio 2 Community License
    higgs-codec           codec  806.00 MB  not here
                          the audio tokenizer of Higgs Audio v2, in the layout of transformers. Boson Higgs Audio 2 Community License
    higgs-original        tts     11.54 GB  not here
                          Higgs Audio v2 as it was first published, for Boson's own image. Boson Higgs Audio 2 Community License
    higgs-original-codec  codec  802.00 MB  not here
                          the audio tokenizer that belongs to it. Boson Higgs Audio 2 Community License

    The folder of the models is /place/models
    ");
}

#[test]
fn a_licence_is_shown_and_has_to_be_accepted() {
    let place = Place::new();
    let (_, err) = place.run(2, &["pull", "higgs"]);
    insta::assert_snapshot!(err, @"
    higgs (bosonai/higgs-tts-2-3b-base) is licensed as Boson Higgs Audio 2 Community License: https://huggingface.co/bosonai/higgs-audio-v2-generation-3B-base/blob/main/LICENSE
    Built with Higgs Materials licensed from Boson AI USA, Inc., Copyright Boson AI USA, Inc., All Rights Reserved and Meta Llama 3 licensed under the Meta Llama 3 Community License, Copyright Meta Platforms, Inc., All Right Reserved. Services with more than 100,000 annual active users need an expanded licence from Boson AI.
    ai-anchor: the licence of higgs has to be accepted before it is downloaded: Boson Higgs Audio 2 Community License, https://huggingface.co/bosonai/higgs-audio-v2-generation-3B-base/blob/main/LICENSE. Read it, then run the command at a terminal or with --accept-licence
    ");
    assert!(place.asked().is_empty());
    let (_, err) = place.run(0, &["pull", "higgs", "--accept-licence"]);
    assert!(err.contains("Built with Higgs Materials licensed from Boson AI USA, Inc."), "{err}");
    let record = std::fs::read_to_string(place.models().join("bosonai--higgs-tts-2-3b-base/ai-anchor.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["licence"]["by"], &record["complete"]), (&json!("alex"), &json!(true)));
}

#[test]
fn the_token_is_sent_and_never_shown() {
    let place = Place::new();
    let (out, err) = place.run(0, &["pull", "voxtral", "--log", "trace"]);
    assert!(place.asked().iter().any(|line| line.ends_with("Bearer hf_very_secret")));
    assert!(err.lines().count() > 20, "{err}");
    assert!(!err.contains("very_secret") && !out.contains("very_secret"));
}

#[test]
fn ctrl_c_leaves_what_the_next_pull_goes_on_with() {
    let place = Place::new();
    place.store.lock().unwrap().stall = true;
    let child = place.command(&["pull", "voxtral"]).spawn().unwrap();
    let part = place.models().join("mistralai--Voxtral-Mini-3B-2507/params.json.part");
    wait_for(&part, 1);
    let (_, err) = place.ended(1, interrupted(child));
    insta::assert_snapshot!(err.lines().last().unwrap(), @"ai-anchor: stopped. Run the same command again to go on where it stopped");
    place.asked();
    place.run(0, &["pull", "voxtral"]);
    assert!(place.asked().iter().any(|line| line.contains("params.json bytes=1-")));
}

fn wait_for(part: &Path, bytes: u64) {
    for _ in 0..500 {
        if std::fs::metadata(part).is_ok_and(|about| about.len() == bytes) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} did not come", part.display());
}

fn interrupted(child: Child) -> Output {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

#[test]
fn ollama_is_asked_for_its_own_models() {
    let place = Place::new();
    insta::assert_snapshot!(place.run(0, &["pull", "mistral-small"]).0, @"mistral-small is here now: 14.33 GB in Ollama");
    let asked = place.asked();
    assert!(asked.iter().any(|line| line.starts_with("POST /api/pull")), "{asked:?}");
    // What Hugging Face's token opens is no business of Ollama's.
    assert!(asked.iter().all(|line| !line.contains("Bearer")), "{asked:?}");
}

#[test]
fn what_the_profile_does_not_need_has_to_be_named() {
    let place = Place::new();
    insta::assert_snapshot!(place.run(0, &["pull"]).0, @"The engines of the profile embedded need no models. To pull others, name them.");
    insta::assert_snapshot!(place.run(2, &["pull", "voxtrel"]).1, @"ai-anchor: there is no model called 'voxtrel' (did you mean 'voxtral'?). There is: voxtral, voxtral-realtime, mistral-small, higgs, higgs-codec, higgs-original, higgs-original-codec");
    let empty = place.folder.path().join("empty");
    let (_, err) = place.run(1, &["pull", "voxtral", "--from", empty.to_str().unwrap()]);
    insta::assert_snapshot!(err.lines().last().unwrap(), @"ai-anchor: /place/empty has no voxtral: neither mistralai--Voxtral-Mini-3B-2507 with the record of a finished pull, nor models--mistralai--Voxtral-Mini-3B-2507 with revision main as Hugging Face's cache has it. Pull it on a machine with a network and copy its folder");
    assert!(place.asked().is_empty());
}
