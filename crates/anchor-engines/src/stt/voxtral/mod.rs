//! Voxtral behind vLLM: the 3B model that transcribes whole turns, and the 4B Realtime model that listens as a turn is
//! spoken.

mod agreement;
pub mod realtime;
mod sound;
mod transcription;
pub mod vllm;

use anchor_core::engine::EngineError;
use serde::Deserialize;

use crate::http::Remote;

/// The two letters of ISO 639-1 that vLLM wants, without a region: `en` of `en-GB`.
fn two_letters(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// What `/v1/models` says.
#[derive(Debug, Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

/// Whether the server serves this model, and which it serves otherwise.
async fn check_model(remote: &Remote, model: &str) -> Result<(), EngineError> {
    let served: ModelList = remote.state("/v1/models").await?;
    if served.data.iter().any(|served| served.id == model) {
        return Ok(());
    }
    let names: Vec<&str> = served.data.iter().map(|model| model.id.as_str()).collect();
    Err(EngineError::Unavailable {
        engine: remote.engine(),
        reason: format!("the server at {} does not serve the model {model}", remote.addresses()),
        remedy: match names[..] {
            [] => "It serves none; look into its log.".into(),
            _ => format!("It serves {}: set `model` in the options of {}.", names.join(", "), remote.engine()),
        },
    })
}
