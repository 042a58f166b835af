//! Any server with `/v1/audio/speech`: a protocol server with its faults, and a real one where there is one.

use std::process::Command;
use std::sync::Arc;

use anchor_core::audio::{OUTPUT_RATE, resample};
use anchor_core::engine::{EngineError, EventStream, SPEECH_LOUDNESS_LUFS, Tts, TtsEvent, TtsRequest};
use anchor_engines::loudness::integrated;
use futures::{StreamExt, stream};

use crate::higgs::{engine, listen};
use crate::reference::Reference;
use crate::servers::morse::{spoken, words_heard};
use crate::servers::speech::{Kind, Speech};
use crate::servers::{Server, Trouble};

const TEXT: &str = "The bridge over the river opens again tomorrow.";

async fn openai(options: &str) -> (Arc<dyn Tts>, Speech, Server) {
    let (speech, server) = Speech::serve(Kind::OpenAi).await;
    (engine("openai-speech", &format!("{}\n{options}", server.options())).unwrap(), speech, server)
}

fn speak(engine: &Arc<dyn Tts>, voice: Option<&str>, speed: f32) -> EventStream<TtsEvent> {
    let request = TtsRequest { voice: voice.map(str::to_owned), speed };
    engine.speak(request, stream::iter([TEXT.to_owned()]).boxed())
}

async fn hear(engine: &Arc<dyn Tts>, voice: Option<&str>, speed: f32) {
    let (sound, ended, error) = listen(speak(engine, voice, speed)).await;
    assert_eq!((words_heard(&sound), ended, error), (spoken(TEXT), 1, None));
}

#[tokio::test]
async fn everything_asked_for_is_passed_on() {
    let options = "model = 'kokoro'\nvoices = ['af_bella', 'am_adam']\ninstructions = 'Calm.'\napi_key = 'secret'";
    let (engine, speech, _server) = openai(options).await;
    let names: Vec<String> = engine.voices().into_iter().map(|voice| voice.name).collect();
    assert_eq!(names, ["af_bella", "am_adam"]);
    hear(&engine, None, 1.0).await;
    hear(&engine, Some("am_adam"), 1.5).await;
    let asked = speech.asked();
    insta::assert_snapshot!(asked[0].body, @r#"{"input":"The bridge over the river opens again tomorrow.","instructions":"Calm.","model":"kokoro","response_format":"pcm","speed":1.0,"voice":"af_bella"}"#);
    assert_eq!((&asked[1].body["voice"], asked[1].body["speed"].as_f64()), (&"am_adam".into(), Some(1.5)));
    assert_eq!(asked[0].key.as_deref(), Some("Bearer secret"));
    let (_, _, error) = listen(speak(&engine, Some("alloy"), 1.0)).await;
    insta::assert_snapshot!(error.unwrap(), @"openai-speech cannot do that: it has no voice `alloy`; it has af_bella, am_adam");
}

#[tokio::test]
async fn a_server_without_bare_samples_is_asked_for_wav_from_then_on() {
    let (engine, speech, _server) = openai("").await;
    speech.change(|habits| (habits.only_wav, habits.rate) = (true, 22_050));
    hear(&engine, None, 1.0).await;
    hear(&engine, None, 1.0).await;
    let formats: Vec<_> = speech.asked().iter().map(|asked| asked.body["response_format"].clone()).collect();
    assert_eq!(formats, ["pcm", "wav", "wav"]);

    let (engine, speech, server) = openai("format = 'pcm'").await;
    speech.change(|habits| habits.only_wav = true);
    let (_, _, error) = listen(speak(&engine, None, 1.0)).await;
    let error = error.unwrap().to_string().replace(&server.url(), "URL");
    insta::assert_snapshot!(error, @"openai-speech cannot do that: the server refuses the request: response_format: Input should be 'mp3' or 'wav' (400 Bad Request)");
}

#[tokio::test]
async fn samples_of_another_rate_are_resampled() {
    let (engine, speech, _server) = openai("sample_rate = 16000").await;
    speech.change(|habits| habits.rate = 16_000);
    hear(&engine, None, 1.0).await;
    let (engine, speech, _server) = openai("format = 'wav'").await;
    speech.change(|habits| habits.rate = 44_100);
    hear(&engine, None, 1.0).await;
}

#[tokio::test]
async fn faults_are_tried_again_before_the_first_sound_and_errors_after_it() {
    let (engine, speech, server) = openai("first_ms = 200\nbetween_ms = 200").await;
    for trouble in [Trouble::Refuses(503, "loading".into()), Trouble::Hangs, Trouble::BreaksAfter(0)] {
        speech.troubles.push(trouble);
        hear(&engine, None, 1.0).await;
    }
    let mut said = Vec::new();
    for trouble in [
        Trouble::StopsAfter(8),
        Trouble::SaysAfter(8, "{\"detail\": \"worker died\"}".into()),
        Trouble::Refuses(401, "Incorrect API key provided".into()),
        Trouble::Refuses(404, "The model `tts-1` does not exist".into()),
    ] {
        speech.troubles.push(trouble);
        let (_, _, error) = listen(speak(&engine, None, 1.0)).await;
        said.push(error.unwrap().to_string().replace(&server.url(), "URL"));
    }
    insta::assert_snapshot!(said.join("\n"), @"openai-speech failed: URL: it stopped in the middle and said nothing for 200 ms
openai-speech failed: URL: it sent an error in the middle of its sound: worker died
openai-speech cannot be used: the server does not let it in: Incorrect API key provided (401 Unauthorized). Set the right `api_key` in the engine's options.
openai-speech failed: the server refuses the request: The model `tts-1` does not exist (404 Not Found)");
    hear(&engine, None, 1.0).await;
}

#[tokio::test]
async fn whether_it_is_there_is_asked_without_speaking() {
    let (engine, speech, mut server) = openai("").await;
    engine.probe().await.unwrap();
    speech.state_troubles.push(Trouble::Refuses(503, "loading".into()));
    assert!(engine.probe().await.is_err());
    // A server without a list of models is there all the same.
    speech.state_troubles.push(Trouble::Refuses(404, "Not Found".into()));
    engine.probe().await.unwrap();
    server.kill().await;
    assert!(matches!(engine.probe().await, Err(EngineError::Failed { .. })));
    assert!(speech.asked().is_empty());
}

#[test]
fn mistakes_in_the_options_say_what_to_write() {
    let say = |options| engine("openai-speech", options).err().unwrap().to_string();
    insta::assert_snapshot!(say("voices = []"), @r#"openai-speech cannot be used: its list of voices has 0 names. Write `voices = ["alloy"]` with the names of the server's voices."#);
    insta::assert_snapshot!(say("format = 'mp3'"), @"openai-speech cannot be used: its options cannot be read: unknown variant `mp3`, expected one of `auto`, `pcm`, `wav` in `format`. Correct the table of openai-speech in the configuration.");
    insta::assert_snapshot!(say("sample_rate = 24"), @"openai-speech cannot be used: `sample_rate` is 24. Write the rate of the server's bare samples in Hz, such as 24000.");
    insta::assert_snapshot!(say("language = 'en-GB'"), @"openai-speech cannot be used: `en-GB` is no language. Write its two letters, such as `en`.");
}

/// A server that others wrote; see `tests/reference/speech_server.py` and `docs/engines/voices.md`. Where bare samples are asked
/// for, it sends WAV of 22,050 Hz.
#[tokio::test]
async fn a_server_of_others_is_understood() {
    let Some(server) = Reference::start("speech_server.py", "ovos_tts_server") else { return };
    let engine = engine("openai-speech", &format!("url = '{}/openai'", server.url())).unwrap();
    engine.probe().await.unwrap();
    let (heard, ended, error) = listen(speak(&engine, None, 1.0)).await;
    assert_eq!((ended, error), (1, None));
    let lufs = integrated(&heard, OUTPUT_RATE).unwrap();
    assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() < 3.0, "{lufs}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spoken.wav");
    assert!(Command::new("espeak-ng").args(["-v", "en", "-w"]).arg(&path).arg(TEXT).status().unwrap().success());
    let reader = hound::WavReader::open(&path).unwrap();
    let rate = reader.spec().sample_rate;
    let spoken: Vec<f32> = reader.into_samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    let spoken = resample(&spoken, rate, OUTPUT_RATE).unwrap();
    let likeness = (0..spoken.len() - heard.len() + 1).map(|at| likeness(&spoken[at..], &heard)).fold(0.0, f32::max);
    assert!(likeness > 0.97, "{likeness}");
}

/// Normalised correlation.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let sum = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let a = &a[..b.len()];
    sum(a, b) / (sum(a, a) * sum(b, b)).sqrt().max(1e-9)
}
