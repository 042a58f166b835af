//! The API beside conversations.

use anchor_server::Limits;
use serde_json::{Value, json};

use crate::support::engines::HEARD;
use crate::support::{Client, PATIENCE, Server};

/// The events of a stream of them.
fn events(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

const JSON: &str = "Content-Type: application/json\r\n";

async fn speech(server: &Server, body: Value) -> (u16, Vec<u8>) {
    server.post("/v1/audio/speech", JSON, body.to_string().as_bytes()).await
}

/// Uploads a form of these fields; `file` is the recording.
async fn upload(server: &Server, file: &[u8], fields: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let mut form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec();
    form.extend(file);
    for (name, value) in fields {
        form.extend(format!("\r\n--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").bytes());
    }
    form.extend(b"\r\n--x--\r\n");
    server.post("/v1/audio/transcriptions", "Content-Type: multipart/form-data; boundary=x\r\n", &form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_found_by_name() {
    let server = Server::start().await;
    let list = server.get("/v1/models", "").await;
    assert!(list.contains("\"object\":\"list\"") && list.contains("scripted-llm"), "{list}");
    assert!(server.get("/v1/models/scripted-tts", "").await.contains("\"object\":\"model\""));
    let missing = server.get("/v1/models/gpt-9", "").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("model_not_found"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_answered_whole_and_piece_by_piece() {
    let server = Server::start().await;
    let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": "good evening" }] });
    let (status, answer) = server.ask("/v1/chat/completions", "", chat.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "You said good evening.");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6 }));

    let mut chat = chat;
    chat["stream"] = true.into();
    chat["stream_options"] = json!({ "include_usage": true });
    let (_, body) = server.post("/v1/chat/completions", JSON, chat.to_string().as_bytes()).await;
    let events = events(&body);
    assert_eq!(events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said good evening.");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_in_every_form_can_be_transcribed_again() {
    let server = Server::start().await;
    for (format, begins) in [("wav", &b"RIFF"[..]), ("flac", b"fLaC"), ("opus", b"OggS"), ("mp3", b"\xff\xf3")] {
        let wanted =
            json!({ "model": "m", "input": "One two three. Four.", "voice": "alloy", "response_format": format });
        let (status, file) = speech(&server, wanted).await;
        assert_eq!(status, 200, "{format}: {}", String::from_utf8_lossy(&file));
        assert!(file.starts_with(begins), "{format}");
        let (status, text) = upload(&server, &file, &[("model", "m")]).await;
        let text: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((status, &text["text"]), (200, &json!(HEARD)), "{format}: {text}");
        assert_eq!(text["usage"], json!({ "type": "duration", "seconds": 1 }), "{format}");
    }
    let (_, pcm) = speech(&server, json!({ "input": "One two.", "voice": "slt", "response_format": "pcm" })).await;
    assert_eq!(pcm.len(), 2 * 2 * 2400, "two words of 100 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_comes_as_events_where_they_are_asked_for() {
    let server = Server::start().await;
    let wanted =
        json!({ "input": "One two.", "voice": { "id": "slt" }, "response_format": "pcm", "stream_format": "sse" });
    let events = events(&speech(&server, wanted).await.1);
    assert!(events[0].contains("speech.audio.delta"), "{events:?}");
    let done: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!((&done["type"], &done["usage"]["total_tokens"]), (&json!("speech.audio.done"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_come_in_every_form() {
    let server = Server::start().await;
    let wanted = json!({ "input": "One two three.", "voice": "slt", "response_format": "wav" });
    let (_, wav) = speech(&server, wanted).await;
    let ask = async |fields: &[(&str, &str)]| {
        let (status, body) = upload(&server, &wav, fields).await;
        assert_eq!(status, 200, "{fields:?}");
        String::from_utf8(body).unwrap()
    };
    assert_eq!(ask(&[("response_format", "text")]).await, format!("{HEARD}\n"));
    assert_eq!(ask(&[("response_format", "srt")]).await, format!("1\n00:00:00,000 --> 00:00:00,300\n{HEARD}\n\n"));
    assert!(ask(&[("response_format", "vtt")]).await.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:00.300\n"));
    let verbose: Value =
        serde_json::from_str(&ask(&[("response_format", "verbose_json"), ("language", "en")]).await).unwrap();
    assert_eq!(
        (&verbose["language"], &verbose["duration"], &verbose["text"]),
        (&json!("en"), &json!(0.3), &json!(HEARD))
    );
    let events = events(ask(&[("stream", "true")]).await.as_bytes());
    assert!(events[0].contains("transcript.text.delta") && events[1].contains("transcript.text.done"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_engines_work_for_takes_a_place_until_its_answer_is_sent() {
    let server = Server::with(Limits { sessions: 1, ..Limits::default() }).await;
    let wanted = || json!({ "input": "One.", "voice": "slt", "response_format": "pcm" });
    for _ in 0..3 {
        assert_eq!(speech(&server, wanted()).await.0, 200, "the place is given back");
    }
    let client = Client::connect(server.address, "/v1/realtime").await;
    assert_eq!(speech(&server, wanted()).await.0, 503);
    assert_eq!(server.ask("/v1/realtime/client_secrets", "", json!({})).await.0, 200, "nobody works for it");
    drop(client);
    eventually_served(&server, wanted()).await;
}

async fn eventually_served(server: &Server, wanted: Value) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while speech(server, wanted.clone()).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the place of a client that left is not given back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_the_words_of_the_api() {
    let server = Server::start().await;
    let refusal = |answer: (u16, Vec<u8>)| {
        let body: Value = serde_json::from_slice(&answer.1).expect("an error is JSON");
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
        (answer.0, body["error"]["param"].as_str().unwrap_or_default().to_owned())
    };
    for (body, param) in [
        (json!({ "input": "" }), "input"),
        (json!({ "input": "x".repeat(4097) }), "input"),
        (json!({ "input": "a", "response_format": "aac" }), "response_format"),
        (json!({ "input": "a", "voice": "nobody" }), "voice"),
        (json!({ "input": "a", "speed": 5 }), "speed"),
        (json!({ "input": "a", "speed": "fast" }), "speed"),
    ] {
        assert_eq!(refusal(speech(&server, body.clone()).await), (400, param.into()), "{body}");
    }
    assert_eq!(refusal(server.post("/v1/audio/speech", JSON, b"{").await).0, 400);
    assert_eq!(refusal(server.post("/v1/audio/speech", "", b"{}").await).0, 415);
    assert_eq!(refusal(server.post("/v1/chat/completions", JSON, &vec![b' '; 3_000_000]).await).0, 413);
    assert_eq!(refusal(server.post("/v1/models", JSON, b"{}").await).0, 405);
    assert_eq!(refusal(server.post("/v1/nothing", JSON, b"{}").await).0, 404);
    assert_eq!(refusal(upload(&server, b"no sound", &[]).await), (400, "file".into()));
    assert_eq!(
        refusal(upload(&server, b"RIFF", &[("response_format", "diarized_json")]).await),
        (400, "response_format".into())
    );
    assert_eq!(
        refusal(upload(&server, b"RIFF", &[("timestamp_granularities[]", "word")]).await),
        (400, "timestamp_granularities[]".into())
    );
    assert_eq!(refusal(server.post("/v1/audio/transcriptions", JSON, b"{}").await).0, 415);
}
