//! The C library flite 2.2, loaded while the program runs: the one file of this engine that is not safe Rust.
//!
//! Declarations follow the headers of flite 2.2 (`cst_wave.h`, `cst_audio.h`, `cst_utterance.h`, `cst_voice.h`,
//! `flite.h`). Everything used of a structure is written out below with its size and offsets checked at compile time;
//! what only passes through is an opaque pointer.
//!
//! Threads: utterances are private to their caller, and synthesis writes to no other memory than its utterance's. The
//! only writable statics of the library (`nm` shows them) belong to registering voices, which happens here once under
//! a lock, to its own sound card output and to compiling regular expressions, which are not used. With C's `rand`, its
//! one source of breath noise, made constant, six threads gave bit for bit what one gives.
#![allow(unsafe_code)]

use std::any::Any;
use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{forget, offset_of, size_of};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null;
use std::sync::Mutex;

use libloading::os::unix::{Library as SharedObject, RTLD_GLOBAL, RTLD_NOW};

/// Samples the library makes before it calls back: 30 ms at the 16 kHz of most voices.
const CHUNK: c_int = 480;

/// `CST_AUDIO_STREAM_CONT` and `CST_AUDIO_STREAM_STOP` of `cst_audio.h`.
const CONTINUE: c_int = 0;
const STOP: c_int = -1;

/// `cst_wave` of `cst_wave.h`.
#[repr(C)]
struct Wave {
    kind: *const c_char,
    sample_rate: c_int,
    num_samples: c_int,
    num_channels: c_int,
    samples: *const i16,
}

/// `cst_audio_streaming_info` of `cst_audio.h`.
#[repr(C)]
struct StreamingInfo {
    min_buffsize: c_int,
    callback: Option<Callback>,
    utterance: *const RawUtterance,
    item: *const c_void,
    userdata: *mut c_void,
}

/// The first member of `cst_utterance` of `cst_utterance.h`.
#[repr(C)]
struct RawUtterance {
    features: *mut c_void,
}

/// The first members of `cst_voice` of `cst_voice.h`.
#[repr(C)]
struct RawVoice {
    name: *const c_char,
    features: *mut c_void,
}

type Callback = unsafe extern "C" fn(*const Wave, c_int, c_int, c_int, *mut StreamingInfo) -> c_int;

/// Offsets a C compiler gives on a 64-bit machine.
const _: () = {
    assert!(size_of::<Wave>() == 32 && offset_of!(Wave, sample_rate) == 8 && offset_of!(Wave, samples) == 24);
    assert!(size_of::<StreamingInfo>() == 40 && offset_of!(StreamingInfo, callback) == 8);
    assert!(offset_of!(StreamingInfo, utterance) == 16 && offset_of!(StreamingInfo, userdata) == 32);
    assert!(offset_of!(RawVoice, features) == 8);
};

/// Declares the functions taken from `libflite.so.1`, and how they are looked up.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Functions {
            fn look_up(library: &SharedObject) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of the headers of flite 2.2, whose soname has been loaded.
                unsafe { Ok(Self { $($name: *library.get(concat!(stringify!($name), "\0"))?,)* }) }
            }
        }
    };
}

functions! {
    flite_init: fn() -> c_int;
    new_utterance: fn() -> *mut RawUtterance;
    delete_utterance: fn(*mut RawUtterance);
    utt_set_input_text: fn(*mut RawUtterance, *const c_char) -> c_int;
    utt_init: fn(*mut RawUtterance, *const RawVoice) -> *mut RawUtterance;
    utt_synth: fn(*mut RawUtterance) -> *mut RawUtterance;
    utt_relation: fn(*const RawUtterance, *const c_char) -> *const c_void;
    relation_head: fn(*const c_void) -> *const c_void;
    item_next: fn(*const c_void) -> *const c_void;
    new_audio_streaming_info: fn() -> *mut StreamingInfo;
    audio_streaming_info_val: fn(*const StreamingInfo) -> *mut c_void;
    flite_feat_set: fn(*mut c_void, *const c_char, *const c_void);
    flite_feat_set_float: fn(*mut c_void, *const c_char, f32);
    flite_get_param_int: fn(*const c_void, *const c_char, c_int) -> c_int;
    flite_get_param_float: fn(*const c_void, *const c_char, f32) -> f32;
    flite_ffeature_string: fn(*const c_void, *const c_char) -> *const c_char;
    flite_ffeature_float: fn(*const c_void, *const c_char) -> f32;
}

/// A shared object that could not be used, and what the dynamic linker says about it.
#[derive(Debug, thiserror::Error)]
#[error("{file} could not be loaded ({reason})")]
pub(super) struct Missing {
    file: String,
    reason: String,
}

/// The library, loaded and started. It stays for as long as the process: nothing tells when its last voice is done.
pub(super) struct Library(Functions);

/// A voice of the library, registered.
#[derive(Clone, Copy)]
pub(super) struct RegisteredVoice {
    raw: *const RawVoice,
    /// Rate of its sound, in Hz.
    pub rate: u32,
    /// How much it stretches durations by itself.
    stretch: f32,
}

// SAFETY: a voice is only written to while it is registered; from then on every thread only reads it.
unsafe impl Send for RegisteredVoice {}
// SAFETY: as above.
unsafe impl Sync for RegisteredVoice {}

impl Library {
    /// The library, loaded by the first caller. What failed once is tried again by the next caller.
    pub(super) fn load() -> Result<&'static Self, Missing> {
        static LOADED: Mutex<Option<&'static Library>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(library) = *loaded {
            return Ok(library);
        }
        let file = "libflite.so.1";
        let object = open(file)?;
        let functions = Functions::look_up(&object).map_err(|error| missing(file, &error))?;
        // It stays loaded.
        forget(object);
        // SAFETY: takes nothing, and is called once, under the lock.
        unsafe { (functions.flite_init)() };
        Ok(*loaded.insert(Box::leak(Box::new(Self(functions)))))
    }

    /// Registers the voice `name` out of its own shared object.
    pub(super) fn register(&self, name: &str) -> Result<RegisteredVoice, Missing> {
        /// Registering checks a static for whether it was done before, without a lock of its own.
        static REGISTERING: Mutex<()> = Mutex::new(());
        let _lock = REGISTERING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let file = format!("libflite_cmu_us_{name}.so.1");
        let symbol = format!("register_cmu_us_{name}\0");
        let object = open(&file)?;
        type Register = unsafe extern "C" fn(*const c_char) -> *const RawVoice;
        // SAFETY: `cst_voice *register_cmu_us_*(const char *voxdir)`; a null directory means the data compiled in.
        let raw = unsafe {
            let register = object.get::<Register>(&symbol).map_err(|error| missing(&file, &error))?;
            register(null())
        };
        // It stays loaded.
        forget(object);
        if raw.is_null() {
            return Err(Missing { file, reason: "it has no voice".into() });
        }
        // SAFETY: `raw` is a voice as `cst_voice.h` declares it; its features are set and read by the library.
        unsafe {
            let features = (*raw).features;
            let rate = (self.0.flite_get_param_int)(features, c"sample_rate".as_ptr(), 0);
            let stretch = (self.0.flite_get_param_float)(features, c"duration_stretch".as_ptr(), 1.0);
            Ok(RegisteredVoice { raw, rate: u32::try_from(rate).unwrap_or(0), stretch })
        }
    }

    /// Speaks `text`, durations multiplied by `stretch`, and hands over the sound piece by piece as it is made, until
    /// it is complete or `listener` breaks off. False when the library gave up, or the text has a NUL in it.
    ///
    /// The text has to be ASCII: the voices know no other letters.
    pub(super) fn speak(
        &self,
        voice: RegisteredVoice,
        text: &str,
        stretch: f32,
        listener: &mut dyn FnMut(Chunk<'_>) -> ControlFlow<()>,
    ) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        let mut call = Call { library: self, listener, fault: false, panic: None };
        // SAFETY: the utterance lives from its creation to its deletion in this block and owns the streaming info,
        // which points to `call`, which outlives it. Names of features are static, as the library demands. Text is
        // copied. `utt_init` takes the voice for reading.
        let complete = unsafe {
            let utterance = (self.0.new_utterance)();
            (self.0.utt_set_input_text)(utterance, text.as_ptr());
            let info = (self.0.new_audio_streaming_info)();
            (*info).min_buffsize = CHUNK;
            (*info).callback = Some(on_audio);
            (*info).utterance = null();
            (*info).item = null();
            (*info).userdata = (&raw mut call).cast();
            let features = (*utterance).features;
            (self.0.flite_feat_set)(features, c"streaming_info".as_ptr(), (self.0.audio_streaming_info_val)(info));
            (self.0.flite_feat_set_float)(features, c"duration_stretch".as_ptr(), voice.stretch * stretch);
            (self.0.utt_init)(utterance, voice.raw);
            let complete = !(self.0.utt_synth)(utterance).is_null();
            (self.0.delete_utterance)(utterance);
            complete
        };
        if let Some(panic) = call.panic {
            resume_unwind(panic);
        }
        complete && !call.fault
    }
}

/// What the library's callback is given to find its way back.
struct Call<'a> {
    library: &'a Library,
    listener: &'a mut dyn FnMut(Chunk<'_>) -> ControlFlow<()>,
    /// The library handed over what its headers do not promise.
    fault: bool,
    /// A panic of the listener: it must not cross the C library's frames, so it waits here until they are gone.
    panic: Option<Box<dyn Any + Send>>,
}

/// The next sound of an utterance.
pub(super) struct Chunk<'a> {
    /// Mono samples at the voice's rate.
    pub samples: &'a [i16],
    library: &'a Library,
    utterance: *const RawUtterance,
}

/// A token of the text with the time its last sound ends.
#[derive(Debug)]
pub(super) struct Token {
    /// The letters, without the punctuation around them.
    pub text: String,
    /// Seconds since the start of the utterance.
    pub end: f32,
}

impl Chunk<'_> {
    /// Seconds of silence the utterance begins with.
    pub(super) fn lead(&self) -> f32 {
        let Some(first) = self.items(c"Segment").next() else { return 0.0 };
        if self.string(first, c"name") == "pau" { self.number(first, c"end") } else { 0.0 }
    }

    /// The tokens that have a sound, in order.
    pub(super) fn tokens(&self) -> Vec<Token> {
        // From the token to its last word, to that word's last syllable, to that syllable's last sound.
        let end = c"daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end";
        self.items(c"Token")
            .map(|token| Token { text: self.string(token, c"name"), end: self.number(token, end) })
            .filter(|token| token.end > 0.0)
            .collect()
    }

    fn items(&self, relation: &CStr) -> impl Iterator<Item = *const c_void> {
        // SAFETY: the utterance is alive during the callback, and has both relations by the time there is sound.
        let head = unsafe {
            let relation = (self.library.0.utt_relation)(self.utterance, relation.as_ptr());
            if relation.is_null() { null() } else { (self.library.0.relation_head)(relation) }
        };
        // SAFETY: as above, for an item of the utterance; null ends the list.
        std::iter::successors(Some(head), |item| Some(unsafe { (self.library.0.item_next)(*item) }))
            .take_while(|item| !item.is_null())
    }

    fn string(&self, item: *const c_void, path: &CStr) -> String {
        // SAFETY: an item of the living utterance; the result is null or a string that lives as long.
        unsafe {
            let text = (self.library.0.flite_ffeature_string)(item, path.as_ptr());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    fn number(&self, item: *const c_void, path: &CStr) -> f32 {
        // SAFETY: an item of the living utterance; a path that leads nowhere gives 0.
        unsafe { (self.library.0.flite_ffeature_float)(item, path.as_ptr()) }
    }
}

/// Called by the library with `size` new samples from `start` of the wave.
unsafe extern "C" fn on_audio(
    wave: *const Wave,
    start: c_int,
    size: c_int,
    _last: c_int,
    info: *mut StreamingInfo,
) -> c_int {
    // SAFETY: `info` is the one set up in `speak`, so `userdata` points to its `call`, which nobody else uses while
    // the library runs; `wave` is alive and holds `num_samples` samples, within which the range is checked to lie.
    let (call, samples, utterance) = unsafe {
        let call = &mut *(*info).userdata.cast::<Call<'_>>();
        let wave = &*wave;
        let inside = start >= 0 && size >= 0 && start.checked_add(size).is_some_and(|end| end <= wave.num_samples);
        if !inside || wave.num_channels != 1 {
            call.fault = true;
            return STOP;
        }
        let samples = match size {
            0 => &[],
            _ => std::slice::from_raw_parts(wave.samples.add(start as usize), size as usize),
        };
        (call, samples, (*info).utterance)
    };
    let chunk = Chunk { samples, library: call.library, utterance };
    match catch_unwind(AssertUnwindSafe(|| (call.listener)(chunk))) {
        Ok(ControlFlow::Continue(())) => CONTINUE,
        Ok(ControlFlow::Break(())) => STOP,
        Err(panic) => {
            call.panic = Some(panic);
            STOP
        }
    }
}

/// Opens a shared object. Voices find the library through the global namespace.
fn open(file: &str) -> Result<SharedObject, Missing> {
    // SAFETY: flite and its voices run nothing when they are loaded.
    unsafe { SharedObject::open(Some(file), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| missing(file, &error))
}

fn missing(file: &str, error: &libloading::Error) -> Missing {
    // The dynamic linker's own words come as the source of the error.
    let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Missing { file: file.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named() {
        let library = Library::load().unwrap();
        let missing = library.register("nobody").err().unwrap().to_string();
        assert!(missing.starts_with("libflite_cmu_us_nobody.so.1 could not be loaded ("), "{missing}");
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_panic_of_the_listener_comes_out_on_this_side() {
        let library = Library::load().unwrap();
        let voice = library.register("kal16").unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| library.speak(voice, "Hello", 1.0, &mut |_| panic!("enough"))));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"enough"));
        assert!(library.speak(voice, "Hello", 1.0, &mut |_| ControlFlow::Continue(())), "and the voice lives on");
        assert!(!library.speak(voice, "a\0b", 1.0, &mut |_| ControlFlow::Continue(())), "a NUL is no text");
    }
}
