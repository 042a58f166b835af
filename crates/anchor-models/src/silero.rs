//! Silero VAD v6 at 16 kHz: how likely 32 ms of sound are speech.
//!
//! The network is the one of the `silero-vad` package 6.2.3 (MIT, <https://github.com/snakers4/silero-vad>), whose graph
//! `silero_vad_16k_op15.onnx` is the reference for every number here: a short-time Fourier transform done as a
//! convolution, four convolutions, an LSTM cell and one output. The weights are taken out of it by
//! `tools/convert_silero.py` and lie in `assets/`, with their licence.

use std::array;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};

/// Samples the network takes at each step: 32 ms at 16 kHz.
pub const WINDOW: usize = 512;

/// Samples of the window before that it looks back on.
const CONTEXT: usize = 64;

/// Samples mirrored at the right edge, to fill the last frame.
const PADDING: usize = 64;

/// Samples of one Fourier frame, and from one frame to the next.
const FRAME: usize = 256;
const HOP: usize = 128;

/// Frames of a step: 4.
const FRAMES: usize = (CONTEXT + WINDOW + PADDING - FRAME) / HOP + 1;

/// Frequencies of a frame.
const BINS: usize = FRAME / 2 + 1;

/// Width of the LSTM cell.
const HIDDEN: usize = 128;

/// Taps of each convolution, centred.
const TAPS: usize = 3;

static BUNDLED: &[u8] = include_bytes!("../assets/silero_vad_v6_16k.safetensors");

/// The network's weights. One serves any number of streams.
pub struct Silero {
    /// `[2 * BINS, FRAME]`: cosines, then sines, each under the analysis window.
    basis: Vec<f32>,
    encoder: [Convolution; 4],
    /// `[4 * HIDDEN, HIDDEN]`, in the order input, forget, cell, output.
    input_weight: Vec<f32>,
    hidden_weight: Vec<f32>,
    /// `[4 * HIDDEN]`, the sum of both biases.
    gate_bias: Vec<f32>,
    /// `[HIDDEN]`
    output_weight: Vec<f32>,
    output_bias: f32,
}

/// What the network remembers of one stream.
#[derive(Clone)]
pub struct State {
    context: [f32; CONTEXT],
    hidden: [f32; HIDDEN],
    cell: [f32; HIDDEN],
}

impl Default for State {
    /// That of a stream nothing has been heard of.
    fn default() -> Self {
        Self { context: [0.0; CONTEXT], hidden: [0.0; HIDDEN], cell: [0.0; HIDDEN] }
    }
}

/// Why weights could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The bytes are no safetensors file, or only a part of one.
    #[error("the weights of Silero VAD are not a whole safetensors file: {0}")]
    Container(#[source] SafeTensorError),
    /// A tensor of the network is not in the file.
    #[error("the weights of Silero VAD lack the tensor {name}: {source}")]
    Missing {
        /// Name of the tensor.
        name: String,
        /// What the container said.
        source: SafeTensorError,
    },
    /// A tensor is not what the network needs.
    #[error("the tensor {name} of Silero VAD is {found_type:?} {found:?} where F32 {wanted:?} is needed")]
    Mismatch {
        /// Name of the tensor.
        name: String,
        /// Its type.
        found_type: Dtype,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        wanted: Vec<usize>,
    },
    /// A tensor holds a number that is none.
    #[error("the tensor {name} of Silero VAD holds values that are not finite")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
}

impl Silero {
    /// The weights that come with this crate.
    pub fn bundled() -> Result<Self, WeightsError> {
        Self::load(BUNDLED)
    }

    /// Weights out of a safetensors file as `tools/convert_silero.py` writes it.
    pub fn load(file: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(file).map_err(WeightsError::Container)?;
        let tensor = |name: &str, shape: &[usize]| read(&file, name, shape);
        let conv = |index: usize, outputs, inputs, stride| -> Result<Convolution, WeightsError> {
            Ok(Convolution {
                weight: tensor(&format!("encoder.{index}.weight"), &[outputs, inputs, TAPS])?,
                bias: tensor(&format!("encoder.{index}.bias"), &[outputs])?,
                inputs,
                stride,
            })
        };
        let mut gate_bias = tensor("lstm.bias_ih", &[4 * HIDDEN])?;
        for (sum, bias) in gate_bias.iter_mut().zip(tensor("lstm.bias_hh", &[4 * HIDDEN])?) {
            *sum += bias;
        }
        Ok(Self {
            basis: tensor("stft.basis", &[2 * BINS, 1, FRAME])?,
            encoder: [conv(0, 128, BINS, 1)?, conv(1, 64, 128, 2)?, conv(2, 64, 64, 2)?, conv(3, HIDDEN, 64, 1)?],
            input_weight: tensor("lstm.weight_ih", &[4 * HIDDEN, HIDDEN])?,
            hidden_weight: tensor("lstm.weight_hh", &[4 * HIDDEN, HIDDEN])?,
            gate_bias,
            output_weight: tensor("output.weight", &[1, HIDDEN, 1])?,
            output_bias: tensor("output.bias", &[1])?[0],
        })
    }

    /// Takes the next window of a stream, samples in -1..1 at 16 kHz, and returns the probability that it is speech.
    pub fn step(&self, state: &mut State, window: &[f32; WINDOW]) -> f32 {
        let mut features = self.spectrum(&state.context, window);
        state.context.copy_from_slice(&window[WINDOW - CONTEXT..]);
        for convolution in &self.encoder {
            features = convolution.apply(&features);
        }
        self.remember(state, &features);
        let rectified = state.hidden.map(|h| h.max(0.0));
        sigmoid(dot(&self.output_weight, &rectified) + self.output_bias)
    }

    /// Magnitudes, `[FRAMES][BINS]`.
    fn spectrum(&self, context: &[f32; CONTEXT], window: &[f32; WINDOW]) -> Vec<f32> {
        let mirrored = window[WINDOW - 1 - PADDING..WINDOW - 1].iter().rev();
        let signal: Vec<f32> = context.iter().chain(window).chain(mirrored).copied().collect();
        let (cosines, sines) = self.basis.split_at(BINS * FRAME);
        let mut magnitudes = Vec::with_capacity(FRAMES * BINS);
        for frame in signal.windows(FRAME).step_by(HOP) {
            let bins = cosines.chunks_exact(FRAME).zip(sines.chunks_exact(FRAME));
            magnitudes.extend(bins.map(|(cosine, sine)| dot(cosine, frame).hypot(dot(sine, frame))));
        }
        magnitudes
    }

    /// One step of the LSTM cell.
    fn remember(&self, state: &mut State, input: &[f32]) {
        let before = state.hidden;
        let gate = |row: usize| {
            let weights = row * HIDDEN..(row + 1) * HIDDEN;
            self.gate_bias[row]
                + dot(&self.input_weight[weights.clone()], input)
                + dot(&self.hidden_weight[weights], &before)
        };
        for unit in 0..HIDDEN {
            let [input, forget, new, output] = array::from_fn(|kind| gate(kind * HIDDEN + unit));
            state.cell[unit] = sigmoid(forget) * state.cell[unit] + sigmoid(input) * new.tanh();
            state.hidden[unit] = sigmoid(output) * state.cell[unit].tanh();
        }
    }
}

/// A convolution over time, one sample of silence on both sides, with a ReLU behind it.
struct Convolution {
    /// `[outputs, inputs, TAPS]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    stride: usize,
}

impl Convolution {
    /// `[frames][inputs]` to `[frames / stride, rounded up][outputs]`.
    fn apply(&self, features: &[f32]) -> Vec<f32> {
        let frames = features.len() / self.inputs;
        let mut out = Vec::with_capacity(frames.div_ceil(self.stride) * self.bias.len());
        let mut patch = vec![0.0; self.inputs * TAPS];
        for centre in (0..frames).step_by(self.stride) {
            for tap in 0..TAPS {
                // `None` lies before the first frame.
                let frame = (centre + tap).checked_sub(TAPS / 2).filter(|frame| *frame < frames);
                for input in 0..self.inputs {
                    patch[input * TAPS + tap] = frame.map_or(0.0, |frame| features[frame * self.inputs + input]);
                }
            }
            let rows = self.weight.chunks_exact(self.inputs * TAPS).zip(&self.bias);
            out.extend(rows.map(|(row, bias)| (dot(row, &patch) + bias).max(0.0)));
        }
        out
    }
}

/// The sum of products, kept in eight strands so that the compiler can use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const STRANDS: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<STRANDS>(), b.as_chunks::<STRANDS>());
    let mut strands = [0.0; STRANDS];
    for (a, b) in a.iter().zip(b) {
        strands = array::from_fn(|strand| strands[strand] + a[strand] * b[strand]);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    strands.iter().sum::<f32>() + rest
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The tensor `name`, which must be of type F32, have this shape and hold only finite numbers.
fn read(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
    let tensor = file.tensor(name).map_err(|source| WeightsError::Missing { name: name.into(), source })?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        return Err(WeightsError::Mismatch {
            name: name.into(),
            found_type: tensor.dtype(),
            found: tensor.shape().to_vec(),
            wanted: shape.to_vec(),
        });
    }
    let values: Vec<f32> = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(WeightsError::NotFinite { name: name.into() });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    /// The bundled file with one tensor changed or, where `change` gives `None`, left out.
    fn changed(name: &str, change: impl Fn(TensorView<'static>) -> Option<TensorView<'static>>) -> Vec<u8> {
        let file = SafeTensors::deserialize(BUNDLED).unwrap();
        let mut tensors: HashMap<String, _> = file.tensors().into_iter().collect();
        let tensor = tensors.remove(name).unwrap();
        tensors.extend(change(tensor).map(|tensor| (name.to_owned(), tensor)));
        safetensors::serialize(tensors, None).unwrap()
    }

    fn error(file: &[u8]) -> String {
        Silero::load(file).err().unwrap().to_string()
    }

    #[test]
    fn broken_weights_are_errors_that_name_the_tensor() {
        let missing = changed("lstm.weight_hh", |_| None);
        assert!(error(&missing).contains("lack the tensor lstm.weight_hh"), "{}", error(&missing));
        let turned =
            changed("encoder.0.weight", |t| Some(TensorView::new(t.dtype(), vec![129, 128, 3], t.data()).unwrap()));
        assert_eq!(
            error(&turned),
            "the tensor encoder.0.weight of Silero VAD is F32 [129, 128, 3] where F32 [128, 129, 3] is needed"
        );
        let half = changed("output.bias", |_| Some(TensorView::new(Dtype::F16, vec![1], &[0, 0]).unwrap()));
        assert!(error(&half).contains("output.bias of Silero VAD is F16"), "{}", error(&half));
        let nan = changed("output.bias", |t| Some(TensorView::new(t.dtype(), vec![1], &[0, 0, 192, 127]).unwrap()));
        assert_eq!(error(&nan), "the tensor output.bias of Silero VAD holds values that are not finite");
    }

    #[test]
    fn a_file_cut_short_anywhere_is_an_error() {
        for length in [0, 7, 8, 500, 5_000, BUNDLED.len() / 2, BUNDLED.len() - 1] {
            assert!(error(&BUNDLED[..length]).contains("not a whole safetensors file"), "{length} bytes");
        }
    }

    #[test]
    fn streams_do_not_hear_each_other() {
        let network = Silero::bundled().unwrap();
        let noise: [f32; WINDOW] = array::from_fn(|n| ((n * n) as f32).sin() * 0.1);
        let (mut one, mut other) = (State::default(), State::default());
        let alone: Vec<f32> = (0..3).map(|_| network.step(&mut one, &noise)).collect();
        let mut third = State::default();
        let beside: Vec<f32> = (0..3)
            .map(|_| {
                network.step(&mut third, &[0.0; WINDOW]);
                network.step(&mut other, &noise)
            })
            .collect();
        assert_eq!(alone, beside);
    }
}
