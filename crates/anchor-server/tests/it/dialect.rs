//! What the dialect has beside plain turns: tools, answers beside the conversation, recordings, telephone sound,
//! transcripts alone.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::client::types;
use crate::support::engines::HEARD;
use crate::support::{Client, Server};

fn update(session: Value) -> Value {
    json!({ "type": "session.update", "session": session })
}

fn create(item: Value) -> Value {
    json!({ "type": "conversation.item.create", "item": item })
}

fn says(text: &str) -> Value {
    let content = json!([{ "type": "input_text", "text": text }]);
    create(json!({ "type": "message", "role": "user", "content": content }))
}

fn respond(response: Value) -> Value {
    json!({ "type": "response.create", "response": response })
}

/// Bytes of all sound in these events.
fn sound(events: &[Value]) -> usize {
    let deltas = events.iter().filter(|event| event["type"] == "response.output_audio.delta");
    deltas.map(|event| BASE64_STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_and_what_it_gave_is_spoken() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let clock = json!({ "type": "function", "name": "clock", "description": "Tells the time.",
        "parameters": { "type": "object", "properties": {} } });
    client.send(update(json!({ "type": "realtime", "tools": [clock] }))).await;
    assert_eq!(client.find("session.updated").await["session"]["tools"], json!([clock]));
    client.send(says("what time is it")).await;
    client.send(respond(json!({}))).await;
    let events = client.until("response.done").await;
    let call: Vec<Value> =
        events.iter().skip_while(|event| event["item"]["type"] != "function_call").cloned().collect();
    assert_eq!(
        types(&call),
        [
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    assert_eq!(call[0]["output_index"], 1, "it comes behind what was said");
    let done = &call.last().unwrap()["response"];
    assert_eq!(done["output"][0]["content"][0]["transcript"], "One moment.");
    let item = &done["output"][1];
    assert_eq!((&item["name"], &item["arguments"]), (&json!("clock"), &json!(r#"{"of":"now"}"#)));
    assert_eq!(call[1]["previous_item_id"], done["output"][0]["id"]);

    let output = json!({ "type": "function_call_output", "call_id": item["call_id"], "output": "noon" });
    client.send(create(output)).await;
    assert_eq!(client.find("conversation.item.done").await["item"]["output"], "noon");
    client.send(respond(json!({ "tool_choice": "none" }))).await;
    let done = client.find("response.done").await;
    assert_eq!(done["response"]["output"][0]["content"][0]["transcript"], "It gave noon.");

    client.send(create(json!({ "type": "function_call_output", "call_id": "nobody's", "output": "x" }))).await;
    assert_eq!(client.find("error").await["error"]["code"], "invalid_tool_call_id");
    client.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beside_the_conversation_is_not_part_of_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let content = json!([{ "type": "input_text", "text": "sum up" }]);
    let input = json!([{ "type": "message", "role": "user", "content": content }]);
    let beside = json!({ "conversation": "none", "metadata": { "topic": "sum" }, "output_modalities": ["text"],
        "input": input });
    client.send(respond(beside)).await;
    let events = client.until("response.done").await;
    assert!(!types(&events).iter().any(|kind| kind.starts_with("conversation.")), "{:?}", types(&events));
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["metadata"]["topic"], "sum");
    assert_eq!(done["output"][0]["content"][0]["text"], "You said sum up.");
    assert!(done["usage"]["input_tokens"].as_u64().unwrap() >= 2);
    client.send(says("hello")).await;
    let added = client.find("conversation.item.added").await;
    assert_eq!(added["previous_item_id"], Value::Null, "the conversation is still empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_transcribed_and_answered() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let audio = BASE64_STANDARD.encode(vec![0x20_u8; 48_000]);
    let content = json!([{ "type": "input_audio", "audio": audio }]);
    client.send(create(json!({ "type": "message", "role": "user", "content": content }))).await;
    client.send(respond(json!({ "output_modalities": ["text"] }))).await;
    let events = client.until("response.done").await;
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["output"][0]["content"][0]["text"], format!("You said {HEARD}."));
    let added = events.iter().find(|event| event["type"] == "conversation.item.added").unwrap();
    assert_eq!(added["item"]["content"], json!([{ "type": "input_audio", "transcript": null }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn telephone_sound_is_understood_and_spoken() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let format = json!({ "type": "audio/pcmu" });
    let audio = json!({ "input": { "format": format }, "output": { "format": format } });
    client.send(update(json!({ "type": "realtime", "audio": audio }))).await;
    let updated = client.find("session.updated").await;
    assert_eq!(updated["session"]["audio"]["output"]["format"], format);
    // A loud tone of 400 Hz, then silence.
    let tone = (0..8_000 * 6 / 10).map(|n| if n / 10 % 2 == 0 { 0x90_u8 } else { 0x10 });
    let said: Vec<u8> = tone.chain(std::iter::repeat_n(0xff, 8_000)).collect();
    client.send(json!({ "type": "input_audio_buffer.append", "audio": BASE64_STANDARD.encode(said) })).await;
    let events = client.until("response.done").await;
    // "You said read me the news." at 100 ms a word, a byte a sample.
    assert_eq!(sound(&events), 6 * 800);
    assert_eq!(events.last().unwrap()["response"]["audio"]["output"]["format"], format);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_want_transcripts_and_no_answers() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/v1/realtime?intent=transcription").await;
    let transcription = json!({ "model": "gpt-4o-transcribe", "language": "en" });
    let session = json!({ "type": "transcription", "audio": { "input": { "transcription": transcription } } });
    client.send(update(session)).await;
    let updated = client.find("session.updated").await;
    assert_eq!(updated["session"]["object"], "realtime.transcription_session");
    assert_eq!(updated["session"]["instructions"], Value::Null);
    client.speak(600).await;
    let events = client.until("conversation.item.input_audio_transcription.completed").await;
    assert_eq!(events.last().unwrap()["transcript"], HEARD);
    client.send(json!({ "type": "response.create", "event_id": "r" })).await;
    let events = client.until("error").await;
    assert!(!types(&events).iter().any(|kind| kind.starts_with("response.")));
    assert_eq!(events.last().unwrap()["error"]["event_id"], "r");
    client.assert_alive().await;
    server.idle().await;
}
