//! Sound as a WAV file, the form in which servers take it.

use anchor_core::audio::INPUT_RATE;

/// Bytes of a header with one `fmt ` chunk of plain PCM.
const HEADER: usize = 44;

/// A 16-bit mono WAV file of samples in -1..1 at [`INPUT_RATE`]; what lies outside is clipped.
pub(crate) fn encode(samples: &[f32]) -> Vec<u8> {
    let data = samples.len() * 2;
    let mut bytes = Vec::with_capacity(HEADER + data);
    let mut number = |text: &[u8], value: usize| {
        bytes.extend_from_slice(text);
        // Sizes are 32 bits wide: 37 hours, longer than any sound here.
        bytes.extend_from_slice(&(value as u32).to_le_bytes());
    };
    number(b"RIFF", HEADER - 8 + data);
    number(b"WAVEfmt ", 16);
    // PCM, one channel.
    number(&[], 1 | 1 << 16);
    number(&[], INPUT_RATE as usize);
    number(&[], INPUT_RATE as usize * 2);
    // Two bytes a frame, 16 bits a sample.
    number(&[], 2 | 16 << 16);
    number(b"data", data);
    for sample in samples {
        let sample = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
        bytes.extend_from_slice(&sample.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_plain_pcm() {
        let bytes = encode(&[0.0, 1.0, -2.0]);
        let header = b"RIFF\x2a\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x06\0\0\0";
        assert_eq!(bytes[..HEADER], header[..]);
        assert_eq!(bytes[HEADER..], [0, 0, 0xff, 0x7f, 0x01, 0x80]);
    }
}
