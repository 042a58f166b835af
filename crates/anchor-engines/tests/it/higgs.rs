//! Higgs Audio behind protocol servers of its three dialects, with what can go wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anchor_core::audio::OUTPUT_RATE;
use anchor_core::engine::{EngineError, EventStream, SPEECH_LOUDNESS_LUFS, Tts, TtsEvent, TtsRequest};
use anchor_core::rundown::OnAir;
use anchor_engines::loudness::integrated;
use anchor_engines::{LoadContext, TTS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::servers::morse::{self, spoken, words_heard};
use crate::servers::speech::{Kind, Speech};
use crate::servers::{Server, Trouble};

const TEXT: &str = "A ferry ran aground off the harbour wall on Tuesday morning, and nobody was hurt.";

/// An engine of this name with these options.
pub fn engine(name: &str, options: &str) -> Result<Arc<dyn Tts>, EngineError> {
    let entry = TTS.iter().find(|entry| entry.name == name).expect("it is in the table");
    let options = options.parse().expect("a table");
    (entry.load)(&LoadContext { rundown: watch::channel(OnAir::default()).1, options })
}

async fn higgs(kind: Kind, options: &str) -> (Arc<dyn Tts>, Speech, Server) {
    let (speech, server) = Speech::serve(kind).await;
    let engine = engine("higgs-server", &format!("{}\n{options}", server.options())).unwrap();
    (engine, speech, server)
}

fn speak(engine: &Arc<dyn Tts>, voice: Option<&str>, clauses: &[&str]) -> EventStream<TtsEvent> {
    let clauses: Vec<String> = clauses.iter().map(|clause| (*clause).to_owned()).collect();
    let request = TtsRequest { voice: voice.map(str::to_owned), speed: 1.0 };
    engine.speak(request, stream::iter(clauses).boxed())
}

/// Sound, clauses that ended, and the error if there is one.
pub async fn listen(mut events: EventStream<TtsEvent>) -> (Vec<f32>, usize, Option<EngineError>) {
    let (mut sound, mut ended) = (Vec::new(), 0);
    while let Some(event) = events.next().await {
        match event {
            Ok(TtsEvent::Audio(frame)) => sound.extend_from_slice(&frame),
            Ok(TtsEvent::ClauseEnd) => ended += 1,
            Ok(TtsEvent::Word(_)) => {}
            Err(error) => return (sound, ended, Some(error)),
        }
    }
    (sound, ended, None)
}

async fn hear(engine: &Arc<dyn Tts>, voice: Option<&str>, clauses: &[&str]) -> Vec<f32> {
    let (sound, ended, error) = listen(speak(engine, voice, clauses)).await;
    assert_eq!(error, None);
    assert_eq!(ended, clauses.len());
    assert_eq!(words_heard(&sound), spoken(&clauses.join(" ")));
    sound
}

/// What is said when it fails, with the address left out.
async fn failure(engine: &Arc<dyn Tts>, server: &Server) -> (String, Vec<f32>) {
    let (sound, _, error) = listen(speak(engine, None, &[TEXT])).await;
    (error.expect("it fails").to_string().replace(&server.url(), "URL"), sound)
}

fn clip(directory: &Path) -> String {
    let path = directory.join("anna.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..32_000 {
        writer.write_sample((n % 100 * 50) as i16).unwrap();
    }
    writer.finalize().unwrap();
    format!("[voices.anna]\naudio = '{}'\ntext = 'I am Anna.'\nlanguage = 'de'", path.display())
}

const DIALECTS: [Kind; 4] = [Kind::Boson, Kind::VllmOmni, Kind::SglangOmni, Kind::OldSglangOmni];

#[tokio::test]
async fn every_dialect_is_found_and_spoken() {
    for kind in DIALECTS {
        let (engine, speech, _server) = higgs(kind, "").await;
        let sound = hear(&engine, None, &[TEXT, "Now the weather.", "It rains."]).await;
        let lufs = integrated(&sound, OUTPUT_RATE).unwrap();
        assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() < 1.5, "{kind:?}: {lufs}");
        let asked = speech.asked();
        assert_eq!(asked.len(), 3, "one request a clause");
        for request in asked {
            assert_eq!(request.path, "/v1/audio/speech");
            assert_eq!(request.body["response_format"], "pcm");
            assert_eq!(request.body["model"], "higgs-audio-v2-generation-3B-base");
        }
    }
}

#[tokio::test]
async fn a_dialect_that_is_set_needs_no_list_of_voices() {
    let (engine, speech, _server) = higgs(Kind::Boson, "dialect = 'boson'\nmodel = 'mine'\napi_key = 'k'").await;
    speech.state_troubles.push(Trouble::Refuses(404, "no such page".into()));
    hear(&engine, None, &[TEXT]).await;
    let asked = speech.asked();
    assert_eq!((asked[0].path, &asked[0].body["model"]), ("/v1/chat/completions", &"mine".into()));
    assert_eq!(asked[0].key.as_deref(), Some("Bearer k"));
    let error = engine_error("dialect = 'bosun'");
    insta::assert_snapshot!(error, @"higgs-server cannot be used: its options cannot be read: unknown variant `bosun`, expected one of `auto`, `boson`, `vllm-omni`, `sglang-omni` in `dialect`. Correct the table of higgs-server in the configuration.");
}

fn engine_error(options: &str) -> String {
    engine("higgs-server", options).err().expect("it is wrong").to_string()
}

#[tokio::test]
async fn what_is_no_server_of_higgs_is_named() {
    let (engine, _speech, server) = higgs(Kind::OpenAi, "").await;
    insta::assert_snapshot!(failure(&engine, &server).await.0, @"higgs-server cannot be used: what answers at URL is no server of Higgs Audio that it knows. Set `dialect` to boson, vllm-omni or sglang-omni, or use the engine openai-speech.");
    let gone = Server::start(axum::Router::new()).await;
    let options = gone.options();
    drop(gone);
    let engine = self::engine("higgs-server", &options).unwrap();
    let error = engine.probe().await.unwrap_err().to_string();
    assert!(error.contains("no connection"), "{error}");
}

#[tokio::test]
async fn voices_are_those_configured_and_those_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let names = |engine: &Arc<dyn Tts>| {
        engine.voices().into_iter().map(|voice| format!("{} {}", voice.name, voice.language)).collect::<Vec<_>>()
    };
    let (engine, speech, _server) = higgs(Kind::Boson, "").await;
    assert_eq!(names(&engine), ["default en"]);
    engine.probe().await.unwrap();
    assert_eq!(names(&engine), ["belinda en", "en_man en", "zh_man_sichuan zh"]);
    assert!(speech.asked().is_empty(), "asking costs no speech");
    hear(&engine, Some("en_man"), &[TEXT]).await;
    assert_eq!(speech.asked()[0].body["voice"], "en_man");
    // What its menu said before the server was asked stays good.
    hear(&engine, Some("default"), &[TEXT]).await;
    assert_eq!(speech.asked()[1].body["voice"], "belinda");
    let (_, _, error) = listen(speak(&engine, Some("nobody"), &[TEXT])).await;
    insta::assert_snapshot!(error.unwrap(), @"higgs-server cannot do that: it has no voice `nobody`; it has belinda, en_man, zh_man_sichuan");

    let options = format!("voice = 'en_man'\n{}", clip(directory.path()));
    let (engine, speech, _server) = higgs(Kind::Boson, &options).await;
    assert_eq!(names(&engine), ["anna de"]);
    hear(&engine, None, &[TEXT]).await;
    assert_eq!(speech.asked()[0].body["voice"], "en_man");
    assert_eq!(names(&engine), ["en_man en", "anna de", "belinda en", "zh_man_sichuan zh"]);
}

#[tokio::test]
async fn voices_are_cloned_in_every_dialect() {
    let directory = tempfile::tempdir().unwrap();
    for kind in DIALECTS {
        let (engine, speech, _server) = higgs(kind, &clip(directory.path())).await;
        hear(&engine, Some("anna"), &[TEXT, "And now the weather."]).await;
        let asked = speech.asked();
        let sent = if kind == Kind::Boson {
            assert_eq!(asked[0].path, "/v1/chat/completions");
            let messages = &asked[0].body["messages"];
            assert_eq!(messages[1]["content"], "I am Anna.");
            assert_eq!(messages[2]["role"], "assistant");
            messages[2]["content"][0]["input_audio"]["data"].as_str().unwrap().to_owned()
        } else {
            assert_eq!(asked[0].body["ref_text"], "I am Anna.");
            let reference = asked[0].body["ref_audio"].as_str().unwrap();
            reference.strip_prefix("data:audio/wav;base64,").unwrap().to_owned()
        };
        let wav = hound::WavReader::new(std::io::Cursor::new(STANDARD.decode(sent).unwrap())).unwrap();
        assert_eq!((wav.spec().sample_rate, wav.duration()), (24_000, 48_000));
        assert_eq!(asked[0].body["seed"], asked[1].body["seed"], "a steady voice");
    }
}

#[tokio::test]
async fn speed_is_asked_only_of_those_who_keep_it() {
    for kind in DIALECTS {
        let (engine, speech, _server) = higgs(kind, "").await;
        let request = TtsRequest { voice: None, speed: 1.25 };
        let (sound, _, error) = listen(engine.speak(request, stream::iter([TEXT.to_owned()]).boxed())).await;
        assert_eq!((words_heard(&sound), error), (spoken(TEXT), None));
        let kept = matches!(kind, Kind::SglangOmni | Kind::OldSglangOmni);
        assert_eq!(speech.asked()[0].body["speed"].as_f64(), kept.then_some(1.25), "{kind:?}");
    }
}

#[tokio::test]
async fn before_the_first_sound_it_is_tried_again() {
    let troubles = [
        Trouble::Refuses(503, "overloaded".into()),
        Trouble::Refuses(500, "no GPU".into()),
        Trouble::Hangs,
        Trouble::StopsAfter(0),
        Trouble::BreaksAfter(0),
        Trouble::SaysAfter(0, "{\"error\": {\"message\": \"out of memory\"}}".into()),
        Trouble::SaysAfter(0, String::new()),
    ];
    let directory = tempfile::tempdir().unwrap();
    for options in ["first_ms = 200\nbetween_ms = 200\n", &format!("first_ms = 200\n{}", clip(directory.path()))] {
        for trouble in &troubles {
            let (engine, speech, _server) = higgs(Kind::Boson, options).await;
            speech.troubles.push(trouble.clone());
            hear(&engine, None, &[TEXT]).await;
            assert_eq!(speech.asked().len(), 2, "{trouble:?}");
        }
    }
}

#[tokio::test]
async fn after_the_first_sound_a_fault_is_an_error() {
    let json = "{\"error\": {\"object\": \"error\", \"message\": \"CUDA out of memory\", \"code\": 400}}";
    let (engine, speech, server) = higgs(Kind::Boson, "between_ms = 200").await;
    // So that the first sound is not held back to be measured.
    hear(&engine, None, &[TEXT]).await;
    let mut said = Vec::new();
    for trouble in [
        Trouble::StopsAfter(12),
        Trouble::BreaksAfter(12),
        Trouble::SaysAfter(12, json.into()),
        Trouble::SaysAfter(12, json[..40].into()),
        Trouble::SaysAfter(12, String::new()),
    ] {
        speech.troubles.push(trouble);
        let (error, sound) = failure(&engine, &server).await;
        let heard = words_heard(&sound);
        assert!(!heard.is_empty() && heard[..heard.len() - 1] == spoken(TEXT)[..heard.len() - 1]);
        said.push(error);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"higgs-server failed: URL: it stopped in the middle and said nothing for 200 ms
higgs-server failed: URL: the connection broke (unexpected EOF during chunk size line)
higgs-server failed: URL: it sent an error in the middle of its sound: CUDA out of memory
higgs-server failed: URL: it sent an error in the middle of its sound: an error that was cut off: {"error": {"object": "error", "message":
higgs-server failed: URL: it broke off after 1190 ms, too soon for its text"#);
    hear(&engine, None, &[TEXT]).await;
}

#[tokio::test]
async fn what_is_no_speech_is_an_error() {
    let (engine, speech, server) = higgs(Kind::SglangOmni, "").await;
    let mut frame = vec![0xff, 0xf3, 0x64, 0xc4];
    frame.resize(144, 0x55);
    let mut said = Vec::new();
    for (content, bytes) in [
        ("audio/mpeg", frame.repeat(50)),
        ("audio/pcm", vec![0; 48_000]),
        ("audio/pcm", vec![0; 480_000]),
        ("audio/pcm", [0x00, 0x20, 0x00, 0xe0].repeat(600_000)),
        ("audio/pcm", [0x00, 0x20, 0x00, 0xe0].repeat(2_000)),
        ("application/json", b"{\"status\": \"queue\", \"detail\": \"busy\"}".to_vec()),
    ] {
        speech.change(|habits| habits.instead = Some((content, bytes)));
        said.push(failure(&engine, &server).await.0);
    }
    insta::assert_snapshot!(said.join("\n"), @"higgs-server failed: the server sends MP3, not bare samples
higgs-server failed: URL: it answered without any sound
higgs-server failed: URL: it sent 3 s of nothing but silence
higgs-server failed: URL: it speaks for more than 18.2 s, too long for its text
higgs-server failed: URL: it broke off after 166 ms, too soon for its text
higgs-server failed: URL: it sent an error instead of sound: busy");
}

#[tokio::test]
async fn sound_of_any_shape_is_understood() {
    for (rate, says_rate, piece, gain) in
        [(24_000, false, 1, 0.1), (16_000, true, 333, 0.5), (48_000, true, 100_000, 3.0), (22_050, true, 4_801, 1.0)]
    {
        let (engine, speech, _server) = higgs(Kind::SglangOmni, "").await;
        speech.change(|habits| {
            (habits.rate, habits.says_rate, habits.piece, habits.gain) = (rate, says_rate, piece, gain);
        });
        let sound = hear(&engine, None, &[TEXT]).await;
        let lufs = integrated(&sound, OUTPUT_RATE).unwrap();
        assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() < 1.5, "{rate} Hz: {lufs}");
    }
}

#[tokio::test]
async fn a_server_that_died_is_asked_anew_when_it_is_back() {
    let (engine, speech, mut server) = higgs(Kind::Boson, "").await;
    hear(&engine, None, &[TEXT]).await;
    speech.troubles.push(Trouble::Slow(Duration::from_millis(20)));
    let mut events = speak(&engine, None, &[TEXT, TEXT]);
    assert!(matches!(events.next().await, Some(Ok(TtsEvent::Audio(_)))));
    server.kill().await;
    let (_, ended, error) = listen(events).await;
    assert!(matches!(error, Some(EngineError::Failed { .. })) && ended == 0, "{error:?}");
    assert!(engine.probe().await.is_err());
    // Another server was started in its place.
    *speech.kind.lock().unwrap() = Kind::VllmOmni;
    server.revive().await;
    engine.probe().await.unwrap();
    hear(&engine, None, &[TEXT]).await;
    assert_eq!(speech.asked().last().unwrap().body["stream_format"], "audio");
}

#[tokio::test]
async fn of_several_servers_those_that_work_are_asked() {
    let (_, gone) = Speech::serve(Kind::Boson).await;
    let (first, mut one) = Speech::serve(Kind::Boson).await;
    let (second, two) = Speech::serve(Kind::Boson).await;
    let urls = format!("url = ['{}', '{}', '{}']", gone.url(), one.url(), two.url());
    drop(gone);
    let engine = engine("higgs-server", &urls).unwrap();
    hear(&engine, None, &[TEXT]).await;
    one.kill().await;
    hear(&engine, None, &[TEXT]).await;
    assert!(!first.asked().is_empty() && !second.asked().is_empty());
}

#[tokio::test]
async fn the_next_clause_is_asked_for_while_the_last_is_heard() {
    let (engine, speech, server) = higgs(Kind::Boson, "").await;
    let (text, clauses) = mpsc::unbounded();
    let mut events = engine.speak(TtsRequest::default(), clauses.boxed());
    for clause in [TEXT, "Now the weather.", "It rains."] {
        text.unbounded_send(clause.to_owned()).unwrap();
    }
    while speech.asked().len() < 2 {
        assert!(!matches!(events.next().await.unwrap().unwrap(), TtsEvent::ClauseEnd), "asked too late");
    }
    assert_eq!(speech.asked()[1].body["input"], "Now the weather.");
    // The listener leaves: so do the requests.
    drop(events);
    let deadline = Instant::now() + Duration::from_secs(5);
    speech.troubles.push(Trouble::Hangs);
    let hanging = speak(&engine, None, &[TEXT]);
    let waiting = tokio::time::timeout(Duration::from_millis(200), listen(hanging)).await;
    assert!(waiting.is_err());
    while server.open() > 2 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.open() <= 2, "connections of requests nobody waits for stay open: {}", server.open());
    assert!(morse::distinct("A ferry ran"));
}

#[test]
fn mistakes_in_the_options_say_what_to_write() {
    insta::assert_snapshot!(engine_error("overlap_frames = 8"), @"higgs-server cannot be used: pieces of 16 and 8 frames lose sound. Set `chunk_frames` to 9 or more and `overlap_frames` to 11 or more.");
    insta::assert_snapshot!(engine_error("language = 'English'"), @"higgs-server cannot be used: `English` is no language. Write its two letters, such as `en`.");
    insta::assert_snapshot!(engine_error("temperature = 3"), @"higgs-server cannot be used: its temperature is 3. Set `temperature` to something from 0 to 2.");
    insta::assert_snapshot!(engine_error("[voices.anna]\naudio = '/none.wav'\ntext = 'Hello.'"), @"higgs-server cannot be used: the clip of the voice `anna` cannot be used: /none.wav: No such file or directory (os error 2). Give it a WAV file of 1 to 30 s, and in `text` what is said in it.");
    insta::assert_snapshot!(engine_error("[voices.anna]\naudio = '/none.wav'"), @"higgs-server cannot be used: its options cannot be read: missing field `text` in `voices.anna`. Correct the table of higgs-server in the configuration.");
}
