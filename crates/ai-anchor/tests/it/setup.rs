//! `setup` and `doctor` from outside, with programs that only look like the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const NVIDIA_SMI: &str = r#"
case "$*" in
*--query-gpu*) echo "0, NVIDIA RTX 6000 Ada Generation, 49140, 48102, 580.95.05, 8.9" ;;
*) echo "| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |" ;;
esac
"#;

/// Makes an environment whose uv "installs" what the lock file names; how often each ran is counted.
const MICROMAMBA: &str = r#"
if [ "$1" = info ]; then echo '{"micromamba version": "2.3.3"}'; exit; fi
echo "$*" >>"$XDG_DATA_HOME/micromamba.ran"
prefix=$4
grep -q '"ollama=\*=cuda\*"' "$6" || { echo "no CUDA build was asked for" >&2; exit 1; }
mkdir -p "$prefix/bin" "$prefix/conda-meta" "$prefix/lib/python3.12/site-packages"
touch "$prefix/bin/python" "$prefix/bin/ffmpeg" "$prefix/bin/ollama" "$prefix/conda-meta/ollama-0.24.0-cuda130_h0_0.json"
cat >"$prefix/bin/uv" <<'UV'
#!/bin/sh
echo "$*" >>"$XDG_DATA_HOME/uv.ran"
[ -z "$VIRTUAL_ENV" ] || { echo "VIRTUAL_ENV is set" >&2; exit 1; }
[ ! -e "$XDG_DATA_HOME/fail" ] || { echo "error: No space left on device" >&2; exit 2; }
[ ! -e "$XDG_DATA_HOME/hang" ] || sleep 600
site=${4%/bin/python}/lib/python3.12/site-packages
sed -n 's/^\([^ #=]*\)==\([^ ;]*\).*/\1-\2.dist-info/p' "$6" | while read -r folder; do mkdir -p "$site/$folder"; done
UV
chmod +x "$prefix/bin/uv"
"#;

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in [("nvidia-smi", NVIDIA_SMI), ("micromamba", MICROMAMBA)] {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-anchor"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path().display()));
        command.env("XDG_DATA_HOME", self.path()).env("HOME", self.path()).env("VIRTUAL_ENV", "/elsewhere");
        command.env_remove("CONDA_EXE").env_remove("MAMBA_EXE");
        command
    }

    fn setup(&self) -> Output {
        self.command(&["setup", "--yes", "--no-models"]).output().unwrap()
    }

    fn runs(&self, of: &str) -> usize {
        fs::read_to_string(self.path().join(format!("{of}.ran"))).map_or(0, |text| text.lines().count())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn showing_the_plan_changes_nothing() {
    let machine = Machine::new();
    let output = machine.command(&["setup", "--dry-run", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let command = plan["steps"][1]["command"].as_str().unwrap();
    assert!(command.contains("/micromamba create --yes --prefix "), "{command}");
    assert!(!machine.path().join("ai-anchor").exists());
    // Nobody sits at a terminal, and nobody said yes beforehand.
    assert_eq!(machine.command(&["setup", "--no-models"]).output().unwrap().status.code(), Some(2));
    assert_eq!(machine.runs("micromamba"), 0);
}

#[test]
fn setting_up_goes_on_where_it_failed_and_ends_by_having_nothing_to_do() {
    let machine = Machine::new();
    fs::write(machine.path().join("fail"), "").unwrap();
    let failed = machine.setup();
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    assert!(said.contains("ended with code 2") && said.contains("No space left on device"), "{said}");
    assert!(said.contains("uv pip install --python") && said.contains("setup.log"), "{said}");

    fs::remove_file(machine.path().join("fail")).unwrap();
    let output = machine.setup();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((machine.runs("micromamba"), machine.runs("uv")), (1, 2));

    assert!(machine.setup().status.success());
    assert_eq!((machine.runs("micromamba"), machine.runs("uv")), (1, 2), "all was there");

    // Something was lost since.
    fs::remove_dir_all(machine.path().join("ai-anchor/env/lib/python3.12/site-packages/vllm-0.30.0.dist-info"))
        .unwrap();
    assert!(machine.setup().status.success());
    assert_eq!((machine.runs("micromamba"), machine.runs("uv")), (1, 3));
}

#[test]
fn ctrl_c_stops_it_and_the_program_that_runs() {
    let machine = Machine::new();
    fs::write(machine.path().join("hang"), "").unwrap();
    let child = machine.command(&["setup", "--yes", "--no-models"]).spawn().unwrap();
    let start = Instant::now();
    while machine.runs("uv") == 0 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Run ai-anchor setup again to go on"), "{}", stderr(&output));
    assert!(start.elapsed() < Duration::from_secs(60), "it waited for the program");
}

#[test]
fn doctor_tells_checks_as_json_and_ends_well_where_nothing_is_wrong() {
    let machine = Machine::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = machine.command(&["doctor", "--json"]).env("ANCHOR_SERVER_PORT", &free).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(told["problems"], 0);
    // The port is taken by somebody else.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = machine.command(&["doctor"]).env("ANCHOR_SERVER_PORT", &port).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("port {port} of anchor is taken by another program")), "{text}");
    assert!(text.contains(&format!("-> See who it is: ss -ltnp 'sport = :{port}'")), "{text}");
}
