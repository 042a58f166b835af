//! What keeps known clients alive.

use super::*;

#[test]
fn pipecat_finds_what_it_cannot_live_without() {
    // It ends on an error, on a missing key and on one too many: every update it and its like send is taken, the
    // transcription is shown with exactly three keys, the rate is 24000, a voice is a string, and usage is never null.
    let mut translator = translator(false);
    let text = r#"{"type": "session.update", "session": {"type": "realtime", "model": "gpt-realtime", "tracing": "auto",
        "audio": {"input": {"transcription": {"model": "x", "delay": "low", "keywords": ["a"]}},
            "output": {"voice": {"id": "slt"}}}}}"#;
    update_of(&mut translator, text).unwrap();
    let told = events(&mut translator, [Event::SessionUpdated(Box::default())]);
    let session = &serde_json::from_str::<Value>(&told).unwrap()["session"];
    let transcription = &session["audio"]["input"]["transcription"];
    assert_eq!(*transcription, serde_json::json!({ "model": "x", "language": null, "prompt": null }));
    assert_eq!(session["audio"]["input"]["format"], serde_json::json!({ "type": "audio/pcm", "rate": 24_000 }));
    assert_eq!(session["audio"]["output"]["voice"], "slt");
    assert_eq!(session["model"], "desk", "a model cannot be changed, and asking for it is no mistake");
    let told = events(
        &mut translator,
        [
            Event::ResponseCreated { response: R, out_of_band: false },
            Event::ResponseDone {
                response: R,
                outcome: Outcome::TurnDetected,
                output: vec![],
                usage: Usage::default(),
            },
        ],
    );
    let done: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let usage = &done["response"]["usage"];
    assert!(
        usage["input_token_details"]["cached_tokens_details"].is_object() && usage["output_token_details"].is_object()
    );
    assert!(done["response"]["status_details"].is_object());
}

#[test]
fn agents_js_finds_no_null_but_where_it_wants_one() {
    // It drops an event with a null where it expects a string or nothing, and throws without `transcript`.
    let mut translator = translator(false);
    let item = user(None, true);
    let mut messages = vec![ServerMessage::Event(Event::ItemAdded { item, previous: None })];
    messages.extend(answer(true, ItemStatus::Completed, Outcome::Completed));
    messages.push(ServerMessage::Event(Event::ItemAdded { item: call("{}", ItemStatus::Completed), previous: None }));
    let told = told(&mut translator, messages);
    let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(first["item"]["content"][0], serde_json::json!({ "type": "input_audio", "transcript": null }));
    for line in told.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        for allowed in ["previous_item_id", "transcript", "status_details", "usage", "metadata"] {
            forget(&mut event, allowed);
        }
        assert!(!event.to_string().contains("null"), "{line}");
    }
    // It and agents-python read from the echo whether the server interrupts by itself.
    let greeting: Value = serde_json::from_str(&translator.greeting()).unwrap();
    assert_eq!(greeting["session"]["audio"]["input"]["turn_detection"]["interrupt_response"], true);
}

/// Takes a key out wherever it is.
fn forget(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(key);
            fields.values_mut().for_each(|value| forget(value, key));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| forget(value, key)),
        _ => {}
    }
}

#[test]
fn livekit_finds_its_item_before_the_first_delta_and_its_mark_on_the_response() {
    let mut translator = translator(false);
    translator.inbound(r#"{"type": "response.create", "response": {"metadata": {"client_event_id": "c1"}}}"#).unwrap();
    let told = told(&mut translator, answer(true, ItemStatus::Completed, Outcome::Completed));
    assert!(told.lines().next().unwrap().contains(r#""client_event_id":"c1""#), "{told}");
    let at = |kind: &str| told.find(&format!(r#""type":"{kind}""#)).unwrap();
    assert!(at("response.output_item.added") < at("response.output_audio_transcript.delta"));
    assert!(at("response.output_item.added") < at("response.output_audio.delta"));
}
