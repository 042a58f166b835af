//! Chaos: spoken turns while the servers behind the anchor are killed, stalled and restarted at random.
//!
//! Real are the people's voices, the WebSockets, the server, the voice activity detector, the engines and their chains, HTTP,
//! and two of the fallbacks, PocketSphinx and the news desk. The servers of Voxtral, Ollama and Higgs are protocol servers, and
//! so is the last voice, because every word of these voices can be told by its pitch: a word that was lost or said twice is
//! found in the sound itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ai_anchor::bench::Spread;
use ai_anchor::bench::caller::{CallError, Caller};
use ai_anchor::bench::host::Host;
use ai_anchor::bench::person::Utterance;
use ai_anchor::config::Sources;
use anchor_core::engine::Tts;
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use crate::model_servers::ollama::Ollama;
use crate::model_servers::speech::{Kind, Speech};
use crate::model_servers::vllm::Vllm;
use crate::model_servers::{Server, Trouble, Troubles, morse};

/// People who talk to the anchor at the same time. More would only measure how slow this machine is.
const CALLERS: usize = 8;

/// Turns of all of them together while everything breaks, unless `ANCHOR_CHAOS_TURNS` says otherwise.
const TURNS: usize = 120;

/// Turns of all of them together before anything breaks, to compare with.
const CALM_TURNS: usize = 24;

/// Nobody waits longer for the end of an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// A wait longer than this is told stage by stage.
const SLOW: Duration = Duration::from_millis(2_200);

/// The question, and what both recognisers make of it.
const QUESTION: &str = "what are the headlines";

/// One turn as the caller lived through it.
struct Turn {
    begun: Instant,
    /// From the last audible sample of the question to the first of the answer; `None` if nothing was heard.
    wait: Option<Duration>,
    done: Instant,
    /// How long each stage took, as the studio is told.
    stages: String,
    /// How the response ended.
    status: String,
    /// The answer as written.
    written: String,
    /// The words of the answer as heard.
    heard: Vec<morse::Heard>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_turn_goes_without_an_answer_whatever_breaks() {
    let turns = std::env::var("ANCHOR_CHAOS_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(TURNS);
    let question = Arc::new(spoken_question().await);
    let tasks_before = tokio::runtime::Handle::current().metrics().num_alive_tasks();

    let world = World::start().await;
    let host = Arc::new(Host::start(&world.config(), None).await.unwrap());
    let calm = converse(&host, &question, CALM_TURNS).await;
    let (stop, stopped) = oneshot::channel();
    let breaking = tokio::spawn(world.break_things(stopped));
    let chaos = converse(&host, &question, turns).await;
    stop.send(()).unwrap();
    let (world, faults) = breaking.await.unwrap();

    let unanswered = chaos.iter().filter(|turn| turn.wait.is_none()).count();
    let wrong: Vec<String> = chaos.iter().filter_map(Turn::wrong).collect();
    report(&calm, &chaos, &faults, &wrong);
    assert_eq!(unanswered, 0, "turns without an audible answer");
    assert_eq!(wrong, [] as [String; 0], "words were lost or said twice");
    assert_eq!(calm.iter().filter_map(Turn::wrong).collect::<Vec<_>>(), [] as [String; 0], "nothing was broken yet");

    // What served the turns is gone with them.
    drop(host);
    let open = || world.servers().map(Server::open);
    settles("connections stay open", || open() == [0; 4]).await;
    drop(world);
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    settles("tasks stay alive", || alive() <= tasks_before).await;
    assert_eq!(children(), Vec::<u32>::new(), "processes stay alive");
}

impl Turn {
    /// What is wrong with the words that were heard, if anything.
    fn wrong(&self) -> Option<String> {
        let written = morse::spoken(&self.written);
        (self.heard != written).then(|| {
            let (heard, all) = (self.heard.len(), written.len());
            format!("heard {heard} of {all} ({}), {}", difference(&self.heard, &written), self.status)
        })
    }
}

/// Where two rows of words part.
fn difference(heard: &[morse::Heard], written: &[morse::Heard]) -> String {
    let same = heard.iter().zip(written).take_while(|(a, b)| a == b).count();
    let tail = heard.iter().rev().zip(written.iter().rev()).take_while(|(a, b)| a == b).count();
    let between = |all: &[morse::Heard]| all.len().saturating_sub(same + tail.min(all.len() - same));
    format!("{same} right, then {} heard for {} written", between(heard), between(written))
}

/// The servers.
struct World {
    vllm: Server,
    ollama: Server,
    higgs: Server,
    /// Never broken: the last voice.
    spare: Server,
    troubles: [Troubles; 3],
}

/// From when to when something was broken.
type Faults = Vec<(Instant, Instant, &'static str)>;

impl World {
    async fn start() -> Self {
        let (recogniser, vllm) = Vllm::serve(QUESTION).await;
        let (model, ollama) = Ollama::serve().await;
        let (voice, higgs) = Speech::serve(Kind::Boson).await;
        let (_, spare) = Speech::serve(Kind::OpenAi).await;
        Self { vllm, ollama, higgs, spare, troubles: [recogniser.troubles, model.troubles, voice.troubles] }
    }

    fn config(&self) -> ai_anchor::config::Config {
        let text = format!(
            "[engines]\nstt = ['voxtral-vllm', 'pocketsphinx']\nllm = ['ollama', 'desk']\n\
             tts = ['higgs-server', 'openai-speech']\n\
             [anchor]\nvoice = ''\n[server]\nmax_sessions = 100\n[servers]\nstart = false\n\
             [stt.voxtral-vllm]\nurl = '{}'\n[llm.ollama]\nurl = '{}'\n[tts.higgs-server]\nurl = '{}'\n\
             [tts.openai-speech]\nurl = '{}'\nvoices = ['alloy']\n",
            self.vllm.url(),
            self.ollama.url(),
            self.higgs.url(),
            self.spare.url()
        );
        let file = std::env::temp_dir().join(format!("anchor-chaos-{}.toml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let config = Sources { file: Some(file.clone()), ..Sources::default() }.read();
        std::fs::remove_file(file).unwrap();
        config.unwrap()
    }

    fn servers(&self) -> [&Server; 4] {
        [&self.vllm, &self.ollama, &self.higgs, &self.spare]
    }

    /// Breaks one thing after the other until told to stop, then mends everything.
    async fn break_things(mut self, mut stopped: oneshot::Receiver<()>) -> (Self, Faults) {
        let mut faults = Faults::new();
        let mut random = Random(0x9e37_79b9);
        while stopped.try_recv().is_err() {
            sleep(random.between(100, 1_500)).await;
            let which = random.below(3);
            let begun = Instant::now();
            let what = if random.below(2) == 0 {
                let server = match which {
                    0 => &mut self.vllm,
                    1 => &mut self.ollama,
                    _ => &mut self.higgs,
                };
                server.kill().await;
                sleep(random.between(200, 4_000)).await;
                server.revive().await;
                ["vllm killed", "ollama killed", "higgs killed"][which]
            } else {
                let trouble = random.trouble(which);
                self.troubles[which].push(trouble);
                sleep(random.between(300, 1_500)).await;
                ["vllm in trouble", "ollama in trouble", "higgs in trouble"][which]
            };
            faults.push((begun, Instant::now(), what));
        }
        (self, faults)
    }
}

/// Numbers that are the same in every run (Marsaglia's xorshift32).
struct Random(u32);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % bound
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below((most - least) as usize) as u64)
    }

    fn trouble(&mut self, which: usize) -> Trouble {
        let lies = [
            "data: {\"error\":{\"message\":\"CUDA out of memory\"}}\n\n",
            "{\"error\":\"llama runner process has terminated\"}\n",
            "{\"error\":{\"message\":\"engine died\",\"type\":\"server_error\",\"code\":500}}",
        ];
        match self.below(6) {
            0 => Trouble::Refuses(503, "{\"error\":\"busy\"}".into()),
            1 => Trouble::Hangs,
            2 => Trouble::StopsAfter(self.below(6)),
            3 => Trouble::SaysAfter(1 + self.below(6), lies[which].into()),
            4 => Trouble::Slow(self.between(10, 300)),
            _ => Trouble::BreaksAfter(self.below(6)),
        }
    }
}

/// What everybody asks, as a synthetic voice says it.
async fn spoken_question() -> Utterance {
    let context = LoadContext { rundown: watch::channel(OnAir::default()).1, options: toml::Table::new() };
    let voice = (find::<dyn Tts>("flite").unwrap().load)(&context).unwrap();
    Utterance::spoken(&*voice, "awb", "What are the headlines?").await.unwrap()
}

/// Has all callers talk to the anchor until they have had so many turns together.
async fn converse(host: &Arc<Host>, question: &Arc<Utterance>, turns: usize) -> Vec<Turn> {
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS {
        let (host, question) = (host.clone(), question.clone());
        callers.spawn(async move {
            let mut caller = Caller::call(&host.line()).await?;
            let mut had = Vec::new();
            let mut random = Random(0x517c_c1b7 + number as u32);
            for _ in 0..turns.div_ceil(CALLERS) {
                // People do not all speak at the same moment.
                sleep(random.between(0, 2_000)).await;
                had.push(turn(&mut caller, &question).await?);
            }
            Ok::<_, CallError>(had)
        });
    }
    let mut all = Vec::new();
    for had in callers.join_all().await {
        all.extend(had.unwrap());
    }
    all
}

async fn turn(caller: &mut Caller, question: &Utterance) -> Result<Turn, CallError> {
    caller.clear_ear();
    let said = caller.say(question);
    let mut stages = String::new();
    let done = caller.wait("response.done", PATIENCE, |event, _| {
        if event["type"] == "anchor.latency" {
            let stage = |name: &str| event[format!("{name}_ms")].as_u64().unwrap_or_default();
            let [endpointing, stt, llm, tts] = ["endpointing", "stt", "llm", "tts"].map(stage);
            stages = format!("endpointing {endpointing}, stt {stt}, llm {llm}, tts {tts} ms");
        }
        event["type"] == "response.done"
    });
    let (_, event) = done.await?;
    let written = transcript(&event);
    // The last of the sound may still be on its way to the ear.
    caller.wait("listening", PATIENCE, |event, _| event["state"] == "listening").await?;
    let wait = caller.ear().first_audible().map(|first| first.saturating_duration_since(said.last));
    let heard = morse::words_heard(&caller.ear().sound());
    let mut status = event["response"]["status"].as_str().unwrap_or_default().to_owned();
    if let Some(why) = event["response"]["status_details"]["error"]["message"].as_str() {
        status = format!("{status}: {why}");
    }
    Ok(Turn { begun: said.first, wait, done: Instant::now(), stages, status, written, heard })
}

fn transcript(done: &Value) -> String {
    let content = &done["response"]["output"][0]["content"][0];
    content["transcript"].as_str().unwrap_or_default().to_owned()
}

#[allow(clippy::print_stdout, reason = "the measurements are read by people")]
fn report(calm: &[Turn], chaos: &[Turn], faults: &Faults, wrong: &[String]) {
    let touched = |turn: &&Turn| faults.iter().any(|(from, to, _)| *from < turn.done && turn.begun < *to);
    let waits =
        |turns: &[&Turn]| Spread::of(turns.iter().filter_map(|turn| turn.wait)).map(|spread| spread.to_string());
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, _, what) in faults {
        *kinds.entry(what).or_default() += 1;
    }
    println!("{} turns of {CALLERS} people, {} faults: {kinds:?}", chaos.len(), faults.len());
    let show = |what: &str, turns: Vec<&Turn>| println!("{what:24} {}", waits(&turns).unwrap_or_default());
    show("wait, nothing broken", calm.iter().collect());
    show("wait, all of the chaos", chaos.iter().collect());
    show("wait, during a fault", chaos.iter().filter(touched).collect());
    for turn in chaos.iter().filter(|turn| turn.wait > Some(SLOW)) {
        println!("  waited {:?}: {}", turn.wait.unwrap_or_default(), turn.stages);
    }
    println!("turns in which a word was lost or said twice: {} of {}", wrong.len(), chaos.len());
    for line in wrong {
        println!("  {line}");
    }
}

async fn settles(otherwise: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{otherwise}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Processes that this one has started and that still live.
fn children() -> Vec<u32> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
