//! Against ONNX Runtime, over speech, speech in noise, a tone and clipping; written by `tools/convert_silero.py`.

use anchor_models::silero::{Silero, State, WINDOW};
use safetensors::SafeTensors;

/// Farthest a probability may be from the reference's.
const TOLERANCE: f32 = 1e-4;

#[test]
fn probabilities_are_those_of_onnx_runtime() {
    let fixture = SafeTensors::deserialize(include_bytes!("fixtures/silero.safetensors")).unwrap();
    let pcm: Vec<f32> = numbers(&fixture, "pcm", i16::from_le_bytes).map(|s| f32::from(s) / 32768.0).collect();
    let expected: Vec<f32> = numbers(&fixture, "probability", f32::from_le_bytes).collect();
    let speech = expected.iter().filter(|p| **p > 0.5).count();
    assert!(speech > 20 && speech < expected.len() - 20, "the fixture holds both speech and other sound");

    let network = Silero::bundled().unwrap();
    let mut state = State::default();
    let windows = pcm.as_chunks::<WINDOW>().0;
    assert_eq!(windows.len(), expected.len());
    let mut farthest: f32 = 0.0;
    for (index, (window, expected)) in windows.iter().zip(expected).enumerate() {
        let probability = network.step(&mut state, window);
        farthest = farthest.max((probability - expected).abs());
        assert!(farthest <= TOLERANCE, "window {index}: {probability}, the reference has {expected}");
    }
    println!("farthest from the reference: {farthest:e}");
}

fn numbers<'a, T, const N: usize>(
    file: &'a SafeTensors<'a>,
    name: &str,
    decode: fn([u8; N]) -> T,
) -> impl Iterator<Item = T> + 'a
where
    T: 'a,
{
    file.tensor(name).expect("the fixture has it").data().as_chunks::<N>().0.iter().map(move |bytes| decode(*bytes))
}
