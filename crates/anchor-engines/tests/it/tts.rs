//! The voices: what they say, when, and how loud.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anchor_core::audio::{OUTPUT_RATE, Samples};
use anchor_core::engine::{EngineError, SPEECH_LOUDNESS_LUFS, Tts, TtsEvent, TtsRequest, WordTime};
use anchor_core::rundown::OnAir;
use anchor_engines::{LoadContext, TTS, loudness};
use futures::StreamExt;
use tokio::sync::watch;

/// The engine of this name out of the table.
pub(crate) fn engine(name: &str) -> Arc<dyn Tts> {
    let entry = TTS.iter().find(|entry| entry.name == name).expect("the table has it");
    let context = LoadContext { rundown: watch::channel(OnAir::default()).1, options: toml::Table::new() };
    (entry.load)(&context).expect("its packages are installed")
}

/// What one engine made of some clauses.
#[derive(Default)]
pub(crate) struct Spoken {
    pub(crate) sound: Vec<f32>,
    /// Word times, one list for each clause.
    pub(crate) words: Vec<Vec<WordTime>>,
    /// Length of each clause.
    pub(crate) clauses: Vec<usize>,
}

/// Speaks `clauses` to the end.
pub(crate) async fn speak(engine: &dyn Tts, voice: &str, speed: f32, clauses: &[&str]) -> Spoken {
    let clauses: Vec<String> = clauses.iter().map(|clause| (*clause).to_owned()).collect();
    let request = TtsRequest { voice: Some(voice.to_owned()), speed };
    let mut events = engine.speak(request, futures::stream::iter(clauses).boxed());
    let mut spoken = Spoken::default();
    let mut words = Vec::new();
    while let Some(event) = events.next().await {
        match event.expect("it can be spoken") {
            TtsEvent::Audio(frame) => spoken.sound.extend_from_slice(&frame),
            TtsEvent::Word(word) => words.push(word),
            TtsEvent::ClauseEnd => {
                spoken.words.push(std::mem::take(&mut words));
                spoken.clauses.push(spoken.sound.len() - spoken.clauses.iter().sum::<usize>());
            }
        }
    }
    assert!(words.is_empty(), "no word comes behind its clause");
    spoken
}

fn seconds(samples: usize) -> f32 {
    samples as f32 / OUTPUT_RATE as f32
}

const NEWS: &str =
    "The council voted last night to reopen the old harbour railway, which had been closed for eleven years.";

/// Ordinary sentences, none of them used for calibration.
const READINGS: [(&str, &str); 8] = [
    ("en", NEWS),
    ("es", "El ayuntamiento decidió anoche reabrir el viejo ferrocarril del puerto, cerrado desde hace once años."),
    ("fr", "Le conseil a voté hier soir la réouverture de l'ancienne voie ferrée du port, fermée depuis onze ans."),
    ("pt", "A câmara decidiu ontem à noite reabrir a antiga linha do porto, fechada há onze anos."),
    ("hi", "परिषद ने कल रात पुरानी बंदरगाह रेलवे को फिर से खोलने का फैसला किया, जो ग्यारह साल से बंद थी।"),
    (
        "de",
        "Der Rat hat gestern Abend beschlossen, die alte Hafenbahn wieder zu öffnen, die seit elf Jahren stillsteht.",
    ),
    ("nl", "De raad besloot gisteravond de oude havenspoorlijn te heropenen, die elf jaar gesloten was."),
    ("it", "Il consiglio ha deciso ieri sera di riaprire la vecchia ferrovia del porto, chiusa da undici anni."),
];

#[tokio::test]
async fn all_voices_are_equally_loud_and_none_clips() {
    for name in ["flite", "espeak"] {
        let engine = engine(name);
        for voice in engine.voices() {
            let text =
                READINGS.iter().find(|(language, _)| *language == voice.language).map(|(_, text)| *text).unwrap();
            let spoken = speak(&*engine, &voice.name, 1.0, &[text]).await;
            let lufs = loudness::integrated(&spoken.sound, OUTPUT_RATE).unwrap();
            let peak = loudness::true_peak(&spoken.sound, OUTPUT_RATE).unwrap();
            println!("{name} {}: {lufs:.1} LUFS, {peak:.1} dBTP, {:.1} s", voice.name, seconds(spoken.sound.len()));
            assert!((lufs - SPEECH_LOUDNESS_LUFS).abs() <= 1.5, "{name} {}: {lufs:.1} LUFS", voice.name);
            assert!(peak <= -1.0, "{name} {}: {peak:.2} dBTP", voice.name);
        }
    }
}

#[tokio::test]
async fn flite_has_all_its_voices_the_anchor_first() {
    let names: Vec<String> = engine("flite").voices().into_iter().map(|voice| voice.name).collect();
    assert_eq!(names, ["rms", "slt", "awb", "kal16", "kal"]);
}

#[tokio::test]
async fn espeak_has_all_its_languages() {
    let names: Vec<String> = engine("espeak").voices().into_iter().map(|voice| voice.name).collect();
    assert_eq!(names, ["en", "es", "fr", "pt", "hi", "de", "nl", "it"]);
}

#[tokio::test]
async fn words_are_placed_in_the_text_and_in_the_sound() {
    let engine = engine("flite");
    let clauses = ["Müller’s café has 25 guests — for £5.", "Really?"];
    for voice in engine.voices() {
        let spoken = speak(&*engine, &voice.name, 1.0, &clauses).await;
        for ((clause, words), length) in clauses.iter().zip(&spoken.words).zip(&spoken.clauses) {
            let read: Vec<&str> = words.iter().map(|word| &clause[..word.text_end]).collect();
            let expected: &[&str] = match *clause {
                "Really?" => &["Really"],
                _ => &[
                    "Müller’s",
                    "Müller’s café",
                    "Müller’s café has",
                    "Müller’s café has 25",
                    "Müller’s café has 25 guests",
                    "Müller’s café has 25 guests — for",
                    "Müller’s café has 25 guests — for £5",
                    "Müller’s café has 25 guests — for £5",
                ],
            };
            assert_eq!(read, expected, "{}", voice.name);
            assert!(words.is_sorted_by_key(|word| word.end));
            let last = words.last().unwrap().end.0 as usize;
            assert!(last <= *length && seconds(length - last) < 0.35, "{}: {last} of {length}", voice.name);
        }
    }
}

/// A pause in the sound lies where the word times say that a word ends.
#[tokio::test]
async fn word_times_are_true() {
    let engine = engine("flite");
    let text = "stop, stop, stop, stop";
    for voice in ["rms", "slt", "awb", "kal16", "kal"] {
        let spoken = speak(&*engine, voice, 1.0, &[text]).await;
        let level = |from: usize, ms: usize| {
            let to = (from + ms * OUTPUT_RATE as usize / 1000).min(spoken.sound.len());
            anchor_core::audio::level_dbfs(&spoken.sound[from..to])
        };
        for word in &spoken.words[0] {
            let end = word.end.0 as usize;
            let before = level(end - Samples::from_ms(250).0 as usize, 200);
            let behind = level(end + Samples::from_ms(20).0 as usize, 30);
            assert!(before - behind > 15.0, "{voice} at {:.2} s: {before:.0} then {behind:.0} dBFS", seconds(end));
        }
    }
}

#[tokio::test]
async fn speed_changes_the_length() {
    for (name, voices) in [("flite", &["rms", "kal16"][..]), ("espeak", &["en"][..])] {
        let engine = engine(name);
        for voice in voices {
            let length = async |speed| seconds(speak(&*engine, voice, speed, &[NEWS]).await.sound.len());
            let (slow, plain, fast) = (length(0.5).await, length(1.0).await, length(2.0).await);
            assert!(
                (1.6..2.4).contains(&(slow / plain)),
                "{name} {voice}: {slow} s at half the pace, {plain} s as it comes"
            );
            assert!(
                (0.4..0.65).contains(&(fast / plain)),
                "{name} {voice}: {fast} s at twice the pace, {plain} s as it comes"
            );
        }
    }
}

#[tokio::test]
async fn what_a_voice_cannot_do_is_said_before_it_starts() {
    for name in ["flite", "espeak"] {
        let engine = engine(name);
        let refusal = async |request| {
            let mut events = engine.speak(request, futures::stream::iter(["Hello".to_owned()]).boxed());
            let error = events.next().await.unwrap().unwrap_err();
            assert!(events.next().await.is_none());
            assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
            error.to_string()
        };
        let message = refusal(TtsRequest { voice: Some("nobody".into()), speed: 1.0 }).await;
        assert!(message.starts_with(&format!("{name} cannot do that: it has no voice `nobody`; it has ")), "{message}");
        for speed in [0.0, -1.0, 100.0, f32::NAN, f32::INFINITY] {
            let message = refusal(TtsRequest { voice: None, speed }).await;
            assert!(message.contains("it speaks at 0.25 to 4 times its pace"), "{message}");
        }
    }
}

/// The library is C of another age: nothing a language model may write must bring it down.
#[tokio::test]
async fn no_text_breaks_a_voice() {
    let engine = engine("flite");
    let hostile = [
        "\0a\0",
        "'",
        "' a '",
        "a'",
        "''''a",
        "a....b",
        "$",
        "$a",
        "$.5",
        "$1,,,2",
        "1,",
        ",1",
        "-1-",
        "--1",
        "1e9",
        "%s %n %d",
        "a%",
        "1/2/3/4/5/6",
        "::1",
        "((((a",
        "a))))",
        "{[(a)]}",
        "a\tb\nc\r\nd",
        "\"a",
        "A.B.C.",
        "I I I I",
        "xvii XVII",
        "00",
        "0",
        "007",
        "1st 2th 3rdx",
        "999999999999999999999999",
        "0.000000001",
        "12:99:77",
        "2024-13-45",
        "a\u{202e}b",
        "ﬁ ﷺ ㍿",
        "zzzzzzqqqx",
        "#a@b.c/d?e=f&g",
        "Ⅷ",
        "१२३",
        "\u{feff}a",
        "a\u{0}",
        "..a..",
        "a;;;;b",
        "_a_",
        "a-b-c-d-e",
        "-",
        "a -",
        "- a",
        "O'Neill's'",
    ];
    for voice in ["rms", "kal16"] {
        for text in hostile {
            let spoken = speak(&*engine, voice, 1.0, &[text]).await;
            assert_eq!(spoken.clauses.len(), 1, "{text:?}");
        }
        let long = speak(&*engine, voice, 4.0, &[&"antidisestablishmentarianism".repeat(40)]).await;
        assert!(seconds(long.sound.len()) > 5.0);
    }
}

/// Voices share a library that has no locks: what each says must not depend on the others. The breath of the
/// statistical voices is random, so their sound is compared by its length, words and loudness.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_answers_at_once_are_what_each_is_alone() {
    let engine = engine("flite");
    let jobs = || ["rms", "slt", "awb", "kal16", "kal", "rms", "slt", "rms"].into_iter().enumerate();
    let text = |index: usize| format!("Story {index}. {}", &NEWS[index..]);
    let mut alone = Vec::new();
    for (index, voice) in jobs() {
        alone.push(speak(&*engine, voice, 1.0, &[&text(index)]).await);
    }
    for _ in 0..3 {
        let together = jobs().map(|(index, voice)| {
            let (engine, text) = (engine.clone(), text(index));
            tokio::spawn(async move { speak(&*engine, voice, 1.0, &[&text]).await })
        });
        let together = futures::future::join_all(together).await;
        for (((_, voice), together), alone) in jobs().zip(together).zip(&alone) {
            let together = together.unwrap();
            assert_eq!(together.words, alone.words, "{voice}");
            assert_eq!(together.sound.len(), alone.sound.len(), "{voice}");
            if voice.starts_with("kal") {
                assert!(together.sound == alone.sound, "{voice}");
            }
            let loudness = |spoken: &Spoken| loudness::integrated(&spoken.sound, OUTPUT_RATE).unwrap();
            assert!((loudness(&together) - loudness(alone)).abs() < 0.5, "{voice}");
        }
    }
}

/// Prints what the voices cost; asserts nothing about time.
#[tokio::test]
async fn the_first_sound_comes_before_the_last() {
    for name in ["flite", "espeak"] {
        let engine = engine(name);
        for voice in engine.voices() {
            let text =
                READINGS.iter().find(|(language, _)| *language == voice.language).map(|(_, text)| *text).unwrap();
            speak(&*engine, &voice.name, 1.0, &["One."]).await;
            let mut firsts = Vec::new();
            let (mut spent, mut length) = (Duration::ZERO, 0);
            for _ in 0..3 {
                let begun = Instant::now();
                let request = TtsRequest { voice: Some(voice.name.clone()), speed: 1.0 };
                let mut events = engine.speak(request, futures::stream::iter([text.to_owned()]).boxed());
                let mut frames = 0;
                while let Some(event) = events.next().await {
                    if let TtsEvent::Audio(frame) = event.unwrap() {
                        if frames == 0 {
                            firsts.push(begun.elapsed());
                        }
                        frames += 1;
                        length += frame.len();
                    }
                }
                spent += begun.elapsed();
                assert!(frames > 10, "{name} {}: {frames} frames", voice.name);
            }
            firsts.sort();
            println!(
                "{name} {}: first sound {:.1?} (worst of 3 {:.1?}), {:.4} s of work for a second of speech",
                voice.name,
                firsts[1],
                firsts[2],
                spent.as_secs_f32() / seconds(length)
            );
        }
    }
}
