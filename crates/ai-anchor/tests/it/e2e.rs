//! Real speech over a real line: synthetic voices ask, the anchor answers, a recogniser reads the answer back.

use std::time::{Duration, Instant};

use ai_anchor::bench::caller::Caller;
use ai_anchor::bench::host::Host;
use ai_anchor::bench::person::{Noise, Utterance};
use anchor_core::audio::{OUTPUT_RATE, level_dbfs, resample};
use serde_json::{Value, json};

use crate::support::served::Served;
use crate::support::{anchor, read_back, share_of_words, spoken};

/// The longest answer, all the headlines, takes half a minute to hear.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller in a room that has been quiet for a moment.
async fn call(host: &Host) -> Caller {
    let mut caller = Caller::call(&host.line()).await.unwrap();
    caller.wait_for("session.created", PATIENCE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    caller
}

/// An answer from beginning to end.
struct Answer {
    understood: String,
    story: String,
    transcript: String,
    item: String,
    heard: Vec<f32>,
}

/// Asks, and listens to the whole answer.
async fn ask(caller: &mut Caller, question: &Utterance) -> Answer {
    caller.clear_ear();
    caller.say(question);
    let mut events = Vec::new();
    caller
        .wait("the answer", PATIENCE, |event, _| {
            events.push(event.clone());
            event["type"] == "response.done"
        })
        .await
        .unwrap();
    let find = |kind: &str, field: &str| {
        let event = events.iter().find(|event| event["type"] == kind);
        event.and_then(|event| event[field].as_str()).unwrap_or_default().to_owned()
    };
    Answer {
        understood: find("conversation.item.input_audio_transcription.completed", "transcript"),
        story: find("anchor.story", "story"),
        transcript: find("response.output_audio_transcript.done", "transcript"),
        item: find("response.output_audio.done", "item_id"),
        heard: caller.ear().sound(),
    }
}

async fn retrieve(caller: &mut Caller, item: &str) -> Value {
    caller.send(json!({ "type": "conversation.item.retrieve", "item_id": item }));
    caller.wait_for("conversation.item.retrieved", PATIENCE).await.unwrap()["item"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn voices_ask_and_the_recogniser_reads_the_right_story_in_the_answer() {
    let host = anchor().await;
    for (voice, question, story, told) in [
        ("rms", "What happened with the harbour bridge?", "harbour-bridge", ["bridge", "harbour"]),
        ("awb", "What will the weather be like tomorrow?", "weather", ["storm", "weather"]),
        ("kal16", "Who won the island cup this year?", "island-cup", ["goal", "cup"]),
    ] {
        let mut caller = call(&host).await;
        let question = spoken(&host, voice, question).await;
        let answer = ask(&mut caller, &question).await;
        let read = read_back(&host, &answer.heard).await;
        let told_of =
            format!("{voice}: understood {:?}, said {:?}, read back {read:?}", answer.understood, answer.transcript);
        assert_eq!(answer.story, story, "{told_of}");
        let transcript = answer.transcript.to_lowercase();
        assert!(told.iter().any(|word| transcript.contains(word)), "{told_of}");
        assert!(share_of_words(&answer.transcript, &read) > 0.5, "{told_of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn talking_over_the_anchor_stops_it_and_it_remembers_what_was_heard() {
    let host = anchor().await;
    let mut caller = call(&host).await;
    caller.say(&spoken(&host, "rms", "What happened with the harbour bridge?").await);
    caller.wait("an audible answer", PATIENCE, |_, ear| ear.first_audible().is_some()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let said = caller.say(&spoken(&host, "rms", "Stop, please.").await);
    let done = caller.wait_for("response.done", PATIENCE).await.unwrap();
    assert_eq!(done["response"]["status"], "cancelled", "{done}");
    assert_eq!(done["response"]["status_details"]["reason"], "turn_detected");
    let silence = caller.ear().last_audible().unwrap().saturating_duration_since(said.first);
    assert!(silence < Duration::from_secs(1), "the anchor went on for {silence:?}");

    let item = done["response"]["output"][0]["id"].as_str().unwrap();
    let heard_text = retrieve(&mut caller, item).await["content"][0]["transcript"].as_str().unwrap().to_owned();
    let read = read_back(&host, &caller.ear().sound()).await;
    assert!(!heard_text.is_empty(), "two seconds were heard");
    assert!(share_of_words(&heard_text, &read) > 0.5, "written down {heard_text:?}, read back {read:?}");
    let (written, heard) = (heard_text.split_whitespace().count(), read.split_whitespace().count());
    assert!(written.abs_diff(heard) <= 4, "written down {heard_text:?}, read back {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_may_say_how_much_was_heard() {
    let host = anchor().await;
    let mut caller = call(&host).await;
    let answer = ask(&mut caller, &spoken(&host, "rms", "What happened with the harbour bridge?").await).await;
    let truncate = json!({
        "type": "conversation.item.truncate", "item_id": answer.item, "content_index": 0, "audio_end_ms": 1500,
    });
    caller.send(truncate);
    caller.wait_for("conversation.item.truncated", PATIENCE).await.unwrap();
    let item = retrieve(&mut caller, &answer.item).await;
    let heard = item["content"][0]["transcript"].as_str().unwrap();
    assert!(!heard.is_empty() && heard.len() < answer.transcript.len() / 2, "{heard:?} of {:?}", answer.transcript);
    assert!(answer.transcript.starts_with(heard));
}

/// Sound that is no speech, or speech from a poor microphone.
async fn disturbances(host: &Host) -> Vec<(&'static str, Vec<f32>, bool)> {
    let rate = OUTPUT_RATE as f32;
    let seconds = |s: f32| 0..(rate * s) as usize;
    let tone =
        |hz: f32, level: f32| seconds(5.0).map(move |n| level * (std::f32::consts::TAU * hz * n as f32 / rate).sin());
    let chord = |root: f32| {
        let notes = [1.0, 1.26, 1.5, 2.0].map(|ratio| tone(root * ratio, 0.08).collect::<Vec<_>>());
        (0..notes[0].len()).map(|n| notes.iter().map(|note| note[n]).sum::<f32>()).collect::<Vec<_>>()
    };
    let music = [chord(220.0), chord(261.6), chord(196.0)].concat();
    let speech = spoken(host, "rms", "What happened with the harbour bridge?").await.samples;
    let telephone = resample(&resample(&speech, OUTPUT_RATE, 8_000).unwrap(), 8_000, OUTPUT_RATE).unwrap();
    let studio = resample(&resample(&speech, OUTPUT_RATE, 192_000).unwrap(), 192_000, OUTPUT_RATE).unwrap();
    vec![
        ("digital silence", vec![0.0; OUTPUT_RATE as usize * 4], false),
        ("a constant tone", tone(440.0, 0.3).collect(), false),
        ("mains hum", tone(50.0, 0.5).collect(), false),
        ("an offset", vec![0.5; OUTPUT_RATE as usize * 4], false),
        ("loud noise", Noise::new(-12.0).take(OUTPUT_RATE as usize * 5).collect(), false),
        ("music", music, false),
        ("speech through a telephone", telephone, true),
        ("speech at 192 kHz", studio, true),
        ("clipped speech", speech.iter().map(|s| (s * 20.0).clamp(-1.0, 1.0)).collect(), true),
        ("speech with an offset", speech.iter().map(|s| s + 0.3).collect(), true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn noises_open_no_endless_turn_and_poor_microphones_are_heard() {
    let host = anchor().await;
    let calls = disturbances(&host).await.into_iter().map(|disturbance| disturb(&host, disturbance));
    // All at once: they are sessions of their own, and most of the time is spent listening.
    futures::future::join_all(calls).await;
}

async fn disturb(host: &Host, (name, sound, is_speech): (&'static str, Vec<f32>, bool)) {
    let mut caller = call(host).await;
    if let Some(utterance) = Utterance::new(sound) {
        caller.say(&utterance);
    }
    if is_speech {
        let done = caller.wait_for("response.done", PATIENCE).await;
        assert!(done.is_ok(), "{name} was not answered: {:?}", done.err());
        assert!(level_dbfs(&caller.ear().sound()) > -40.0, "the answer to {name} is silent");
    } else {
        let mut open = 0;
        let _ = caller
            .wait("quiet", Duration::from_secs(9), |event, _| {
                match event["type"].as_str() {
                    Some("input_audio_buffer.speech_started") => open += 1,
                    Some("input_audio_buffer.speech_stopped") => open -= 1,
                    _ => {}
                }
                false
            })
            .await;
        assert_eq!(open, 0, "{name} holds a turn open");
    }
    // Whatever it was: the next question is answered.
    let answer = ask(&mut caller, &spoken(host, "rms", "Who are you?").await).await;
    assert!(!answer.transcript.is_empty(), "after {name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_vanishes_in_the_middle_of_an_answer_leaves_nothing_behind() {
    let served = Served::start();
    let host = anchor().await;
    let question = spoken(&host, "rms", "What happened with the harbour bridge?").await;
    for _ in 0..3 {
        let mut caller = Caller::call(&served.line()).await.unwrap();
        caller.wait_for("session.created", PATIENCE).await.unwrap();
        caller.say(&question);
        caller.wait("sound", PATIENCE, |_, ear| ear.first_audible().is_some()).await.unwrap();
        assert_eq!(served.metric("anchor_sessions_open"), "1");
    }
    let until = Instant::now() + PATIENCE;
    while served.metric("anchor_sessions_open") != "0" {
        assert!(Instant::now() < until, "{} sessions are still open", served.metric("anchor_sessions_open"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
