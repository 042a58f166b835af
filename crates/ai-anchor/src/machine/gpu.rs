//! The GPUs of this machine, asked of NVIDIA's driver through its management library NVML.
//!
//! The library comes with the driver and is loaded when it is asked, so that the program starts where there is none.
//! Source: the NVML API reference, docs.nvidia.com/deploy/nvml-api.

use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

/// Most GPUs looked at: more than any one machine holds.
const MAX_GPUS: u32 = 64;

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its place in the driver's list.
    pub index: u32,
    /// Its name, such as `NVIDIA RTX A6000`.
    pub name: String,
    /// Its memory, in bytes.
    pub memory_total: u64,
    /// What of it nobody uses now, in bytes.
    pub memory_free: u64,
    /// Version of the driver, such as `580.95.05`.
    pub driver: String,
    /// The newest CUDA the driver can run, major and minor.
    pub cuda: (u32, u32),
    /// Compute capability, major and minor: 8.6 for an RTX A6000, 8.9 for an RTX 6000 Ada.
    pub compute: (u32, u32),
}

/// What one process holds of a GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Place of the GPU in the driver's list.
    pub gpu: u32,
    /// The process.
    pub pid: u32,
    /// What it holds, in bytes; `None` where the driver does not tell, as in some containers and on Windows' drivers.
    pub bytes: Option<u64>,
}

/// Why nothing is known of the GPUs.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The driver's library cannot be loaded.
    #[error(
        "NVIDIA's driver is not installed here: its library libnvidia-ml.so.1 cannot be loaded. \
         Install the driver (on Ubuntu: sudo ubuntu-drivers install), restart, and see that nvidia-smi answers; \
         in a container, start it with --gpus all"
    )]
    NoLibrary,
    /// The driver is installed and does not run.
    #[error(
        "NVIDIA's driver is installed but not loaded. Load it with sudo modprobe nvidia, or restart this machine; \
         with secure boot, its kernel module has to be signed"
    )]
    NotLoaded,
    /// The driver was updated while it ran.
    #[error(
        "NVIDIA's driver was updated and the old one still runs (driver and library versions differ). \
         Restart this machine"
    )]
    Mismatch,
    /// The driver cannot be asked for what is needed.
    #[error(
        "NVIDIA's driver is too old to be asked for memory. Install 550 or newer (on Ubuntu: sudo ubuntu-drivers install)"
    )]
    TooOld,
    /// The driver runs and has no GPU.
    #[error(
        "NVIDIA's driver runs and finds no GPU. See that the card has power and that lspci names it; \
         in a container, start it with --gpus all"
    )]
    NoGpu,
    /// This user may not ask.
    #[error(
        "this user may not ask NVIDIA's driver. See that /dev/nvidiactl can be read and written: ls -l /dev/nvidia*"
    )]
    NoPermission,
    /// The GPU hangs.
    #[error("the GPU does not answer ({0}). Restart this machine; if it comes again, look at its power and cooling")]
    Lost(NvmlError),
    /// Something else.
    #[error("NVIDIA's driver gives no answer: {0}. See what nvidia-smi says")]
    Other(NvmlError),
}

impl From<NvmlError> for GpuError {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Self::NoLibrary,
            NvmlError::DriverNotLoaded => Self::NotLoaded,
            NvmlError::LibRmVersionMismatch => Self::Mismatch,
            NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => Self::TooOld,
            NvmlError::NotFound => Self::NoGpu,
            NvmlError::NoPermission | NvmlError::OperatingSystem => Self::NoPermission,
            NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::InsufficientPower => Self::Lost(error),
            other => Self::Other(other),
        }
    }
}

/// The GPUs of this machine, at least one, with what is free of their memory now.
///
/// # Errors
/// Without a driver, a running driver or a GPU; the message says what to do.
pub fn list() -> Result<Vec<Gpu>, GpuError> {
    let nvml = open()?;
    let driver = nvml.sys_driver_version()?;
    let cuda = nvml.sys_cuda_driver_version()?;
    let cuda = (
        unsigned(nvml_wrapper::cuda_driver_version_major(cuda)),
        unsigned(nvml_wrapper::cuda_driver_version_minor(cuda)),
    );
    let gpu = |index| -> Result<Gpu, GpuError> {
        let device = nvml.device_by_index(index)?;
        let (memory_total, memory_free) = memory(&device)?;
        let compute = device.cuda_compute_capability()?;
        Ok(Gpu {
            index,
            name: device.name()?,
            memory_total,
            memory_free,
            driver: driver.clone(),
            cuda,
            compute: (unsigned(compute.major), unsigned(compute.minor)),
        })
    };
    let gpus = (0..count(&nvml)?).map(gpu).collect::<Result<Vec<_>, _>>()?;
    if gpus.is_empty() { Err(GpuError::NoGpu) } else { Ok(gpus) }
}

/// What every process holds of the GPUs' memory now. A process that computes and draws is counted once.
///
/// # Errors
/// As [`list`].
pub fn memory_by_process() -> Result<Vec<ProcessMemory>, GpuError> {
    let nvml = open()?;
    let mut found = Vec::new();
    for gpu in 0..count(&nvml)? {
        let device = nvml.device_by_index(gpu)?;
        // Cards without a display know no drawing processes.
        let drawing = device.running_graphics_processes().unwrap_or_default();
        found.extend(held(gpu, device.running_compute_processes()?.into_iter().chain(drawing)));
    }
    Ok(found)
}

/// What processes hold of one GPU, each process once.
fn held(gpu: u32, processes: impl Iterator<Item = ProcessInfo>) -> Vec<ProcessMemory> {
    let mut found: Vec<ProcessMemory> = Vec::new();
    for process in processes {
        let bytes = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        match found.iter_mut().find(|known| known.pid == process.pid) {
            Some(known) => known.bytes = known.bytes.max(bytes),
            None => found.push(ProcessMemory { gpu, pid: process.pid, bytes }),
        }
    }
    found
}

fn open() -> Result<Nvml, GpuError> {
    Ok(Nvml::init()?)
}

fn count(nvml: &Nvml) -> Result<u32, GpuError> {
    Ok(nvml.device_count()?.min(MAX_GPUS))
}

/// Total and free, in bytes.
fn memory(device: &nvml_wrapper::Device<'_>) -> Result<(u64, u64), NvmlError> {
    device.memory_info().map(|memory| (memory.total, memory.free))
}

fn unsigned(number: i32) -> u32 {
    number.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_of_the_driver_says_what_to_do() {
        let said = |error: NvmlError| GpuError::from(error).to_string();
        insta::assert_snapshot!(
            [
                said(NvmlError::LibraryNotFound),
                said(NvmlError::DriverNotLoaded),
                said(NvmlError::LibRmVersionMismatch),
                said(NvmlError::FunctionNotFound),
                GpuError::NoGpu.to_string(),
                said(NvmlError::NoPermission),
                said(NvmlError::GpuLost),
                said(NvmlError::Unknown),
            ]
            .join("\n"),
            @"
            NVIDIA's driver is not installed here: its library libnvidia-ml.so.1 cannot be loaded. Install the driver (on Ubuntu: sudo ubuntu-drivers install), restart, and see that nvidia-smi answers; in a container, start it with --gpus all
            NVIDIA's driver is installed but not loaded. Load it with sudo modprobe nvidia, or restart this machine; with secure boot, its kernel module has to be signed
            NVIDIA's driver was updated and the old one still runs (driver and library versions differ). Restart this machine
            NVIDIA's driver is too old to be asked for memory. Install 550 or newer (on Ubuntu: sudo ubuntu-drivers install)
            NVIDIA's driver runs and finds no GPU. See that the card has power and that lspci names it; in a container, start it with --gpus all
            this user may not ask NVIDIA's driver. See that /dev/nvidiactl can be read and written: ls -l /dev/nvidia*
            the GPU does not answer (device fell off the bus or has otherwise become inacessible). Restart this machine; if it comes again, look at its power and cooling
            NVIDIA's driver gives no answer: an internal driver error occurred. See what nvidia-smi says
            "
        );
    }

    #[test]
    fn a_process_that_computes_and_draws_is_counted_once() {
        let process = |pid, used_gpu_memory| ProcessInfo {
            pid,
            used_gpu_memory,
            gpu_instance_id: None,
            compute_instance_id: None,
        };
        let processes = [
            process(7, UsedGpuMemory::Used(100)),
            process(8, UsedGpuMemory::Unavailable),
            process(7, UsedGpuMemory::Used(100)),
        ];
        let found: Vec<_> = held(2, processes.into_iter()).iter().map(|one| (one.gpu, one.pid, one.bytes)).collect();
        assert_eq!(found, [(2, 7, Some(100)), (2, 8, None)]);
    }

    /// Either there is a driver and the cards are told, or the reason is; on a machine without one, it is the library.
    #[test]
    fn asking_on_a_machine_with_or_without_a_driver_never_panics() {
        match (list(), memory_by_process()) {
            (Ok(gpus), _) => assert!(gpus.iter().all(|gpu| gpu.memory_free <= gpu.memory_total && gpu.compute.0 > 0)),
            (Err(error), Err(again)) => assert_eq!(error.to_string(), again.to_string()),
            (Err(error), Ok(_)) => assert!(matches!(error, GpuError::NoGpu), "{error}"),
        }
    }
}
