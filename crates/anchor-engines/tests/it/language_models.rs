//! The language models behind servers against protocol servers that fail in every way they can.

use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::AudioFrame;
use anchor_core::engine::{EngineError, Llm, LlmEvent, LlmRequest, Message, Role, Tool, ToolCall};
use anchor_core::rundown::{OnAir, Rundown};
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::servers::ollama::{self, Ollama};
use crate::servers::openai_chat::{self, Chat};
use crate::servers::{Server, Trouble, Troubles};

const PATIENCE: &str = "first_ms = 400\nbetween_ms = 200\n";

fn load_on_air(engine: &str, options: &str, on_air: OnAir) -> Arc<dyn Llm> {
    let options = options.parse().expect("a table");
    let context = LoadContext { rundown: watch::channel(on_air).1, options };
    (find::<dyn Llm>(engine).unwrap().load)(&context).unwrap()
}

fn load(engine: &str, options: &str) -> Arc<dyn Llm> {
    load_on_air(engine, options, OnAir::default())
}

fn quick(engine: &str, server: &Server) -> Arc<dyn Llm> {
    load(engine, &format!("{}{PATIENCE}", server.options()))
}

fn request(text: &str) -> LlmRequest {
    LlmRequest {
        instructions: "Be brief.".into(),
        messages: vec![Message::new(Role::User, text)],
        ..LlmRequest::default()
    }
}

async fn events(llm: &dyn Llm, request: LlmRequest) -> Vec<Result<LlmEvent, EngineError>> {
    timeout(Duration::from_secs(10), llm.generate(request).collect()).await.expect("it ends")
}

/// The text of an answer, and its error if it has one.
async fn answer(llm: &dyn Llm, request: LlmRequest) -> (String, Option<String>) {
    let mut text = String::new();
    let mut error = None;
    for event in events(llm, request).await {
        match event {
            Ok(LlmEvent::Delta(delta)) => text.push_str(&delta),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => error = Some(failure.to_string()),
        }
    }
    (text, error)
}

/// The two kinds of servers, each with its engine's name, its troubles and what its model says.
async fn both() -> [(&'static str, Troubles, Server, &'static str); 2] {
    let (ollama, ollama_server) = Ollama::serve().await;
    let (chat, chat_server) = Chat::serve().await;
    [
        ("ollama", ollama.troubles, ollama_server, ollama::ANSWER),
        ("openai-chat", chat.troubles, chat_server, openai_chat::ANSWER),
    ]
}

#[tokio::test]
async fn an_answer_is_streamed() {
    for (engine, _, server, said) in both().await {
        let events = events(&*quick(engine, &server), request("hello")).await;
        assert!(events.len() > 5, "{engine}: {events:?}");
        assert_eq!(answer(&*quick(engine, &server), request("hello")).await, (said.into(), None));
    }
}

#[tokio::test]
async fn ollama_is_always_asked_for_the_same_context_and_keeps_the_model() {
    let (ollama, server) = Ollama::serve().await;
    let options = "num_ctx = 4096\nnum_predict = 100\nseed = 7\nstop = ['###']\nmin_p = 0.05\n";
    let llm = load("ollama", &format!("{}{options}", server.options()));
    let limited = LlmRequest { max_tokens: Some(50), ..request("hello") };
    answer(&*llm, limited).await;
    let asked = ollama.asked().remove(0);
    assert_eq!(
        (&asked["model"], &asked["keep_alive"], &asked["stream"]),
        (&json!(ollama::MODEL), &json!(-1), &json!(true))
    );
    assert_eq!(asked.get("think"), None);
    assert_eq!(
        asked["options"],
        json!({ "num_ctx": 4096, "num_predict": 50, "seed": 7, "stop": ["###"], "min_p": 0.05, "temperature": 0.4 })
    );
    assert_eq!(
        asked["messages"],
        json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hello" }])
    );
}

#[tokio::test]
async fn the_model_is_told_the_rundown_unless_it_is_not_wanted() {
    let (ollama, server) = Ollama::serve().await;
    let rundown = Rundown::parse("# Tonight\n\n## Bridge opens\n\nThe bridge is open.\n").unwrap();
    let on_air = OnAir { rundown: Arc::new(rundown), version: 1, problem: None };
    for own in ["", "rundown = false\n"] {
        let llm = load_on_air("ollama", &format!("{}{own}", server.options()), on_air.clone());
        answer(&*llm, request("hello")).await;
    }
    let told: Vec<String> =
        ollama.asked().iter().map(|asked| asked["messages"][0]["content"].as_str().unwrap().to_owned()).collect();
    assert!(told[0].starts_with("Be brief.\n\nThe rundown of \"Tonight\"") && told[0].contains("The bridge is open."));
    assert_eq!(told[1], "Be brief.");
}

#[tokio::test]
async fn an_unfinished_answer_is_gone_on_with() {
    let (ollama, server) = Ollama::serve().await;
    let begun = "Good evening. The harbour ";
    let (rest, error) =
        answer(&*quick("ollama", &server), LlmRequest { so_far: begun.into(), ..request("hello") }).await;
    assert_eq!((format!("{begun}{rest}"), error), (ollama::ANSWER.into(), None));
    assert_eq!(ollama.asked()[0]["messages"][2], json!({ "role": "assistant", "content": begun }));

    let (chat, server) = Chat::serve().await;
    for continues in ["ask", "prefill"] {
        let llm = load("openai-chat", &format!("{}continues = '{continues}'", server.options()));
        answer(&*llm, LlmRequest { so_far: begun.into(), ..request("hello") }).await;
    }
    let asked: Vec<Value> = chat.asked().into_iter().map(|(body, _)| body).collect();
    assert_eq!(asked[0]["messages"].as_array().unwrap().last().unwrap()["role"], "user");
    assert_eq!(asked[1]["messages"].as_array().unwrap().last().unwrap()["content"], begun);
    assert_eq!(
        (&asked[1]["continue_final_message"], &asked[1]["add_generation_prompt"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(asked[0].get("continue_final_message"), None);
}

#[tokio::test]
async fn tools_are_offered_called_and_answered() {
    let (ollama, server) = Ollama::serve().await;
    ollama.change(|habits| habits.call = Some(("clock", json!({ "zone": "UTC" }))));
    let llm = quick("ollama", &server);
    let clock = Tool {
        name: "clock".into(),
        description: "Tells the time.".into(),
        parameters: r#"{"type":"object","properties":{"zone":{"type":"string"}}}"#.into(),
    };
    let asking = LlmRequest { tools: vec![clock], ..request("what time is it") };
    let [Ok(LlmEvent::ToolCall(call))] = &events(&*llm, asking.clone()).await[..] else { panic!("no call") };
    assert_eq!((call.name.as_str(), call.arguments.as_str(), call.id.len()), ("clock", "{\"zone\":\"UTC\"}", 9));
    ollama.change(|habits| habits.call = None);
    let mut answered = asking;
    let call = ToolCall { result: Some("half past six".into()), ..call.clone() };
    answered.messages.push(Message { calls: vec![call], ..Message::new(Role::Assistant, "") });
    assert_eq!(answer(&*llm, answered).await, (ollama::ANSWER.into(), None));
    let asked = ollama.asked().pop().unwrap();
    assert_eq!(asked["tools"][0]["function"]["name"], "clock");
    assert_eq!(
        asked["messages"].as_array().unwrap()[2..],
        [
            json!({ "role": "assistant", "content": "",
                    "tool_calls": [{ "function": { "name": "clock", "arguments": { "zone": "UTC" } } }] }),
            json!({ "role": "tool", "tool_name": "clock", "content": "half past six" }),
        ]
    );
}

#[tokio::test]
async fn what_breaks_before_the_first_word_is_tried_again() {
    for (engine, troubles, server, said) in both().await {
        for trouble in [
            Trouble::Refuses(
                503,
                r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#.into(),
            ),
            Trouble::Hangs,
            Trouble::BreaksAfter(0),
            Trouble::StopsAfter(0),
            Trouble::SaysAfter(0, "{\"error\":\"llama runner process has terminated: exit status 2\"}\n".into()),
        ] {
            troubles.push(trouble.clone());
            assert_eq!(
                answer(&*quick(engine, &server), request("hello")).await,
                (said.into(), None),
                "{engine}: {trouble:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_breaks_after_it_is_an_error_and_nothing_is_said_twice() {
    for (engine, troubles, server, said) in both().await {
        let mut errors = Vec::new();
        for trouble in [
            Trouble::BreaksAfter(4),
            Trouble::StopsAfter(4),
            Trouble::SaysAfter(4, "{\"error\":\"an error was encountered while running the model\"}\n".into()),
            Trouble::SaysAfter(4, "{\"mess".into()),
            Trouble::SaysAfter(4, String::new()),
        ] {
            troubles.push(trouble.clone());
            let (text, error) = answer(&*quick(engine, &server), request("hello")).await;
            assert!(!text.is_empty() && said.starts_with(&text) && text.len() < said.len(), "{engine}: {text}");
            let error = error.unwrap_or_else(|| panic!("{engine}: {trouble:?} goes unnoticed"));
            errors.push(error.replace(&server.url(), "http://server").replace(engine, "it"));
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(errors.join("\n"), @r"
            it failed: http://server: the connection broke (unexpected EOF during chunk size line)
            it failed: http://server: it stopped in the middle and said nothing for 200 ms
            it failed: http://server: an error was encountered while running the model
            it failed: http://server: the answer ended in the middle
            it failed: http://server: the answer ended in the middle
            ");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_word_is_a_failure_so_that_another_engine_speaks() {
    let (ollama, server) = Ollama::serve().await;
    ollama.change(|habits| habits.answer = String::new());
    let (text, error) = answer(&*quick("ollama", &server), request("hello")).await;
    let error = error.unwrap().replace(&server.url(), "http://server");
    assert_eq!((text.as_str(), error.as_str()), ("", "ollama failed: http://server: it answered without a word"));
    // An answer of another engine that needs no more words is complete.
    let complete = LlmRequest { so_far: "It is six. ".into(), ..request("hello") };
    assert_eq!(answer(&*quick("ollama", &server), complete).await.1, None);
}

#[tokio::test]
async fn an_absent_model_names_the_command_that_brings_it() {
    let (_, server) = Ollama::serve().await;
    let other = load("ollama", &format!("{}model = 'nobody/nothing'", server.options()));
    insta::assert_snapshot!(answer(&*other, request("hello")).await.1.unwrap(), @"ollama cannot be used: Ollama does not have the model nobody/nothing (model 'nobody/nothing' not found). Download it: ollama pull nobody/nothing");
    assert!(matches!(other.probe().await, Err(EngineError::Unavailable { .. })));
}

#[tokio::test]
async fn a_probe_has_the_model_loaded_once_and_tells_how_far_it_is() {
    let (ollama, mut server) = Ollama::serve().await;
    ollama.change(|habits| {
        habits.loaded = false;
        habits.load = Duration::from_millis(300);
    });
    let llm = quick("ollama", &server);
    for _ in 0..3 {
        let said = llm.probe().await.unwrap_err().to_string();
        assert_eq!(
            said,
            "ollama cannot be used: the model is being loaded (0 s so far). It takes up to a few minutes."
        );
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while llm.probe().await.is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    let loads = ollama.asked();
    assert_eq!(loads.len(), 1, "{loads:?}");
    assert_eq!((&loads[0]["keep_alive"], &loads[0]["options"]["num_ctx"]), (&json!(-1), &json!(8192)));
    ollama.change(|habits| habits.on_gpu = 50);
    insta::assert_snapshot!(llm.probe().await.unwrap_err(), @"ollama cannot be used: only 50 % of the model lie on the GPU, the rest in main memory, which is slow. Make room on the GPU (ai-anchor plan tells what fits), or set `min_gpu_percent = 0`.");
    let slow = load("ollama", &format!("{}min_gpu_percent = 0", server.options()));
    assert_eq!(slow.probe().await, Ok(()));
    server.kill().await;
    assert!(matches!(llm.probe().await, Err(EngineError::Failed { .. })));
}

#[tokio::test]
async fn any_server_is_asked_for_its_first_model_with_the_key() {
    let (chat, server) = Chat::serve().await;
    let llm = load(
        "openai-chat",
        &format!("{}api_key = 'sesame'\nmax_tokens_name = 'max_completion_tokens'", server.options()),
    );
    assert_eq!(llm.probe().await, Ok(()));
    answer(&*llm, request("hello")).await;
    let (body, key) = chat.asked().remove(0);
    assert_eq!((&body["model"], &body["max_completion_tokens"]), (&json!("tiny"), &json!(512)));
    assert_eq!(key.as_deref(), Some("Bearer sesame"));
    let named = load("openai-chat", &format!("{}model = 'second'", server.options()));
    answer(&*named, request("hello")).await;
    assert_eq!(chat.asked()[1].0["model"], "second");
}

#[tokio::test]
async fn questions_about_sound_go_to_whoever_can_hear() {
    let (chat, server) = Chat::serve().await;
    let sound = AudioFrame::new(vec![0.5; 16_000]);
    let question = LlmRequest { sound: Some(sound), ..request("What is that?") };
    let llm = load("voxtral-vllm", &server.options());
    assert_eq!(answer(&*llm, question.clone()).await, (openai_chat::ANSWER.into(), None));
    let (body, _) = chat.asked().remove(0);
    let content = &body["messages"][0]["content"];
    let data = BASE64_STANDARD.decode(content[0]["input_audio"]["data"].as_str().unwrap()).unwrap();
    assert_eq!((content[0]["input_audio"]["format"].as_str(), data.len()), (Some("wav"), 44 + 32_000));
    assert_eq!(content[1]["text"], "[Instructions: Be brief.]\nWhat is that?");

    let long = LlmRequest { sound: Some(AudioFrame::new(vec![0.0; 16_000 * 900])), ..request("And that?") };
    insta::assert_snapshot!(answer(&*llm, long).await.1.unwrap(), @"voxtral-vllm cannot do that: the sound is longer than the 600 s that fit into its context");
    for engine in ["desk", "ollama", "openai-chat"] {
        let (text, error) = answer(&*load(engine, ""), question.clone()).await;
        assert_eq!(
            (text.as_str(), error.unwrap()),
            ("", format!("{engine} cannot do that: it cannot hear; voxtral-vllm answers questions about sound"))
        );
    }
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    for (engine, troubles, server, _) in both().await {
        troubles.push(Trouble::StopsAfter(4));
        let llm = load(engine, &server.options());
        let mut events = llm.generate(request("hello"));
        assert!(matches!(events.next().await, Some(Ok(LlmEvent::Delta(_)))));
        assert!(server.open() > 0, "{engine}");
        drop(events);
        drop(llm);
        let deadline = Instant::now() + Duration::from_secs(2);
        while server.open() > 0 {
            assert!(Instant::now() < deadline, "{engine} keeps its connection");
            sleep(Duration::from_millis(5)).await;
        }
    }
}
