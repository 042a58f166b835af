//! The programs that make conda environments: micromamba, mamba and conda.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

/// Conda starts a Python of its own, which takes seconds on a cold disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// One program that makes conda environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conda {
    /// Which.
    pub kind: CondaKind,
    /// Its program.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
}

/// The kinds of programs, the best first: micromamba brings nothing with it that could be broken, and conda solves the
/// slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CondaKind {
    /// micromamba: one file, no Python.
    Micromamba,
    /// mamba.
    Mamba,
    /// conda.
    Conda,
}

impl CondaKind {
    const ALL: [Self; 3] = [Self::Micromamba, Self::Mamba, Self::Conda];

    /// Its program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Micromamba => "micromamba",
            Self::Mamba => "mamba",
            Self::Conda => "conda",
        }
    }

    /// The arguments that make an environment at `prefix` from `file`, or complete the one that is there.
    pub fn arguments(self, prefix: &str, file: &str, complete: bool) -> Vec<String> {
        let verb: &[&str] = match (self, complete) {
            (Self::Micromamba, false) => &["create", "--yes"],
            (Self::Micromamba, true) => &["install", "--yes"],
            (Self::Mamba | Self::Conda, false) => &["env", "create", "--yes"],
            // It asks nothing, and older ones do not know the flag.
            (Self::Mamba | Self::Conda, true) => &["env", "update"],
        };
        verb.iter().copied().chain(["--prefix", prefix, "--file", file]).map(str::to_owned).collect()
    }
}

/// Those that are here and answer, the best first. Looked for are the path, what the shell knows from their
/// installation, their usual folders, and the one that this program brought to `data`.
pub async fn find(data: &Path) -> Vec<Conda> {
    let mut found = Vec::new();
    for kind in CondaKind::ALL {
        for program in candidates(kind, data) {
            if let Some(version) = version(&program).await {
                found.push(Conda { kind, program, version });
                break;
            }
        }
    }
    found
}

fn candidates(kind: CondaKind, data: &Path) -> Vec<PathBuf> {
    let name = kind.name();
    let variable = if kind == CondaKind::Conda { "CONDA_EXE" } else { "MAMBA_EXE" };
    let told = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.file_name() == Some(name.as_ref()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let usual = [".local/bin", "bin", "miniforge3/bin", "miniconda3/bin", "mambaforge/bin", "anaconda3/bin"];
    let folders = std::env::split_paths(&path).chain(usual.map(|folder| home.join(folder)));
    let folders = folders.chain([PathBuf::from("/opt/conda/bin"), data.join("bin")]);
    told.into_iter().chain(folders.map(|folder| folder.join(name))).filter(|path| path.is_file()).collect()
}

async fn version(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.args(["info", "--json"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The version in what `info --json` prints. conda calls it `conda_version`; mamba and micromamba have names of their own.
pub(crate) fn parse(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "micromamba version")]
        micromamba: Option<String>,
        #[serde(rename = "mamba version")]
        mamba: Option<String>,
        mamba_version: Option<String>,
        conda_version: Option<String>,
    }
    let info: Info = serde_json::from_str(text).ok()?;
    info.micromamba.or(info.mamba).or(info.mamba_version).or(info.conda_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_names_its_version_in_its_own_way() {
        let conda =
            r#"{"GID": 0, "active_prefix": null, "channels": [], "conda_version": "25.9.1", "platform": "linux-64"}"#;
        let micromamba =
            r#"{"base environment": "/home/anna/micromamba", "micromamba version": "2.3.3", "platform": "linux-64"}"#;
        assert_eq!(parse(conda).as_deref(), Some("25.9.1"));
        assert_eq!(parse(micromamba).as_deref(), Some("2.3.3"));
        assert_eq!(parse(r#"{"mamba version": "2.1.0", "conda_version": "24.1.0"}"#).as_deref(), Some("2.1.0"));
        for broken in ["", "{", "[]", "{}", "null", r#"{"conda_version": 3}"#, "Error: libmamba"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_environment_that_is_there_is_completed() {
        let line = |kind: CondaKind, complete| kind.arguments("/e", "/f.yml", complete).join(" ");
        assert_eq!(line(CondaKind::Micromamba, false), "create --yes --prefix /e --file /f.yml");
        assert_eq!(line(CondaKind::Conda, false), "env create --yes --prefix /e --file /f.yml");
        assert_eq!(line(CondaKind::Mamba, true), "env update --prefix /e --file /f.yml");
    }
}
