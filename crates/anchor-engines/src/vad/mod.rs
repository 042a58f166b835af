//! The voice activity detectors, one file each, and the gate before them.

mod gate;
pub mod silero;
