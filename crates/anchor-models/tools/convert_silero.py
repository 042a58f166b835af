# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.32.0", "safetensors==0.8.0"]
# ///
"""Takes the 16 kHz Silero VAD v6 out of its official package and writes down what ONNX Runtime computes with it.

    pip download --no-deps silero-vad==6.2.3
    python crates/anchor-models/tools/convert_silero.py silero_vad-6.2.3-py3-none-any.whl

Writes, below crates/anchor-models:
    assets/silero_vad_v6_16k.safetensors     the weights
    assets/silero_vad_v6_16k.LICENSE         their licence
    tests/parity/fixtures/silero.safetensors sound (speech of two flite voices, noise, a tone) and the reference's probabilities

The weights come from an ONNX file of the package. The package's own silero_vad_16k.safetensors holds another model.
Speech needs the Debian package libflite1.
"""

import ctypes
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import save_file

CRATE = Path(__file__).parent.parent
SHA256 = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"
RATE = 16_000
WINDOW = 512
CONTEXT = 64
NAMES = {
    "model.stft.forward_basis_buffer": "stft.basis",
    **{f"model.encoder.{i}.reparam_conv.{p}": f"encoder.{i}.{p}" for i in range(4) for p in ("weight", "bias")},
    **{f"model.decoder.rnn.{p}_{g}": f"lstm.{p}_{g}" for p in ("weight", "bias") for g in ("ih", "hh")},
    **{f"model.decoder.decoder.2.{p}": f"output.{p}" for p in ("weight", "bias")},
}


def main(wheel: str) -> None:
    data = Path(wheel).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{wheel} is not the silero-vad 6.2.3 this script was written for")
    package = zipfile.ZipFile(wheel)
    save_file(
        weights(package.read("silero_vad/data/silero_vad_16k_op15.onnx")),
        CRATE / "assets/silero_vad_v6_16k.safetensors",
        metadata={"source": "silero-vad 6.2.3, silero_vad_16k_op15.onnx", "licence": "MIT"},
    )
    licence = package.read("silero_vad-6.2.3.dist-info/licenses/LICENSE")
    (CRATE / "assets/silero_vad_v6_16k.LICENSE").write_bytes(licence)

    pcm = sound()
    samples = pcm.astype(np.float32) / 32768
    expected = reference(package.read("silero_vad/data/silero_vad.onnx"), samples)
    save_file({"pcm": pcm, "probability": expected}, CRATE / "tests/parity/fixtures/silero.safetensors")
    print(f"{len(expected)} windows, {(expected > 0.5).sum()} of them speech")


def weights(model: bytes) -> dict[str, np.ndarray]:
    """The model's tensors under our names."""
    found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}
    return {ours: np.ascontiguousarray(found[theirs], dtype=np.float32) for theirs, ours in NAMES.items()}


def reference(model: bytes, samples: np.ndarray) -> np.ndarray:
    """What the package's default model says, window by window, called as the package calls it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), np.float32)
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples])
    probabilities = []
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = padded[None, start : start + CONTEXT + WINDOW]
        output, state = session.run(None, {"input": window, "state": state, "sr": np.array(RATE)})
        probabilities.append(output.item())
    return np.array(probabilities, np.float32)


def sound() -> np.ndarray:
    """Speech, speech in noise, a tone and clipped speech, as 16-bit samples."""
    rng = np.random.default_rng(6)
    rms = speech("rms", "Good evening.") / 32768
    kal = speech("kal16", "What is the news?") / 32768
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
    parts = [
        np.zeros(1000),
        rms,
        kal + 0.02 * rng.standard_normal(len(kal)),
        tone,
        np.clip(20 * rms[: RATE // 2], -1, 1),
    ]
    return np.round(np.clip(np.concatenate(parts), -1, 1) * 32767).astype(np.int16)


class Wave(ctypes.Structure):
    """cst_wave of flite 2.2, cst_wave.h."""

    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


def speech(voice: str, text: str) -> np.ndarray:
    """What a 16 kHz voice of flite makes of `text`."""
    flite = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    flite.flite_init()
    register = getattr(ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
    register.restype = ctypes.c_void_p
    flite.flite_text_to_wave.restype = ctypes.POINTER(Wave)
    wave = flite.flite_text_to_wave(text.encode(), ctypes.c_void_p(register(None))).contents
    return np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy()


if __name__ == "__main__":
    main(*sys.argv[1:])
