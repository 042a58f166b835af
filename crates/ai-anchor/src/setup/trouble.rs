//! What is wrong with the machine: GPU, driver, kernel module. Each finding says what to do.

use std::fmt;

use crate::machine::nvidia_smi::major;
use crate::machine::{Facts, Gpu};

/// One thing that is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub about: &'static str,
    /// What is the case.
    pub what: String,
    /// What to do; empty where nothing is.
    pub remedy: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// Which CUDA libraries the packages of Python bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Cuda {
    /// CUDA 12.8, for drivers from 525 on.
    #[value(name = "12")]
    Cuda12,
    /// CUDA 13.0, for drivers from 580 on.
    #[value(name = "13")]
    Cuda13,
}

/// The first driver that runs libraries of CUDA 13, and of CUDA 12.
/// Source: the table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility" of the CUDA
/// release notes.
const FIRST_DRIVER_CUDA13: u32 = 580;
const FIRST_DRIVER_CUDA12: u32 = 525;

/// CUDA 12.8 came with this driver: older ones run its libraries by compatibility, without what was new in it.
const DRIVER_OF_CUDA12: u32 = 570;

/// What vLLM's wheels are built for. Source: docs.vllm.ai, "GPU requirements".
const LEAST_COMPUTE: (u32, u32) = (7, 5);

/// The first compute capability with arithmetic in bfloat16, the type of the models' weights.
const BFLOAT16: (u32, u32) = (8, 0);

/// A card of 48 GB, the smallest that all three models fit on unreduced, has at least this much: memory with error correction
/// keeps some for itself.
const FULL_CARD: u64 = 44 << 30;

const INSTALL_DRIVER: &str = "On Ubuntu: sudo ubuntu-drivers install; on Debian, with contrib and non-free in the sources: sudo \
                              apt-get install nvidia-driver. Restart after that. Only the driver is needed, not the CUDA toolkit";

impl Cuda {
    /// The newest that a driver runs.
    pub fn of_driver(driver: &str) -> Option<Self> {
        match major(driver)? {
            FIRST_DRIVER_CUDA13.. => Some(Self::Cuda13),
            FIRST_DRIVER_CUDA12.. => Some(Self::Cuda12),
            _ => None,
        }
    }
}

/// What is to be said of the GPU and all it needs, the worst first.
pub fn trouble(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.processor != "x86_64" {
        let what = format!("this processor is {}, and the packages are locked for x86_64", facts.processor);
        found.push(problem(
            "processor",
            what,
            "Use a machine with an x86_64 processor, or servers that run elsewhere (docs/setup.md)",
        ));
    }
    match &facts.gpus {
        Ok(gpus) if !gpus.is_empty() => found.extend(gpus.iter().take(1).flat_map(of_gpu)),
        Ok(_) => found.push(no_gpu(facts, "no GPU is known")),
        Err(said) => found.push(no_gpu(facts, said)),
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    found
}

/// The servers run on the first GPU.
fn of_gpu(gpu: &Gpu) -> Vec<Finding> {
    let mut found = vec![of_driver(gpu)];
    let (compute, memory) = (gpu.compute, gpu.memory_total);
    let name = format!(
        "{}, {:.0} GiB, compute capability {}.{}",
        gpu.name,
        memory as f64 / (1u64 << 30) as f64,
        compute.0,
        compute.1
    );
    found.push(if compute < LEAST_COMPUTE {
        let what = format!("{name}: too old, vLLM needs 7.5 or more");
        problem("GPU", what, "Use a card of the Turing generation (RTX 20, T4) or newer, or servers that run elsewhere")
    } else if compute < BFLOAT16 {
        let what = format!("{name}: it does not compute in bfloat16, in which the models' weights are");
        warning("GPU", what, "Expect slower and less exact answers; a card of the Ampere generation or newer does it")
    } else if memory < FULL_CARD {
        warning("GPU", format!("{name}: too small for all three models unreduced"), "See what fits: ai-anchor plan")
    } else {
        ok("GPU", name)
    });
    found
}

fn of_driver(gpu: &Gpu) -> Finding {
    let driver = format!("driver {} runs CUDA {}.{}", gpu.driver, gpu.cuda.0, gpu.cuda.1);
    match (Cuda::of_driver(&gpu.driver), major(&gpu.driver).unwrap_or(0)) {
        (Some(Cuda::Cuda13), _) => ok("driver", driver),
        (Some(Cuda::Cuda12), version) => {
            let by = if version < DRIVER_OF_CUDA12 { ", by compatibility with CUDA 12.8" } else { "" };
            let what =
                format!("{driver}: enough for the recogniser{by}, but the voice Higgs needs driver 580 or newer");
            warning(
                "driver",
                what,
                &format!(
                    "Install driver 580 or newer, or run Higgs in Boson's container (deploy/compose.yml). {INSTALL_DRIVER}"
                ),
            )
        }
        (None, _) => problem("driver", format!("{driver}: too old, 525 is needed and 580 is better"), INSTALL_DRIVER),
    }
}

/// Why there is no GPU: the causes in the order in which they hide each other.
fn no_gpu(facts: &Facts, said: &str) -> Finding {
    let kernel = &facts.kernel;
    let lower = said.to_lowercase();
    let versions_differ =
        kernel.loaded.as_ref().zip(kernel.installed.as_ref()).is_some_and(|(one, other)| one != other);
    if kernel.container && !kernel.devices && (kernel.card || kernel.loaded.is_some()) {
        return problem(
            "GPU",
            "this container was started without the GPU: /dev/nvidiactl is missing".into(),
            "On the host, install the NVIDIA Container Toolkit and start the container with --gpus all",
        );
    }
    if lower.contains("mismatch") || versions_differ {
        let (loaded, installed) = (kernel.loaded.as_deref().unwrap_or("?"), kernel.installed.as_deref().unwrap_or("?"));
        let what = format!("the driver was updated while it ran: module {loaded}, libraries {installed}");
        return problem("driver", what, "Restart this machine: sudo reboot");
    }
    if kernel.loaded.is_some() {
        let remedy = if kernel.devices {
            "See sudo dmesg | grep -i nvrm, and that the card has power; restart this machine"
        } else {
            "Make its devices: sudo nvidia-modprobe -u -c 0"
        };
        return problem("driver", format!("the driver is loaded and gives no GPU: {said}"), remedy);
    }
    if kernel.nouveau {
        return problem(
            "driver",
            "the free driver nouveau holds the card, and it cannot compute".into(),
            &format!(
                "Install NVIDIA's, which turns nouveau off. {INSTALL_DRIVER}. If it comes back: echo 'blacklist nouveau' | sudo tee \
                 /etc/modprobe.d/nouveau.conf && sudo update-initramfs -u && sudo reboot"
            ),
        );
    }
    if let Some(version) = &kernel.installed {
        if kernel.secure_boot {
            return problem(
                "driver",
                format!("driver {version} is installed but not loaded; secure boot lets only signed modules in"),
                "Enrol the key that signs it: sudo mokutil --import /var/lib/dkms/mok.pub, restart, and choose Enroll MOK; or turn \
                 secure boot off in the firmware",
            );
        }
        return problem(
            "driver",
            format!("driver {version} is installed but not loaded"),
            "sudo modprobe nvidia. Where that finds no module, build it for this kernel: sudo apt-get install --reinstall \
             linux-headers-$(uname -r) nvidia-kernel-dkms",
        );
    }
    if kernel.card {
        return problem("driver", "NVIDIA's card is there and its driver is not installed".into(), INSTALL_DRIVER);
    }
    problem(
        "GPU",
        "there is no GPU of NVIDIA".into(),
        "Use the embedded profile, which needs none, or servers that run elsewhere (docs/setup.md)",
    )
}

pub(super) fn ok(about: &'static str, what: String) -> Finding {
    Finding { level: Level::Ok, about, what, remedy: String::new() }
}

pub(super) fn warning(about: &'static str, what: String, remedy: &str) -> Finding {
    Finding { level: Level::Warning, about, what, remedy: remedy.into() }
}

pub(super) fn problem(about: &'static str, what: String, remedy: &str) -> Finding {
    Finding { level: Level::Problem, about, what, remedy: remedy.into() }
}
