//! How well a chain guesses which words of a broken-off clause were heard, where the voice does not tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anchor_core::audio::{AudioFrame, OUTPUT_RATE, Samples};
use anchor_core::engine::{EngineError, EventStream, TextInput, Tts, TtsEvent, TtsRequest, Voice, WordTime};
use anchor_core::rundown::{OnAir, Rundown};
use anchor_engines::chain::Chain;
use anchor_engines::slot::{Board, find};
use anchor_engines::{Entry, LoadContext, Needs};
use futures::{StreamExt, stream};
use tokio::sync::watch;

const EVENING: &str = include_str!("../../../../rundowns/evening.md");

/// A word that ends this little behind the cut was heard.
const HEARD_WITHIN: Samples = Samples::from_ms(40);

/// What flite said of some clauses, and what the second voice was asked to speak. There is one test, so that there is one
/// of it.
static SEEN: Mutex<Seen> = Mutex::new(Seen { said: BTreeMap::new(), texts: Vec::new() });

struct Seen {
    /// By voice and clause.
    said: BTreeMap<(String, String), Said>,
    texts: Vec<String>,
}

/// A clause as flite said it.
#[derive(Clone, Default)]
struct Said {
    sound: Vec<f32>,
    words: Vec<WordTime>,
}

/// Says again what flite said, without its word times and in pieces of 100 ms, and breaks at sample `at` of the clause
/// `clause`.
struct Breaking {
    clause: i64,
    at: usize,
}

const fn entry(name: &'static str, load: fn(&LoadContext) -> Result<Arc<dyn Tts>, EngineError>) -> Entry<dyn Tts> {
    Entry { name, about: "", needs: Needs { gpu_bytes: 0, packages: &[], network: false }, load }
}

static BREAKING: Entry<dyn Tts> = entry("breaking", |context| {
    let option = |name: &str| context.options[name].as_integer().unwrap();
    Ok(Arc::new(Breaking { clause: option("clause"), at: option("at") as usize }))
});

static RECORDING: Entry<dyn Tts> = entry("recording", |_| Ok(Arc::new(Recording)));

impl Tts for Breaking {
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let (breaks, at, voice) = (self.clause, self.at, request.voice.unwrap());
        let clauses = text.enumerate().flat_map(move |(number, clause)| {
            let mut sound = SEEN.lock().unwrap().said[&(voice.clone(), clause)].sound.clone();
            let end = if number as i64 == breaks && at < sound.len() {
                sound.truncate(at);
                Err(EngineError::Failed { engine: "breaking", reason: "as told".into() })
            } else {
                Ok(TtsEvent::ClauseEnd)
            };
            let pieces = sound.chunks(OUTPUT_RATE as usize / 10);
            let mut events: Vec<_> = pieces.map(|piece| Ok(TtsEvent::Audio(AudioFrame::new(piece)))).collect();
            events.push(end);
            stream::iter(events)
        });
        clauses.boxed()
    }

    fn voices(&self) -> Vec<Voice> {
        Vec::new()
    }
}

/// Says nothing, but writes down what it was to say.
struct Recording;

impl Tts for Recording {
    fn speak(&self, _: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        text.map(|clause| {
            SEEN.lock().unwrap().texts.push(clause);
            Ok(TtsEvent::ClauseEnd)
        })
        .boxed()
    }

    fn voices(&self) -> Vec<Voice> {
        Vec::new()
    }
}

/// Has flite say the clauses.
async fn record(voices: &[&str], clauses: &[String]) {
    let context = LoadContext { rundown: watch::channel(OnAir::default()).1, options: toml::Table::new() };
    let flite = (find::<dyn Tts>("flite").unwrap().load)(&context).unwrap();
    for voice in voices {
        let text = stream::iter(clauses.to_vec()).boxed();
        let mut events = flite.speak(TtsRequest { voice: Some((*voice).into()), speed: 1.0 }, text);
        for clause in clauses {
            let mut said = Said::default();
            loop {
                match events.next().await.unwrap().unwrap() {
                    TtsEvent::Audio(frame) => said.sound.extend_from_slice(&frame),
                    TtsEvent::Word(word) => said.words.push(word),
                    TtsEvent::ClauseEnd => break,
                }
            }
            if std::env::var_os("DUMP").is_some() {
                println!(
                    "DUMP {voice}\t{clause}\t{}\t{:?}",
                    said.sound.len(),
                    said.words.iter().map(|w| (w.text_end, w.end.0)).collect::<Vec<_>>()
                );
            }
            SEEN.lock().unwrap().said.insert(((*voice).into(), clause.clone()), said);
        }
    }
}

/// Words said twice (negative) or lost (positive) when the last clause breaks at sample `at`; `None` if it is over by
/// then.
async fn slip(clauses: &[String], at: usize, voice: &str) -> Option<i32> {
    let (last, before) = clauses.split_last().unwrap();
    SEEN.lock().unwrap().texts.clear();
    let options = format!("clause = {}\nat = {at}", before.len()).parse().unwrap();
    let context = LoadContext { rundown: watch::channel(OnAir::default()).1, options };
    let board = Board::default();
    let others = vec![board.slot(&RECORDING, context.clone())];
    let chain = Chain::new(board.slot(&BREAKING, context), others, &board, Duration::from_secs(10));
    let text = stream::iter(clauses.to_vec()).boxed();
    let events: Vec<_> = chain.speak(TtsRequest { voice: Some(voice.into()), speed: 1.0 }, text).collect().await;
    if board.notices().borrow().total == 0 {
        return None;
    }
    let (mut ends, mut cut) = (0, 0);
    for event in events {
        match event.unwrap() {
            TtsEvent::ClauseEnd => ends += 1,
            TtsEvent::Audio(frame) if ends == before.len() => cut += frame.len() as u64,
            _ => {}
        }
    }
    let seen = SEEN.lock().unwrap();
    let words = |text: &str| text.split_whitespace().count() as i32;
    let left = seen.texts.first().map_or(0, |text| words(text));
    let said = &seen.said[&(voice.to_owned(), last.clone())];
    let heard = said.words.iter().rev().find(|word| word.end <= Samples(cut) + HEARD_WITHIN);
    Some(words(last) - left - heard.map_or(0, |word| words(&last[..word.text_end])))
}

#[tokio::test(flavor = "multi_thread")]
async fn words_without_times_are_guessed_well() {
    const VOICES: [&str; 3] = ["rms", "slt", "kal16"];
    let stories = Rundown::parse(EVENING).unwrap().stories;
    let scripts = stories.iter().map(|story| story.script.replace('\n', " ")).collect::<Vec<_>>();
    let sentences = scripts.iter().flat_map(|script| script.split_inclusive(". ").map(|text| text.trim().to_owned()));
    let clauses: Vec<_> = sentences.filter(|text| text.len() > 30).step_by(2).take(14).collect();
    record(&VOICES, &clauses).await;
    // The same places each time, spread by a linear congruential generator.
    let mut random = 12345u32;
    let mut next = |below: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % below
    };
    for (when, known) in [("before the voice has completed a clause", 0), ("after three clauses", 3)] {
        let mut slips = BTreeMap::<i32, usize>::new();
        for round in 0..300 {
            let first = next(clauses.len() - known);
            let at = OUTPUT_RATE as usize / 4 + next(5 * OUTPUT_RATE as usize);
            let slip = slip(&clauses[first..=first + known], at, VOICES[round % VOICES.len()]).await;
            *slips.entry(slip.unwrap_or(i32::MAX)).or_default() += 1;
        }
        slips.remove(&i32::MAX);
        let total: usize = slips.values().sum();
        let share = |most: i32| {
            let count: usize = slips.range(-most..=most).map(|(_, count)| count).sum();
            100.0 * count as f64 / total as f64
        };
        println!(
            "broken off {when}, {total} times: {:.0} % to the word, {:.0} % at most one off; words lost (said twice: negative): {slips:?}",
            share(0),
            share(1)
        );
        assert!(total > 100 && share(3) > 80.0, "{slips:?}");
    }
}
