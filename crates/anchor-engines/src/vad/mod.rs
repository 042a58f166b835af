//! The voice activity detectors, one file each.

pub mod silero;
