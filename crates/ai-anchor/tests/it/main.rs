//! The program from outside: what it prints, and what it ends with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod cli;
mod e2e;
mod setup;
mod studio;
mod support;
