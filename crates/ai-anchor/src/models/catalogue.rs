//! The models there are, one entry each.

use std::path::{Path, PathBuf};

use super::ModelError;

/// One model.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it is for.
    pub role: Role,
    /// Where it comes from.
    pub source: Source,
    /// About how many bytes it takes. What the server says is what is downloaded and checked.
    pub bytes: u64,
    /// What it may be used for.
    pub licence: &'static Licence,
    /// The engines that cannot work without it.
    pub engines: &'static [&'static str],
    /// The program that loads it.
    pub server: &'static str,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It recognises speech.
    Stt,
    /// It writes answers.
    Llm,
    /// It speaks.
    Tts,
    /// It turns a speaking model's codes into sound.
    Codec,
}

/// Where a model comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Files of a repository on Hugging Face.
    HuggingFace(Repository),
    /// A name that Ollama pulls into its own store.
    Ollama(&'static str),
}

/// Files of a repository on Hugging Face. In a pattern, `*` stands for anything but `/`.
#[derive(Debug, PartialEq, Eq)]
pub struct Repository {
    /// Owner and name.
    pub name: &'static str,
    /// Branch or commit.
    pub revision: &'static str,
    /// Patterns of which each has to match a file.
    pub required: &'static [&'static str],
    /// Patterns of files to take where they exist.
    pub optional: &'static [&'static str],
}

/// What a model may be used for.
#[derive(Debug, PartialEq, Eq)]
pub struct Licence {
    /// Its name.
    pub name: &'static str,
    /// Where it can be read.
    pub address: &'static str,
    /// What has to be shown to people.
    pub notice: &'static str,
    /// It has to be accepted before the model is downloaded.
    pub must_be_accepted: bool,
}

const APACHE: Licence = Licence {
    name: "Apache-2.0",
    address: "https://www.apache.org/licenses/LICENSE-2.0",
    notice: "",
    must_be_accepted: false,
};

/// The notice is the one that section 1.b.i of the agreement asks for, word by word.
const HIGGS: Licence = Licence {
    name: "Boson Higgs Audio 2 Community License",
    address: "https://huggingface.co/bosonai/higgs-audio-v2-generation-3B-base/blob/main/LICENSE",
    notice: "Built with Higgs Materials licensed from Boson AI USA, Inc., Copyright Boson AI USA, Inc., All Rights \
             Reserved and Meta Llama 3 licensed under the Meta Llama 3 Community License, Copyright Meta Platforms, \
             Inc., All Right Reserved. Services with more than 100,000 annual active users need an expanded licence \
             from Boson AI.",
    must_be_accepted: true,
};

/// Mistral's repositories hold every weight twice: `consolidated.safetensors` for vLLM's Mistral loader, and shards in
/// the layout of transformers, which are left out. <https://docs.vllm.ai/en/latest/models/supported_models/>
const MISTRAL_FORMAT: &[&str] = &["consolidated.safetensors", "params.json", "tekken.json"];

/// Weights in the layout of transformers, whether in one file or in shards.
const TRANSFORMERS_FORMAT: &[&str] = &["config.json", "*.safetensors", "tokenizer.json"];

/// What belongs to weights in that layout where it exists.
const BESIDE_WEIGHTS: &[&str] = &["*.json", "*.jinja", "LICENSE*", "NOTICE*"];

/// Every model this program knows how to get.
pub static CATALOGUE: &[Model] = &[
    Model {
        name: "voxtral",
        about: "Voxtral Mini 3B: recognises eight languages and understands questions",
        role: Role::Stt,
        source: Source::HuggingFace(Repository {
            name: "mistralai/Voxtral-Mini-3B-2507",
            revision: "main",
            required: MISTRAL_FORMAT,
            optional: &[],
        }),
        bytes: 9_370_000_000,
        licence: &APACHE,
        engines: &["voxtral-vllm"],
        server: "vLLM",
    },
    Model {
        name: "voxtral-realtime",
        about: "Voxtral Mini 4B Realtime: recognises while a person speaks",
        role: Role::Stt,
        source: Source::HuggingFace(Repository {
            name: "mistralai/Voxtral-Mini-4B-Realtime-2602",
            revision: "main",
            required: MISTRAL_FORMAT,
            optional: &[],
        }),
        bytes: 8_870_000_000,
        licence: &APACHE,
        engines: &["voxtral-realtime"],
        server: "vLLM",
    },
    Model {
        name: "mistral-small",
        about: "Mistral Small 24B Instruct, abliterated, four bits a weight",
        role: Role::Llm,
        source: Source::Ollama("hf.co/bartowski/huihui-ai_Mistral-Small-24B-Instruct-2501-abliterated-GGUF:Q4_K_M"),
        bytes: 14_333_908_672,
        licence: &APACHE,
        engines: &["ollama"],
        server: "Ollama",
    },
    Model {
        name: "higgs",
        about: "Higgs Audio v2: speaks with feeling, in a voice it is shown",
        role: Role::Tts,
        source: Source::HuggingFace(Repository {
            // Known as bosonai/higgs-audio-v2-generation-3B-base before.
            name: "bosonai/higgs-tts-2-3b-base",
            revision: "main",
            required: TRANSFORMERS_FORMAT,
            optional: BESIDE_WEIGHTS,
        }),
        bytes: 11_540_000_000,
        licence: &HIGGS,
        engines: &["higgs-server"],
        server: "vLLM-Omni",
    },
    Model {
        name: "higgs-codec",
        about: "the audio tokenizer of Higgs Audio v2, in the layout of transformers",
        role: Role::Codec,
        source: Source::HuggingFace(Repository {
            name: "k2-fsa/OmniVoice",
            revision: "main",
            required: &["audio_tokenizer/config.json", "audio_tokenizer/*.safetensors"],
            optional: &["audio_tokenizer/*.json", "audio_tokenizer/LICENSE*", "audio_tokenizer/NOTICE*"],
        }),
        bytes: 806_000_000,
        licence: &HIGGS,
        engines: &["higgs-server"],
        server: "vLLM-Omni",
    },
    Model {
        name: "higgs-original",
        about: "Higgs Audio v2 as it was first published, for Boson's own image",
        role: Role::Tts,
        source: Source::HuggingFace(Repository {
            name: "bosonai/higgs-audio-v2-generation-3B-base",
            // The last commit before the weights were renamed; transformers' script that converts them begins with it.
            revision: "10840182ca4ad5d9d9113b60b9bb3c1ef1ba3f84",
            required: TRANSFORMERS_FORMAT,
            optional: BESIDE_WEIGHTS,
        }),
        bytes: 11_540_000_000,
        licence: &HIGGS,
        engines: &[],
        server: "Boson's vLLM image",
    },
    Model {
        name: "higgs-original-codec",
        about: "the audio tokenizer that belongs to it",
        role: Role::Codec,
        source: Source::HuggingFace(Repository {
            name: "bosonai/higgs-audio-v2-tokenizer",
            revision: "main",
            required: &["config.json", "model.pth"],
            optional: &["LICENSE*", "NOTICE*"],
        }),
        bytes: 802_000_000,
        licence: &HIGGS,
        engines: &[],
        server: "Boson's vLLM image",
    },
];

/// The model called `name`.
pub fn find(name: &str) -> Result<&'static Model, ModelError> {
    CATALOGUE.iter().find(|model| model.name == name).ok_or_else(|| ModelError::Unknown { name: name.into() })
}

/// The models that these engines cannot work without.
pub fn needed_for<'a>(engines: impl IntoIterator<Item = &'a str>) -> Vec<&'static Model> {
    let engines: Vec<&str> = engines.into_iter().collect();
    let needed = |model: &&Model| model.engines.iter().any(|engine| engines.contains(engine));
    CATALOGUE.iter().filter(needed).collect()
}

impl Model {
    /// Its folder among the models in `models`.
    pub fn folder_in(&self, models: &Path) -> PathBuf {
        models.join(self.origin().replace(['/', ':'], "--"))
    }

    /// Its name where it comes from.
    pub fn origin(&self) -> &'static str {
        match &self.source {
            Source::HuggingFace(repository) => repository.name,
            Source::Ollama(name) => name,
        }
    }
}

impl Role {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::Codec => "codec",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_folders_are_distinct() {
        let names: HashSet<_> = CATALOGUE.iter().map(|model| model.name).collect();
        let folders: HashSet<_> = CATALOGUE.iter().map(|model| model.folder_in(Path::new("/models"))).collect();
        assert_eq!((names.len(), folders.len()), (CATALOGUE.len(), CATALOGUE.len()));
        let voxtral = find("voxtral").unwrap().folder_in(Path::new("/models"));
        assert_eq!(voxtral, Path::new("/models/mistralai--Voxtral-Mini-3B-2507"));
    }

    #[test]
    fn the_studio_engines_need_one_model_each_and_a_voice_its_codec() {
        let needed: Vec<_> =
            needed_for(["voxtral-vllm", "ollama", "higgs-server", "silero"]).iter().map(|model| model.name).collect();
        assert_eq!(needed, ["voxtral", "mistral-small", "higgs", "higgs-codec"]);
        assert!(needed_for(["flite", "desk"]).is_empty());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        insta::assert_snapshot!(find("voxtrel").unwrap_err(), @"there is no model called 'voxtrel' (did you mean 'voxtral'?). There is: voxtral, voxtral-realtime, mistral-small, higgs, higgs-codec, higgs-original, higgs-original-codec");
    }
}
