//! WAV files as people bring them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ai_anchor::wav::read(bytes, 16_000);
});
