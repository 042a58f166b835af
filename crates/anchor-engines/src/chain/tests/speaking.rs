//! Voices that break off within a clause. Their words can be told apart in their sound, so that what is heard is known.

use anchor_core::audio::{AudioFrame, OUTPUT_RATE, Samples};
use anchor_core::engine::{TextInput, Tts, TtsEvent, TtsRequest, Voice, WordTime};
use proptest::prelude::*;

use super::*;

/// Length of a word, of the pause between two, and of what a comma adds to it.
const WORD: usize = OUTPUT_RATE as usize / 5;
const PAUSE: usize = OUTPUT_RATE as usize / 50;
const COMMA: usize = OUTPUT_RATE as usize * 14 / 100;

/// A voice that says the word "wg" as a buzz of the level 0.07 with a pitch of its own, g being the seventh letter.
#[derive(Clone, Debug)]
struct Hummer {
    name: &'static str,
    language: &'static str,
    /// Samples given at once.
    chunk: usize,
    /// Length of a word.
    word: usize,
    tells_words: bool,
    /// Fails when it has given so many samples of an answer, in this way.
    breaks: Option<(usize, Step<()>)>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
    alive: Arc<()>,
}

impl Hummer {
    fn new(name: &'static str) -> Self {
        let (asked, alive) = (Arc::default(), Arc::default());
        Self {
            name,
            language: "en",
            chunk: OUTPUT_RATE as usize / 50,
            word: WORD,
            tells_words: true,
            breaks: None,
            asked,
            alive,
        }
    }

    fn breaks(self, at: usize, how: Step<()>) -> Self {
        Self { breaks: Some((at, how)), ..self }
    }

    fn clause(&self, text: &str) -> Vec<TtsEvent> {
        let mut samples = Vec::new();
        let mut events = Vec::new();
        let mut at = 0;
        for word in text.split_inclusive(' ') {
            let number = word.as_bytes()[1] - b'a' + 1;
            // It falls in pitch by half, so that a place within it can be told, as in speech.
            let up = |at: usize| ((2 * at - at * at / self.word / 2) / (6 * usize::from(number))).is_multiple_of(2);
            let level = f32::from(number) / 100.0;
            samples.extend((0..self.word).map(|at| if up(at) { level } else { -level }));
            let text_end = at + word.trim_end().len();
            if self.tells_words {
                events.push(TtsEvent::Word(WordTime { text_end, end: Samples(samples.len() as u64) }));
            }
            samples.extend(vec![0.0; if word.ends_with(' ') { PAUSE } else { 0 }]);
            samples.extend(vec![0.0; if word.contains(',') { COMMA } else { 0 }]);
            at += word.len();
        }
        events.extend(samples.chunks(self.chunk).map(|chunk| TtsEvent::Audio(AudioFrame::new(chunk))));
        events.push(TtsEvent::ClauseEnd);
        events
    }
}

impl Tts for Hummer {
    fn speak(&self, request: TtsRequest, text: TextInput) -> EventStream<TtsEvent> {
        self.asked.lock().unwrap().push(request.voice.clone());
        if request.voice.is_some_and(|voice| voice != format!("{}-voice", self.name)) {
            let error = refused(self.name);
            return stream::once(async { Err(error) }).boxed();
        }
        let voice = self.clone();
        let alive = self.alive.clone();
        let events = text.flat_map(move |clause| stream::iter(voice.clause(&clause)));
        let (name, breaks) = (self.name, self.breaks.clone());
        stream::unfold((events.boxed(), 0, false), move |(mut events, given, over)| {
            let (breaks, _alive) = (breaks.clone(), alive.clone());
            async move {
                if over {
                    return None;
                }
                match breaks {
                    Some((at, how)) if given >= at => match how {
                        Step::Stall => std::future::pending().await,
                        Step::Panic => panic!("as told"),
                        _ => Some((Err(broken(name)), (events, given, true))),
                    },
                    _ => {
                        let event = events.next().await?;
                        let length = if let TtsEvent::Audio(frame) = &event { frame.len() } else { 0 };
                        Some((Ok(event), (events, given + length, false)))
                    }
                }
            }
        })
        .boxed()
    }

    fn voices(&self) -> Vec<Voice> {
        vec![Voice { name: format!("{}-voice", self.name), language: self.language.into(), about: String::new() }]
    }
}

fn chain_of(board: &Board, voices: &[&Hummer]) -> Chain<dyn Tts> {
    let slot = |voice: &&Hummer| board.loaded(voice.name, Arc::new((*voice).clone()) as Arc<dyn Tts>);
    let mut slots: Vec<_> = voices.iter().map(slot).collect();
    Chain::new(slots.remove(0), slots, board, PATIENCE)
}

async fn speak(chain: &Chain<dyn Tts>, clauses: &[&str]) -> Result<Vec<TtsEvent>, EngineError> {
    let text = stream::iter(clauses.iter().map(|clause| (*clause).to_owned()).collect::<Vec<_>>());
    let events: Vec<_> = chain.speak(TtsRequest::default(), text.boxed()).collect().await;
    events.into_iter().collect()
}

fn sound(events: &[TtsEvent]) -> Vec<f32> {
    let frames = events.iter().filter_map(|event| if let TtsEvent::Audio(frame) = event { Some(frame) } else { None });
    frames.flat_map(|frame| frame.to_vec()).collect()
}

/// The words heard in a sound, each with its length. Fades at a cut do not make other words, and do not part one.
fn heard(samples: &[f32]) -> Vec<(usize, usize)> {
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for number in samples.iter().map(|sample| (sample.abs() * 100.0).round() as usize) {
        match pieces.last_mut() {
            Some((last, length)) if *last == number => *length += 1,
            _ => pieces.push((number, 1)),
        }
    }
    pieces.retain(|(_, length)| *length >= 200);
    let mut words: Vec<(usize, usize)> = Vec::new();
    for (number, length) in pieces {
        match words.last_mut() {
            Some((last, whole)) if *last == number => *whole += length,
            _ => words.push((number, length)),
        }
    }
    words.retain(|(number, _)| *number > 0);
    words
}

/// What is promised of the words heard: all, in order, each whole once; a piece of one is followed by the whole of it.
fn assert_told(samples: &[f32], words: usize, context: &str) {
    let heard = heard(samples);
    let whole = |length: usize| length > WORD - OUTPUT_RATE as usize / 25;
    let complete: Vec<_> = heard.iter().filter(|(_, length)| whole(*length)).map(|(word, _)| *word).collect();
    assert_eq!(complete, (1..=words).collect::<Vec<_>>(), "{context}: {heard:?}");
    for pair in heard.windows(2) {
        assert!(whole(pair[0].1) || pair[1].0 == pair[0].0, "{context}: a piece of another word: {heard:?}");
    }
}

const CLAUSES: [&str; 3] = ["wa wb wc, wd we.", "wf wg wh.", "wi wj wk wl."];
const ALL: usize = 12 * WORD + 9 * PAUSE + COMMA;

#[tokio::test(start_paused = true)]
async fn wherever_a_voice_with_word_times_breaks_off_each_word_is_said_once() {
    for at in (0..=ALL).step_by(731) {
        for how in [Step::Fail, Step::Stall, Step::Panic] {
            let board = Board::default();
            let good = Hummer::new("good").breaks(at, how);
            let chain = chain_of(&board, &[&good, &Hummer::new("spare")]);
            let events = speak(&chain, &CLAUSES).await.unwrap();
            assert_told(&sound(&events), 12, &format!("broken off at {at}"));
            assert_eq!(events.iter().filter(|event| **event == TtsEvent::ClauseEnd).count(), 3);
        }
    }
}

/// A voice that does not tell its words' times breaks off within a clause, in the middle of a word or not: what the next
/// says of it is left out to the sound.
#[tokio::test(start_paused = true)]
async fn wherever_a_voice_without_word_times_breaks_off_each_word_is_said_once() {
    for (pace, tells_words) in [(100, false), (80, false), (130, true)] {
        for at in (0..=ALL).step_by(731) {
            let board = Board::default();
            let good = Hummer { tells_words: false, ..Hummer::new("good") }.breaks(at, Step::Fail);
            let spare = Hummer { tells_words, word: WORD * pace / 100, ..Hummer::new("spare") };
            let chain = chain_of(&board, &[&good, &spare]);
            let heard = heard(&sound(&speak(&chain, &CLAUSES).await.unwrap()));
            let context = format!("broken off at {at}, then pace {pace}: {heard:?}");
            assert_eq!(
                heard.iter().map(|(word, _)| *word).collect::<Vec<_>>(),
                (1..=12).collect::<Vec<_>>(),
                "{context}"
            );
            // Where little more than one steady sound was heard, the place within it is not known better.
            let slack = OUTPUT_RATE as usize / 14;
            let (least, most) = (WORD.min(spare.word) - slack, WORD.max(spare.word) + slack);
            assert!(heard.iter().all(|(_, length)| (least..most).contains(length)), "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_finds_no_end_of_a_clause_is_given_up() {
    let board = Board::default();
    let endless = Hummer { word: 70 * OUTPUT_RATE as usize, tells_words: false, ..Hummer::new("endless") };
    let chain = chain_of(&board, &[&endless, &Hummer::new("spare")]);
    let events = speak(&chain, &CLAUSES[..2]).await.unwrap();
    assert_eq!(heard(&sound(&events)[sound(&events).len() - 3 * WORD - 2 * PAUSE..]).len(), 3, "the second clause");
    assert_eq!(events.iter().filter(|event| **event == TtsEvent::ClauseEnd).count(), 2);
    assert!(told(&board)[0].contains("it spoke for a minute"), "{:?}", told(&board));
}

/// Whatever the places and the pieces, with and without word times: the events tell the truth about the sound.
fn assert_true(events: &[TtsEvent], clauses: &[&str], words_due: bool) {
    let mut clauses = clauses.iter();
    let (mut length, mut text_end, mut end, mut words) = (Samples(0), 0, Samples(0), 0);
    for event in events {
        match event {
            TtsEvent::Audio(frame) => length = length + Samples(frame.len() as u64),
            TtsEvent::Word(word) => {
                assert!(word.text_end > text_end && word.end >= end, "{word:?} is out of order");
                (text_end, end, words) = (word.text_end, word.end, words + 1);
            }
            TtsEvent::ClauseEnd => {
                let clause = clauses.next().expect("no more ends than clauses");
                assert!(text_end <= clause.len() && end <= length);
                assert!(!words_due || words == clause.split(' ').count(), "{words} words of {clause:?}");
                (length, text_end, end, words) = (Samples(0), 0, Samples(0), 0);
            }
        }
    }
    assert_eq!(clauses.next(), None, "a clause was not ended");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn words_and_ends_are_true_for_the_clause_as_a_whole(
        at in 0..ALL, second in 0..ALL, chunk in 100usize..20_000, tells in any::<(bool, bool, bool)>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let board = Board::default();
            let voice = |name, tells_words| Hummer { chunk, tells_words, ..Hummer::new(name) };
            let one = voice("one", tells.0).breaks(at, Step::Fail);
            let two = voice("two", tells.1).breaks(second, Step::Fail);
            let chain = chain_of(&board, &[&one, &two, &voice("three", tells.2)]);
            let events = speak(&chain, &CLAUSES).await.unwrap();
            assert_true(&events, &CLAUSES, tells == (true, true, true));
            if tells == (true, true, true) {
                assert_told(&sound(&events), 12, "two breaks");
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_clause_that_nobody_has_heard_yet_is_said_anew() {
    let whole = |clause: &str| sound(&Hummer::new("good").clause(clause));
    let expected = [whole(CLAUSES[0]), whole(CLAUSES[1])].concat();
    for within in [480, 5_000, whole(CLAUSES[1]).len() - 480] {
        let board = Board::default();
        let mut good = Hummer::new("good").breaks(whole(CLAUSES[0]).len() + within, Step::Fail);
        good.tells_words = false;
        let chain = chain_of(&board, &[&good, &Hummer::new("spare")]);
        let events = speak(&chain, &CLAUSES[..2]).await.unwrap();
        assert!(sound(&events) == expected, "broken off {within} samples within the second clause");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_sound_is_not_held_back_and_the_last_voice_holds_nothing() {
    let board = Board::default();
    let chain = chain_of(&board, &[&Hummer::new("good"), &Hummer::new("spare")]);
    let mut events = chain.speak(TtsRequest::default(), stream::iter([CLAUSES[0].to_owned()]).boxed());
    let Some(Ok(TtsEvent::Audio(first))) = events.next().await else { panic!("no sound first") };
    assert_eq!(first.len(), OUTPUT_RATE as usize / 100, "half of the first piece");
    drop(events);
    let board = Board::default();
    let chain = chain_of(&board, &[&Hummer::new("good").breaks(0, Step::Fail), &Hummer::new("spare")]);
    let events = speak(&chain, &CLAUSES[..1]).await.unwrap();
    let first =
        events.iter().find_map(|event| if let TtsEvent::Audio(frame) = event { Some(frame.len()) } else { None });
    assert_eq!(first, Some(OUTPUT_RATE as usize / 50));
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_waits_for_text_is_not_silent_for_too_long() {
    let board = Board::default();
    let chain = chain_of(&board, &[&Hummer::new("good"), &Hummer::new("spare")]);
    let text = stream::iter(CLAUSES).then(|clause| async move {
        tokio::time::sleep(20 * PATIENCE).await;
        clause.to_owned()
    });
    let events: Vec<_> = chain.speak(TtsRequest::default(), text.boxed()).collect().await;
    assert_told(&sound(&events.into_iter().collect::<Result<Vec<_>, _>>().unwrap()), 12, "slow text");
    assert!(told(&board).is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_member_speaks_in_a_voice_it_has() {
    let speak = async |chain: &Chain<dyn Tts>, voice: &str| {
        let request = TtsRequest { voice: Some(voice.into()), speed: 1.0 };
        chain.speak(request, stream::iter([CLAUSES[0].to_owned()]).boxed()).collect::<Vec<_>>().await
    };
    let board = Board::default();
    let good = Hummer::new("good");
    let spare = Hummer { language: "de", ..Hummer::new("spare") };
    let chain = chain_of(&board, &[&good, &spare]);
    assert!(speak(&chain, "good-voice").await.iter().all(Result::is_ok));
    assert!(speak(&chain, "spare-voice").await.iter().all(Result::is_ok), "the voice of the fallback");
    assert_eq!(speak(&chain, "nobody's").await, [Err(refused("good"))], "no voice of the chain");
    assert_eq!(
        *good.asked.lock().unwrap(),
        [Some("good-voice"), Some("spare-voice"), None, Some("nobody's")].map(|v| v.map(str::to_owned))
    );
    assert!(told(&board).is_empty() && spare.asked.lock().unwrap().is_empty());

    let good = good.breaks(0, Step::Fail);
    let chain = chain_of(&board, &[&good, &spare]);
    assert!(speak(&chain, "good-voice").await.iter().all(Result::is_ok));
    assert!(speak(&chain, "spare-voice").await.iter().all(Result::is_ok));
    assert_eq!(*spare.asked.lock().unwrap(), [None, Some("spare-voice".to_owned())]);
    assert_eq!(told(&board), ["switched_over: good does not speak (the line is dead). spare speaks until it is back."]);
    assert_eq!(chain.voices()[0].name, "good-voice");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_drops_the_voices() {
    let board = Board::default();
    let (good, spare) = (Hummer::new("good").breaks(9_000, Step::Fail), Hummer::new("spare"));
    let chain = chain_of(&board, &[&good, &spare]);
    // The slots hold one each.
    let idle = (Arc::strong_count(&good.alive), Arc::strong_count(&spare.alive));
    let mut events = chain.speak(TtsRequest::default(), stream::iter(CLAUSES.map(str::to_owned)).boxed());
    while told(&board).is_empty() {
        events.next().await.unwrap().unwrap();
    }
    events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!((Arc::strong_count(&good.alive), Arc::strong_count(&spare.alive)), idle);
}
