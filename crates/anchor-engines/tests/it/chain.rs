//! How well a chain finds, in the sound of the next voice, the place where the voice before broke off, if that does not tell
//! its words' times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anchor_core::audio::{AudioFrame, OUTPUT_RATE};
use anchor_core::engine::{EngineError, EventStream, TextInput, Tts, TtsEvent, TtsRequest, Voice, WordTime};
use anchor_core::rundown::{OnAir, Rundown};
use anchor_engines::chain::Chain;
use anchor_engines::slot::{Board, find};
use anchor_engines::{Entry, LoadContext, Needs};
use futures::{StreamExt, stream};
use tokio::sync::watch;

const EVENING: &str = include_str!("../../../../rundowns/evening.md");

/// The voices, and who of them takes over from whom: another speaker at another pace.
const VOICES: [&str; 4] = ["rms", "slt", "kal16", "awb"];

/// What flite said of some clauses, by voice and clause. There is one test, so that there is one of it.
static SAID: Mutex<BTreeMap<(String, String), Said>> = Mutex::new(BTreeMap::new());

/// A clause as flite said it.
#[derive(Clone, Default)]
struct Said {
    sound: Vec<f32>,
    words: Vec<WordTime>,
}

impl Said {
    /// How many words have been said up to a sample, the part of the one under way included.
    fn words_at(&self, sample: usize) -> f64 {
        let (mut begin, mut count) = (0, 0.0);
        for word in &self.words {
            let end = word.end.0 as usize;
            if sample < end {
                return count + (sample - begin) as f64 / (end - begin) as f64;
            }
            (begin, count) = (end, count + 1.0);
        }
        count
    }
}

/// Says again what a voice of flite said, without its word times and at twice the pace of the ear, and breaks at sample `at`
/// of a clause that is so long.
struct Replaying {
    voice: &'static str,
    at: usize,
}

const fn entry(name: &'static str, load: fn(&LoadContext) -> Result<Arc<dyn Tts>, EngineError>) -> Entry<dyn Tts> {
    Entry { name, about: "", needs: Needs { gpu_bytes: 0, packages: &[], network: false }, load }
}

static REPLAYING: Entry<dyn Tts> = entry("replaying", load);
static ANOTHER: Entry<dyn Tts> = entry("another", load);

fn load(context: &LoadContext) -> Result<Arc<dyn Tts>, EngineError> {
    let option = |name: &str| context.options[name].as_integer().unwrap() as usize;
    Ok(Arc::new(Replaying { voice: VOICES[option("voice")], at: option("at") }))
}

impl Tts for Replaying {
    fn speak(&self, _: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        let (voice, at) = (self.voice.to_owned(), self.at);
        let clauses = text.flat_map(move |clause| {
            let mut sound = SAID.lock().unwrap()[&(voice.clone(), clause)].sound.clone();
            let end = if at < sound.len() {
                sound.truncate(at);
                Err(EngineError::Failed { engine: "replaying", reason: "as told".into() })
            } else {
                Ok(TtsEvent::ClauseEnd)
            };
            let pieces = sound.chunks(OUTPUT_RATE as usize / 10);
            let mut events: Vec<_> = pieces.map(|piece| Ok(TtsEvent::Audio(AudioFrame::new(piece)))).collect();
            events.push(end);
            stream::iter(events).then(|event| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                event
            })
        });
        clauses.boxed()
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
            SAID.lock().unwrap().insert(((*voice).into(), clause.clone()), said);
        }
    }
}

/// By how many words the next voice went on too early (negative) or too late when a clause broke at sample `at`.
async fn slip(clause: &str, at: usize, voice: usize, next: usize) -> f64 {
    let context = |voice, at| {
        let options = format!("voice = {voice}\nat = {at}").parse().unwrap();
        LoadContext { rundown: watch::channel(OnAir::default()).1, options }
    };
    let board = Board::default();
    let others = vec![board.slot(&ANOTHER, context(next, i64::MAX as usize))];
    let chain = Chain::new(board.slot(&REPLAYING, context(voice, at)), others, &board, Duration::from_secs(10));
    let text = stream::iter([clause.to_owned()]).boxed();
    let events: Vec<_> = chain.speak(TtsRequest::default(), text).collect().await;
    let mut heard = Vec::new();
    for event in events {
        if let TtsEvent::Audio(frame) = event.unwrap() {
            heard.extend_from_slice(&frame);
        }
    }
    let said = |voice: usize| SAID.lock().unwrap()[&(VOICES[voice].to_owned(), clause.to_owned())].clone();
    let (old, new) = (said(voice), said(next));
    // There the voices are blended, so the sound begins to differ.
    let cut = heard.iter().zip(&old.sound).take_while(|(a, b)| a == b).count();
    let begun = new.sound.len() - (heard.len() - cut);
    new.words_at(begun) - old.words_at(cut)
}

#[tokio::test(start_paused = true)]
async fn the_next_voice_goes_on_where_the_listener_is() {
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
    let mut slips = Vec::new();
    for round in 0..120 {
        let (clause, voice) = (&clauses[next(clauses.len())], round % VOICES.len());
        let other = (voice + 1 + next(VOICES.len() - 1)) % VOICES.len();
        let length = SAID.lock().unwrap()[&(VOICES[voice].to_owned(), clause.clone())].sound.len();
        let at = OUTPUT_RATE as usize / 2 + next(length - OUTPUT_RATE as usize / 2);
        slips.push(slip(clause, at, voice, other).await);
    }
    let share = |most: f64| 100.0 * slips.iter().filter(|slip| slip.abs() < most).count() as f64 / slips.len() as f64;
    let mut sizes: Vec<f64> = slips.iter().map(|slip| slip.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    println!(
        "{} breaks: {:.0} % within half a word, {:.0} % within one; median {:.2} words, 95th percentile {:.2}",
        slips.len(),
        share(0.5),
        share(1.0),
        sizes[sizes.len() / 2],
        sizes[sizes.len() * 95 / 100]
    );
    assert!(share(0.5) > 85.0, "{sizes:?}");
}
