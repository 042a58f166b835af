//! All a decoder is built from: the acoustic model, and the language model and dictionary of the rundown on air.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anchor_core::engine::EngineError;
use anchor_core::rundown::OnAir;
use tempfile::TempDir;

use super::corpus::Corpus;
use super::ffi::{Decoder, Sphinx};
use super::lexicon::Dictionary;
use super::lm::Counts;
use super::{NAME, REMEDY};

/// The most frequent words of general English, which limit what is searched for: with all 130 000 of the dictionary the
/// search takes three times as long. Made by `tools/background_words.py`; licence beside them.
const BACKGROUND_WORDS: &str = include_str!("../../../assets/stt/background_words.txt");

/// The acoustic model inside the model directory, and its files that have to be there.
const ACOUSTIC: &str = "en-us";
const ACOUSTIC_FILES: [&str; 7] =
    ["feat.params", "mdef", "means", "variances", "sendump", "transition_matrices", "noisedict"];

/// The pronouncing dictionary inside the model directory.
const DICTIONARY: &str = "cmudict-en-us.dict";

/// The language model of general English inside the model directory, and its share in what is expected. On free questions
/// in four synthetic voices the rundown's model alone gets 17 % of the words wrong, the two together 13 %, with any share
/// from 0.2 to 0.5. It costs 50 MB and a quarter of a second for each decoder.
const GENERAL: &str = "en-us.lm.bin";
const GENERAL_SHARE: f32 = 0.4;

/// One pass over the sound. A second pass and a search of the word graph win a point of word error rate at most, but run
/// after the last word, when everybody waits.
const SEARCH: [(&str, &str); 2] = [("-fwdflat", "no"), ("-bestpath", "no")];

/// The installed model.
pub(super) struct Model {
    sphinx: Arc<Sphinx>,
    directory: PathBuf,
}

impl Model {
    /// Opens the library and makes sure that the model is whole.
    pub(super) fn open(directory: &Path) -> Result<Self, EngineError> {
        let sphinx = Sphinx::open()?;
        let acoustic = directory.join(ACOUSTIC);
        let files = ACOUSTIC_FILES
            .iter()
            .map(|file| acoustic.join(file))
            .chain([directory.join(DICTIONARY), directory.join(GENERAL)]);
        for file in files {
            if !file.is_file() {
                return Err(unavailable(format!("its model file {} is missing", file.display())));
            }
        }
        Ok(Self { sphinx, directory: directory.into() })
    }

    /// Writes the language model and the dictionary for the rundown that is on air.
    pub(super) fn prepare(&self, on_air: &OnAir) -> Result<Material, EngineError> {
        let corpus = Corpus::of(&on_air.rundown);
        let mut counts = Counts::new();
        for (sentence, weight) in &corpus.sentences {
            counts.add(sentence, *weight);
        }
        let text = read(&self.directory.join(DICTIONARY))?;
        let vocabulary = counts.vocabulary().chain(BACKGROUND_WORDS.lines().filter(|word| !counts.has(word)));
        let dictionary = Dictionary::parse(&text).restricted(vocabulary, &corpus.initials);

        let files = tempfile::Builder::new().prefix("anchor-stt-").tempdir().map_err(|error| unwritable(&error))?;
        let material = Material { version: on_air.version, files };
        fs::write(material.dictionary(), dictionary).map_err(|error| unwritable(&error))?;
        let mut arpa = BufWriter::new(fs::File::create(material.language_model()).map_err(|error| unwritable(&error))?);
        counts.write_arpa(&mut arpa).and_then(|()| arpa.flush()).map_err(|error| unwritable(&error))?;
        Ok(material)
    }

    /// Builds a decoder.
    pub(super) fn decoder(&self, material: &Material) -> Result<Decoder, EngineError> {
        let paths = [("-hmm", self.directory.join(ACOUSTIC)), ("-dict", material.dictionary())];
        let mut arguments: Vec<(&str, &str)> = SEARCH.to_vec();
        for (name, path) in &paths {
            arguments.push((name, utf8(path)?));
        }
        let (rundown, general) = (material.language_model(), self.directory.join(GENERAL));
        Decoder::new(
            &self.sphinx,
            &arguments,
            [(utf8(&rundown)?, 1.0 - GENERAL_SHARE), (utf8(&general)?, GENERAL_SHARE)],
        )
    }
}

/// The files made for one version of the rundown. Removed when dropped.
pub(super) struct Material {
    /// The version.
    pub(super) version: u64,
    files: TempDir,
}

impl Material {
    fn dictionary(&self) -> PathBuf {
        self.files.path().join("words.dict")
    }

    fn language_model(&self) -> PathBuf {
        self.files.path().join("words.arpa")
    }
}

fn read(path: &Path) -> Result<String, EngineError> {
    fs::read_to_string(path)
        .map_err(|error| unavailable(format!("its model file {} cannot be read: {error}", path.display())))
}

fn utf8(path: &Path) -> Result<&str, EngineError> {
    path.to_str().ok_or_else(|| unavailable(format!("{} is not UTF-8", path.display())))
}

fn unavailable(reason: String) -> EngineError {
    EngineError::Unavailable { engine: NAME, reason, remedy: REMEDY.into() }
}

fn unwritable(error: &std::io::Error) -> EngineError {
    EngineError::Unavailable {
        engine: NAME,
        reason: format!("its language model cannot be written to {}: {error}", std::env::temp_dir().display()),
        remedy: "Make room there, or set TMPDIR to a directory that can be written to.".into(),
    }
}
