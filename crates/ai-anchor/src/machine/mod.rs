//! What this machine is: its GPU, driver, disk, programs and ports.
//!
//! [`Facts`] are plain values, so that what is made of them can be tested with the facts of any machine.

pub mod conda;
pub mod environment;
pub mod gpu;
pub mod kernel;
pub mod nvidia_smi;
pub mod ports;

use std::path::{Path, PathBuf};

pub use conda::Conda;
pub use environment::Environment;
pub use gpu::Gpu;
pub use kernel::Kernel;
pub use ports::{Listener, Port};

/// What is known of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its processor, in Rust's words: `x86_64`.
    pub processor: String,
    /// Its GPUs, or why nothing is known of them.
    pub gpus: Result<Vec<Gpu>, String>,
    /// What its kernel knows of NVIDIA.
    pub kernel: Kernel,
    /// Programs that make conda environments, the best first.
    pub conda: Vec<Conda>,
    /// The folder of everything that is downloaded and built.
    pub data: PathBuf,
    /// Bytes that can be written there; `None` where the system does not tell.
    pub disk_free: Option<u64>,
    /// This user may write there.
    pub disk_writable: bool,
    /// The ports of the model servers and of the program itself.
    pub ports: Vec<Port>,
    /// The conda environment.
    pub environment: Environment,
}

/// Asks this machine. Takes some seconds at most.
pub async fn probe(data: &Path, ports: &[(&'static str, u16)]) -> Facts {
    let environment = data.join("env");
    let (gpus, conda, ports) = tokio::join!(gpus(), conda::find(data), ports::look(ports));
    Facts {
        processor: std::env::consts::ARCH.into(),
        gpus,
        kernel: Kernel::read(Path::new("/")),
        conda,
        data: data.to_owned(),
        disk_free: free_space(data),
        disk_writable: writable(data),
        ports,
        environment: Environment::read(&environment),
    }
}

/// The GPUs by the driver's library, or by its tool where that cannot be loaded, which also has words for what is wrong.
async fn gpus() -> Result<Vec<Gpu>, String> {
    match gpu::list() {
        Ok(gpus) => Ok(gpus),
        Err(_) => nvidia_smi::list().await,
    }
}

/// The nearest folder on the way up that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or_else(|| Path::new("."))
}

fn free_space(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(existing(path)).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(existing(path), rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_machine_can_be_asked() {
        let folder = tempfile::tempdir().unwrap();
        let facts = probe(&folder.path().join("not/yet"), &[]).await;
        assert!(facts.disk_free.unwrap() > 0);
        assert!(facts.disk_writable);
        assert!(!facts.environment.exists);
    }
}
