//! What a client sends over a WebSocket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| anchor_server::fuzzing::client_messages(text));
