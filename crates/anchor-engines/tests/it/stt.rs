//! The recogniser: real speech in, words out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::{EngineError, EventStream, Stt, SttEvent, SttRequest};
use anchor_core::rundown::{OnAir, Rundown};
use anchor_engines::{LoadContext, STT};
use futures::StreamExt;
use futures::channel::mpsc;
use tokio::sync::watch;

use crate::tts;

const RUNDOWN: &str = include_str!("../../../../rundowns/evening.md");

/// Questions a listener of that programme might ask.
const QUESTIONS: [&str; 40] = [
    "is the harbour bridge open again",
    "why was the bridge in selmouth closed",
    "how much did the repair of the bridge cost",
    "when can lorries drive over the bridge",
    "what did ellen tarrow say",
    "what will the weather be like tonight",
    "how strong are the gusts around port callan",
    "is it going to rain tomorrow morning",
    "when does the storm reach the coast",
    "tell me about the weather on the weekend",
    "who won the island cup",
    "what was the score of the match",
    "who scored the winning goal for the rovers",
    "where was the match played",
    "what does coach tom alder say about it",
    "what did the scientists find in the deep sea",
    "where does the glowing snail live",
    "why does the snail glow",
    "who is mira solane",
    "does the snail have a name",
    "who can get the free flu vaccine",
    "when do the vaccinations begin",
    "do i need an appointment for the vaccine",
    "how many clinics offer the vaccine",
    "what did doctor samuel reeve say",
    "are there any trams on wednesday",
    "why are the tram drivers on strike",
    "how much more pay does the union want",
    "will the buses run during the strike",
    "any news about the tram strike",
    "when does the lantern festival begin",
    "what is the theme of the festival in aldmoor",
    "how many lanterns are there",
    "who built the largest lantern",
    "what about the lantern festival",
    "where will the new battery factory be built",
    "how many jobs will the factory bring",
    "who is investing in the battery factory",
    "why do the neighbours worry about the water",
    "good evening what are the headlines",
];

fn on_air(text: &str, version: u64) -> OnAir {
    OnAir { rundown: Arc::new(Rundown::parse(text).expect("it is a rundown")), version, problem: None }
}

fn load(rundown: watch::Receiver<OnAir>, options: &str) -> Result<Arc<dyn Stt>, EngineError> {
    let entry = STT.iter().find(|entry| entry.name == "pocketsphinx").expect("the table has it");
    (entry.load)(&LoadContext { rundown, options: options.parse().expect("a table") })
}

/// The recogniser with the sample rundown on air.
fn recogniser() -> Arc<dyn Stt> {
    load(watch::channel(on_air(RUNDOWN, 1)).1, "").expect("its packages are installed")
}

/// `text` as a voice says it over low noise, at the recogniser's rate.
async fn said(voice: &str, text: &str) -> Vec<f32> {
    let spoken = tts::speak(&*tts::engine("flite"), voice, 1.0, &[text]).await;
    let speech = resample(&spoken.sound, OUTPUT_RATE, INPUT_RATE).unwrap();
    let quiet = vec![0.0; INPUT_RATE as usize / 4];
    let mut sound = [&quiet[..], &speech, &quiet].concat();
    for (sample, noise) in sound.iter_mut().zip(noise(0.0017)) {
        *sample += noise;
    }
    sound
}

/// White noise up to `peak`.
fn noise(peak: f32) -> impl Iterator<Item = f32> {
    // Numerical Recipes' linear congruential generator.
    let states =
        std::iter::successors(Some(1_u32), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    states.map(move |state| peak * (state as f32 / u32::MAX as f32 * 2.0 - 1.0))
}

/// Sound in frames of 20 ms.
fn frames(sound: &[f32]) -> Vec<AudioFrame> {
    sound.chunks(320).map(|piece| AudioFrame::new(piece.to_vec())).collect()
}

fn transcribe(stt: &dyn Stt, sound: &[f32]) -> EventStream<SttEvent> {
    stt.transcribe(SttRequest::default(), futures::stream::iter(frames(sound)).boxed())
}

/// Partials and the final.
async fn events(stt: &dyn Stt, sound: &[f32]) -> (Vec<String>, String) {
    let mut partials = Vec::new();
    let mut events = transcribe(stt, sound);
    while let Some(event) = events.next().await {
        match event.unwrap() {
            SttEvent::Partial(text) => partials.push(text),
            SttEvent::Final(text) => {
                assert_eq!(events.next().await, None, "nothing comes after the final");
                return (partials, text);
            }
        }
    }
    panic!("there was no final");
}

async fn understood(stt: &dyn Stt, sound: &[f32]) -> String {
    events(stt, sound).await.1
}

/// Substitutions, insertions and deletions that make `heard` of `said`.
fn word_errors(said: &str, heard: &str) -> usize {
    let heard: Vec<&str> = heard.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (done, word) in said.split_whitespace().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (at, other) in heard.iter().enumerate() {
            let best = (diagonal + usize::from(word != *other)).min(row[at] + 1).min(row[at + 1] + 1);
            diagonal = std::mem::replace(&mut row[at + 1], best);
        }
    }
    row[heard.len()]
}

/// Word error rate over pairs of what was said and what was heard.
fn word_error_rate<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> f32 {
    let (errors, words) = pairs.into_iter().fold((0, 0), |(errors, words), (said, heard)| {
        (errors + word_errors(said, heard), words + said.split_whitespace().count())
    });
    errors as f32 / words as f32
}

#[test]
fn word_errors_are_counted() {
    for (said, heard, errors) in
        [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a", "a b", 1), ("a b", "x y", 2), ("a", "", 1)]
    {
        assert_eq!(word_errors(said, heard), errors, "{said:?} {heard:?}");
    }
}

#[tokio::test]
async fn questions_about_the_rundown_are_understood() {
    let stt = recogniser();
    // All questions in the clearest voice, some in the others: each takes its time.
    for (voice, every, bound) in [("rms", 1, 0.15), ("kal16", 3, 0.20), ("awb", 3, 0.25), ("slt", 3, 0.25)] {
        let mut heard = Vec::new();
        let (mut spent, mut length) = (Duration::ZERO, 0);
        for question in QUESTIONS.into_iter().step_by(every) {
            let sound = said(voice, question).await;
            let begun = Instant::now();
            heard.push(understood(&*stt, &sound).await);
            spent += begun.elapsed();
            length += sound.len();
        }
        let rate = word_error_rate(QUESTIONS.into_iter().step_by(every).zip(heard.iter().map(String::as_str)));
        let exact = QUESTIONS.into_iter().step_by(every).zip(&heard).filter(|(said, heard)| said == heard).count();
        let real_time = spent.as_secs_f32() / (length as f32 / INPUT_RATE as f32);
        println!(
            "{voice}: {:.1} % word errors, {exact} of {} exact, {real_time:.2} s for a second of sound",
            rate * 100.0,
            heard.len()
        );
        assert!(rate <= bound, "{voice}: {:.1} % word errors", rate * 100.0);
    }
}

#[tokio::test]
async fn partials_grow_while_a_turn_is_spoken() {
    let stt = recogniser();
    let sound = said("rms", "how many jobs will the factory bring").await;
    let (partials, last) = events(&*stt, &sound).await;
    assert!(partials.len() >= 4, "{partials:?}");
    let words = |text: &String| text.split_whitespace().count();
    assert!(words(&partials[0]) <= 2 && words(partials.last().unwrap()) >= 5, "{partials:?}");
    assert!(partials.windows(2).all(|pair| pair[0] != pair[1]), "a partial is news");
    assert!(last.contains("factory"), "{last}");
}

/// Prints what the end of an utterance costs; asserts only that the words are there.
#[tokio::test]
async fn the_final_follows_the_last_frame() {
    let stt = recogniser();
    let mut waits = Vec::new();
    for question in &QUESTIONS[..10] {
        let sound = said("rms", question).await;
        let (frames_in, audio) = mpsc::unbounded();
        let mut events = stt.transcribe(SttRequest::default(), audio.boxed());
        for frame in frames(&sound) {
            frames_in.unbounded_send(frame).unwrap();
        }
        // The recogniser has caught up when it has taken the last frame and nothing new comes of it.
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(300), events.next()).await {
            event.unwrap();
        }
        let begun = Instant::now();
        drop(frames_in);
        let text = loop {
            if let SttEvent::Final(text) = events.next().await.expect("a final").unwrap() {
                break text;
            }
        };
        waits.push(begun.elapsed());
        assert!(!text.is_empty());
    }
    waits.sort();
    println!("end of the sound to the final: p50 {:.1?}, worst of 10 {:.1?}", waits[5], waits[9]);
}

#[tokio::test]
async fn a_new_rundown_brings_its_names_with_the_next_turn() {
    let (rundown, receiver) = watch::channel(on_air(RUNDOWN, 1));
    let stt = load(receiver, "").unwrap();
    let sound = said("rms", "tell me about zanthorpe wilkobar").await;
    let before = understood(&*stt, &sound).await;
    assert!(!before.contains("zanthorpe"), "{before}");
    let news = "# News\n\n## Zanthorpe gets a new mayor\nZanthorpe has elected Wilkobar as its mayor.\n";
    rundown.send_replace(on_air(news, 2));
    let after = understood(&*stt, &sound).await;
    assert!(after.contains("zanthorpe") && after.contains("wilkobar"), "{after}");
}

#[tokio::test]
async fn turns_at_the_same_time_do_not_mix() {
    let stt = recogniser();
    let (cup, snail) =
        (said("rms", "who won the island cup").await, said("kal16", "tell me about the glowing snail").await);
    let alone = (understood(&*stt, &cup).await, understood(&*stt, &snail).await);
    let fresh = recogniser();
    let together = futures::future::join(understood(&*fresh, &cup), understood(&*fresh, &snail)).await;
    assert!(alone.0.contains("island cup") && alone.1.contains("glowing snail"), "{alone:?}");
    assert!(together.0.contains("island cup") && together.1.contains("glowing snail"), "{together:?}");
}

#[tokio::test]
async fn what_is_no_speech_has_no_words() {
    let stt = recogniser();
    let second = INPUT_RATE as usize;
    let tone =
        |hz: f32| (0..2 * second).map(move |n| 0.3 * (n as f32 * hz * std::f32::consts::TAU / second as f32).sin());
    let sounds: [(&str, Vec<f32>); 8] = [
        ("nothing", vec![]),
        ("one sample", vec![0.1]),
        ("digital silence", vec![0.0; 2 * second]),
        ("quiet noise", noise(0.001).take(2 * second).collect()),
        ("loud noise", noise(0.1).take(6 * second).collect()),
        ("offset", vec![0.5; 2 * second]),
        ("tone", tone(440.0).collect()),
        ("hum", tone(50.0).collect()),
    ];
    for (name, sound) in sounds {
        assert_eq!(understood(&*stt, &sound).await, "", "{name}");
    }
}

#[tokio::test]
async fn bad_sound_is_heard_as_well_as_it_goes() {
    let stt = recogniser();
    let sound = said("rms", "tell me about the lantern festival").await;
    let with = |change: fn(f32) -> f32| sound.iter().map(|sample| change(*sample)).collect::<Vec<f32>>();
    for (name, sound) in [
        ("clipped", with(|s| (s * 2.0).clamp(-1.0, 1.0))),
        ("over full scale", with(|s| s * 2.0)),
        ("quiet", with(|s| s * 0.05)),
        ("offset", with(|s| s + 0.3)),
    ] {
        let heard = understood(&*stt, &sound).await;
        assert!(heard.contains("lantern"), "{name}: {heard}");
    }
}

#[tokio::test]
async fn a_turn_may_last_minutes() {
    let stt = recogniser();
    let question = said("rms", "who won the island cup").await;
    let minutes: Vec<f32> = question.iter().copied().cycle().take(70 * INPUT_RATE as usize).collect();
    let heard = understood(&*stt, &minutes).await;
    let times = heard.matches("island").count();
    let spoken = minutes.len() / question.len();
    assert!(times * 2 >= spoken, "{times} of {spoken}: {heard}");
}

#[tokio::test]
async fn a_dropped_turn_gives_its_decoder_back() {
    let stt = load(watch::channel(on_air(RUNDOWN, 1)).1, "most_turns = 1").unwrap();
    let (frames_in, audio) = mpsc::unbounded();
    let mut first = stt.transcribe(SttRequest::default(), audio.boxed());
    let sound = said("rms", "who won the island cup").await;
    for frame in frames(&sound) {
        frames_in.unbounded_send(frame).unwrap();
    }
    first.next().await.unwrap().unwrap();
    let refused = transcribe(&*stt, &sound).next().await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("most_turns"), "{refused}");
    drop(first);
    frames_in.unbounded_send(AudioFrame::new(vec![0.0])).unwrap();
    while !frames_in.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    loop {
        // The lease ends a moment after the sound is let go of.
        match transcribe(&*stt, &sound).collect::<Vec<_>>().await.pop().unwrap() {
            Ok(last) => break assert!(matches!(last, SttEvent::Final(text) if text.contains("cup"))),
            Err(error) => assert!(error.to_string().contains("most_turns"), "{error}"),
        }
    }
}

#[tokio::test]
async fn other_languages_are_refused() {
    let stt = recogniser();
    let request = SttRequest { language: Some("fr".into()), prompt: None };
    let error = stt.transcribe(request, futures::stream::empty().boxed()).next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "pocketsphinx cannot do that: it understands English (en) only, not fr");
}

#[test]
fn a_missing_model_is_named_with_its_package() {
    let rundown = watch::channel(on_air(RUNDOWN, 1)).1;
    let error = load(rundown.clone(), "model = '/no/such/model'").err().unwrap();
    insta::assert_snapshot!(error, @"pocketsphinx cannot be used: its model file /no/such/model/en-us/feat.params is missing. Install both with: sudo apt-get install libpocketsphinx3 pocketsphinx-en-us");
    let error = load(rundown, "modell = '/no/such/model'").err().unwrap();
    insta::assert_snapshot!(error, @"pocketsphinx cannot be used: its options have no key `modell`. Write `model` instead.");
}
