//! The files of `deploy/`, built into the program so that it sets up a machine from itself alone.

/// A file of `deploy/` that setting up needs on disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// The conda environment.
pub const ENVIRONMENT: Lock =
    Lock { name: "environment.yml", text: include_str!("../../../../deploy/environment.yml") };

/// Python's packages for drivers from 580 on.
pub const CUDA13: Lock = Lock { name: "cuda13.txt", text: include_str!("../../../../deploy/requirements/cuda13.txt") };

/// Python's packages for drivers from 525 on.
pub const CUDA12: Lock = Lock { name: "cuda12.txt", text: include_str!("../../../../deploy/requirements/cuda12.txt") };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_locked_package_has_a_version_and_a_checksum() {
        for lock in [CUDA13, CUDA12] {
            let lines: Vec<_> = lock.text.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(lines.len() > 1000, "{}", lock.name);
            for (line, next) in lines.iter().zip(lines.iter().skip(1).chain([&""])) {
                if !line.starts_with(' ') {
                    assert!(
                        line.contains("==") && next.trim_start().starts_with("--hash=sha256:"),
                        "{}: {line}",
                        lock.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_servers_that_need_each_other_are_locked_together() {
        assert!(CUDA13.text.contains("\nvllm==0.30.0 ") && CUDA13.text.contains("\nvllm-omni==0.30.0 "));
        assert!(CUDA13.text.contains("\nnvidia-cuda-runtime==13."));
        assert!(CUDA12.text.contains("\nvllm==0.19.1 ") && !CUDA12.text.contains("\nvllm-omni=="));
        assert!(CUDA12.text.contains("\nnvidia-cuda-runtime-cu12==12.8"));
    }
}
