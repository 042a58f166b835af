use std::time::Duration;

use anchor_core::audio::{AudioFrame, SampleTime, Samples};
use anchor_core::engine::{EngineError, Role};
use anchor_core::{
    AnchorState, ClientCommand, ClientError, Event, Item, ItemId, ItemStatus, Outcome, Position, ResponseParams,
    SessionUpdate, TurnDetection, TurnLatency,
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::transport::{ClientMessage, ServerMessage};

const R: ResponseId = ResponseId(3);

fn translator(studio: bool) -> Translator {
    let voice = |name: &str| Voice { name: name.into(), language: "en".into(), about: String::new() };
    let introduction = Introduction {
        model: "desk".into(),
        recogniser: "pocketsphinx".into(),
        voices: &[voice("rms"), voice("slt")],
        config: &SessionConfig { instructions: "Be brief.".into(), ..SessionConfig::default() },
    };
    Translator::new("k", introduction, studio)
}

fn id(name: &str) -> ItemId {
    ItemId(name.into())
}

fn user(text: Option<&str>, spoken: bool) -> Item {
    let text = text.map(str::to_owned);
    Item { id: id("item_u"), role: Role::User, text, spoken, status: ItemStatus::Completed }
}

fn assistant(text: &str, spoken: bool, status: ItemStatus) -> Item {
    Item { id: id("item_a"), role: Role::Assistant, text: Some(text.into()), spoken, status }
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
        ServerMessage::Event(Event::ResponseCreated { response }),
        ServerMessage::Event(Event::AnswerStarted { response, item: begun, previous: previous.clone(), spoken }),
        ServerMessage::Event(Event::AnswerText { response, delta: "Good evening.".into() }),
    ];
    if spoken {
        messages.push(ServerMessage::Play(response, AudioFrame::new(vec![0.5; 4])));
    }
    messages.extend([
        ServerMessage::Event(Event::AnswerDone { response, item: item.clone(), previous, spoken }),
        ServerMessage::Event(Event::ResponseDone { response, outcome, item: Some(item) }),
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
        [Outcome::TurnDetected, Outcome::ClientCancelled, Outcome::Failed(failure)].map(last).join("\n")
    );
}

#[test]
fn a_response_that_ends_before_it_says_anything_has_no_output() {
    let mut translator = translator(false);
    insta::assert_snapshot!(events(
        &mut translator,
        [
            Event::ResponseCreated { response: R },
            Event::ResponseDone { response: R, outcome: Outcome::TurnDetected, item: None },
        ]
    ));
}

#[test]
fn what_a_response_was_asked_with_comes_back_with_it() {
    let mut translator = translator(false);
    let request = r#"{"type": "response.create", "response": {"metadata": {"client_event_id": "c1"},
        "instructions": "Sing.", "output_modalities": ["text"]}}"#;
    let Some(ClientMessage::Command(command)) = translator.inbound(request).unwrap() else { panic!("no command") };
    let params = ResponseParams { instructions: Some("Sing.".into()), speak: Some(false) };
    assert_eq!(command, ClientCommand::CreateResponse(params));
    let told = told(&mut translator, answer(false, ItemStatus::Completed, Outcome::Completed));
    for line in [told.lines().next().unwrap(), told.lines().last().unwrap()] {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["response"]["metadata"]["client_event_id"], "c1");
        assert_eq!(event["response"]["output_modalities"][0], "text");
    }
    let next = events(&mut translator, [Event::ResponseCreated { response: ResponseId(4) }]);
    assert!(next.contains(r#""metadata":null"#), "metadata belongs to one response: {next}");
}

#[test]
fn items_as_they_are_shown() {
    let mut translator = translator(false);
    let system = Item { role: Role::System, ..user(Some("Be kind."), false) };
    insta::assert_snapshot!(events(
        &mut translator,
        [
            Event::ItemRetrieved(user(None, true)),
            Event::ItemRetrieved(user(Some("read the news"), true)),
            Event::ItemRetrieved(user(Some("Hello."), false)),
            Event::ItemRetrieved(system),
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
    quiet.inbound(update).unwrap();
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
    let Some(ClientMessage::Command(ClientCommand::Update(update))) = translator.inbound(update).unwrap() else {
        panic!("no update")
    };
    let rules = TurnDetection { threshold: 0.7, interrupt_response: false, ..TurnDetection::default() };
    assert_eq!(
        update,
        SessionUpdate {
            instructions: Some(String::new()),
            voice: Some("slt".into()),
            speed: Some(1.25),
            turn_detection: Some(Some(rules.clone())),
            language: Some(Some("de".into())),
            max_tokens: Some(Some(200)),
            ..SessionUpdate::default()
        }
    );
    let config = SessionConfig { turn_detection: Some(rules), ..SessionConfig::default() };
    let told = events(&mut translator, [Event::SessionUpdated(config)]);
    let told: Value = serde_json::from_str(&told).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap());
}

/// How the conversation is told to hear turns after these updates.
fn turn_detection(updates: &[&str]) -> Option<TurnDetection> {
    let mut translator = translator(false);
    let mut last = None;
    for rules in updates {
        let text = format!(
            r#"{{"type": "session.update", "session": {{"audio": {{"input": {{"turn_detection": {rules}}}}}}}}}"#
        );
        match translator.inbound(&text).unwrap() {
            Some(ClientMessage::Command(ClientCommand::Update(update))) => last = update.turn_detection.unwrap(),
            other => panic!("no update: {other:?}"),
        }
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
        match translator.inbound(&text) {
            Ok(Some(ClientMessage::Command(ClientCommand::Update(update)))) => Ok(update.voice.unwrap()),
            Ok(other) => panic!("no update: {other:?}"),
            Err(error) => Err(error.message),
        }
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
        r#"{"audio": {"output": {"format": {"type": "audio/pcmu"}}}}"#,
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
            Some(ClientMessage::Command(ClientCommand::CreateItem { id, position, role, text })) => {
                assert_eq!((id, role, text.as_str()), (Some(ItemId("mine".into())), Role::User, "one\ntwo"));
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
        r#"{"type": "conversation.item.create", "item": {"type": "function_call_output"}}"#,
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
        r#"{"type": "response.create", "response": {"conversation": "none"}}"#,
        r#"{"type": "response.create", "response": {"input": []}}"#,
        r#"{"type": "response.create", "response": {"output_modalities": []}}"#,
        r#"{"type": "response.cancel", "response_id": "resp_k_9"}"#,
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
fn only_the_newest_response_can_be_cancelled_by_name() {
    let mut translator = translator(false);
    events(&mut translator, [Event::ResponseCreated { response: R }]);
    assert!(translator.inbound(r#"{"type": "response.cancel", "response_id": "resp_k_3"}"#).is_ok());
    let error = translator.inbound(r#"{"type": "response.cancel", "response_id": "resp_k_2"}"#).unwrap_err();
    assert_eq!(error.code, "response_cancel_not_active");
}

/// JSON that looks like a client's event, more or less.
fn almost_an_event() -> impl Strategy<Value = String> {
    let types = prop::sample::select(vec![
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "conversation.item.create",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
        "anchor.playout",
        "nonsense",
    ]);
    let keys = prop::sample::select(vec![
        "session",
        "audio",
        "item",
        "item_id",
        "input",
        "output",
        "turn_detection",
        "type",
        "content",
        "content_index",
        "audio_end_ms",
        "response",
        "response_id",
        "played_ms",
        "metadata",
        "previous_item_id",
        "format",
        "rate",
        "threshold",
        "event_id",
        "voice",
        "role",
        "text",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["server_vad", "message", "user", "audio/pcm", "AAAA", "AA==", "resp_k_3", "inf"])
            .prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    (types, value).prop_map(|(kind, value)| {
        let mut event = value;
        if let Value::Object(fields) = &mut event {
            fields.insert("type".into(), kind.into());
        }
        event.to_string()
    })
}

proptest! {
    #[test]
    fn no_message_breaks_a_session(texts in prop::collection::vec(prop_oneof![".*", almost_an_event()], 1..20)) {
        let mut translator = translator(true);
        for text in &texts {
            if let Err(error) = translator.inbound(text) {
                prop_assert!(!error.code.is_empty() && !error.message.is_empty());
                translator.refuse(error);
            }
            while translator.next_audio().is_some() {}
        }
        let alive = translator.inbound(r#"{"type": "response.create", "event_id": "still here"}"#);
        prop_assert!(matches!(alive, Ok(Some(ClientMessage::Command(_)))));
    }
}
