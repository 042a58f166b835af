//! The program from outside: what it prints, and what it ends with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod bench_server;
mod chaos;
mod cli;
mod conformance;
mod e2e;
mod models;
mod plan;
mod rehearsal;
mod servers;
mod setup;
mod studio;
mod support;
mod webrtc;

/// The protocol servers of the engines' own tests, not all of which are needed here.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../anchor-engines/tests/it/servers/mod.rs"]
mod model_servers;
