//! The GPUs of this machine.

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
