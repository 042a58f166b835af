//! Calls: sessions over WebRTC, on good networks and bad ones.

use std::time::Duration;

use anchor_server::Limits;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::support::Server;
use crate::support::caller::{Caller, Network};
use crate::support::client::types;
use crate::support::engines::{ENDLESS, HEARD};

const SOUND: f32 = 0.1;

fn ask(caller: &mut Caller, text: &str) {
    let content = json!([{ "type": "input_text", "text": text }]);
    let item = json!({ "type": "message", "role": "user", "content": content });
    caller.send(json!({ "type": "conversation.item.create", "item": item }));
    caller.send(json!({ "type": "response.create" }));
}

fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect(body);
    assert!(body["error"]["message"].as_str().unwrap().ends_with('.'), "{body}");
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// Packets of 20 ms in which something was heard.
fn sounding(caller: &Caller) -> usize {
    caller.heard.iter().filter(|peak| **peak > SOUND).count()
}

async fn a_spoken_turn(network: Network, least_heard: usize) {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, network, "?model=anchor").await;
    assert_eq!(caller.find("session.created").await["session"]["model"], "anchor");
    caller.speak(600);
    let events = caller.until("output_audio_buffer.stopped").await;
    let kinds: Vec<&str> =
        types(&events).into_iter().filter(|kind| !kind.contains("transcri") && !kind.contains("delta")).collect();
    assert_eq!(
        kinds,
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
            "output_audio_buffer.started",
            "response.output_audio.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "output_audio_buffer.stopped",
        ]
    );
    assert!(events.iter().all(|event| event["type"] != "response.output_audio.delta"));
    let done = events.iter().find(|event| event["type"] == "response.done").unwrap();
    assert_eq!(done["response"]["output"][0]["content"][0]["transcript"], format!("You said {HEARD}."));
    caller.wait(Duration::from_millis(400)).await;
    // "You said read me the news." takes 600 ms: 30 packets.
    let heard = sounding(&caller);
    assert!((least_heard..=32).contains(&heard), "{heard} of 30 packets were heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_turn_goes_in_the_order_of_the_dialect() {
    a_spoken_turn(Network::default(), 29).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twentieth_lost_and_the_rest_late_and_out_of_order_is_survived() {
    a_spoken_turn(Network { loss_per_cent: 5, delay_ms: (50, 90) }, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_lost_on_a_slow_network_is_survived() {
    a_spoken_turn(Network { loss_per_cent: 20, delay_ms: (100, 200) }, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn talking_over_the_anchor_silences_it_and_cuts_the_item() {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    ask(&mut caller, ENDLESS);
    caller.find("output_audio_buffer.started").await;
    caller.wait(Duration::from_secs(1)).await;
    caller.speak(300);
    let events = caller.until("conversation.item.truncated").await;
    let at = |kind: &str| events.iter().position(|event| event["type"] == kind).expect(kind);
    assert!(at("output_audio_buffer.cleared") < at("response.done"));
    let done = &events[at("response.done")]["response"];
    assert_eq!(done["status_details"]["reason"], "turn_detected");
    let cut = events.last().unwrap();
    assert_eq!(cut["item_id"], done["output"][0]["id"]);
    let milliseconds = cut["audio_end_ms"].as_u64().unwrap();
    assert!((900..3_000).contains(&milliseconds), "{milliseconds} ms of it were sent");
    // What is on its way still comes; then nothing does.
    caller.wait(Duration::from_millis(100)).await;
    caller.heard.clear();
    caller.wait(Duration::from_millis(200)).await;
    assert!(caller.heard.len() > 5 && sounding(&caller) == 0, "{:?}", caller.heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_clear_what_it_hears_and_doing_so_twice_is_no_error() {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    caller.send(json!({ "type": "output_audio_buffer.clear" }));
    ask(&mut caller, ENDLESS);
    caller.find("output_audio_buffer.started").await;
    caller.send(json!({ "type": "response.cancel" }));
    caller.send(json!({ "type": "output_audio_buffer.clear" }));
    caller.send(json!({ "type": "input_audio_buffer.clear" }));
    let events = caller.until("input_audio_buffer.cleared").await;
    assert!(types(&events).contains(&"output_audio_buffer.cleared"));
    assert!(!types(&events).contains(&"error"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_complete_can_still_be_cut_while_it_is_heard() {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    ask(&mut caller, "hello");
    let events = caller.until("output_audio_buffer.started").await;
    let done = events.iter().find(|event| event["type"] == "response.done").expect("all of it was given out at once");
    caller.send(json!({ "type": "output_audio_buffer.clear" }));
    let cleared = caller.find("output_audio_buffer.cleared").await;
    assert_eq!(cleared["response_id"], done["response"]["id"]);
    let cut = caller.find("conversation.item.truncated").await;
    assert_eq!(cut["item_id"], done["response"]["output"][0]["id"]);
    assert!(cut["audio_end_ms"].as_u64().unwrap() < 300, "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_frees_the_seat_by_any_way() {
    let server = Server::with(Limits { sessions: 1, ..Limits::default() }).await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    let (head, body) = server.offer("/v1/realtime/calls", "application/sdp", b"v=0").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(code(&body), "too_many_sessions");
    let (head, _) = server.offer(&format!("{}/hangup", caller.location), "application/json", b"").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    caller.run(|caller| caller.closed).await;
    server.idle().await;
    let (head, body) = server.offer(&format!("{}/hangup", caller.location), "application/json", b"").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(code(&body), "call_not_found");
    Caller::connect(&server, Network::default(), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_connects_and_one_that_goes_silent_lose_their_seat() {
    let limits = Limits { sessions: 1, silence: Duration::from_millis(500), ..Limits::default() };
    let server = Server::with(limits).await;
    drop(Caller::offer(&server, Network::default(), "").await);
    freed(&server).await;
    drop(Caller::connect(&server, Network::default(), "").await);
    freed(&server).await;
}

/// Waits until there is a seat: an offer that is none is refused for what it is then.
async fn freed(server: &Server) {
    for _ in 0..100 {
        let (_, body) = server.offer("/v1/realtime/calls", "application/sdp", b"v=0").await;
        if code(&body) == "invalid_offer" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the seat is still taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_is_said_before_the_call_closes() {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    let stopped = server.stop();
    assert_eq!(caller.find("error").await["error"]["code"], "session_ended");
    caller.run(|caller| caller.closed).await;
    stopped.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_may_come_with_the_offer() {
    let server = Server::start().await;
    let form = |parts: &[(&str, &str)]| -> Vec<u8> {
        let part = |(name, text): &(&str, &str)| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        (parts.iter().map(part).collect::<String>() + "--x--\r\n").into_bytes()
    };
    let post = async |parts: &[(&str, &str)]| {
        server.offer("/v1/realtime/calls", "multipart/form-data; boundary=x", &form(parts)).await
    };
    let mut rtc = str0m::Rtc::new(std::time::Instant::now());
    let mut api = rtc.sdp_api();
    api.add_channel("oai-events".into());
    let sdp = api.apply().unwrap().0.to_sdp_string();
    let (head, answer) = post(&[("sdp", &sdp), ("session", r#"{"type":"realtime","instructions":"Be brief."}"#)]).await;
    assert!(head.starts_with("HTTP/1.1 201") && answer.starts_with("v=0"), "{head}\n{answer}");
    let (head, body) = post(&[("sdp", &sdp), ("session", r#"{"type":"realtime","colour":"red"}"#)]).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert_eq!(code(&body), "unknown_parameter");
    assert_eq!(code(&post(&[("session", "{}")]).await.1), "missing_required_parameter");
    assert_eq!(code(&post(&[]).await.1), "missing_required_parameter");
    let (_, body) = server.offer("/v1/realtime/calls", "multipart/form-data; boundary=x", b"--x\r\nnonsense").await;
    assert_eq!(code(&body), "invalid_multipart");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_offer_is_refused_in_words() {
    let server = Server::start().await;
    for (kind, body, expected) in [
        ("application/sdp", &b""[..], "invalid_offer"),
        ("application/sdp", b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "invalid_offer"),
        ("application/sdp", b"\xff\xfe", "invalid_value"),
        ("application/sdp; charset=utf-8", &vec![b'a'; 10_000_000], "string_above_max_length"),
        ("application/json", b"{}", "unsupported_media_type"),
    ] {
        let (_, answer) = server.offer("/v1/realtime/calls", kind, body).await;
        // A body that is far too long may be cut off with the connection before the answer is read.
        if !answer.is_empty() {
            assert_eq!(code(&answer), expected);
        }
    }
    server.connect().await.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_strangers_change_nothing() {
    let server = Server::start().await;
    let mut caller = Caller::connect(&server, Network::default(), "").await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..2_000_u32 {
        let mut noise = vec![0; n as usize % 1_500];
        noise.iter_mut().enumerate().for_each(|(at, byte)| *byte = (n as usize * 31 + at * 7) as u8);
        stranger.send_to(&noise, server.calls).await.ok();
    }
    caller.find("session.created").await;
    ask(&mut caller, "hello");
    caller.find("output_audio_buffer.stopped").await;
}
