//! Silero VAD v6, a small recurrent network, on windows of 32 ms.

use std::sync::Arc;

use anchor_core::engine::{EngineError, Vad, VadModel};
use anchor_models::silero::{Silero, State, WINDOW};

use super::gate::Gate;
use crate::{Entry, LoadContext, Needs, options};

const NAME: &str = "silero";

/// Its line in the table.
pub const ENTRY: Entry<dyn VadModel> = Entry {
    name: NAME,
    about: "Silero VAD v6, a small recurrent network, behind a gate for noise, tones and hum",
    needs: Needs { gpu_bytes: 0, packages: &[], network: false },
    load,
};

/// This engine has nothing to set.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct SileroModel(Arc<Silero>);

fn load(context: &LoadContext) -> Result<Arc<dyn VadModel>, EngineError> {
    let Options {} = options::parse(NAME, &context.options)?;
    let network = Silero::bundled().map_err(|error| EngineError::Failed { engine: NAME, reason: error.to_string() })?;
    Ok(Arc::new(SileroModel(Arc::new(network))))
}

impl VadModel for SileroModel {
    fn start(&self) -> Box<dyn Vad> {
        let network = self.0.clone();
        Box::new(Gate::new(SileroVad { network, state: State::default(), window: [0.0; WINDOW], filled: 0 }))
    }
}

/// The network on one stream.
struct SileroVad {
    network: Arc<Silero>,
    state: State,
    window: [f32; WINDOW],
    filled: usize,
}

impl Vad for SileroVad {
    fn push(&mut self, pcm: &[f32]) -> Option<f32> {
        let mut newest = None;
        for sample in pcm {
            self.window[self.filled] = *sample;
            self.filled += 1;
            if self.filled == WINDOW {
                newest = Some(self.network.step(&mut self.state, &self.window));
                self.filled = 0;
            }
        }
        newest
    }
}
