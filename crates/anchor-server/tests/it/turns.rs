//! Conversations as they ought to go.

use anchor_core::engine::{Notice, NoticeKind};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::client::types;
use crate::support::engines::{ENDLESS, HEARD};
use crate::support::{Client, Server};

fn says(text: &str) -> Value {
    let content = json!([{ "type": "input_text", "text": text }]);
    json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": content } })
}

fn with<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// Samples of all sound in these events.
fn samples(events: &[Value]) -> usize {
    let deltas = with(events, "response.output_audio.delta");
    deltas.iter().map(|event| BASE64_STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len() / 2).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_written_turn_goes_in_the_order_of_the_dialect() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client
        .send(json!({ "type": "session.update", "session": { "type": "realtime", "output_modalities": ["text"] } }))
        .await;
    client.send(says("hello")).await;
    client.send(json!({ "type": "response.create", "response": { "metadata": { "n": "1" } } })).await;
    let events = client.until("response.done").await;
    assert_eq!(
        types(&events),
        [
            "session.updated",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let response = &events.last().unwrap()["response"];
    assert_eq!(response["status"], "completed");
    assert_eq!(response["metadata"]["n"], "1");
    assert_eq!(response["output"][0]["content"], json!([{ "type": "output_text", "text": "You said hello." }]));
    let deltas: String =
        with(&events, "response.output_text.delta").iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(deltas, "You said hello.");
    let added = with(&events, "conversation.item.added");
    assert_eq!(added[0]["previous_item_id"], Value::Null);
    assert_eq!(added[1]["previous_item_id"], added[0]["item"]["id"]);
    server.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_turn_goes_in_the_order_of_the_dialect() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.speak(600).await;
    let events = client.until("response.done").await;
    // The transcript may come at any time after the turn was committed.
    let rest: Vec<Value> = events
        .iter()
        .filter(|event| !event["type"].as_str().unwrap().contains("input_audio_transcription"))
        .cloned()
        .collect();
    let mut order = types(&rest);
    order.retain(|kind| !kind.ends_with(".delta"));
    assert_eq!(
        order,
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let transcript = with(&events, "conversation.item.input_audio_transcription.completed");
    assert_eq!(transcript[0]["transcript"], HEARD);
    let first = |kind: &str| events.iter().position(|event| event["type"] == kind).unwrap();
    assert!(first("response.output_audio_transcript.delta") < first("response.output_audio.delta"));
    // "You said read me the news." at 100 ms a word.
    assert_eq!(samples(&events), 6 * 2_400);
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["output"][0]["content"][0]["transcript"], format!("You said {HEARD}."));
    assert_eq!(done["usage"]["output_token_details"], json!({ "text_tokens": 6, "audio_tokens": 12 }));
    let mut ids: Vec<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "every event has a name of its own");
    server.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_without_detection_ends_when_the_client_says_so() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let manual = json!({ "type": "realtime", "audio": { "input": { "turn_detection": null } } });
    client.send(json!({ "type": "session.update", "session": manual })).await;
    assert_eq!(client.find("session.updated").await["session"]["audio"]["input"]["turn_detection"], Value::Null);
    client.send(json!({ "type": "input_audio_buffer.commit", "event_id": "too soon" })).await;
    let error = client.find("error").await;
    assert_eq!(error["error"]["code"], "input_audio_buffer_commit_empty");
    assert_eq!(error["error"]["event_id"], "too soon");
    client.sound(400, 8_000).await;
    client.send(json!({ "type": "input_audio_buffer.commit" })).await;
    client.send(json!({ "type": "response.create" })).await;
    let events = client.until("response.done").await;
    assert_eq!(types(&events)[0], "input_audio_buffer.committed");
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["content"][0]["transcript"],
        format!("You said {HEARD}.")
    );
}

/// Starts an answer that does not end, and returns its `response.created` once it is heard.
async fn endless(client: &mut Client) -> Value {
    client.send(says(ENDLESS)).await;
    client.send(json!({ "type": "response.create" })).await;
    let created = client.find("response.created").await;
    client.find("response.output_audio.delta").await;
    created
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_talked_over_ends_and_holds_only_what_was_heard() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let created = endless(&mut client).await;
    client.sound(400, 8_000).await;
    let events = client.until("response.done").await;
    assert_eq!(with(&events, "input_audio_buffer.speech_started").len(), 1);
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["id"], created["response"]["id"]);
    assert_eq!(done["status_details"], json!({ "type": "cancelled", "reason": "turn_detected" }));
    assert_eq!(done["output"][0]["status"], "incomplete");
    server.engines_finished_answering().await;

    client.sound(1_000, 0).await;
    let item = done["output"][0]["id"].clone();
    let truncate =
        json!({ "type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 210 });
    client.send(truncate).await;
    let rest = client.until("conversation.item.truncated").await;
    assert_eq!(rest.last().unwrap()["audio_end_ms"], 210);
    let stale = rest.iter().filter(|event| event["response_id"] == created["response"]["id"]);
    assert_eq!(stale.count(), 0, "nothing of an ended answer comes after its end");
    client.send(json!({ "type": "conversation.item.retrieve", "item_id": item })).await;
    let retrieved = client.find("conversation.item.retrieved").await;
    assert_eq!(retrieved["item"]["content"], json!([{ "type": "output_audio", "transcript": "And another" }]));
    assert_eq!(retrieved["item"]["status"], "incomplete");
}

impl Server {
    /// Only the turn that interrupted may still be listened to.
    async fn engines_finished_answering(&self) {
        crate::support::eventually("the answer is still being made", || self.engines.at_work() <= 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_have_one_answer_at_a_time_and_stop_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send(json!({ "type": "response.cancel" })).await;
    let error = &client.find("error").await["error"];
    assert_eq!(error["code"], "response_cancel_not_active");
    assert_eq!(error["message"], "Cancellation failed: no active response found");
    let created = endless(&mut client).await;
    client.send(json!({ "type": "response.create", "event_id": "second" })).await;
    let error = &client.find("error").await["error"];
    assert_eq!(error["code"], "conversation_already_has_active_response");
    assert_eq!(error["event_id"], "second");
    let id = created["response"]["id"].as_str().unwrap();
    assert!(error["message"].as_str().unwrap().contains(id), "{error}");
    client.send(json!({ "type": "response.cancel", "response_id": id })).await;
    let done = client.find("response.done").await;
    assert_eq!(done["response"]["status_details"], json!({ "type": "cancelled", "reason": "client_cancelled" }));
    server.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_studio_is_told_how_the_anchor_is() {
    let server = Server::start().await;
    let mut client = server.connect_studio().await;
    let hello = client.next().await;
    assert_eq!((&hello["type"], &hello["name"]), (&json!("anchor.hello"), &json!("Ada")));
    assert_eq!(hello["voices"][0], json!({ "name": "rms", "language": "en", "about": "A voice." }));
    assert_eq!(client.next().await["type"], "anchor.rundown");
    let engines = client.next().await;
    assert_eq!(
        engines["engines"][0],
        json!({ "kind": "stt", "name": "scripted-stt", "state": "ready", "problem": null, "in_use": true })
    );
    assert_eq!(client.next().await["notices"], json!([]), "nothing has happened yet");
    client.speak(600).await;
    let events = client.until("response.done").await;
    let states: Vec<&str> =
        with(&events, "anchor.state").iter().map(|event| event["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["hearing", "thinking", "speaking"]);
    assert_eq!(with(&events, "anchor.transcript.partial")[0]["text"], "read");
    assert_eq!(with(&events, "anchor.story")[0]["story"], "harbour");
    assert!(with(&events, "anchor.latency")[0]["total_ms"].as_u64().unwrap() >= 400);

    server.rundown.send_modify(|on_air| on_air.problem = Some("line 3: no heading".into()));
    assert_eq!(client.find("anchor.rundown").await["problem"], "line 3: no heading");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_studio_is_told_what_happens_to_the_engines_and_what_happened_before() {
    let server = Server::start().await;
    let mut client = server.connect_studio().await;
    assert_eq!(client.find("anchor.notices").await["total"], 0);
    let happens = |seconds: u64| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let text = format!("ollama does not answer, for the {seconds}. time.");
        let notice = Notice { what: NoticeKind::SwitchedOver, about: "ollama".into(), text };
        server.notices.send_modify(|notices| {
            notices.total += 1;
            notices.recent.push((at, notice));
        });
    };
    happens(1);
    let event = client.find("anchor.notices").await;
    assert_eq!((&event["total"], event["notices"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(
        event["notices"][0],
        json!({ "what": "switched_over", "about": "ollama", "at_ms": 1000,
            "text": "ollama does not answer, for the 1. time." })
    );
    (2..30).for_each(happens);
    let event = server.connect_studio().await.find("anchor.notices").await;
    assert_eq!((&event["total"], event["notices"].as_array().unwrap().len()), (&json!(29), 10));
    assert_eq!(event["notices"][9]["at_ms"], 29_000, "the newest comes last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_client_hears_nothing_of_the_studio() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.notices.send_modify(|notices| notices.total += 1);
    client.speak(600).await;
    let events = client.until("response.done").await;
    assert!(!types(&events).iter().any(|kind| kind.starts_with("anchor.")));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_do_not_disturb_each_other() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    let endless = endless(&mut one).await;
    two.speak(600).await;
    let events = two.until("response.done").await;
    assert_eq!(events.last().unwrap()["response"]["status"], "completed");
    let key = |event: &Value| event["event_id"].as_str().unwrap().split('_').nth(1).unwrap().to_owned();
    assert!(events.iter().all(|event| key(event) == key(&events[0]) && key(event) != key(&endless)));
    one.assert_alive().await;
}
