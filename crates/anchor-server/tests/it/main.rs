//! The server over real sockets, with engines that keep to a script.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod access;
mod bad_clients;
mod dialect;
mod operator;
mod rest;
mod support;
mod turns;
mod webrtc;
