//! The conda environment, as its files tell without running anything in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most packages counted: an environment has some hundreds.
const MAX_PACKAGES: usize = 10_000;

/// What is in the conda environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Its folder.
    pub prefix: PathBuf,
    /// Something is there.
    pub exists: bool,
    /// conda made it.
    pub is_conda: bool,
    /// Programs of `bin` that setting up needs, and that are there.
    pub programs: Vec<&'static str>,
    /// Version of Ollama, as conda wrote it down.
    pub ollama: Option<String>,
    /// conda took the build of Ollama that computes on the GPU.
    pub ollama_cuda: bool,
    /// Python's packages and their versions, names in lower case with dashes.
    pub packages: BTreeMap<String, String>,
}

impl Environment {
    /// Programs that the environment file brings and everything else needs.
    pub const PROGRAMS: [&str; 4] = ["python", "uv", "ffmpeg", "ollama"];

    /// Reads the folder.
    pub fn read(prefix: &Path) -> Self {
        let bin = prefix.join("bin");
        let ollama = names(&prefix.join("conda-meta")).find_map(|name| conda_package(&name, "ollama"));
        Self {
            prefix: prefix.to_owned(),
            exists: names(prefix).next().is_some(),
            is_conda: prefix.join("conda-meta").is_dir(),
            programs: Self::PROGRAMS.into_iter().filter(|program| bin.join(program).exists()).collect(),
            ollama_cuda: ollama.as_ref().is_some_and(|(_, build)| build.starts_with("cuda")),
            ollama: ollama.map(|(version, _)| version),
            packages: packages(prefix),
        }
    }

    /// What the environment file brings is all there.
    pub fn is_whole(&self) -> bool {
        self.is_conda && self.programs.len() == Self::PROGRAMS.len()
    }

    /// The packages of a lock file that are missing or of another version.
    pub fn missing<'a>(&self, lock: &'a str) -> Vec<(&'a str, &'a str)> {
        locked(lock).filter(|(name, version)| self.packages.get(&normal(name)).is_none_or(|it| it != version)).collect()
    }
}

/// Names and versions of a lock file: lines such as `torch==2.13.0 \`.
fn locked(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    lock.lines().filter(|line| !line.starts_with([' ', '#'])).filter_map(|line| {
        let (name, version) = line.split_once("==")?;
        Some((name.split('[').next()?, version.split([' ', ';']).next()?))
    })
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_PACKAGES);
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Version and build in `ollama-0.24.0-cuda130_hdeb5d3e_0.json`.
fn conda_package(file: &str, package: &str) -> Option<(String, String)> {
    let rest = file.strip_suffix(".json")?.strip_prefix(package)?.strip_prefix('-')?;
    let (version, build) = rest.split_once('-')?;
    version.starts_with(|char: char| char.is_ascii_digit()).then(|| (version.to_owned(), build.to_owned()))
}

/// The folders `NAME-VERSION.dist-info`.
/// Source: packaging.python.org/specifications/recording-installed-packages.
fn packages(prefix: &Path) -> BTreeMap<String, String> {
    let lib = prefix.join("lib");
    let pythons = names(&lib).filter(|name| name.starts_with("python3.")).collect::<Vec<_>>();
    let packages = pythons.iter().flat_map(|python| names(&lib.join(python).join("site-packages")));
    let read = |name: String| {
        let (name, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
        Some((normal(name), version.to_owned()))
    };
    packages.filter_map(read).collect()
}

/// Source: packaging.python.org/specifications/name-normalization.
fn normal(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_read_from_names_alone() {
        let root = tempfile::tempdir().unwrap();
        let prefix = root.path();
        assert_eq!(Environment::read(&prefix.join("no")).missing("a==1 \\\n    --hash=sha256:0\n"), [("a", "1")]);
        for folder in ["conda-meta", "bin", "lib/python3.12/site-packages/Flask_SQL.X-1.0.dist-info"] {
            fs::create_dir_all(prefix.join(folder)).unwrap();
        }
        fs::write(prefix.join("conda-meta/ollama-0.24.0-cuda130_hdeb5d3e_0.json"), "{}").unwrap();
        fs::write(prefix.join("conda-meta/ollama-python-0.5-py_0.json"), "{}").unwrap();
        for program in Environment::PROGRAMS {
            fs::write(prefix.join("bin").join(program), "").unwrap();
        }
        let environment = Environment::read(prefix);
        assert!(environment.is_whole() && environment.ollama_cuda);
        assert_eq!(environment.ollama.as_deref(), Some("0.24.0"));
        assert_eq!(environment.missing("# x==1\nflask-sql-x==1.0 \\\n  --hash=y==z\nb[c]==2 ; x\n"), [("b", "2")]);
    }
}
