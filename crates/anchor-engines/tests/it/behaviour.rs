//! What every engine of a table has to do, whatever it is.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::{
    EngineError, LlmEvent, LlmRequest, Message, Role, SttEvent, SttRequest, TtsEvent, TtsRequest,
};
use anchor_core::rundown::OnAir;
use anchor_engines::{Entry, LLM, LoadContext, STT, TTS, VAD};
use futures::StreamExt;
use futures::channel::mpsc;
use tokio::sync::watch;

use crate::servers::{self, Server};
use crate::tts::{engine, speak};

/// Far longer than any engine of these tables needs, so that only one that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

fn context(options: &str) -> LoadContext {
    LoadContext { rundown: watch::channel(OnAir::default()).1, options: options.parse().expect("a table") }
}

/// An engine with the server it needs, if it needs one.
struct Loaded<E: ?Sized> {
    engine: Arc<E>,
    _server: Option<Server>,
}

impl<E: ?Sized> Deref for Loaded<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.engine
    }
}

async fn load<E: ?Sized>(entry: &Entry<E>) -> Loaded<E> {
    let server = if entry.needs.network { Some(servers::stand_in(entry.name).await) } else { None };
    let options = server.as_ref().map_or_else(String::new, Server::options);
    let engine = (entry.load)(&context(&options)).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    Loaded { engine, _server: server }
}

fn refuses_unknown_options<E: ?Sized>(table: &[Entry<E>]) {
    for entry in table {
        let error = (entry.load)(&context("no_such_key = 1")).err().expect(entry.name);
        assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("no_such_key"), "{error}");
    }
}

/// Keeps up to `PATIENCE` what must come to an end.
async fn within<T>(name: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{name} does not end"))
}

mod stt {
    use anchor_core::engine::AudioInput;

    use super::*;

    const QUESTION: &str = "Good evening, what are the headlines?";

    /// Sound in frames of 20 ms.
    fn frames(sound: &[f32]) -> Vec<AudioFrame> {
        sound.chunks(INPUT_RATE as usize / 50).map(|piece| AudioFrame::new(piece.to_vec())).collect()
    }

    async fn question() -> Vec<AudioFrame> {
        let spoken = speak(&*engine("flite"), "rms", 1.0, &[QUESTION]).await;
        frames(&resample(&spoken.sound, OUTPUT_RATE, INPUT_RATE).unwrap())
    }

    fn turn(frames: Vec<AudioFrame>) -> AudioInput {
        futures::stream::iter(frames).boxed()
    }

    #[test]
    fn unknown_options_are_refused() {
        refuses_unknown_options(STT);
    }

    #[tokio::test]
    async fn words_are_shown_before_the_one_final() {
        let question = question().await;
        for entry in STT {
            let stt = load(entry).await;
            // Twice: nothing of a turn may be left in the next.
            for _ in 0..2 {
                let events = stt.transcribe(SttRequest::default(), turn(question.clone()));
                let mut events: Vec<_> = within(entry.name, events.collect()).await;
                let last = events.pop();
                assert!(
                    matches!(&last, Some(Ok(SttEvent::Final(text))) if !text.is_empty()),
                    "{}: {last:?}",
                    entry.name
                );
                assert!(!events.is_empty(), "{} shows nothing before the end", entry.name);
                let partial = |event: &Result<_, _>| matches!(event, Ok(SttEvent::Partial(text)) if !text.is_empty());
                assert!(events.iter().all(partial), "{}: {events:?}", entry.name);
            }
        }
    }

    #[tokio::test]
    async fn what_has_no_sound_has_no_words() {
        for entry in STT {
            let stt = load(entry).await;
            let empty = AudioFrame::new(Vec::new());
            for sound in [vec![], vec![empty.clone()], frames(&[0.0; 32_000]), frames(&[0.0]), vec![empty; 3]] {
                let events = stt.transcribe(SttRequest::default(), turn(sound));
                let events: Vec<_> = within(entry.name, events.collect()).await;
                assert_eq!(events, [Ok(SttEvent::Final(String::new()))], "{}", entry.name);
            }
        }
    }

    #[tokio::test]
    async fn a_request_may_name_a_language_and_words() {
        let question = question().await;
        for entry in STT {
            let stt = load(entry).await;
            let request = SttRequest { language: Some("en".into()), prompt: Some("harbour, Selmouth".into()) };
            let events: Vec<_> = within(entry.name, stt.transcribe(request, turn(question.clone())).collect()).await;
            assert!(matches!(events.last(), Some(Ok(SttEvent::Final(_)))), "{}: {events:?}", entry.name);
        }
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_the_work() {
        let question = question().await;
        for entry in STT {
            let stt = load(entry).await;
            // Dropped before anything was polled, and in the middle of a turn whose end is still to come.
            for polled in [false, true] {
                let (microphone, audio) = mpsc::unbounded();
                let mut events = stt.transcribe(SttRequest::default(), audio.boxed());
                question.iter().for_each(|frame| microphone.unbounded_send(frame.clone()).unwrap());
                if polled {
                    let _ = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
                }
                drop(events);
                within(entry.name, async {
                    while !microphone.is_closed() {
                        // An engine that computes is told at its next step, which may wait for sound.
                        let _ = microphone.unbounded_send(question[0].clone());
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
                .await;
            }
        }
    }
}

mod tts {
    use super::*;

    const CLAUSE: &str = "The harbour bridge opens again tomorrow morning, after eleven years of work.";

    #[test]
    fn unknown_options_are_refused() {
        refuses_unknown_options(TTS);
    }

    #[tokio::test]
    async fn there_is_a_voice() {
        for entry in TTS {
            let voices = load(entry).await.voices();
            assert!(!voices.is_empty(), "{}", entry.name);
            for voice in voices {
                assert_eq!(voice.language.len(), 2, "{}: {voice:?}", entry.name);
                assert!(!voice.about.is_empty(), "{}: {voice:?}", entry.name);
            }
        }
    }

    #[tokio::test]
    async fn each_clause_is_spoken_in_turn_and_ended_once() {
        for entry in TTS {
            let engine = load(entry).await;
            let (text, clauses) = mpsc::unbounded();
            let mut events = engine.speak(TtsRequest::default(), clauses.boxed());
            for _ in 0..3 {
                // The next clause is written only when the last one is heard: nothing may wait for more.
                text.unbounded_send(CLAUSE.to_owned()).unwrap();
                let mut samples = 0;
                loop {
                    match within(entry.name, events.next()).await.expect("the clause has not ended").unwrap() {
                        TtsEvent::Audio(frame) => {
                            assert!(!frame.is_empty() && frame.iter().all(|sample| sample.abs() < 1.0));
                            samples += frame.len();
                        }
                        TtsEvent::Word(word) => assert!(CLAUSE.is_char_boundary(word.text_end)),
                        TtsEvent::ClauseEnd => break,
                    }
                }
                let seconds = samples as f32 / OUTPUT_RATE as f32;
                assert!((2.0..10.0).contains(&seconds), "{}: {seconds} s", entry.name);
            }
            drop(text);
            assert_eq!(within(entry.name, events.next()).await, None);
        }
    }

    #[tokio::test]
    async fn what_has_no_sound_is_only_ended() {
        for entry in TTS {
            let engine = load(entry).await;
            let silent = ["", " ", "...", "\u{2014}", "\n\t", "?!", "\u{1f600}", "\0"].map(str::to_owned);
            let events = engine.speak(TtsRequest::default(), futures::stream::iter(silent.clone()).boxed());
            let events: Vec<_> = within(entry.name, events.collect()).await;
            assert_eq!(events, silent.map(|_| Ok(TtsEvent::ClauseEnd)), "{}", entry.name);
            let nothing = engine.speak(TtsRequest::default(), futures::stream::empty().boxed());
            assert_eq!(within(entry.name, nothing.collect::<Vec<_>>()).await, [], "{}", entry.name);
        }
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_the_work() {
        for entry in TTS {
            let engine = load(entry).await;
            // Dropped before anything, while speaking, and while waiting for a clause that never comes.
            for heard in [0, 1, 5] {
                let (text, clauses) = mpsc::unbounded();
                let mut events = engine.speak(TtsRequest::default(), clauses.boxed());
                for _ in 0..50 {
                    text.unbounded_send(CLAUSE.to_owned()).unwrap();
                }
                for _ in 0..heard {
                    within(entry.name, events.next()).await.unwrap().unwrap();
                }
                drop(events);
                released(entry.name, &text).await;
            }
            let (text, clauses) = mpsc::unbounded();
            let mut events = engine.speak(TtsRequest::default(), clauses.boxed());
            text.unbounded_send("One.".to_owned()).unwrap();
            while within(entry.name, events.next()).await.unwrap().unwrap() != TtsEvent::ClauseEnd {}
            drop(events);
            released(entry.name, &text).await;
        }
    }

    /// Waits until the engine has let go of its text: it holds it for as long as it works.
    async fn released(name: &str, text: &mpsc::UnboundedSender<String>) {
        within(name, async {
            while !text.is_closed() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_voice_nobody_has_is_an_error_and_the_engine_lives_on() {
        for entry in TTS {
            let engine = load(entry).await;
            let request = TtsRequest { voice: Some("no such voice".into()), speed: 1.0 };
            let events = engine.speak(request, futures::stream::iter([CLAUSE.to_owned()]).boxed());
            let events: Vec<_> = within(entry.name, events.collect()).await;
            assert!(matches!(events[..], [Err(EngineError::Unsupported { .. })]), "{}: {events:?}", entry.name);
            let events = engine.speak(TtsRequest::default(), futures::stream::iter([CLAUSE.to_owned()]).boxed());
            let events: Vec<_> = within(entry.name, events.collect()).await;
            assert_eq!(events.last(), Some(&Ok(TtsEvent::ClauseEnd)), "{}", entry.name);
        }
    }
}

mod llm {
    use super::*;

    fn request(line: &str) -> LlmRequest {
        LlmRequest { messages: vec![Message::new(Role::User, line)], ..LlmRequest::default() }
    }

    #[test]
    fn unknown_options_are_refused() {
        refuses_unknown_options(LLM);
    }

    #[tokio::test]
    async fn every_line_is_answered_even_an_empty_one() {
        for entry in LLM {
            let llm = load(entry).await;
            for request in [request("what is in the news"), request(""), LlmRequest::default()] {
                let events = within(entry.name, llm.generate(request).collect::<Vec<_>>()).await;
                assert!(events.iter().all(Result::is_ok), "{}: {events:?}", entry.name);
                let text = |event: &Result<LlmEvent, _>| matches!(event, Ok(LlmEvent::Delta(text)) if !text.is_empty());
                assert!(events.iter().any(text), "{} says nothing", entry.name);
            }
        }
    }

    #[tokio::test]
    async fn dropping_the_stream_does_no_harm() {
        for entry in LLM {
            let llm = load(entry).await;
            drop(llm.generate(request("what is in the news")));
            assert!(within(entry.name, llm.generate(request("hello")).next()).await.is_some(), "{}", entry.name);
        }
    }
}

mod vad {
    use super::*;

    #[test]
    fn unknown_options_are_refused() {
        refuses_unknown_options(VAD);
    }

    #[tokio::test]
    async fn pieces_of_any_size_give_what_the_whole_gives() {
        let sound: Vec<f32> = (0..20_000).map(|n| (n as f32 * 0.05).sin() * (n as f32 * 0.0007).sin() * 0.3).collect();
        for entry in VAD {
            let model = load(entry).await;
            let heard = |size: usize| {
                let mut detector = model.start();
                sound.chunks(size).filter_map(|piece| detector.push(piece)).collect::<Vec<f32>>()
            };
            let fine = heard(1);
            assert!(fine.len() > 10, "{}", entry.name);
            assert!(fine.iter().all(|probability| (0.0..=1.0).contains(probability)), "{}", entry.name);
            for size in [7, 320, 321] {
                assert_eq!(heard(size), fine, "{}: pieces of {size}", entry.name);
            }
            assert_eq!(heard(sound.len()), fine[fine.len() - 1..], "{}: the newest of many windows", entry.name);
            assert_eq!(model.start().push(&[]), None, "{}", entry.name);
        }
    }

    #[tokio::test]
    async fn garbage_is_not_speech_and_does_no_lasting_harm() {
        for entry in VAD {
            let model = load(entry).await;
            let (mut hurt, mut fresh) = (model.start(), model.start());
            for garbage in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e30] {
                let probability = hurt.push(&[garbage; 16_000]).expect(entry.name);
                assert!((0.0..=1.0).contains(&probability), "{}: {garbage} gives {probability}", entry.name);
            }
            let quiet = vec![0.0; 5 * 16_000];
            assert!(hurt.push(&quiet).expect(entry.name) < 0.35, "{}", entry.name);
            assert!(fresh.push(&quiet).expect(entry.name) < 0.35, "{}", entry.name);
        }
    }
}
