//! What the bytes of an answer are: samples as asked for, a WAV file, or something that only calls itself sound.

/// How samples stand in bytes: 16 bits, little endian, interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// In Hz.
    pub(super) rate: u32,
    /// At least one.
    pub(super) channels: usize,
}

/// What an answer turns out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// More bytes are needed to tell.
    Unclear,
    /// Samples from the first byte on.
    Samples,
    /// A WAV file whose samples begin at `start`, as many bytes of them as it says, `None` where it does not know.
    Wav { layout: Layout, start: usize, length: Option<usize> },
    /// Something else, by its name.
    Other(&'static str),
    /// Text, such as an error or a page.
    Text,
}

/// A WAV header longer than this is none.
const HEADER_MAX: usize = 4096;

/// Lengths from here on are what servers write that do not know them yet (`ffffffff`, `7fffffff` and some below).
const LENGTH_UNKNOWN: usize = 0x7000_0000;

/// Judges the first bytes of an answer. `ended` says that there will be no more.
///
/// Sound cannot be told from a file by the server's word: Boson's calls its samples `audio/mpeg`. So it is told by the
/// bytes: names of file formats, and for MP3, which has none, two frames at the right distance.
pub(super) fn judge(bytes: &[u8], ended: bool) -> Content {
    let names: [(&[u8], Content); 6] = [
        (b"ID3", Content::Other("MP3")),
        (b"OggS", Content::Other("Ogg")),
        (b"fLaC", Content::Other("FLAC")),
        (b"<!doctype", Content::Text),
        (b"<html", Content::Text),
        (b"RIFF", Content::Unclear),
    ];
    for (name, content) in names {
        let common = bytes.len().min(name.len());
        if common > 0 && bytes[..common].eq_ignore_ascii_case(&name[..common]) {
            return match content {
                _ if common < name.len() => {
                    if ended {
                        Content::Samples
                    } else {
                        Content::Unclear
                    }
                }
                Content::Unclear => wav(bytes, ended),
                content => content,
            };
        }
    }
    if bytes.starts_with(b"{") {
        return json(bytes, ended);
    }
    mp3(bytes, ended)
}

/// Whether this is the beginning of a JSON object rather than a first sample that reads `{"`.
fn json(bytes: &[u8], ended: bool) -> Content {
    const ENOUGH: usize = 16;
    let start = &bytes[..bytes.len().min(ENOUGH)];
    let text = start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    match text {
        false => Content::Samples,
        true if ended || start.len() == ENOUGH => Content::Text,
        true => Content::Unclear,
    }
}

fn wav(bytes: &[u8], ended: bool) -> Content {
    const ODD: Content = Content::Other("WAV of another kind than 16 bits");
    let unclear = if ended || bytes.len() > HEADER_MAX { ODD } else { Content::Unclear };
    let mut layout = None;
    let mut at = 12;
    while let Some((name, rest)) = bytes.get(at..).and_then(|chunk| chunk.split_first_chunk::<4>()) {
        let Some((length, body)) = rest.split_first_chunk::<4>() else { return unclear };
        let length = u32::from_le_bytes(*length) as usize;
        at += 8;
        match name {
            b"data" => {
                let length = (1..LENGTH_UNKNOWN).contains(&length).then_some(length);
                return layout.map_or(ODD, |layout| Content::Wav { layout, start: at, length });
            }
            b"fmt " => match body {
                // Plain samples, or those of the extensible kind, which only names more loudspeakers.
                [1, 0, channels @ 1..=8, 0, r0, r1, r2, r3, _, _, _, _, _, 0, 16, 0, ..]
                | [0xfe, 0xff, channels @ 1..=8, 0, r0, r1, r2, r3, _, _, _, _, _, 0, 16, 0, ..] => {
                    let rate = u32::from_le_bytes([*r0, *r1, *r2, *r3]);
                    layout = Some(Layout { rate, channels: usize::from(*channels) });
                }
                [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, ..] => return ODD,
                _ => return unclear,
            },
            _ => {}
        }
        // Chunks are padded to whole words.
        at = at.saturating_add(length).saturating_add(length % 2);
    }
    unclear
}

fn mp3(bytes: &[u8], ended: bool) -> Content {
    let Some(&[0xff, second]) = bytes.first_chunk::<2>() else {
        let possible = bytes.is_empty() || bytes == [0xff];
        return if possible && !ended { Content::Unclear } else { Content::Samples };
    };
    if second < 0xe0 {
        return Content::Samples;
    }
    let Some(first) = bytes.first_chunk::<4>() else {
        return if ended { Content::Samples } else { Content::Unclear };
    };
    let Some(length) = mp3_frame(*first) else { return Content::Samples };
    match bytes.get(length..length + 4) {
        // What never changes from one frame to the next: version, layer, rate.
        Some(next) if next[..2] == first[..2] && next[2] & 0x0c == first[2] & 0x0c => Content::Other("MP3"),
        None if !ended => Content::Unclear,
        _ => Content::Samples,
    }
}

/// Length in bytes of the frame of MPEG audio, layer III, with this header (ISO 11172-3, 2.4.1.3 and 2.4.2.3).
fn mp3_frame(header: [u8; 4]) -> Option<usize> {
    const KBITS_1: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [_, version, rates, _] = header;
    if version & 0x06 != 0x02 {
        return None;
    }
    let (scale, divisor, kbits) = match version & 0x18 {
        0x18 => (144, 1, KBITS_1),
        0x10 => (72, 2, KBITS_2),
        0x00 => (72, 4, KBITS_2),
        _ => return None,
    };
    let kbits = kbits.get(usize::from(rates >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from((rates >> 2) & 3))? / divisor;
    Some(scale * kbits * 1000 / rate + usize::from((rates >> 1) & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as servers write it that stream.
    pub(crate) fn header(rate: u32, channels: u16, length: u32) -> Vec<u8> {
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0".to_vec();
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * 2 * u32::from(channels)).to_le_bytes());
        bytes.extend((2 * channels).to_le_bytes());
        bytes.extend(*b"\x10\0data");
        bytes.extend(length.to_le_bytes());
        bytes
    }

    #[test]
    fn a_wav_header_is_read_once_it_is_complete() {
        let bytes = header(22_050, 2, u32::MAX);
        for length in 1..bytes.len() {
            assert_eq!(judge(&bytes[..length], false), Content::Unclear, "{length}");
        }
        let layout = Layout { rate: 22_050, channels: 2 };
        assert_eq!(judge(&bytes, false), Content::Wav { layout, start: bytes.len(), length: None });
        let short = header(22_050, 2, 12);
        assert_eq!(judge(&short, false), Content::Wav { layout, start: bytes.len(), length: Some(12) });
        let float =
            header(24_000, 1, 0).iter().enumerate().map(|(n, b)| if n == 32 { 3 } else { *b }).collect::<Vec<_>>();
        assert_eq!(judge(&float, false), Content::Other("WAV of another kind than 16 bits"));
        assert_eq!(judge(&b"RIFF".repeat(2000), false), Content::Other("WAV of another kind than 16 bits"));
    }

    #[test]
    fn mp3_is_told_from_samples_that_look_like_it() {
        // MPEG 2, layer III, 48 kbit/s at 24 kHz: frames of 144 bytes.
        let mut frame = vec![0xff, 0xf3, 0x64, 0xc4];
        frame.resize(144, 0x55);
        assert_eq!(mp3_frame([0xff, 0xf3, 0x64, 0xc4]), Some(144));
        assert_eq!(judge(&frame, false), Content::Unclear);
        assert_eq!(judge(&frame, true), Content::Samples);
        assert_eq!(judge(&frame.repeat(2), false), Content::Other("MP3"));
        frame.extend([0x12; 144]);
        assert_eq!(judge(&frame, false), Content::Samples);
        assert_eq!(judge(&[0xff, 0xff, 0xfe, 0xff, 0, 0], false), Content::Samples);
        assert_eq!(judge(b"ID3\x04", false), Content::Other("MP3"));
    }

    #[test]
    fn most_sound_is_clear_at_once() {
        assert_eq!(judge(&[], false), Content::Unclear);
        assert_eq!(judge(&[0, 0], false), Content::Samples);
        assert_eq!(judge(b"<!DOCTYPE html>", false), Content::Text);
        assert_eq!(judge(b"O", true), Content::Samples);
        assert_eq!(judge(b"{\"code\": 500, \"what\": 1}", false), Content::Text);
        assert_eq!(judge(b"{}", true), Content::Text);
        assert_eq!(judge(b"{\"\x01\x7f", false), Content::Samples);
    }
}
