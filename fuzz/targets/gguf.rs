//! Headers of model files in the format gguf.
#![no_main]

use std::io::Write;

use ai_anchor::memory::Gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("there is shared memory");
    file.write_all(bytes).expect("it takes the bytes");
    let _ = Gguf::of_file(file.path());
});
