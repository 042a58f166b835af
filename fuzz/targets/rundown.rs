//! Rundowns as people write them.
#![no_main]

use anchor_core::rundown::Rundown;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Rundown::parse(text);
});
