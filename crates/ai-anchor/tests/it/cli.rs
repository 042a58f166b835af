//! The command line: results, complaints and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An empty directory to run in, gone when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ai-anchor-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.0.join(name), content).unwrap();
        self
    }

    /// Runs the program here with these arguments, nothing else configured.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The same with something on standard input.
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It may end without having read everything.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap().into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-anchor"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANCHOR_")) {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    #[track_caller]
    fn json(self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    #[track_caller]
    fn complaint(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.stderr);
        self.stderr.trim_end().to_owned()
    }
}

const NEWS: &str = "# News\n\n## Rain tonight\nslug: rain\n\nIt rains.\n";

#[test]
fn no_command_is_a_request_for_help() {
    let ran = Place::new("help").run(&[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("Usage: ai-anchor"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Exit codes:"), "{}", ran.stderr);
}

#[test]
fn mistakes_in_the_configuration_name_line_and_remedy() {
    let place = Place::new("config");
    place.file("anchor.toml", "[server]\nprot = 80\n\n[turn]\nsilence_duration = 500\nthreshold = 7\n");
    insta::assert_snapshot!(place.run(&["config", "--check"]).complaint(3), @"
    ai-anchor: the settings cannot be used:
      anchor.toml line 2: there is no setting 'server.prot'. Did you mean 'port' in the section [server]?
      anchor.toml line 5: there is no setting 'turn.silence_duration'. Did you mean 'silence_duration_ms' in the section [turn]?
      anchor.toml line 6: turn.threshold: it must be from 0.05 to 0.95, not 7
    ");
    let ran = place.run(&["config", "--check", "--json"]);
    assert_eq!(ran.code, 3);
    assert_eq!(ran.json()["mistakes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let complaint = Place::new("nowhere").run(&["config", "--check", "--config", "nowhere.toml"]).complaint(3);
    assert!(complaint.starts_with("ai-anchor: cannot read the configuration nowhere.toml"), "{complaint}");
}

#[test]
fn variables_and_flags_are_checked_like_the_file() {
    let place = Place::new("layers");
    let complaint = place.run(&["config", "--check", "--profile", "orbit"]).complaint(2);
    insta::assert_snapshot!(complaint, @"
    ai-anchor: the settings cannot be used:
      --profile: there is no profile called 'orbit'. There is: embedded, studio
    ");
    let output = place.command(&["config", "--check"]).env("ANCHOR_SERVER_PORT", "http").output().unwrap();
    insta::assert_snapshot!(Ran::from(output).complaint(3), @r#"
    ai-anchor: the settings cannot be used:
      ANCHOR_SERVER_PORT: it must be a whole number from 0 to 65535, not "http"
    "#);
}

#[test]
fn a_misspelt_variable_is_warned_of_and_a_foreign_one_is_not() {
    let place = Place::new("variables");
    let output = place
        .command(&["config", "--check"])
        .env("ANCHOR_SERVER_PROT", "80")
        .env("ANCHOR_WALLET", "elsewhere")
        .output()
        .unwrap();
    assert!(output.status.success());
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("did you mean ANCHOR_SERVER_PORT?"), "{warning}");
    assert!(!warning.contains("WALLET"), "{warning}");
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let place = Place::new("good");
    place.file("tonight.md", NEWS).file("anchor.toml", "[rundown]\npath = 'tonight.md'\n");
    insta::assert_snapshot!(place.run(&["config", "--check"]).ok(), @"The configuration can be used: profile embedded, 1 story in the rundown.");
    let sample = place.run(&["config", "--defaults"]).ok();
    assert_eq!(sample, std::fs::read_to_string(repository().join("anchor.example.toml")).unwrap());
}

#[test]
fn a_rundown_is_checked_line_by_line() {
    let place = Place::new("rundown");
    place.file("good.md", NEWS).file("bad.md", "# News\n\n## Rain tonight\nslag: rain\n\nIt rains.\n\n## Nothing\n");
    insta::assert_snapshot!(place.run(&["rundown", "check", "good.md"]).ok(), @r#"good.md can go on air: "News", 1 story."#);
    insta::assert_snapshot!(place.run(&["rundown", "check", "bad.md"]).complaint(3), @r#"
    ai-anchor: the rundown bad.md cannot go on air:
      line 4: there is no key "slag". Use "slug". If the line belongs to the script, put an empty line above it.
      line 8: the story "Nothing" has no script. Write under its heading what is to be read.
    "#);
    assert_eq!(place.run(&["rundown", "check", "bad.md", "--json"]).json()["problems"][0]["line"], 4);
    let complaint = place.run(&["rundown", "check", "none.md"]).complaint(3);
    assert!(complaint.contains("cannot read the rundown none.md"), "{complaint}");
}

#[test]
fn every_shell_gets_completions() {
    let place = Place::new("completions");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).ok();
        assert!(script.contains("transcribe"), "{shell}");
    }
    assert_eq!(place.run(&["completions", "abacus"]).code, 2);
}

#[test]
fn engines_are_listed_for_people_and_machines() {
    let place = Place::new("engines");
    let engines = place.run(&["engines", "--json"]).json();
    let silero = engines.as_array().unwrap().iter().find(|engine| engine["name"] == "silero").unwrap();
    assert_eq!((&silero["kind"], &silero["usable"]), (&"vad".into(), &true.into()));
    assert!(place.run(&["engines"]).ok().contains("* silero"));
    // Nothing listens on port 1.
    place.file("anchor.toml", "[llm.ollama]\nurl = 'http://127.0.0.1:1'");
    let engines = place.run(&["engines", "--json"]).json();
    let ollama = engines.as_array().unwrap().iter().find(|engine| engine["name"] == "ollama").unwrap();
    let problem = "ollama failed: http://127.0.0.1:1: no connection (Connection refused (os error 111))";
    assert_eq!((ollama["usable"].as_bool(), ollama["problem"].as_str()), (Some(false), Some(problem)));
}

#[test]
fn unknown_engines_and_voices_name_what_there_is() {
    let place = Place::new("unknown");
    let complaint = place.run(&["say", "Hello", "--engine", "flight", "-o", "out.wav"]).complaint(2);
    assert!(complaint.contains("there is no tts engine called 'flight' (did you mean 'flite'?)"), "{complaint}");
    let complaint = place.run(&["say", "Hello", "--voice", "nobody", "-o", "out.wav"]).complaint(2);
    assert!(complaint.contains("it has rms, slt"), "{complaint}");
}

#[test]
fn another_engine_of_the_list_stands_in_and_it_is_said_so() {
    let place = Place::new("chain");
    place.file("anchor.toml", "[engines]\ntts = ['flite', 'espeak']\n[tts.flite]\nnonsense = 1");
    let ran = place.run(&["say", "Good evening.", "-o", "out.wav"]);
    assert!(ran.stderr.contains("espeak speaks until it is back"), "{}", ran.stderr);
    ran.ok();
    assert!(std::fs::metadata(place.0.join("out.wav")).unwrap().len() > 10_000);
    let alone = place.run(&["say", "Good evening.", "--engine", "flite", "-o", "out.wav"]).complaint(4);
    assert!(alone.contains("no key `nonsense`"), "{alone}");
    assert!(place.run(&["engines"]).ok().contains("* espeak"));
}

#[test]
fn what_is_said_is_a_wav_file_on_disk_or_on_standard_output() {
    let place = Place::new("say");
    let said = place.run(&["say", "Good evening.", "--voice", "slt", "-o", "out.wav", "--json"]).json();
    assert!(said["seconds"].as_f64().unwrap() > 0.4, "{said}");
    let file = std::fs::read(place.0.join("out.wav")).unwrap();
    assert_eq!(place.run_with_input(&["say", "-", "--voice", "slt"], b"Good evening.").stdout, file);
    assert!(place.run(&["say", "--list"]).ok().starts_with("rms "));
}

#[test]
fn what_is_said_is_understood() {
    let place = Place::new("roundtrip");
    for (voice, question) in [("awb", "what are the headlines"), ("rms", "what will the weather be like tomorrow")] {
        let said = place.run(&["say", question, "--voice", voice]).stdout;
        assert_eq!(place.run_with_input(&["transcribe", "-"], &said).ok().trim(), question, "{voice}");
    }
    place.file("silence.wav", wav(&[0; 16_000]));
    let heard = place.run(&["transcribe", "silence.wav", "--json"]).json();
    assert_eq!((&heard["text"], &heard["seconds"]), (&"".into(), &1.0.into()));
}

#[test]
fn broken_sound_is_refused_with_a_reason() {
    let place = Place::new("broken");
    place.file("text.wav", "This is no sound, though its name says so, and it is longer than a header.");
    place.file("short.wav", &wav(&[0; 1000])[..100]).file("empty.wav", "");
    let reasons = ["text.wav", "short.wav", "empty.wav", "none.wav"];
    let reasons = reasons.map(|file| place.run(&["transcribe", file]).complaint(1)).join("\n");
    insta::assert_snapshot!(reasons, @"
    ai-anchor: text.wav: is not a WAV file this program can read: Ill-formed WAVE file: no RIFF tag found. Convert it to 16-bit PCM WAV
    ai-anchor: short.wav: is empty or cut off: it ends before its header says. Copy or record it again
    ai-anchor: empty.wav: is empty or cut off: it ends before its header says. Copy or record it again
    ai-anchor: cannot read none.wav: No such file or directory (os error 2)
    ");
}

#[test]
fn questions_are_answered_turn_by_turn() {
    let place = Place::new("ask");
    place.file("tonight.md", NEWS);
    let answer = place.run(&["ask", "What are the headlines?", "--rundown", "tonight.md"]).ok();
    assert!(answer.contains("Rain tonight"), "{answer}");
    let answers = place.run_with_input(&["ask", "-", "--json"], b"What about the bridge?\n\nThanks.\n").ok();
    let answers: Vec<serde_json::Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["stories"][0], "harbour-bridge");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new("pipe");
    let mut child = place.command(&["config", "--defaults"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_in_use_says_so_and_how_to_choose_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let complaint = Place::new("port").run(&["serve", "--port", &port]).complaint(5);
    let expected =
        format!("ai-anchor: port {port} on 127.0.0.1 is in use by another program. Choose another with --port");
    assert!(complaint.starts_with(&expected), "{complaint}");
    let complaint = Place::new("host").run(&["serve", "--host", "203.0.113.7"]).complaint(5);
    assert!(complaint.contains("Use an address of this machine"), "{complaint}");
}

#[test]
fn a_voice_the_engine_does_not_have_is_refused_before_anybody_calls() {
    let place = Place::new("voice");
    place.file("anchor.toml", "[anchor]\nvoice = 'nobody'\n");
    let complaint = place.run(&["serve", "--port", "0"]).complaint(3);
    assert!(complaint.contains("flite has no voice 'nobody'. It has: rms, slt"), "{complaint}");
}

#[test]
fn whoever_is_not_alone_on_the_machine_needs_keys() {
    let place = Place::new("keys");
    place.file("anchor.toml", "[server]\nkeys = 'keys.toml'\n");
    let complaint = place.run(&["serve", "--host", "0.0.0.0", "--port", "0"]).complaint(3);
    assert!(complaint.contains("Make one with: ai-anchor keys add NAME"), "{complaint}");

    let made = place.run(&["keys", "add", "desk", "--expires", "7", "--json"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    place.run(&["keys", "add", "desk"]).complaint(2);
    let listed = String::from_utf8(place.run(&["keys", "list"]).stdout).unwrap();
    assert!(listed.contains("desk") && !listed.contains(key), "{listed}");

    let mut serve = place.command(&["serve", "--host", "0.0.0.0", "--port", "0", "--json"]);
    let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let begun: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = begun["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let status = |header: &str| {
        let mut connection = TcpStream::connect(&address).unwrap();
        write!(connection, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(status(""), "401");
    assert_eq!(status("Authorization: Bearer sk-anchor-no\r\n"), "401");
    assert_eq!(status(&format!("Authorization: Bearer {key}\r\n")), "200");

    assert_eq!(place.run(&["keys", "remove", "desk"]).code, 0);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while status(&format!("Authorization: Bearer {key}\r\n")) != "401" {
        assert!(std::time::Instant::now() < deadline, "a removed key still opens");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn serving_begins_with_a_link_and_ends_when_asked_to() {
    let place = Place::new("serve");
    let mut child = place.command(&["serve", "--port", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let begun: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(begun["engines"].as_array().unwrap().len(), 4);

    let address = begun["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let ended: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// A WAV file of one channel at 16 kHz.
fn wav(samples: &[i16]) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
