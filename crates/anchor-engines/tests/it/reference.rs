//! Real servers that others wrote, from Python packages. They are asked where `ANCHOR_REFERENCE_PYTHON` names a Python that has the
//! package; `docs/testing.md` tells how to make one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anchor_core::audio::AudioFrame;
use anchor_core::engine::{Llm, LlmEvent, LlmRequest, Message, Role, Stt, SttEvent, SttRequest};
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::watch;

/// A server of the folder `tests/reference/`. It ends when it is dropped.
pub struct Reference {
    child: Child,
    port: u16,
}

impl Reference {
    /// Starts the script with the Python that has this package; `None` where there is none, which is said.
    pub fn start(script: &str, package: &str) -> Option<Self> {
        let Ok(python) = std::env::var("ANCHOR_REFERENCE_PYTHON") else {
            println!("skipped: ANCHOR_REFERENCE_PYTHON names no Python with {package}");
            return None;
        };
        let import = format!("import {package}");
        if !Command::new(&python).args(["-c", &import]).stderr(Stdio::null()).status().unwrap().success() {
            println!("skipped: {python} has no {package}");
            return None;
        }
        let script = format!("{}/tests/reference/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(&python).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Some(Self { child, port: port.trim().parse().expect("it prints its port") })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn context(options: &str) -> LoadContext {
    LoadContext { rundown: watch::channel(OnAir::default()).1, options: options.parse().expect("a table") }
}

/// llama.cpp's own sampling, templates and stream, on a model whose words make no sense.
#[tokio::test]
async fn llama_cpp_answers_a_chat() {
    let Some(server) = Reference::start("llama_server.py", "llama_cpp.server") else { return };
    let options = format!("url = '{}'\nmax_tokens = 20\ntemperature = 0.0\nfirst_ms = 30000", server.url());
    let llm = (find::<dyn Llm>("openai-chat").unwrap().load)(&context(&options)).unwrap();
    assert_eq!(llm.probe().await, Ok(()));
    let request = LlmRequest {
        instructions: "Be brief.".into(),
        messages: vec![Message::new(Role::User, "hello")],
        ..LlmRequest::default()
    };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut events: Vec<_> = llm.generate(request.clone()).collect().await;
        assert_eq!(events.pop(), Some(Ok(LlmEvent::LimitReached)), "it would go on for ever");
        let deltas: Vec<String> = events
            .into_iter()
            .map(|event| match event.unwrap() {
                LlmEvent::Delta(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!((5..=20).contains(&deltas.len()), "{deltas:?}");
        answers.push(deltas.concat());
    }
    // Without chance the same question has the same answer.
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].chars().any(char::is_alphabetic), "{answers:?}");
}

/// Voxtral as transformers computes it: what the client gives is what was generated, with the language in
/// the prompt, for one window of half a minute and for two.
#[tokio::test]
async fn voxtral_of_the_reference_is_transcribed() {
    let Some(server) = Reference::start("voxtral_server.py", "transformers.models.voxtral") else { return };
    let options = format!("url = '{}'\nmodel = 'tiny'\npartial_interval_ms = 0\nfirst_ms = 120000", server.url());
    let stt = (find::<dyn Stt>("voxtral-vllm").unwrap().load)(&context(&options)).unwrap();
    assert_eq!(stt.probe().await, Ok(()));
    for (seconds, language, windows) in [(3, None, 1), (3, Some("de"), 1), (35, Some("en"), 2)] {
        let wave = |n: usize| (n as f32 * (0.02 + (n / 4_000 % 7) as f32 * 0.01)).sin() * 0.3;
        let sound: Vec<f32> = (0..seconds * 16_000).map(wave).collect();
        let frames: Vec<_> = sound.chunks(320).map(AudioFrame::new).collect();
        let request = SttRequest { language: language.map(str::to_owned), prompt: None };
        let events: Vec<_> = stt.transcribe(request, stream::iter(frames).boxed()).collect().await;
        let Some(Ok(SttEvent::Final(text))) = events.last() else { panic!("{events:?}") };
        let last: Value = reqwest::get(format!("{}/last", server.url())).await.unwrap().json().await.unwrap();
        let generated = last["text"].as_str().unwrap();
        assert!(!generated.trim().is_empty());
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(text), words(generated), "{last}");
        assert_eq!((last["language"].as_str(), last["windows"].as_u64()), (language, Some(windows)), "{last}");
    }
}
