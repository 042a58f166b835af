//! The supervisor of the model servers, with real processes: Python programs that answer like the real ones and fail as
//! they are told to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ai_anchor::config::{Config, PROFILES};
use ai_anchor::memory::Shares;
use ai_anchor::servers::{self, Options, Pace, Proof, Recipe, ServerState, ServerStatus, Supervisor, address};
use anchor_core::engine::{EngineKind, Notice, NoticeKind};
use tempfile::TempDir;

const SCRIPT: &str = include_str!("support/model_server.py");

/// Nothing here takes long; a machine that is busy may.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes of a group that is gone.
const NOBODY: [i32; 0] = [];

/// Tells the program that is killed where to work; see [`a_program_that_is_killed`].
const VICTIM: &str = "ANCHOR_TEST_SERVERS_VICTIM";

/// A folder with everything of one test.
struct Place {
    folder: TempDir,
    notices: Arc<Mutex<Vec<Notice>>>,
    pace: Pace,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.py"), SCRIPT).unwrap();
        Self { folder, notices: Arc::default(), pace: quick() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn recipe(&self, name: &str, flags: &[&str]) -> Recipe {
        recipe(self.folder.path(), name, free_port(), flags)
    }

    fn start(&self, recipes: &[Recipe]) -> Supervisor {
        let notices = self.notices.clone();
        let options = Options { folder: self.folder.path().to_owned(), pace: self.pace.clone() };
        let notify = Arc::new(move |notice| notices.lock().unwrap().push(notice));
        Supervisor::start_with(options, recipes.to_vec(), notify).unwrap()
    }

    /// What the servers noted, line by line.
    fn journal(&self) -> Vec<String> {
        lines(&self.path("journal"))
    }

    /// The process groups of all servers that were started here.
    fn groups(&self) -> Vec<i32> {
        lines(&self.path("journal.pids")).iter().map(|line| line.parse().unwrap()).collect()
    }

    fn told(&self) -> Vec<NoticeKind> {
        self.notices.lock().unwrap().iter().map(|notice| notice.what).collect()
    }
}

fn recipe(folder: &Path, name: &str, port: u16, flags: &[&str]) -> Recipe {
    let model = "the-model".to_owned();
    let (script, journal) = (folder.join("server.py"), folder.join("journal"));
    let port_text = port.to_string();
    let own = [script.to_str().unwrap(), "--name", name, "--port", &port_text, "--journal", journal.to_str().unwrap()];
    let arguments = own.iter().chain(flags).map(|&text| text.to_owned());
    Recipe {
        name: name.into(),
        program: "python3".into(),
        arguments: arguments.collect(),
        environment: Vec::new(),
        directory: None,
        url: address(&format!("http://127.0.0.1:{port}")).unwrap(),
        proof: match name {
            "ollama" => Proof::Ollama { model, context: 4096 },
            "higgs" => Proof::Speech { model },
            _ => Proof::Transcription { model },
        },
        start: PATIENCE,
        lazy: false,
        idle: None,
        share: "0.28 of the card".into(),
    }
}

fn quick() -> Pace {
    Pace {
        look: Duration::from_millis(20),
        beat: Duration::from_millis(50),
        answer: Duration::from_secs(5),
        misses: 2,
        back_off: Duration::from_millis(50),
        longest_back_off: Duration::from_millis(200),
        failures: 3,
        window: Duration::from_secs(600),
        stable: Duration::from_secs(600),
        stop: Duration::from_secs(5),
        absence: Duration::from_millis(200),
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The processes of a group that run.
fn members(group: i32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2) == Some(&group.to_string().as_str()) && fields[0] != "Z"
    })
    .collect()
}

/// Waits until the server of this place in the list is as `wanted` says.
async fn until(supervisor: &Supervisor, rank: usize, wanted: impl Fn(&ServerState) -> bool) -> ServerStatus {
    let mut status = supervisor.status();
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(|all| wanted(&all[rank].state))).await;
    match reached {
        Ok(all) => all.unwrap()[rank].clone(),
        Err(_) => panic!("it stays {:?}", supervisor.status().borrow()),
    }
}

async fn until_true(mut holds: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn ready(state: &ServerState) -> bool {
    *state == ServerState::Ready
}

fn given_up(state: &ServerState) -> bool {
    matches!(state, ServerState::Failed { again: None, .. })
}

fn why(status: ServerStatus) -> String {
    match status.state {
        ServerState::Failed { why, .. } | ServerState::Degraded(why) => why,
        other => panic!("nothing is wrong with it: {other:?}"),
    }
}

/// A server that somebody else runs. Dropping it ends it.
struct Foreign(Child);

impl Foreign {
    async fn start(recipe: &Recipe) -> Self {
        let mut command = Command::new(&recipe.program);
        let child = Self(command.args(&recipe.arguments).stdout(Stdio::null()).spawn().unwrap());
        let address = (recipe.url.host_str().unwrap().to_owned(), recipe.url.port().unwrap());
        until_true(|| std::net::TcpStream::connect((address.0.as_str(), address.1)).is_ok(), "it listens").await;
        child
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_starts_when_the_one_before_is_proved_and_they_stop_the_other_way_round() {
    let place = Place::new();
    let recipes = [
        place.recipe("ollama", &["--slow", "0.2", "--slow-proof", "0.2"]),
        place.recipe("higgs", &["--slow-proof", "0.2"]),
        place.recipe("voxtral", &[]),
    ];
    let supervisor = place.start(&recipes);
    for rank in [2, 1, 0] {
        assert!(!until(&supervisor, rank, ready).await.attached);
    }
    assert_eq!(place.told(), [NoticeKind::ServerReady; 3]);
    supervisor.shutdown().await;
    let order = [
        "start ollama",
        "proved ollama",
        "start higgs",
        "proved higgs",
        "start voxtral",
        "proved voxtral",
        "end voxtral",
        "end higgs",
        "end ollama",
    ];
    assert_eq!(place.journal(), order);
    assert_eq!(place.groups().into_iter().flat_map(members).count(), 0);
    assert_eq!(std::fs::read_dir(place.path("run")).unwrap().count(), 0, "nothing is noted of what does not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_the_time_and_the_newest_line() {
    let place = Place::new();
    let supervisor = place.start(&[place.recipe("voxtral", &["--slow", "1.5"])]);
    let wanted = |state: &ServerState| matches!(state, ServerState::Starting { seconds: 1, line } if line == "Loading the model");
    let status = until(&supervisor, 0, wanted).await;
    assert_eq!(status.state.to_string(), "starting, 1 s: Loading the model");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_runs_out_of_memory_is_given_up_and_the_next_one_starts() {
    let place = Place::new();
    let supervisor = place.start(&[place.recipe("ollama", &["--oom"]), place.recipe("higgs", &[])]);
    until(&supervisor, 1, ready).await;
    let status = until(&supervisor, 0, given_up).await;
    insta::assert_snapshot!(why(status), @"the GPU's memory does not suffice for 0.28 of the card. `ai-anchor plan` tells what fits; `nvidia-smi` tells who else uses the card");
    let starts = || place.journal().iter().filter(|line| *line == "start ollama").count();
    assert_eq!(starts(), 3);
    let notices = place.notices.lock().unwrap().clone();
    let given_up: Vec<_> = notices.iter().filter(|notice| notice.about == "ollama").collect();
    assert_eq!(given_up.len(), 1, "{given_up:?}");
    assert_eq!(given_up[0].what, NoticeKind::ServerGivenUp);
    assert!(given_up[0].text.starts_with("ollama failed 3 times and is left alone: the GPU's memory"), "{given_up:?}");

    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(starts(), 3, "it is left alone");
    supervisor.handle().retry("ollama");
    until_true(|| starts() == 6, "the operator's wish gives it a fresh budget").await;
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_is_started_again_with_all_its_children_gone() {
    let place = Place::new();
    let once = place.path("once");
    let flags = ["--die-after", "4", "--child", "--once", once.to_str().unwrap()];
    let place = Place { pace: Pace { stop: Duration::from_millis(200), ..quick() }, ..place };
    let supervisor = place.start(&[place.recipe("voxtral", &flags)]);
    until_true(|| place.told().len() == 3, "it is up, lost and up again").await;
    assert_eq!(place.told(), [NoticeKind::ServerReady, NoticeKind::ServerLost, NoticeKind::ServerReady]);
    let text = place.notices.lock().unwrap()[1].text.clone();
    insta::assert_snapshot!(text, @"voxtral was lost and is started again: it ended with exit code 7. Its last line: Segmentation fault.");
    let groups = place.groups();
    assert_eq!(groups.len(), 2);
    assert_eq!(members(groups[0]), NOBODY, "the child of the first is gone");
    assert!(!members(groups[1]).is_empty());
    supervisor.shutdown().await;
    assert_eq!(members(groups[1]), NOBODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_started_again() {
    let mut place = Place::new();
    place.pace.answer = Duration::from_millis(700);
    let once = place.path("once");
    let flags = ["--hang-after", "3", "--once", once.to_str().unwrap()];
    let supervisor = place.start(&[place.recipe("higgs", &flags)]);
    until_true(|| place.told().len() == 3, "it is up, lost and up again").await;
    assert_eq!(place.told(), [NoticeKind::ServerReady, NoticeKind::ServerLost, NoticeKind::ServerReady]);
    let text = place.notices.lock().unwrap()[1].text.clone();
    insta::assert_snapshot!(text, @"higgs was lost and is started again: it stopped answering. Asked, /health does not answer in time.");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_is_given_up_in_words() {
    let mut place = Place::new();
    place.pace.failures = 1;
    let mut recipe = place.recipe("higgs", &["--slow", "60"]);
    recipe.start = Duration::from_secs(2);
    let supervisor = place.start(&[recipe]);
    insta::assert_snapshot!(why(until(&supervisor, 0, given_up).await), @"it did not answer within 2 s. Asked, /health takes no connection. Its last line: Loading the model");
    assert_eq!(members(place.groups()[0]), NOBODY);
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_but_does_not_work_is_not_asked_for_ever() {
    let mut place = Place::new();
    place.pace.failures = 1;
    let supervisor = place.start(&[place.recipe("ollama", &["--refuse"])]);
    let why = why(until(&supervisor, 0, given_up).await);
    assert!(why.starts_with("the GPU's memory does not suffice for 0.28 of the card."), "{why}");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_studio_starts_as_it_is_configured() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    // What `ai-anchor setup` installs, as far as the command line is concerned.
    let (bin, journal) = (place.path("env/bin"), place.path("journal"));
    std::fs::create_dir_all(&bin).unwrap();
    let run = format!("exec python3 {} --journal {}", place.path("server.py").display(), journal.display());
    let vllm = format!(
        "#!/bin/sh\ntest -z \"$VIRTUAL_ENV\" && test \"$(command -v vllm)\" = '{0}/vllm' || exit 9\n\
         case \"$*\" in *--omni*) name=higgs;; *) name=voxtral;; esac\n\
         while test \"$1\" != --port; do shift; done\n{run} --name $name --port $2\n",
        bin.display()
    );
    let ollama = format!("#!/bin/sh\ntest \"$1\" = serve && {run} --name ollama --port ${{OLLAMA_HOST##*:}}\n");
    for (name, text) in [("vllm", vllm), ("ollama", ollama)] {
        std::fs::write(bin.join(name), text).unwrap();
        std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut config = Config::of(&PROFILES[0]);
    config.engines.stt = vec!["voxtral-vllm".into()];
    config.engines.llm = vec!["ollama".into()];
    config.engines.tts = vec!["higgs-server".into()];
    // One of them is run by a command of the user's own.
    config.servers.voxtral_command = format!("vllm serve elsewhere --port {}", free_port());
    let own_port = config.servers.voxtral_command.rsplit(' ').next().unwrap().parse().unwrap();
    for (kind, engine, port) in [
        (EngineKind::Stt, "voxtral-vllm", own_port),
        (EngineKind::Llm, "ollama", free_port()),
        (EngineKind::Tts, "higgs-server", free_port()),
    ] {
        let options = format!("url = 'http://127.0.0.1:{port}'\nmodel = 'the-model'").parse().unwrap();
        config.options.insert((kind, engine.into()), options);
    }
    let shares = Shares {
        llm_context: 4096,
        llm_cache_type: "f16",
        stt_utilization: 0.27,
        stt_context: 4096,
        tts_utilization: 0.3,
        tts_context: 4096,
        tts_codec_utilization: 0.04,
        sequences: 16,
    };
    let recipes = servers::recipes(&config, &place.path("env"), &shares, |_, model| model.to_owned());
    let supervisor = place.start(&recipes);
    for rank in 0..3 {
        until(&supervisor, rank, ready).await;
    }
    supervisor.shutdown().await;
    let started: Vec<String> = place.journal().into_iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(started, ["start ollama", "start higgs", "start voxtral"]);
    assert_eq!(place.groups().into_iter().flat_map(members).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_program_is_missing_names_the_remedy() {
    let mut place = Place::new();
    place.pace.failures = 1;
    let recipe = Recipe { program: "/nowhere/vllm".into(), ..place.recipe("voxtral", &[]) };
    let supervisor = place.start(&[recipe]);
    insta::assert_snapshot!(why(until(&supervisor, 0, given_up).await), @"there is no program /nowhere/vllm. `ai-anchor setup` installs what is missing");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_will_not_stop_is_killed_within_the_bound() {
    let mut place = Place::new();
    place.pace.stop = Duration::from_millis(300);
    let supervisor = place.start(&[place.recipe("voxtral", &["--stubborn", "--child"])]);
    until(&supervisor, 0, ready).await;
    let group = place.groups()[0];
    assert!(members(group).len() >= 2, "it and its child");
    let start = Instant::now();
    supervisor.shutdown().await;
    assert!(start.elapsed() >= Duration::from_millis(300), "it is asked first");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(members(group), NOBODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_while_one_starts_leaves_nothing() {
    let place = Place::new();
    let supervisor = place.start(&[place.recipe("ollama", &["--slow", "60"]), place.recipe("higgs", &[])]);
    until_true(|| place.groups().len() == 1, "the first has started").await;
    supervisor.shutdown().await;
    assert_eq!(members(place.groups()[0]), NOBODY);
    assert_eq!(place.journal(), ["start ollama", "end ollama"], "and the second never started");
}

#[test]
fn dropping_the_supervisor_leaves_nothing_even_where_no_task_runs_any_more() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let supervisor = runtime.block_on(async {
        let supervisor = place.start(&[place.recipe("voxtral", &["--stubborn", "--child"])]);
        until(&supervisor, 0, ready).await;
        supervisor
    });
    let group = place.groups()[0];
    drop(supervisor);
    let start = Instant::now();
    while !members(group).is_empty() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_cannot_fill_the_disk() {
    let place = Place::new();
    let supervisor = place.start(&[place.recipe("voxtral", &["--noise", "250000"])]);
    until(&supervisor, 0, ready).await;
    supervisor.shutdown().await;
    let logs: Vec<u64> =
        std::fs::read_dir(place.path("logs")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(logs.len(), 4, "{logs:?}");
    assert!(logs.iter().sum::<u64>() <= 16 * 1024 * 1024, "{logs:?}");
    assert!(lines(&place.path("logs/voxtral.log")).contains(&"Loading the model".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_program_left_behind_is_ended_and_started_anew() {
    let mut place = Place::new();
    place.pace.stop = Duration::from_millis(500);
    let port = free_port();
    let flags = ["--stubborn", "--child"];
    let mut victim = victim(&place, port, &flags);
    until_true(|| place.journal().contains(&"proved voxtral".into()), "the program has its server up").await;
    let orphan = place.groups()[0];
    // Its owner lives: another program uses it and leaves it alone.
    let guest = place.start(&[recipe(place.folder.path(), "voxtral", port, &flags)]);
    assert!(until(&guest, 0, ready).await.attached);
    guest.shutdown().await;
    assert_eq!(members(orphan).len().min(2), 2, "it and its child");

    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(members(orphan).len().min(2), 2, "nobody ended them");
    let supervisor = place.start(&[recipe(place.folder.path(), "voxtral", port, &flags)]);
    assert!(!until(&supervisor, 0, ready).await.attached);
    assert_eq!(members(orphan), NOBODY);
    assert_eq!(place.groups().len(), 2);
    supervisor.shutdown().await;
    assert_eq!(members(place.groups()[1]), NOBODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_another_program_starts_is_waited_for() {
    let place = Place::new();
    let port = free_port();
    let flags = ["--slow", "1"];
    let mut victim = victim(&place, port, &flags);
    until_true(|| place.groups().len() == 1 && place.path("run/voxtral.json").exists(), "it is being started").await;
    let supervisor = place.start(&[recipe(place.folder.path(), "voxtral", port, &flags)]);
    let owner = format!("another AI Anchor, process {}, starts it", victim.id());
    until(&supervisor, 0, |state| matches!(state, ServerState::Starting { line, .. } if *line == owner)).await;
    assert!(until(&supervisor, 0, ready).await.attached);
    assert_eq!(place.groups().len(), 1, "no second one was started");
    victim.kill().unwrap();
    victim.wait().unwrap();
    supervisor.shutdown().await;
    assert!(!members(place.groups()[0]).is_empty(), "it was not this program's to stop");
    // The next one to start it ends it.
    let supervisor = place.start(&[place.recipe("voxtral", &[])]);
    until(&supervisor, 0, ready).await;
    assert_eq!(members(place.groups()[0]), NOBODY);
    supervisor.shutdown().await;
}

/// This test program again, keeping a server up until it is killed.
fn victim(place: &Place, port: u16, flags: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "servers::a_program_that_is_killed", "--ignored", "--nocapture"]);
    command.env(VICTIM, format!("{port} {} {}", place.folder.path().display(), flags.join(" ")));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the part of another test that is killed"]
async fn a_program_that_is_killed() {
    let Ok(told) = std::env::var(VICTIM) else { return };
    let told: Vec<&str> = told.split(' ').collect();
    let (port, folder, flags) = (told[0], told[1], &told[2..]);
    let recipe = recipe(Path::new(folder), "voxtral", port.parse().unwrap(), flags);
    let options = Options { folder: folder.into(), pace: quick() };
    let _supervisor = Supervisor::start_with(options, vec![recipe], Arc::new(drop)).unwrap();
    tokio::time::sleep(2 * PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_got_an_old_number_is_left_alone() {
    use std::os::unix::process::CommandExt;

    let place = Place::new();
    let mut stranger = Foreign(Command::new("sleep").arg("60").process_group(0).spawn().unwrap());
    let pid = stranger.0.id();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let gone = serde_json::json!({ "pid": pid, "start": 1 });
    let record = serde_json::json!({ "boot": boot.trim(), "group": pid, "members": [gone], "owner": gone });
    std::fs::create_dir(place.path("run")).unwrap();
    std::fs::write(place.path("run/voxtral.json"), record.to_string()).unwrap();
    let supervisor = place.start(&[place.recipe("voxtral", &[])]);
    until(&supervisor, 0, ready).await;
    supervisor.shutdown().await;
    assert!(stranger.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_runs_already_is_used_and_never_stopped() {
    let place = Place::new();
    let recipe = place.recipe("ollama", &[]);
    let mut foreign = Foreign::start(&recipe).await;
    let supervisor = place.start(std::slice::from_ref(&recipe));
    assert!(until(&supervisor, 0, ready).await.attached);
    assert_eq!(place.journal(), ["start ollama", "proved ollama"]);
    supervisor.shutdown().await;
    assert!(foreign.runs());

    // When it goes for good, one is started in its place.
    let supervisor = place.start(&[recipe]);
    assert!(until(&supervisor, 0, ready).await.attached);
    drop(foreign);
    until_true(|| place.groups().len() == 2, "another is started").await;
    assert!(!until(&supervisor, 0, ready).await.attached);
    supervisor.shutdown().await;
    assert_eq!(members(place.groups()[1]), NOBODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_something_else_has_is_said_in_words() {
    let mut place = Place::new();
    place.pace.failures = 1;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope");
        }
    });
    let supervisor = place.start(&[recipe(place.folder.path(), "voxtral", port, &[])]);
    let why = why(until(&supervisor, 0, given_up).await).replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(why, @"something else listens on port PORT: /health answers 404: nope. End that program (`ss -ltnp 'sport = :PORT'` names it), or give the engine another `url`");
    assert_eq!(place.journal(), [""; 0], "nothing was started");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_model_is_not_the_one() {
    let mut place = Place::new();
    place.pace.failures = 1;
    let mut recipe = place.recipe("higgs", &[]);
    let mut foreign = Foreign::start(&recipe).await;
    recipe.proof = Proof::Speech { model: "another".into() };
    let supervisor = place.start(&[recipe]);
    let why = why(until(&supervisor, 0, given_up).await);
    assert!(why.contains("/v1/models lists the-model and not another"), "{why}");
    supervisor.shutdown().await;
    assert!(foreign.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_one_starts_when_it_is_used_and_stops_when_it_is_not() {
    let place = Place::new();
    let lazy = Recipe { lazy: true, idle: Some(Duration::from_millis(600)), ..place.recipe("ollama", &[]) };
    let supervisor = place.start(&[lazy, place.recipe("higgs", &[])]);
    until(&supervisor, 1, ready).await;
    assert_eq!(supervisor.status().borrow()[0].state, ServerState::Stopped);
    supervisor.wanted("nobody");
    for use_number in 1..=2 {
        supervisor.wanted("ollama");
        until(&supervisor, 0, ready).await;
        // It is used longer than it may be idle.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            supervisor.wanted("ollama");
            assert_eq!(supervisor.status().borrow()[0].state, ServerState::Ready);
        }
        until(&supervisor, 0, |state| *state == ServerState::Stopped).await;
        let groups: Vec<i32> = place.groups();
        assert_eq!(groups.len(), use_number + 1, "the other one and each start");
        assert_eq!(members(groups[use_number]), NOBODY);
    }
    assert_eq!(supervisor.status().borrow()[1].state, ServerState::Ready, "the other one stays");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_partly_on_the_cpu_is_reported() {
    let place = Place::new();
    let supervisor = place.start(&[place.recipe("ollama", &["--vram", "60"])]);
    let status = until(&supervisor, 0, |state| matches!(state, ServerState::Degraded(_))).await;
    insta::assert_snapshot!(why(status), @"40 % of the language model lies in main memory instead of on the GPU, so that answers come late. `ai-anchor plan` tells what fits");
    supervisor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_without_its_model_stays_up_until_somebody_pulls_it() {
    let place = Place::new();
    let model = place.path("model");
    let flags = ["--model", model.to_str().unwrap()];
    let supervisor = place.start(&[place.recipe("ollama", &flags), place.recipe("higgs", &[])]);
    insta::assert_snapshot!(why(until(&supervisor, 0, given_up).await), @"Ollama does not have the model the-model. `ai-anchor models pull ollama` downloads it");
    until(&supervisor, 1, ready).await;
    std::fs::write(&model, "").unwrap();
    until(&supervisor, 0, ready).await;
    assert_eq!(place.groups().len(), 2, "it was never started again");
    supervisor.shutdown().await;
}
