//! The C libraries of PocketSphinx behind a safe [`Decoder`].
//!
//! The libraries are opened at run time, so that the program builds and starts without them. The functions are those of
//! `pocketsphinx.h`, `cmd_ln.h`, `err.h`, `feat.h` and `cmn.h` as Debian 12 ships them (0.8+5prealpha, soname 3).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use anchor_core::engine::EngineError;
use libloading::Library;

use super::{NAME, REMEDY};

/// The base library and the decoder, in the order in which they have to be opened.
const SONAMES: [&str; 2] = ["libsphinxbase.so.3", "libpocketsphinx.so.3"];

/// The opened libraries.
pub(super) struct Sphinx {
    functions: Functions,
    // Dropped after everything that points into them.
    _libraries: [Library; 2],
}

impl Sphinx {
    /// Opens the libraries and switches their logging off: it goes to the standard error of the whole process.
    pub(super) fn open() -> Result<Arc<Self>, EngineError> {
        let [base, sphinx] = SONAMES;
        // SAFETY: these libraries have no initialisers that depend on anything.
        let base = unsafe { Library::new(base) }.map_err(|error| missing(&error))?;
        // SAFETY: as above.
        let sphinx = unsafe { Library::new(sphinx) }.map_err(|error| missing(&error))?;
        let functions = Functions::find(&base, &sphinx).map_err(|error| missing(&error))?;
        // SAFETY: a null stream is the documented way to disable logging.
        unsafe { (functions.err_set_logfp)(ptr::null_mut()) };
        Ok(Arc::new(Self { functions, _libraries: [base, sphinx] }))
    }
}

fn missing(error: &libloading::Error) -> EngineError {
    EngineError::Unavailable {
        engine: NAME,
        reason: format!("its library cannot be opened ({error})"),
        remedy: REMEDY.into(),
    }
}

/// Declares the table of functions: name, library, signature.
macro_rules! functions {
    ($($library:ident $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[derive(Clone, Copy)]
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Functions {
            fn find(base: &Library, sphinx: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: the signatures are those of the headers named at the top of this file.
                unsafe { Ok(Self { $($name: *functions!(@ $library base sphinx).get(concat!(stringify!($name), "\0"))?,)* }) }
            }
        }
    };
    (@ base $base:ident $sphinx:ident) => { $base };
    (@ sphinx $base:ident $sphinx:ident) => { $sphinx };
}

functions! {
    base err_set_logfp(*mut c_void);
    base cmd_ln_parse_r(*mut c_void, *const c_void, i32, *mut *mut c_char, i32) -> *mut c_void;
    base cmd_ln_free_r(*mut c_void) -> c_int;
    base ngram_model_read(*mut c_void, *const c_char, c_int, *mut c_void) -> *mut c_void;
    base ngram_model_set_init(*mut c_void, *mut *mut c_void, *mut *const c_char, *const f32, i32) -> *mut c_void;
    base ngram_model_free(*mut c_void) -> c_int;
    base cmn_live_update(*mut Normaliser);
    sphinx ps_args() -> *const c_void;
    sphinx ps_init(*mut c_void) -> *mut c_void;
    sphinx ps_get_config(*mut c_void) -> *mut c_void;
    sphinx ps_get_logmath(*mut c_void) -> *mut c_void;
    sphinx ps_get_feat(*mut c_void) -> *mut Features;
    sphinx ps_set_lm(*mut c_void, *const c_char, *mut c_void) -> c_int;
    sphinx ps_set_search(*mut c_void, *const c_char) -> c_int;
    sphinx ps_free(*mut c_void) -> c_int;
    sphinx ps_start_stream(*mut c_void) -> c_int;
    sphinx ps_start_utt(*mut c_void) -> c_int;
    sphinx ps_process_raw(*mut c_void, *const i16, usize, c_int, c_int) -> c_int;
    sphinx ps_end_utt(*mut c_void) -> c_int;
    sphinx ps_seg_iter(*mut c_void) -> *mut c_void;
    sphinx ps_seg_next(*mut c_void) -> *mut c_void;
    sphinx ps_seg_word(*mut c_void) -> *const c_char;
    sphinx ps_seg_frames(*mut c_void, *mut c_int, *mut c_int);
}

/// `NGRAM_AUTO` of `ngram_model.h`: the reader looks at the file.
const ANY_FORMAT: c_int = 0;

/// Name of the one search a decoder has.
const SEARCH: &CStr = c"anchor";

/// Frames of 10 ms that the cepstral mean of earlier turns counts for against those of this one. A second: less, and
/// the first words of a turn set the mean; more, and another speaker is heard in the colour of the last.
const MEAN_WEIGHT: i32 = 100;

/// `feat_t` of `feat.h` up to the one member that is used.
#[repr(C)]
struct Features {
    refcount: c_int,
    name: *mut c_char,
    cepsize: i32,
    n_stream: i32,
    stream_len: *mut u32,
    window_size: i32,
    n_sv: i32,
    sv_len: *mut u32,
    subvecs: *mut *mut i32,
    sv_buf: *mut f32,
    sv_dim: i32,
    cmn: c_int,
    varnorm: i32,
    agc: c_int,
    compute_feat: *const c_void,
    cmn_struct: *mut Normaliser,
}

/// `cmn_t` of `cmn.h`.
#[repr(C)]
struct Normaliser {
    mean: *mut f32,
    variance: *mut f32,
    sum: *mut f32,
    frames: i32,
    length: i32,
}

/// One word of the best path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    /// The word as it stands in the dictionary, with the number of its pronunciation: `read(2)`.
    pub(super) word: String,
    /// Length in frames of 10 ms.
    pub(super) frames: u32,
}

/// One decoder: a search, its models, and what it has learnt of the speaker. Freed when dropped.
pub(super) struct Decoder {
    sphinx: Arc<Sphinx>,
    decoder: NonNull<c_void>,
    // `cmd_ln.h` asks for arguments that live as long as the configuration made from them.
    _arguments: Vec<CString>,
}

// SAFETY: a decoder owns all it points to; the libraries keep no state per thread. It is not shared (not `Sync`).
unsafe impl Send for Decoder {}

impl Decoder {
    /// Reads the models. `arguments` are the options of `cmdln_macro.h`, name and value in turn; `language` are language
    /// models and their shares, which add up to one.
    ///
    /// The library ends the whole process on some malformed files, so pass only files that were checked or written here.
    pub(super) fn new(
        sphinx: &Arc<Sphinx>,
        arguments: &[(&str, &str)],
        language: [(&str, f32); 2],
    ) -> Result<Self, EngineError> {
        let words = ["pocketsphinx"].into_iter().chain(arguments.iter().flat_map(|(name, value)| [*name, *value]));
        let arguments: Vec<CString> =
            words.map(CString::new).collect::<Result<_, _>>().map_err(|_| failed("an option contains a zero byte"))?;
        let mut argv: Vec<*mut c_char> = arguments.iter().map(|word| word.as_ptr().cast_mut()).collect();
        let argc = i32::try_from(argv.len()).map_err(|_| failed("there are too many options"))?;
        let call = &sphinx.functions;
        // SAFETY: `ps_args` gives the library's own table; argc and argv agree; the strings are only read.
        let config = unsafe { (call.cmd_ln_parse_r)(ptr::null_mut(), (call.ps_args)(), argc, argv.as_mut_ptr(), 1) };
        if config.is_null() {
            return Err(failed("it refuses its options"));
        }
        // SAFETY: the configuration is valid; the decoder takes a reference of its own, ours is given back.
        let decoder = unsafe {
            let decoder = (call.ps_init)(config);
            (call.cmd_ln_free_r)(config);
            decoder
        };
        let decoder = NonNull::new(decoder).ok_or_else(|| failed("it cannot read its models"))?;
        let mut decoder = Self { sphinx: sphinx.clone(), decoder, _arguments: arguments };
        decoder.set_language(language)?;
        Ok(decoder)
    }

    /// Makes the interpolation of two language models the decoder's search.
    fn set_language(&mut self, models: [(&str, f32); 2]) -> Result<(), EngineError> {
        let call = &self.sphinx.functions;
        let decoder = self.decoder.as_ptr();
        // SAFETY: the configuration and the log table belong to the decoder and outlive the calls. Set and search take
        // references of their own, as reading their counts has shown; ours are given back.
        unsafe {
            let (config, logarithms) = ((call.ps_get_config)(decoder), (call.ps_get_logmath)(decoder));
            let mut read = Vec::new();
            for (path, _) in models {
                let path = CString::new(path).map_err(|_| failed("a path contains a zero byte"))?;
                read.push((call.ngram_model_read)(config, path.as_ptr(), ANY_FORMAT, logarithms));
            }
            let whole = read.iter().all(|model| !model.is_null());
            let mut names = [c"rundown".as_ptr(), c"general".as_ptr()];
            let shares = models.map(|(_, share)| share);
            let set = match whole {
                true => (call.ngram_model_set_init)(config, read.as_mut_ptr(), names.as_mut_ptr(), shares.as_ptr(), 2),
                false => ptr::null_mut(),
            };
            let outcome = match set.is_null() {
                false => {
                    (call.ps_set_lm)(decoder, SEARCH.as_ptr(), set).min((call.ps_set_search)(decoder, SEARCH.as_ptr()))
                }
                true => -1,
            };
            for model in read.into_iter().chain([set]).filter(|model| !model.is_null()) {
                (call.ngram_model_free)(model);
            }
            check(outcome, "it cannot read its language models")
        }
    }

    /// Forgets the noise of the last speaker's room.
    pub(super) fn start_stream(&mut self) -> Result<(), EngineError> {
        // SAFETY: the decoder is valid and not shared.
        check(unsafe { (self.sphinx.functions.ps_start_stream)(self.decoder.as_ptr()) }, "it cannot begin a stream")
    }

    /// Begins an utterance.
    pub(super) fn start(&mut self) -> Result<(), EngineError> {
        // SAFETY: the decoder is valid and not shared.
        check(unsafe { (self.sphinx.functions.ps_start_utt)(self.decoder.as_ptr()) }, "it cannot begin an utterance")
    }

    /// Takes the next samples of the utterance, at 16 kHz.
    pub(super) fn push(&mut self, pcm: &[i16]) -> Result<(), EngineError> {
        let call = &self.sphinx.functions;
        // SAFETY: pointer and length describe `pcm`, which is only read.
        let code = unsafe { (call.ps_process_raw)(self.decoder.as_ptr(), pcm.as_ptr(), pcm.len(), 0, 0) };
        check(code, "it cannot take further sound")
    }

    /// Ends the utterance. Its segments can be read until the next one begins.
    pub(super) fn finish(&mut self) -> Result<(), EngineError> {
        // SAFETY: the decoder is valid and not shared.
        check(unsafe { (self.sphinx.functions.ps_end_utt)(self.decoder.as_ptr()) }, "it cannot end an utterance")
    }

    /// The best path so far, silence and noise included.
    pub(super) fn segments(&mut self) -> Vec<Segment> {
        let call = &self.sphinx.functions;
        let mut segments = Vec::new();
        // SAFETY: an iterator is valid until `ps_seg_next` returns null and frees it; the words belong to the dictionary.
        unsafe {
            let mut segment = (call.ps_seg_iter)(self.decoder.as_ptr());
            while !segment.is_null() {
                let word = (call.ps_seg_word)(segment);
                let (mut first, mut last) = (0, 0);
                (call.ps_seg_frames)(segment, &raw mut first, &raw mut last);
                if !word.is_null() {
                    let word = CStr::from_ptr(word).to_string_lossy().into_owned();
                    let frames = u32::try_from(last - first + 1).unwrap_or_default();
                    segments.push(Segment { word, frames });
                }
                segment = (call.ps_seg_next)(segment);
            }
        }
        segments
    }

    /// Lets the cepstral mean follow what is heard from now on: what was heard before counts for [`MEAN_WEIGHT`] frames.
    ///
    /// The mean is the long-term colour of voice, microphone and room, which is taken off every frame.
    pub(super) fn loosen_mean(&mut self) {
        let normaliser = self.normaliser();
        for index in 0..usize::try_from(normaliser.length).unwrap_or_default() {
            // SAFETY: both arrays hold `length` values.
            unsafe { *normaliser.sum.add(index) = *normaliser.mean.add(index) * MEAN_WEIGHT as f32 };
        }
        normaliser.frames = MEAN_WEIGHT;
    }

    /// Takes the mean over what was heard so far.
    pub(super) fn follow_mean(&mut self) {
        // SAFETY: the normaliser is valid.
        unsafe { (self.sphinx.functions.cmn_live_update)(self.normaliser()) };
    }

    fn normaliser(&mut self) -> &mut Normaliser {
        // SAFETY: features and normaliser live as long as the decoder, and their declarations are those of the headers.
        unsafe { &mut *(*(self.sphinx.functions.ps_get_feat)(self.decoder.as_ptr())).cmn_struct }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: nothing points into the decoder any more.
        unsafe { (self.sphinx.functions.ps_free)(self.decoder.as_ptr()) };
    }
}

fn check(code: c_int, reason: &str) -> Result<(), EngineError> {
    if code < 0 { Err(failed(reason)) } else { Ok(()) }
}

fn failed(reason: &str) -> EngineError {
    EngineError::Failed { engine: NAME, reason: reason.into() }
}
