//! Headers of model files in the format safetensors.
#![no_main]

use std::io::Write;

use ai_anchor::memory::Tensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("there is shared memory");
    file.write_all(bytes).expect("it takes the bytes");
    let _ = Tensors::of_file(file.path());
});
