//! The facts of ten machines, and what is made of them.

use std::path::PathBuf;

use super::*;
use crate::machine::conda::{self, CondaKind};
use crate::machine::{Conda, Environment, Facts, Kernel, Listener, Port, nvidia_smi};

/// A machine as `nvidia-smi` describes it, with micromamba, an open module of the same driver, and much room.
fn machine(table: &str, header: &str) -> Facts {
    let gpus = nvidia_smi::parse(table, header);
    let driver = gpus.as_ref().ok().map(|gpus| gpus[0].driver.clone());
    let info =
        r#"{"base environment": "/home/anna/micromamba", "micromamba version": "2.3.3", "platform": "linux-64"}"#;
    let port = |server, number| Port { server, number, listener: Listener::Nobody };
    Facts {
        processor: "x86_64".into(),
        kernel: Kernel { card: true, loaded: driver.clone(), installed: driver, devices: true, ..Kernel::default() },
        gpus,
        conda: vec![Conda {
            kind: CondaKind::Micromamba,
            program: "/home/anna/.local/bin/micromamba".into(),
            version: conda::parse(info).unwrap(),
        }],
        data: "/home/anna/.local/share/ai-anchor".into(),
        disk_free: Some(400_000_000_000),
        disk_writable: true,
        ports: vec![port("voxtral", 8000), port("higgs", 8001), port("ollama", 11434), port("anchor", 8090)],
        environment: Environment { prefix: "/home/anna/.local/share/ai-anchor/env".into(), ..Environment::default() },
    }
}

/// One on which nvidia-smi failed with these words.
fn without_gpu(said: &str, kernel: Kernel) -> Facts {
    Facts { gpus: Err(said.into()), kernel, ..machine("", "") }
}

const NO_DRIVER: &str = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. \
                         Make sure that the latest NVIDIA driver is installed and running.";

fn rtx_6000_ada() -> Facts {
    machine(
        "0, NVIDIA RTX 6000 Ada Generation, 49140, 48102, 580.95.05, 8.9",
        "| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |",
    )
}

fn rtx_a6000_with_an_older_driver() -> Facts {
    machine(
        "0, NVIDIA RTX A6000, 49140, 48512, 550.163.01, 8.6",
        "| NVIDIA-SMI 550.163.01             Driver Version: 550.163.01     CUDA Version: 12.4     |",
    )
}

fn rtx_4090() -> Facts {
    machine("0, NVIDIA GeForce RTX 4090, 24564, 23011, 570.133.07, 8.9", "CUDA Version: 12.8")
}

fn set_up_h100() -> Facts {
    let mut facts = machine("0, NVIDIA H100 80GB HBM3, 81559, 81004, 580.95.05, 9.0", "CUDA Version: 13.0");
    set_up(&mut facts.environment, &CUDA13);
    facts
}

fn set_up(environment: &mut Environment, lock: &Lock) {
    let packages: Vec<_> = Environment::default().missing(lock.text).into_iter().map(own).collect();
    environment.exists = true;
    environment.is_conda = true;
    environment.programs = Environment::PROGRAMS.into();
    environment.ollama = Some("0.24.0".into());
    environment.ollama_cuda = true;
    environment.packages = packages.into_iter().collect();
}

fn own((name, version): (&str, &str)) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

fn gtx_1080() -> Facts {
    machine("0, NVIDIA GeForce GTX 1080, 8192, 8001, 470.256.02, 6.1", "CUDA Version: 11.4")
}

fn laptop() -> Facts {
    without_gpu("nvidia-smi is not installed", Kernel::default())
}

fn nouveau() -> Facts {
    without_gpu("nvidia-smi is not installed", Kernel { card: true, nouveau: true, ..Kernel::default() })
}

fn mismatch() -> Facts {
    let kernel = Kernel {
        card: true,
        loaded: Some("580.82.07".into()),
        installed: Some("580.95.05".into()),
        devices: true,
        ..Kernel::default()
    };
    without_gpu("Failed to initialize NVML: Driver/library version mismatch NVML library version: 580.95", kernel)
}

fn unsigned_module() -> Facts {
    let installed = Some("580.95.05".into());
    without_gpu(NO_DRIVER, Kernel { card: true, installed, secure_boot: true, ..Kernel::default() })
}

fn container_without_devices() -> Facts {
    let kernel = Kernel { card: true, loaded: Some("580.95.05".into()), container: true, ..Kernel::default() };
    without_gpu("nvidia-smi is not installed", kernel)
}

fn full_and_busy() -> Facts {
    let mut facts = rtx_6000_ada();
    facts.disk_free = Some(9_000_000_000);
    facts.conda.clear();
    facts.environment.exists = true;
    facts.ports[0].listener = Listener::Other;
    facts.ports[1].listener = Listener::Models(vec!["mistralai/Voxtral-Mini-3B-2507".into()]);
    facts.ports[2].listener = Listener::Ollama("0.32.15".into());
    facts
}

type Named = (&'static str, fn() -> Facts);

const MACHINES: &[Named] = &[
    ("rtx_6000_ada", rtx_6000_ada),
    ("rtx_a6000_with_an_older_driver", rtx_a6000_with_an_older_driver),
    ("rtx_4090", rtx_4090),
    ("set_up_h100", set_up_h100),
    ("gtx_1080", gtx_1080),
    ("laptop", laptop),
    ("nouveau", nouveau),
    ("mismatch", mismatch),
    ("unsigned_module", unsigned_module),
    ("container_without_devices", container_without_devices),
    ("full_and_busy", full_and_busy),
];

fn models(here: bool) -> Vec<ModelFact> {
    let model = |name, about, bytes, ollama| ModelFact { name, about, bytes, ollama, here };
    vec![
        model("voxtral", "it recognises speech", 9_370_000_000, false),
        model("mistral-small", "it writes answers", 14_333_908_672, true),
    ]
}

fn wishes() -> Wishes {
    Wishes { cuda: None, install_micromamba: false, higgs: true, models: models(false) }
}

#[test]
fn the_plan_of_each_machine() {
    for (name, facts) in MACHINES {
        insta::assert_snapshot!(format!("plan_{name}"), plan(&facts(), &wishes()));
    }
}

#[test]
fn what_doctor_says_of_each_machine() {
    for (name, facts) in MACHINES {
        let given = Given {
            engines: vec![("silero (vad)".into(), None)],
            servers: vec!["voxtral", "higgs", "ollama"],
            models: models(*name == "set_up_h100"),
            host: if *name == "full_and_busy" { "0.0.0.0".into() } else { "127.0.0.1".into() },
        };
        let text: Vec<_> = checks(&facts(), &given).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(format!("doctor_{name}"), text.join("\n"));
    }
}

#[test]
fn without_model_servers_nothing_is_asked_of_the_gpu() {
    let given = Given { engines: Vec::new(), servers: Vec::new(), models: Vec::new(), host: "localhost".into() };
    let about: Vec<_> = checks(&laptop(), &given).iter().map(|check| (check.level, check.about)).collect();
    assert_eq!(about, [(Level::Ok, "disk"), (Level::Ok, "port"), (Level::Ok, "microphone")]);
}

#[test]
fn what_is_done_is_not_planned_again() {
    let mut wishes = wishes();
    wishes.models = models(true);
    let plan = plan(&set_up_h100(), &wishes);
    let to_do: Vec<_> = plan.to_do().map(|step| step.what.as_str()).collect();
    assert_eq!(to_do, ["write environment.yml and cuda13.txt"]);
    assert_eq!((plan.bytes(), plan.is_blocked()), (0, false));
}

#[test]
fn a_newer_driver_brings_newer_packages_into_the_same_environment() {
    let mut facts = rtx_6000_ada();
    set_up(&mut facts.environment, &CUDA12);
    let plan = plan(&facts, &Wishes { models: Vec::new(), ..wishes() });
    let to_do: Vec<_> = plan.to_do().map(|step| step.what.as_str()).collect();
    assert_eq!(to_do, ["write environment.yml and cuda13.txt", "install the packages of cuda13.txt with uv"]);
}

#[test]
fn micromamba_is_fetched_only_where_that_was_asked_for() {
    let facts = Facts { conda: Vec::new(), ..rtx_6000_ada() };
    let blocked = plan(&facts, &wishes());
    assert!(blocked.is_blocked());
    assert!(!blocked.steps.iter().any(|step| step.work.to_string().contains("curl -fL")));
    let wished = Wishes { install_micromamba: true, models: Vec::new(), ..wishes() };
    insta::assert_snapshot!("plan_with_micromamba", plan(&facts, &wished));
}

#[test]
fn a_machine_is_set_up_before_its_card_is_there() {
    let wished = Wishes { cuda: Some(Cuda::Cuda13), models: Vec::new(), ..wishes() };
    let plan_without = plan(&laptop(), &wished);
    assert!(!plan_without.is_blocked());
    assert!(plan_without.steps[1].work.to_string().starts_with("env CONDA_OVERRIDE_CUDA=13.0 /home/anna/"));
    assert!(plan(&rtx_4090(), &wished).is_blocked(), "the driver that is there does not run it");
}

#[test]
fn another_processor_cannot_take_the_packages() {
    let facts = Facts { processor: "aarch64".into(), data: PathBuf::from("/d"), ..rtx_6000_ada() };
    assert_eq!(plan(&facts, &wishes()).findings[0].about, "processor");
}
