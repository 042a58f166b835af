//! The program: command line, environment, files and exit codes. The only crate that knows of any of them.
//!
//! It is a library with a two-line `main` so that examples and tests use the same configuration, WAV files and engine
//! slots as the program itself.

#![forbid(unsafe_code)]

pub mod bench;
mod cli;
mod commands;
pub mod config;
pub mod engines;
mod error;
pub mod keys;
pub mod machine;
pub mod memory;
pub mod models;
pub mod on_air;
mod out;
pub mod rehearsal;
pub mod servers;
pub mod setup;
pub mod wav;

pub use error::Error;

/// Runs the program on the process's arguments and environment.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
