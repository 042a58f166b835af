//! PocketSphinx: an English recogniser that needs no graphics card and no download, for the commands and topics of the
//! rundown on air. It is no dictation machine: it hears best what the rundown and a news desk make likely.
//!
//! The libraries, the acoustic model and a language model of general English are the system's (Debian:
//! `libpocketsphinx3`, `pocketsphinx-en-us`). A second language model is made here from the rundown and the phrasings in
//! `assets/stt/phrases.txt`; the decoder expects what the two expect together, within a vocabulary of their words: the
//! rundown's and the 5000 most frequent ones of general English.

mod corpus;
mod ffi;
mod lexicon;
mod lm;
mod material;
mod pool;
mod pronounce;
mod turn;

use std::path::PathBuf;
use std::sync::Arc;

use anchor_core::engine::{AudioInput, EngineError, EventStream, Stt, SttEvent, SttRequest};
use serde::Deserialize;

use crate::{Entry, LoadContext, Needs, blocking, options};
use material::Model;
use pool::Pool;

const NAME: &str = "pocketsphinx";

/// What to do when the library or the model is missing.
const REMEDY: &str = "Install both with: sudo apt-get install libpocketsphinx3 pocketsphinx-en-us";

/// The table's line.
pub const ENTRY: Entry<dyn Stt> = Entry {
    name: NAME,
    about: "English for the rundown's topics and commands, on any processor, without a download",
    needs: Needs { gpu_bytes: 0, packages: &["libpocketsphinx3", "pocketsphinx-en-us"], network: false },
    load,
};

/// The engine's table of the configuration.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Directory of the model: the acoustic model in `en-us`, the dictionary in `cmudict-en-us.dict`.
    model: PathBuf,
    /// Turns that may be recognised at the same time; each takes about 60 MB.
    most_turns: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: "/usr/share/pocketsphinx/model/en-us".into(), most_turns: 16 }
    }
}

fn load(context: &LoadContext) -> Result<Arc<dyn Stt>, EngineError> {
    let options: Options = options::parse(NAME, &context.options)?;
    let model = Model::open(&options.model)?;
    let pool = Pool::new(model, context.rundown.clone(), options.most_turns)?;
    Ok(Arc::new(Pocketsphinx { pool: Arc::new(pool) }))
}

struct Pocketsphinx {
    pool: Arc<Pool>,
}

impl Stt for Pocketsphinx {
    fn transcribe(&self, request: SttRequest, audio: AudioInput) -> EventStream<SttEvent> {
        let pool = self.pool.clone();
        blocking::stream(NAME, move |sink| {
            if let Some(language) = request.language.filter(|language| !speaks(language)) {
                let reason = format!("it understands English (en) only, not {language}");
                return Err(EngineError::Unsupported { engine: NAME, reason });
            }
            let mut lease = pool.take()?;
            turn::recognise(lease.decoder(), blocking::iter(audio), sink)
        })
    }
}

/// `en` and its regions.
fn speaks(language: &str) -> bool {
    language.split(['-', '_']).next().is_some_and(|code| code.eq_ignore_ascii_case("en"))
}
