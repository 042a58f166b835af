//! What this machine is: its GPU, driver, disk, programs and ports.

pub mod gpu;
