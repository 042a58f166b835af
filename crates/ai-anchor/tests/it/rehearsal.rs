//! `ai-anchor doctor --load` from outside, against protocol servers in the place of those with a GPU.

use std::process::{Command, Output};

use serde_json::Value;

use crate::model_servers::Server;
use crate::model_servers::ollama::Ollama;
use crate::model_servers::speech::{Kind, Speech};
use crate::model_servers::vllm::Vllm;

/// The rehearsal with servers at these addresses.
async fn rehearse(vllm: &Server, ollama: &Server, higgs: &Server) -> Output {
    let settings = format!(
        "profile = 'studio'\n[servers]\nstart = false\n[stt.voxtral-vllm]\nurl = '{}'\n[llm.ollama]\nurl = '{}'\n\
         [tts.higgs-server]\nurl = '{}'\n",
        vllm.url(),
        ollama.url(),
        higgs.url()
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("anchor.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ai-anchor"));
    command.args(["doctor", "--load", "--json"]).current_dir(folder.path());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_models_work_at_the_same_time_before_going_live() {
    let (_, vllm) = Vllm::serve("what are the headlines tonight").await;
    let (model, ollama) = Ollama::serve().await;
    let (_, higgs) = Speech::serve(Kind::Boson).await;
    let output = rehearse(&vllm, &ollama, &higgs).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let gave = |at: usize| (report["stages"][at]["kind"].as_str(), report["stages"][at]["took"]["gave"].as_str());
    // This recogniser hears a word in each quarter of a second.
    assert_eq!(gave(0), (Some("stt"), Some("3 words")));
    assert_eq!(gave(1), (Some("llm"), Some("75 characters")));
    assert_eq!(gave(2).0, Some("tts"));
    // There is no GPU whose memory could be measured, and that is said.
    assert!(report["memory"].is_array() != report["memory_unknown"].is_string(), "{report}");
    assert_eq!(report["ready"], report["memory"].is_array(), "{report}");

    // A model that answers nothing is found before the audience finds it.
    model.change(|habits| habits.answer = String::new());
    let output = rehearse(&vllm, &ollama, &higgs).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    assert!(report["stages"][1]["problem"].as_str().unwrap().contains("without a word"), "{report}");
}
