use std::time::Duration;

use anchor_core::audio::{AudioFrame, SampleTime, Samples};
use anchor_core::engine::{EngineError, Role, Tool, ToolChoice};
use anchor_core::{
    AnchorState, ClientCommand, ClientError, Content, ContextItem, Event, Item, ItemId, ItemStatus, Outcome, Position,
    ResponseParams, Retention, SessionUpdate, TurnDetection, TurnLatency, Usage,
};
use serde_json::Value;

use super::*;
use crate::transport::{ClientMessage, ServerMessage};

mod clients;
mod random;

const R: ResponseId = ResponseId(3);

const USAGE: Usage = Usage { told: 7, written: 2, sound: Samples::from_ms(110) };

fn translator(studio: bool) -> Translator {
    translator_of(Kind::Realtime, studio)
}

fn translator_of(kind: Kind, studio: bool) -> Translator {
    let voice = |name: &str| Voice { name: name.into(), language: "en".into(), about: String::new() };
    let introduction = Introduction {
        model: "desk".into(),
        recogniser: "pocketsphinx".into(),
        voices: &[voice("rms"), voice("slt")],
        config: &SessionConfig { instructions: "Be brief.".into(), ..SessionConfig::default() },
        kind,
    };
    Translator::new("k", introduction, studio)
}

fn id(name: &str) -> ItemId {
    ItemId(name.into())
}

fn user(text: Option<&str>, spoken: bool) -> Item {
    let text = text.map(str::to_owned);
    let content = Content::Message { role: Role::User, text, spoken };
    Item { id: id("item_u"), content, status: ItemStatus::Completed }
}

fn assistant(text: &str, spoken: bool, status: ItemStatus) -> Item {
    let content = Content::Message { role: Role::Assistant, text: Some(text.into()), spoken };
    Item { id: id("item_a"), content, status }
}

fn call(arguments: &str, status: ItemStatus) -> Item {
    let content = Content::Call { call: "call_1".into(), name: "clock".into(), arguments: arguments.into() };
    Item { id: id("item_c"), content, status }
}

/// Everything the client reads, one event a line.
fn told(translator: &mut Translator, messages: impl IntoIterator<Item = ServerMessage>) -> String {
    messages.into_iter().flat_map(|message| translator.outbound(message)).collect::<Vec<_>>().join("\n")
}

fn events(translator: &mut Translator, events: impl IntoIterator<Item = Event>) -> String {
    told(translator, events.into_iter().map(ServerMessage::Event))
}

/// An answer from its first word to its last.
fn answer(spoken: bool, status: ItemStatus, outcome: Outcome) -> Vec<ServerMessage> {
    let (response, previous) = (R, Some(id("item_u")));
    let begun = assistant("", spoken, ItemStatus::InProgress);
    let item = assistant("Good evening.", spoken, status);
    let mut messages = vec![
        ServerMessage::Event(Event::ResponseCreated { response, out_of_band: false }),
        ServerMessage::Event(Event::OutputAdded { response, index: 0, item: begun, previous: previous.clone() }),
        ServerMessage::Event(Event::AnswerText { response, delta: "Good evening.".into() }),
    ];
    if spoken {
        messages.push(ServerMessage::Play(response, AudioFrame::new(vec![0.5; 4])));
    }
    messages.extend([
        ServerMessage::Event(Event::OutputDone { response, index: 0, item: item.clone(), previous }),
        ServerMessage::Event(Event::ResponseDone { response, outcome, output: vec![item], usage: USAGE }),
    ]);
    messages
}

#[test]
fn a_session_is_greeted_with_all_its_settings() {
    let greeting: Value = serde_json::from_str(&translator(false).greeting()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&greeting).unwrap());
}

#[test]
fn a_spoken_turn() {
    let mut translator = translator(false);
    let item = user(None, true);
    let turn = [
        Event::SpeechStarted { item: id("item_u"), at: SampleTime::from_ms(700) },
        Event::SpeechStopped { item: id("item_u"), at: SampleTime::from_ms(1_900) },
        Event::InputCommitted { item: id("item_u"), previous: None },
        Event::ItemAdded { item: item.clone(), previous: None },
        Event::ItemDone { item, previous: None },
        Event::TranscriptPartial { item: id("item_u"), text: "read".into() },
        Event::TranscriptDone { item: id("item_u"), text: "read the news".into(), length: SampleTime::from_ms(1_200) },
    ];
    insta::assert_snapshot!(events(&mut translator, turn));
}

#[test]
fn a_spoken_answer() {
    insta::assert_snapshot!(told(&mut translator(false), answer(true, ItemStatus::Completed, Outcome::Completed)));
}

#[test]
fn a_written_answer() {
    let mut translator = translator(false);
    let update = r#"{"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}"#;
    translator.inbound(update).unwrap();
    insta::assert_snapshot!(told(&mut translator, answer(false, ItemStatus::Completed, Outcome::Completed)));
}

#[test]
fn responses_end_as_the_dialect_says() {
    let failure = EngineError::Failed { engine: "tts", reason: "no sound came in time".into() };
    let last = |outcome| {
        let mut translator = translator(false);
        let told = told(&mut translator, answer(true, ItemStatus::Incomplete, outcome));
        told.lines().last().unwrap().to_owned()
    };
    insta::assert_snapshot!(
        [Outcome::TurnDetected, Outcome::ClientCancelled, Outcome::LimitReached, Outcome::Failed(failure)]
            .map(last)
            .join("\n")
    );
}

#[test]
fn a_response_that_ends_before_it_says_anything_has_no_output() {
    let mut translator = translator(false);
    insta::assert_snapshot!(events(
        &mut translator,
        [
            Event::ResponseCreated { response: R, out_of_band: false },
            Event::ResponseDone {
                response: R,
                outcome: Outcome::TurnDetected,
                output: vec![],
                usage: Usage::default()
            },
        ]
    ));
}

#[test]
fn what_a_response_was_asked_with_comes_back_with_it() {
    let mut translator = translator(false);
    let request = r#"{"type": "response.create", "response": {"metadata": {"client_event_id": "c1"},
        "instructions": "Sing.", "output_modalities": ["text"]}}"#;
    let Some(ClientMessage::Command(command)) = translator.inbound(request).unwrap() else { panic!("no command") };
    let params = ResponseParams { instructions: Some("Sing.".into()), speak: Some(false), ..Default::default() };
    assert_eq!(command, ClientCommand::CreateResponse(Box::new(params)));
    let told = told(&mut translator, answer(false, ItemStatus::Completed, Outcome::Completed));
    for line in [told.lines().next().unwrap(), told.lines().last().unwrap()] {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["response"]["metadata"]["client_event_id"], "c1");
        assert_eq!(event["response"]["output_modalities"][0], "text");
    }
    let next = events(&mut translator, [Event::ResponseCreated { response: ResponseId(4), out_of_band: false }]);
    assert!(next.contains(r#""metadata":null"#), "metadata belongs to one response: {next}");
}

#[test]
fn items_as_they_are_shown() {
    let mut translator = translator(false);
    let system = Item { content: Content::written(Role::System, "Be kind."), ..user(None, false) };
    let output = Content::CallOutput { call: "call_1".into(), output: "noon".into() };
    insta::assert_snapshot!(events(
        &mut translator,
        [
            Event::ItemRetrieved(user(None, true)),
            Event::ItemRetrieved(user(Some("read the news"), true)),
            Event::ItemRetrieved(user(Some("Hello."), false)),
            Event::ItemRetrieved(system),
            Event::ItemRetrieved(call("{}", ItemStatus::Completed)),
            Event::ItemRetrieved(Item { content: output, ..user(None, false) }),
            Event::ItemRetrieved(assistant("Good", true, ItemStatus::Incomplete)),
            Event::ItemRetrieved(assistant("Good evening.", false, ItemStatus::Completed)),
            Event::ItemDeleted(id("item_u")),
            Event::ItemTruncated { id: id("item_a"), audio_end: Samples::from_ms(640) },
            Event::InputCleared,
        ]
    ));
}

#[test]
fn a_turn_that_could_not_be_transcribed_says_why() {
    let error = EngineError::Failed { engine: "stt", reason: "no transcript came in time".into() };
    let failed = Event::TranscriptFailed { item: id("item_u"), error };
    insta::assert_snapshot!(events(&mut translator(false), [failed.clone()]));
    let mut quiet = translator(false);
    let update = r#"{"type": "session.update", "session": {"audio": {"input": {"transcription": null}}}}"#;
    let told = update_of(&mut quiet, update).unwrap();
    assert_eq!((told.language, told.vocabulary), (None, None), "the anchor still transcribes, as before");
    assert_eq!(events(&mut quiet, [failed]), "", "the client wants no transcripts");
}

#[test]
fn errors_have_the_codes_clients_know_and_name_the_event_that_caused_them() {
    let mut translator = translator(false);
    let mut refused = |request: &str, error: ClientError| {
        translator.inbound(request).unwrap();
        let told = events(&mut translator, [Event::ClientError(error)]);
        translator.forget_cause();
        told
    };
    let missing = || ClientError::NoSuchItem(id("x"));
    let lines = [
        refused(r#"{"type": "input_audio_buffer.commit", "event_id": "c1"}"#, ClientError::CommitEmpty(40)),
        refused(r#"{"type": "response.cancel", "event_id": "c2"}"#, ClientError::CancelNotActive),
        refused(r#"{"type": "response.create", "event_id": "c3"}"#, ClientError::ResponseActive(R)),
        refused(r#"{"type": "conversation.item.retrieve", "item_id": "x"}"#, missing()),
        refused(r#"{"type": "conversation.item.delete", "item_id": "x"}"#, missing()),
        refused(
            r#"{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}"#,
            missing(),
        ),
        refused(
            r#"{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}"#,
            ClientError::NotTruncatable(id("x")),
        ),
        refused(
            r#"{"type": "conversation.item.create", "previous_item_id": "x",
                "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}}"#,
            missing(),
        ),
        refused(
            r#"{"type": "conversation.item.create",
                "item": {"id": "x", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}}"#,
            ClientError::ItemExists(id("x")),
        ),
    ];
    insta::assert_snapshot!(lines.join("\n"));
    let uncaused = events(&mut translator, [Event::ClientError(ClientError::CancelNotActive)]);
    assert!(uncaused.contains(r#""event_id":null"#), "{uncaused}");
}

#[test]
fn settings_are_merged_and_shown_with_their_defaults() {
    let mut translator = translator(false);
    let update = r#"{"type": "session.update", "session": {
        "type": "realtime", "model": "gpt-realtime", "instructions": "", "tracing": "auto", "truncation": "disabled",
        "include": ["item.input_audio_transcription.logprobs"], "max_output_tokens": 200, "tool_choice": "none",
        "audio": {
            "input": {"format": {"type": "audio/pcm", "rate": 24000}, "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "whisper-1", "language": "de"},
                "turn_detection": {"type": "server_vad", "threshold": 0.7, "interrupt_response": false}},
            "output": {"voice": {"id": "slt"}, "speed": 1.25}}}}"#;
    let update = update_of(&mut translator, update).unwrap();
    let rules = TurnDetection { threshold: 0.7, interrupt_response: false, ..TurnDetection::default() };
    assert_eq!(
        update,
        SessionUpdate {
            instructions: Some(String::new()),
            voice: Some("slt".into()),
            speed: Some(1.25),
            turn_detection: Some(Some(rules.clone())),
            language: Some(Some("de".into())),
            vocabulary: Some(None),
            max_tokens: Some(Some(200)),
            tool_choice: Some(ToolChoice::None),
            retention: Some(None),
            ..SessionUpdate::default()
        }
    );
    let config = SessionConfig { turn_detection: Some(rules), ..SessionConfig::default() };
    let told = events(&mut translator, [Event::SessionUpdated(Box::new(config))]);
    let told: Value = serde_json::from_str(&told).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap());
}

/// What the conversation is told of an update.
fn update_of(translator: &mut Translator, text: &str) -> Result<SessionUpdate, super::super::wire::Error> {
    match translator.inbound(text)? {
        Some(ClientMessage::Command(ClientCommand::Update(update))) => Ok(*update),
        other => panic!("no update: {other:?}"),
    }
}

/// How the conversation is told to hear turns after these updates.
fn turn_detection(updates: &[&str]) -> Option<TurnDetection> {
    let mut translator = translator(false);
    let mut last = None;
    for rules in updates {
        let text = format!(
            r#"{{"type": "session.update", "session": {{"audio": {{"input": {{"turn_detection": {rules}}}}}}}}}"#
        );
        last = update_of(&mut translator, &text).unwrap().turn_detection.unwrap();
    }
    last
}

#[test]
fn turns_are_detected_by_silence_by_eagerness_or_not_at_all() {
    let usual = TurnDetection::default();
    let after = |ms| TurnDetection { silence_duration: Duration::from_millis(ms), ..usual.clone() };
    assert_eq!(turn_detection(&["null"]), None);
    assert_eq!(turn_detection(&["null", "{}"]), Some(usual.clone()));
    assert_eq!(turn_detection(&[r#"{"silence_duration_ms": 900}"#, r#"{"create_response": true}"#]), Some(after(900)));
    assert_eq!(turn_detection(&[r#"{"type": "semantic_vad"}"#]), Some(usual.clone()));
    assert_eq!(turn_detection(&[r#"{"type": "semantic_vad", "eagerness": "low"}"#]), Some(after(800)));
    assert_eq!(turn_detection(&[r#"{"type": "semantic_vad", "eagerness": "high"}"#]), Some(after(280)));
    assert_eq!(
        turn_detection(&[r#"{"type": "semantic_vad", "create_response": false}"#, r#"{"type": "server_vad"}"#]),
        Some(TurnDetection { create_response: false, ..usual })
    );
}

#[test]
fn the_hosted_voices_are_taken_for_the_anchors_own() {
    let voice = |name: &str| {
        let mut translator = translator(false);
        let text =
            format!(r#"{{"type": "session.update", "session": {{"audio": {{"output": {{"voice": "{name}"}}}}}}}}"#);
        update_of(&mut translator, &text).map(|update| update.voice.unwrap()).map_err(|error| error.message)
    };
    assert_eq!(voice("slt"), Ok("slt".into()));
    assert_eq!(voice("marin"), Ok("rms".into()));
    assert_eq!(voice("darth"), Err("There is no voice 'darth'. Choose one of: rms, slt.".into()));
}

#[test]
fn settings_that_cannot_be_are_refused_whole() {
    let mut translator = translator(false);
    let before = translator.greeting();
    let refusals = [
        r#"{"type": "transcription"}"#,
        r#"{"instructions": "Changed.", "colour": "red"}"#,
        r#"{"output_modalities": ["audio", "text"]}"#,
        r#"{"max_output_tokens": 0}"#,
        r#"{"max_output_tokens": "many"}"#,
        r#"{"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}"#,
        r#"{"audio": {"input": {"format": {"type": "audio/pcm", "rate": 48000}}}}"#,
        r#"{"audio": {"output": {"format": {"type": "audio/opus"}}}}"#,
        r#"{"audio": {"output": {"format": {"type": "audio/pcma", "rate": 24000}}}}"#,
        r#"{"audio": {"input": {"noise_reduction": {"type": "loud"}}}}"#,
        r#"{"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 100}}}}"#,
        r#"{"tools": [{"type": "mcp", "server_label": "x"}]}"#,
        r#"{"tools": [{"type": "function", "name": "two words"}]}"#,
        r#"{"tools": [{"type": "function", "name": "x", "parameters": "none"}]}"#,
        r#"{"tool_choice": "perhaps"}"#,
        r#"{"tool_choice": {"type": "function"}}"#,
        r#"{"truncation": "often"}"#,
        r#"{"truncation": {"type": "retention_ratio"}}"#,
        r#"{"truncation": {"type": "retention_ratio", "retention_ratio": 1.5}}"#,
        r#"{"audio": {"output": {"voice": 7}}}"#,
        r#"{"audio": {"output": {"speed": 4}}}"#,
        r#"{"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": -0.5}}}}"#,
        r#"{"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}}}}"#,
        r#"{"audio": {"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 60000}}}}"#,
    ]
    .map(|session| {
        let error = translator.inbound(&format!(r#"{{"type": "session.update", "session": {session}}}"#)).unwrap_err();
        format!("{session}\n  {} at {}\n  {}", error.code, error.param.unwrap_or_default(), error.message)
    });
    insta::assert_snapshot!(refusals.join("\n"));
    let session = |greeting: &str| serde_json::from_str::<Value>(greeting).unwrap()["session"].clone();
    assert_eq!(session(&translator.greeting()), session(&before));
}

#[test]
fn items_are_put_where_the_client_wants_them() {
    let create = |fields: &str| {
        let text = format!(
            r#"{{"type": "conversation.item.create"{fields}, "item": {{"id": "mine", "type": "message", "role": "user",
                "content": [{{"type": "input_text", "text": "one"}}, {{"type": "input_text", "text": "two"}}]}}}}"#
        );
        match translator(false).inbound(&text).unwrap() {
            Some(ClientMessage::Command(ClientCommand::CreateItem { id, position, content })) => {
                assert_eq!((id, content), (Some(ItemId("mine".into())), Content::written(Role::User, "one\ntwo")));
                position
            }
            other => panic!("no item: {other:?}"),
        }
    };
    assert_eq!(create(""), Position::Last);
    assert_eq!(create(r#", "previous_item_id": null"#), Position::Last);
    assert_eq!(create(r#", "previous_item_id": "root""#), Position::First);
    assert_eq!(create(r#", "previous_item_id": "item_7""#), Position::After(id("item_7")));
}

#[test]
fn requests_that_cannot_be_met_are_refused_in_words() {
    let mut translator = translator(false);
    let refusals = [
        r#"{"type": "conversation.item.create", "item": {"type": "mcp_call"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "x"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "", "output": "x"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "function_call", "call_id": "c", "name": "x"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
            "content": [{"type": "input_audio", "audio": "!"}]}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
            "content": [{"type": "input_audio", "audio": "AAAAAAAA"}, {"type": "input_text", "text": "a"}]}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "host"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_image"}]}}"#,
        r#"{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
            "content": [{"type": "input_text"}]}}"#,
        r#"{"type": "conversation.item.truncate", "item_id": "x", "content_index": 1, "audio_end_ms": 5}"#,
        r#"{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -5}"#,
        r#"{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 9e18}"#,
        r#"{"type": "response.create", "response": {"conversation": "mine"}}"#,
        r#"{"type": "response.create", "response": {"input": [{"type": "item_reference"}]}}"#,
        r#"{"type": "response.create", "response": {"input": [{"type": "message", "role": "user",
            "content": [{"type": "input_audio", "audio": "AAAAAAAA"}]}]}}"#,
        r#"{"type": "response.create", "response": {"max_output_tokens": 5000}}"#,
        r#"{"type": "response.create", "response": {"audio": {"output": {"voice": "darth"}}}}"#,
        r#"{"type": "response.create", "response": {"tool_choice": 7}}"#,
        r#"{"type": "response.create", "response": {"output_modalities": []}}"#,
        r#"{"type": "anchor.playout", "response_id": "resp_k_9", "played_ms": 20}"#,
    ]
    .map(|text| {
        let error = translator.inbound(text).expect_err(text);
        format!("{text}\n  {} at {}\n  {}", error.code, error.param.unwrap_or_default(), error.message)
    });
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn what_is_too_long_to_be_sent_back_is_refused_without_quoting_it() {
    let mut translator = translator(false);
    let long = "x".repeat(1_000);
    let huge = "x".repeat(300_000);
    for text in [
        format!(r#"{{"type": "conversation.item.retrieve", "item_id": "{long}"}}"#),
        format!(r#"{{"type": "conversation.item.retrieve", "item_id": "{huge}"}}"#),
        format!(r#"{{"type": "{}"}}"#, &huge[..200_000]),
        format!(r#"{{"type": "session.update", "session": "{}"}}"#, &huge[..200_000]),
        format!(r#"{{"type": "session.update", "session": {{"{}": 1}}}}"#, &huge[..200_000]),
        format!(r#"{{"type": "response.create", "response": {{"metadata": {{"k": "{}"}}}}}}"#, &huge[..20_000]),
    ] {
        let error = translator.inbound(&text).expect_err("it was taken");
        let told = translator.refuse(error);
        assert!(told.len() < 4_096, "{} bytes", told.len());
    }
}

#[test]
fn the_studio_hears_more_and_may_say_what_was_heard() {
    let mut translator = translator(true);
    let latency = TurnLatency {
        endpointing: Duration::from_millis(450),
        stt: Duration::from_millis(12),
        llm: Duration::from_micros(900),
        tts: Duration::from_millis(30),
    };
    let told = told(
        &mut translator,
        [
            ServerMessage::Event(Event::StateChanged(AnchorState::Hearing)),
            ServerMessage::Event(Event::TranscriptPartial { item: id("item_u"), text: "read".into() }),
            ServerMessage::Event(Event::AnswerSource { response: R, story: "harbour".into() }),
            ServerMessage::Event(Event::TurnMeasured { response: R, latency }),
            ServerMessage::ClearPlayout,
        ],
    );
    insta::assert_snapshot!(told);
    let heard = r#"{"type": "anchor.playout", "response_id": "resp_k_3", "played_ms": 20}"#;
    let Some(ClientMessage::Playout(response, played)) = translator.inbound(heard).unwrap() else {
        panic!("not heard")
    };
    assert_eq!((response, played), (R, Samples::from_ms(20)));
    let foreign = r#"{"type": "anchor.playout", "response_id": "resp_other_3", "played_ms": 20}"#;
    assert_eq!(translator.inbound(foreign).unwrap_err().message, "There is no response 'resp_other_3'.");
}

#[test]
fn a_response_is_cancelled_by_its_name() {
    let mut translator = translator(false);
    let mut cancelled = |id: &str| match translator.inbound(&format!(r#"{{"type": "response.cancel"{id}}}"#)).unwrap() {
        Some(ClientMessage::Command(ClientCommand::CancelResponse(id))) => id,
        other => panic!("no cancel: {other:?}"),
    };
    assert_eq!(cancelled(""), None);
    assert_eq!(cancelled(r#", "response_id": "resp_k_3""#), Some(R));
    assert_eq!(cancelled(r#", "response_id": "resp_other_3""#), Some(ResponseId(0)), "nobody's");
}

#[test]
fn a_call_is_announced_in_all_three_ways_clients_wait_for() {
    // Pipecat starts a tool at `function_call_arguments.done` if `conversation.item.added` named the call; LiveKit and
    // agents-js at `output_item.done` with status completed; others at `response.done`.
    let mut translator = translator(false);
    let (response, previous) = (R, Some(id("item_a")));
    let arguments = r#"{"zone":"UTC"}"#;
    let (begun, done) = (call("", ItemStatus::InProgress), call(arguments, ItemStatus::Completed));
    let mut messages = answer(true, ItemStatus::Completed, Outcome::Completed);
    messages.truncate(messages.len() - 1);
    messages.extend(
        [
            Event::OutputAdded { response, index: 1, item: begun, previous: previous.clone() },
            Event::OutputDone { response, index: 1, item: done.clone(), previous },
            Event::ResponseDone { response, outcome: Outcome::Completed, output: vec![done], usage: USAGE },
        ]
        .map(ServerMessage::Event),
    );
    let told = told(&mut translator, messages);
    let call: Vec<&str> = told.lines().skip_while(|line| !line.contains("item_c")).collect();
    insta::assert_snapshot!(call.join("\n"));
}

#[test]
fn an_answer_beside_the_conversation_leaves_no_trace_in_it() {
    let mut translator = translator(false);
    let request = r#"{"type": "response.create", "response": {"conversation": "none", "metadata": {"topic": "mood"},
        "output_modalities": ["text"], "max_output_tokens": 20, "tool_choice": {"type": "function", "name": "clock"},
        "tools": [{"type": "function", "name": "clock", "description": "Tells the time.", "parameters": {"a": 1}}],
        "audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "slt"}},
        "input": [{"type": "item_reference", "id": "item_u"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How do they feel?"}]}]}}"#;
    let command = translator.inbound(request).unwrap();
    let clock = Tool { name: "clock".into(), description: "Tells the time.".into(), parameters: r#"{"a":1}"#.into() };
    let asked = ResponseParams {
        out_of_band: true,
        input: Some(vec![
            ContextItem::Reference(id("item_u")),
            ContextItem::New(Content::written(Role::User, "How do they feel?")),
        ]),
        instructions: None,
        speak: Some(false),
        voice: Some("slt".into()),
        max_tokens: Some(Some(20)),
        tools: Some(vec![clock]),
        tool_choice: Some(ToolChoice::Function("clock".into())),
    };
    let Some(ClientMessage::Command(ClientCommand::CreateResponse(params))) = command else { panic!("no response") };
    assert_eq!(*params, asked);
    let mut messages = answer(false, ItemStatus::Completed, Outcome::Completed);
    messages[0] = ServerMessage::Event(Event::ResponseCreated { response: R, out_of_band: true });
    let told = told(&mut translator, messages);
    assert!(!told.contains("conversation"), "{told}");
    let done: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(done["response"]["metadata"]["topic"], "mood");
    assert_eq!(done["response"]["max_output_tokens"], 20);
    assert_eq!(done["response"]["audio"]["output"]["format"], serde_json::json!({ "type": "audio/pcma" }));
}

#[test]
fn what_clients_put_into_the_conversation_is_understood() {
    let mut translator = translator(false);
    let mut created = |item: &str| match translator
        .inbound(&format!(r#"{{"type": "conversation.item.create", "item": {item}}}"#))
        .unwrap()
    {
        Some(ClientMessage::Command(command)) => command,
        other => panic!("no item: {other:?}"),
    };
    let plain = |content| ClientCommand::CreateItem { id: None, position: Position::Last, content };
    let call = Content::Call { call: "c1".into(), name: "clock".into(), arguments: "{}".into() };
    assert_eq!(
        created(
            r#"{"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}", "status": "completed"}"#
        ),
        plain(call)
    );
    let output = Content::CallOutput { call: "c1".into(), output: "noon".into() };
    assert_eq!(created(r#"{"type": "function_call_output", "call_id": "c1", "output": "noon"}"#), plain(output));
    let spoken = |role| Content::Message { role, text: Some("Hello.".into()), spoken: true };
    assert_eq!(
        created(r#"{"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Hello."}]}"#),
        plain(spoken(Role::User))
    );
    assert_eq!(
        created(
            r#"{"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Hello."}]}"#
        ),
        plain(spoken(Role::Assistant))
    );
    // 4,800 bytes are 100 ms at 24 kHz, however long the message around them is.
    let sound = "AAAA".repeat(1_600);
    match created(&format!(
        r#"{{"type": "message", "role": "user", "content": [{{"type": "input_audio", "audio": "{sound}"}}]}}"#
    )) {
        ClientCommand::CreateSpokenItem { sound, .. } => assert_eq!(sound.len(), 1_600),
        other => panic!("not heard: {other:?}"),
    }
    let minute = "AAAA".repeat(24_000 * 60 * 2 / 3);
    created(&format!(
        r#"{{"type": "message", "role": "user", "content": [{{"type": "input_audio", "audio": "{minute}"}}]}}"#
    ));
}

#[test]
fn tools_and_truncation_reach_the_conversation_and_come_back_as_they_were() {
    let mut translator = translator(false);
    let tools = r#"[{"type": "function", "name": "clock", "description": "Tells the time.", "parameters": {"type": "object"}}]"#;
    let truncation =
        r#"{"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 800}}"#;
    let text = format!(
        r#"{{"type": "session.update", "session": {{"tools": {tools}, "tool_choice": "required",
            "truncation": {truncation}}}}}"#
    );
    let update = update_of(&mut translator, &text).unwrap();
    let parameters = r#"{"type":"object"}"#.into();
    let clock = Tool { name: "clock".into(), description: "Tells the time.".into(), parameters };
    assert_eq!(update.tools, Some(vec![clock]));
    assert_eq!(update.tool_choice, Some(ToolChoice::Required));
    assert_eq!(update.retention, Some(Some(Retention { most: 800, retained: 0.5 })));
    let told = events(&mut translator, [Event::SessionUpdated(Box::default())]);
    let session = &serde_json::from_str::<Value>(&told).unwrap()["session"];
    assert_eq!(session["tools"], serde_json::from_str::<Value>(tools).unwrap());
    assert_eq!(session["truncation"], serde_json::from_str::<Value>(truncation).unwrap());
    // Pipecat knows no object here: only who asked for one is shown one.
    assert_eq!(session["tool_choice"], "required");
}

#[test]
fn a_session_that_transcribes_gives_no_answers_and_shows_no_settings_of_them() {
    let mut translator = translator_of(Kind::Transcription, false);
    let greeting: Value = serde_json::from_str(&translator.greeting()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&greeting).unwrap());
    let text = r#"{"type": "session.update", "session": {"type": "transcription", "audio": {"input": {
        "transcription": {"model": "whisper-1", "prompt": "harbour"},
        "turn_detection": {"type": "server_vad", "create_response": true, "idle_timeout_ms": 6000}}}}}"#;
    let update = update_of(&mut translator, text).unwrap();
    assert_eq!(update.vocabulary, Some(Some("harbour".into())));
    let rules = update.turn_detection.unwrap().unwrap();
    assert!(!rules.create_response && !rules.interrupt_response && rules.idle_timeout.is_none());
    for text in [
        r#"{"type": "response.create"}"#,
        r#"{"type": "session.update", "session": {"type": "realtime"}}"#,
        r#"{"type": "session.update", "session": {"type": "transcription", "instructions": "Sing."}}"#,
    ] {
        let error = translator.inbound(text).expect_err(text);
        assert!(error.message.contains("transcription"), "{error:?}");
    }
}

#[test]
fn a_silence_is_told_of_only_by_its_own_event() {
    let silence =
        Event::IdleTimeout { item: id("item_s"), start: SampleTime::from_ms(2_000), end: SampleTime::from_ms(8_000) };
    let told: Value = serde_json::from_str(&events(&mut translator(false), [silence])).unwrap();
    assert_eq!(told["type"], "input_audio_buffer.timeout_triggered");
    assert_eq!((&told["audio_start_ms"], &told["audio_end_ms"]), (&Value::from(2_000), &Value::from(8_000)));
    let detection = turn_detection(&[r#"{"idle_timeout_ms": 6000}"#, r#"{"threshold": 0.5}"#]).unwrap();
    assert_eq!(detection.idle_timeout, Some(Duration::from_secs(6)));
    assert_eq!(
        turn_detection(&[r#"{"idle_timeout_ms": 6000}"#, r#"{"idle_timeout_ms": null}"#]).unwrap().idle_timeout,
        None
    );
}
