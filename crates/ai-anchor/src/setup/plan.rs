//! The plan: what has to be done on a machine of these facts. A pure function, shown before anything is done.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ModelFact;
use super::files::{CUDA12, CUDA13, ENVIRONMENT, Lock};
use super::trouble::{Cuda, Finding, Level, problem, trouble, warning};
use crate::machine::conda::{Conda, CondaKind};
use crate::machine::{Environment, Facts};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The libraries of this CUDA rather than what the driver runs: also sets up a machine whose GPU is not here yet.
    pub cuda: Option<Cuda>,
    /// micromamba is downloaded where no conda is found.
    pub install_micromamba: bool,
    /// The voice Higgs runs in this environment.
    pub higgs: bool,
    /// The models that are wanted.
    pub models: Vec<ModelFact>,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupPlan {
    /// What is known of the machine, the worst first.
    pub findings: Vec<Finding>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub what: String,
    /// What for.
    pub why: &'static str,
    /// How.
    pub work: Work,
    /// How one sees that it is done.
    pub proof: Proof,
    /// It is done already.
    pub done: bool,
    /// About how many bytes it takes on the disk.
    pub bytes: u64,
}

/// How a step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Files of this program are written into a folder.
    Write {
        /// The folder.
        folder: PathBuf,
        /// The files.
        files: Vec<&'static Lock>,
    },
    /// A program is run.
    Run {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// Variables set for it.
        set: Vec<(&'static str, String)>,
        /// Variables taken from it.
        unset: &'static [&'static str],
    },
    /// A model is downloaded.
    Pull {
        /// Its name.
        model: String,
        /// Ollama has to run for it.
        ollama: bool,
    },
    /// The user has to do it.
    Person {
        /// With this command.
        command: String,
    },
}

/// How one sees that a step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The files are there, as they are in this program.
    Written,
    /// This program is there.
    Program(PathBuf),
    /// The conda environment is whole.
    Environment(PathBuf),
    /// Every package of the lock file is in the environment.
    Packages(PathBuf, &'static Lock),
    /// Whoever did it says so.
    Word,
}

/// Rough sizes on the disk: the environment with its CUDA libraries for Ollama, and Python's packages, of which PyTorch and
/// CUDA's libraries are the greater part. The packages lie in uv's cache, too, but as the same files where it is on the
/// same disk.
const ENVIRONMENT_BYTES: u64 = 5_000_000_000;
const PACKAGES_BYTES: u64 = 12_000_000_000;
const MICROMAMBA_BYTES: u64 = 20_000_000;

/// Left free beside what is downloaded: logs, and files that are in two places while they are unpacked.
const SPARE_BYTES: u64 = 3_000_000_000;

/// The installer that micromamba's documentation names.
const MICROMAMBA_INSTALLER: &str = r#""${SHELL}" <(curl -L micro.mamba.pm/install.sh)"#;

/// Source: mamba.readthedocs.io, "Micromamba installation", manual installation.
const MICROMAMBA_ARCHIVE: &str = "https://micro.mamba.pm/api/micromamba/linux-64/latest";

impl SetupPlan {
    /// Something stands in the way.
    pub fn is_blocked(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Problem)
    }

    /// What is to be done yet.
    pub fn to_do(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.done)
    }

    /// About how many bytes are needed for it.
    pub fn bytes(&self) -> u64 {
        self.to_do().map(|step| step.bytes).sum()
    }
}

/// What has to be done on a machine of these facts.
pub fn plan(facts: &Facts, wishes: &Wishes) -> SetupPlan {
    let driver = facts.gpus.as_ref().ok().and_then(|gpus| gpus.first()).and_then(|gpu| Cuda::of_driver(&gpu.driver));
    let cuda = wishes.cuda.or(driver).unwrap_or(Cuda::Cuda13);
    let mut findings = trouble(facts);
    if wishes.cuda.is_some() && facts.gpus.is_err() {
        // It was said that the GPU comes later.
        findings.iter_mut().filter(|finding| finding.about != "processor").for_each(|it| it.level = Level::Warning);
    }
    if wishes.cuda.zip(driver).is_some_and(|(wished, runs)| wished > runs) {
        findings.push(problem(
            "CUDA",
            "the driver does not run libraries of CUDA 13".into(),
            "Leave out --cuda, or install driver 580 or newer",
        ));
    }
    if wishes.higgs && cuda == Cuda::Cuda12 && driver != Some(Cuda::Cuda12) {
        findings.push(warning(
            "voice",
            "packages for CUDA 12 have no server for Higgs".into(),
            "Take --cuda 13, or run Higgs in Boson's container",
        ));
    }
    let mut steps = vec![write_files(facts, cuda)];
    match (facts.conda.first(), wishes.install_micromamba) {
        (Some(conda), _) => steps.push(make_environment(facts, conda, wishes)),
        (None, true) => {
            let conda = Conda {
                kind: CondaKind::Micromamba,
                program: facts.data.join("bin/micromamba"),
                version: String::new(),
            };
            steps.push(bring_micromamba(&conda.program));
            steps.push(make_environment(facts, &conda, wishes));
        }
        (None, false) if facts.environment.is_whole() => {}
        (None, false) => {
            findings.push(problem(
                "conda",
                "neither micromamba nor mamba nor conda is here".into(),
                &format!("Install micromamba with {MICROMAMBA_INSTALLER}, or let ai-anchor setup --install-micromamba fetch it for itself"),
            ));
            steps.push(Step {
                what: "install micromamba".into(),
                why: "it makes the conda environment",
                work: Work::Person { command: MICROMAMBA_INSTALLER.into() },
                proof: Proof::Word,
                done: false,
                bytes: MICROMAMBA_BYTES,
            });
            let conda = Conda { kind: CondaKind::Micromamba, program: "micromamba".into(), version: String::new() };
            steps.push(make_environment(facts, &conda, wishes));
        }
    }
    if facts.environment.exists && !facts.environment.is_conda {
        let place = facts.environment.prefix.display();
        let what = format!("{place} is not empty, and conda did not make it");
        findings.push(problem("environment", what, &format!("Move it away: mv {place} {place}.old")));
    }
    steps.push(install_packages(facts, cuda));
    steps.extend(wishes.models.iter().map(pull));
    let mut plan = SetupPlan { findings, steps };
    plan.findings.extend(disk(facts, plan.bytes()));
    plan.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    plan
}

fn files_folder(facts: &Facts) -> PathBuf {
    facts.data.join("deploy")
}

fn lock(cuda: Cuda) -> &'static Lock {
    match cuda {
        Cuda::Cuda12 => &CUDA12,
        Cuda::Cuda13 => &CUDA13,
    }
}

fn write_files(facts: &Facts, cuda: Cuda) -> Step {
    Step {
        what: format!("write environment.yml and {}", lock(cuda).name),
        why: "conda and uv read them",
        work: Work::Write { folder: files_folder(facts), files: vec![&ENVIRONMENT, lock(cuda)] },
        proof: Proof::Written,
        // They cost nothing, and may be those of an older release.
        done: false,
        bytes: 0,
    }
}

fn bring_micromamba(program: &Path) -> Step {
    let folder = program.parent().and_then(Path::parent).unwrap_or(Path::new(".")).display().to_string();
    let script = r#"mkdir -p "$1" && curl -fL --retry 3 -o "$1/micromamba.tar.bz2" "$2" && tar -xjf "$1/micromamba.tar.bz2" -C "$1" bin/micromamba && rm "$1/micromamba.tar.bz2""#;
    Step {
        what: "download micromamba".into(),
        why: "it makes the conda environment; it is one file and changes no settings of the shell",
        work: Work::Run {
            program: "/bin/sh".into(),
            arguments: ["-c", script, "sh", &folder, MICROMAMBA_ARCHIVE].map(str::to_owned).into(),
            set: Vec::new(),
            unset: &[],
        },
        proof: Proof::Program(program.to_owned()),
        done: false,
        bytes: MICROMAMBA_BYTES,
    }
}

fn make_environment(facts: &Facts, conda: &Conda, wishes: &Wishes) -> Step {
    let environment = &facts.environment;
    let file = files_folder(facts).join(ENVIRONMENT.name);
    let complete = environment.is_conda;
    // Without a driver to look at, conda would take Ollama's build for the processor, or refuse.
    let pretended = wishes.cuda.filter(|_| facts.gpus.is_err()).map(|cuda| match cuda {
        Cuda::Cuda12 => "12.8",
        Cuda::Cuda13 => "13.0",
    });
    Step {
        what: format!(
            "{} the conda environment with {}",
            if complete { "complete" } else { "make" },
            conda.kind.name()
        ),
        why: "Python 3.12, uv, ffmpeg and Ollama, apart from the system's own",
        work: Work::Run {
            program: conda.program.clone(),
            arguments: conda.kind.arguments(
                &environment.prefix.display().to_string(),
                &file.display().to_string(),
                complete,
            ),
            set: pretended.map(|version| ("CONDA_OVERRIDE_CUDA", version.to_owned())).into_iter().collect(),
            unset: &[],
        },
        proof: Proof::Environment(environment.prefix.clone()),
        done: environment.is_whole(),
        bytes: ENVIRONMENT_BYTES,
    }
}

fn install_packages(facts: &Facts, cuda: Cuda) -> Step {
    let prefix = &facts.environment.prefix;
    let lock = lock(cuda);
    let file = files_folder(facts).join(lock.name).display().to_string();
    let python = prefix.join("bin/python").display().to_string();
    Step {
        what: format!("install the packages of {} with uv", lock.name),
        why: match cuda {
            Cuda::Cuda13 => "vLLM for Voxtral and vLLM-Omni for Higgs, with the libraries of CUDA 13",
            Cuda::Cuda12 => "vLLM for Voxtral, with the libraries of CUDA 12",
        },
        work: Work::Run {
            program: prefix.join("bin/uv"),
            arguments: ["pip", "install", "--python", &python, "-r", &file, "--require-hashes"]
                .map(str::to_owned)
                .into(),
            set: Vec::new(),
            // Where it is set, uv takes it for the environment that is meant.
            unset: &["VIRTUAL_ENV"],
        },
        proof: Proof::Packages(prefix.clone(), lock),
        done: facts.environment.is_whole() && facts.environment.missing(lock.text).is_empty(),
        bytes: PACKAGES_BYTES,
    }
}

fn pull(model: &ModelFact) -> Step {
    Step {
        what: format!("download the model {}", model.name),
        why: model.about,
        work: Work::Pull { model: model.name.into(), ollama: model.ollama },
        proof: Proof::Word,
        done: model.here,
        bytes: model.bytes,
    }
}

fn disk(facts: &Facts, needed: u64) -> Option<Finding> {
    let place = facts.data.display();
    if !facts.disk_writable {
        return Some(problem(
            "disk",
            format!("{place} cannot be written to"),
            "Run as the user it belongs to, or set XDG_DATA_HOME to another folder",
        ));
    }
    let free = facts.disk_free?;
    let needed = if needed == 0 { 0 } else { needed.saturating_add(SPARE_BYTES) };
    let what = format!("{} are needed in {place} and {} are free", Bytes(needed), Bytes(free));
    (free < needed).then(|| problem("disk", what, "Make room, or set XDG_DATA_HOME to a folder on a larger disk"))
}

/// A size for people.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000_000_000 => write!(f, "{:.0} MB", self.0 as f64 / 1e6),
            bytes => write!(f, "{:.1} GB", bytes as f64 / 1e9),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {}: {}", self.level, self.about, self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n         -> {}", self.remedy) }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { folder, .. } => write!(f, "(into {})", folder.display()),
            Self::Run { program, arguments, set, unset } => {
                if !unset.is_empty() || !set.is_empty() {
                    f.write_str("env ")?;
                }
                unset.iter().try_for_each(|name| write!(f, "-u {name} "))?;
                set.iter().try_for_each(|(name, value)| write!(f, "{name}={value} "))?;
                write!(f, "{}", quoted(&program.display().to_string()))?;
                arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
            }
            Self::Pull { model, .. } => write!(f, "ai-anchor models pull {model}"),
            Self::Person { command } => write!(f, "{command}   (yours to run)"),
        }
    }
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=+,@".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl fmt::Display for SetupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        for (number, step) in self.steps.iter().enumerate() {
            let state = match (step.done, step.bytes) {
                (true, _) => "done already".to_owned(),
                (false, 0) => "at once".to_owned(),
                (false, bytes) => format!("about {}", Bytes(bytes)),
            };
            write!(f, "\n{}. {}: {state}\n   {}\n   {}\n", number + 1, step.what, step.why, step.work)?;
        }
        write!(f, "\nIn all about {} to download and build.", Bytes(self.bytes()))
    }
}

impl Proof {
    /// Looks whether the step is done.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Written | Self::Word => true,
            Self::Program(program) => program.is_file(),
            Self::Environment(prefix) => Environment::read(prefix).is_whole(),
            Self::Packages(prefix, lock) => Environment::read(prefix).missing(lock.text).is_empty(),
        }
    }
}
