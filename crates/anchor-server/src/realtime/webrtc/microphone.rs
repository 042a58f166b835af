//! The person's voice: Opus packets in the order they were sent, with gaps, to sound without.
//!
//! Packets come in order from str0m, which waits a moment for late ones. What never came is made up for: by the copy that the
//! next packet carries, where it carries one (RFC 6716, 2.1.7), or else by concealment. A client that sends nothing while
//! nobody speaks (discontinuous transmission) is heard as silence, because pauses are counted in samples.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anchor_core::audio::{AudioFrame, INPUT_RATE};
use opus_pure::{Error, OpusDecoder, packet};

use super::{CLOCK_RATE, FRAME};

/// Ticks of the RTP clock for each sample the session hears.
const TICKS_PER_SAMPLE: u64 = CLOCK_RATE / INPUT_RATE as u64;

/// Longest packet of Opus: 120 ms.
const PACKET_MAX: usize = INPUT_RATE as usize * 120 / 1000;

/// Concealment of a longer gap would be invented speech; silence follows.
const CONCEALED_MAX: u64 = CLOCK_RATE * 120 / 1000;

/// A longer gap is no loss but a new beginning of the client's clock.
const GAP_MAX: u64 = CLOCK_RATE;

/// A client that sends no sound for this long, though it did not announce a pause, is taken for silent: the last turn must
/// end some time. Shorter stops are the network's, and what comes after them is listened to in full.
const STALL: Duration = Duration::from_secs(1);

/// Longest packet that announces a pause, in bytes (RFC 7587, 3.1.3, and libopus): a table of contents and no frame.
const PAUSE_MAX: usize = 2;

/// One client's voice. Opus is decoded at the rate of the session, whatever rate it was made at.
pub(super) struct Microphone {
    decoder: OpusDecoder,
    /// Where on the client's clock the next packet begins, once there was one.
    expected: Option<u64>,
    /// Ticks of silence that stand in for packets which may still come.
    filled: u64,
    last_packet: Option<Instant>,
    /// The client announced that it pauses.
    paused: bool,
    ready: VecDeque<AudioFrame>,
}

impl Microphone {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            decoder: OpusDecoder::new(INPUT_RATE as i32, 1)?,
            expected: None,
            filled: 0,
            last_packet: None,
            paused: false,
            ready: VecDeque::new(),
        })
    }

    /// Takes in the packet that begins at `time` of the client's clock. Call [`next`](Self::next) until it is empty.
    pub(super) fn packet(&mut self, now: Instant, time: u64, data: &[u8]) {
        let Ok(length) = packet::samples_48k(data) else { return };
        let length = length as u64;
        let gap = self.expected.map_or(0, |expected| time.saturating_sub(expected)).saturating_sub(self.filled);
        if gap <= GAP_MAX {
            self.conceal(gap, length, data);
        }
        let mut sound = [0.0; PACKET_MAX];
        // Noise that is no Opus is treated as lost.
        let samples = match self.decoder.decode(data, (length / TICKS_PER_SAMPLE) as usize, &mut sound) {
            Ok(samples) => samples,
            Err(_) => self.decoder.decode(&[], (length / TICKS_PER_SAMPLE) as usize, &mut sound).unwrap_or(0),
        };
        self.give(&sound[..samples]);
        (self.expected, self.filled) = (Some(time + length), 0);
        (self.last_packet, self.paused) = (Some(now), data.len() <= PAUSE_MAX);
    }

    /// One [`FRAME`] of time has passed: puts silence where the client sends nothing.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(last) = self.last_packet else { return };
        let patience = if self.paused { 2 * FRAME } else { STALL };
        if now.saturating_duration_since(last) > patience {
            let ticks = CLOCK_RATE * FRAME.as_millis() as u64 / 1000;
            self.filled += ticks;
            self.silence(ticks);
        }
    }

    /// The next sound for the session.
    pub(super) fn next(&mut self) -> Option<AudioFrame> {
        self.ready.pop_front()
    }

    /// Makes up for `gap` ticks before the packet `next`, which has `length` of them.
    fn conceal(&mut self, gap: u64, length: u64, next: &[u8]) {
        let carried = if gap >= length { length } else { 0 };
        let made_up = (gap - carried).min(CONCEALED_MAX);
        // The decoder makes multiples of 2.5 ms, and so do clients.
        let mut left = made_up / TICKS_PER_SAMPLE;
        let step = (length / TICKS_PER_SAMPLE).max(1);
        while left >= step {
            self.decode(step, |decoder, samples, sound| decoder.decode(&[], samples, sound));
            left -= step;
        }
        self.silence(gap - carried - made_up + left * TICKS_PER_SAMPLE);
        if carried > 0 {
            self.decode(step, |decoder, samples, sound| decoder.decode_fec(next, samples, sound));
        }
    }

    fn decode(
        &mut self,
        samples: u64,
        decode: impl FnOnce(&mut OpusDecoder, usize, &mut [f32]) -> Result<usize, Error>,
    ) {
        let mut sound = [0.0; PACKET_MAX];
        let made = decode(&mut self.decoder, samples as usize, &mut sound).unwrap_or(0);
        self.give(&sound[..made]);
    }

    fn silence(&mut self, ticks: u64) {
        self.give(&vec![0.0; (ticks / TICKS_PER_SAMPLE) as usize]);
    }

    fn give(&mut self, sound: &[f32]) {
        if !sound.is_empty() {
            // The codec rings a little over what it was given.
            self.ready
                .push_back(AudioFrame::new(sound.iter().map(|sample| sample.clamp(-1.0, 1.0)).collect::<Vec<_>>()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opus_pure::{Application, OpusEncoder};

    const TICKS: u64 = 960;

    /// Packets of 20 ms of a tone.
    fn tone(packets: usize, redundant: bool) -> Vec<Vec<u8>> {
        let mut encoder = OpusEncoder::new(16_000, 1, Application::Voip).unwrap();
        encoder.bitrate_bps = 24_000;
        encoder.use_inband_fec = redundant;
        encoder.packet_loss_perc = if redundant { 20 } else { 0 };
        let mut n = 0.0_f32;
        (0..packets)
            .map(|_| {
                let sound: Vec<f32> = (0..320)
                    .map(|_| {
                        n += 1.0;
                        (0..5)
                            .map(|k| 0.08 * (n * 220.0 * (k as f32 + 1.0) / 16_000.0 * std::f32::consts::TAU).sin())
                            .sum()
                    })
                    .collect();
                let mut packet = vec![0; 1275];
                let length = encoder.encode(&sound, 320, &mut packet).unwrap();
                packet.truncate(length);
                packet
            })
            .collect()
    }

    fn drain(microphone: &mut Microphone) -> Vec<f32> {
        std::iter::from_fn(|| microphone.next()).flat_map(|frame| frame.to_vec()).collect()
    }

    fn power(sound: &[f32]) -> f32 {
        sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32
    }

    #[test]
    fn sound_keeps_its_length_whatever_is_lost() {
        for redundant in [false, true] {
            let mut microphone = Microphone::new().unwrap();
            let now = Instant::now();
            let packets = tone(50, redundant);
            for (n, packet) in packets.iter().enumerate().filter(|(n, _)| n % 7 != 3 && !(20..25).contains(n)) {
                microphone.packet(now, 5_000 + n as u64 * TICKS, packet);
            }
            let heard = drain(&mut microphone);
            assert_eq!(heard.len(), 50 * 320);
            let lost = &heard[10 * 320..11 * 320];
            assert!(power(lost) > 0.2 * power(&heard[8 * 320..9 * 320]), "a lost packet is made up for");
        }
    }

    #[test]
    fn a_pause_is_heard_as_silence_and_not_heard_twice() {
        let mut microphone = Microphone::new().unwrap();
        let start = Instant::now();
        let packets = tone(12, false);
        for (n, packet) in packets[..10].iter().enumerate() {
            microphone.packet(start + FRAME * n as u32, n as u64 * TICKS, packet);
        }
        microphone.packet(start + FRAME * 10, 10 * TICKS, &packets[10][..1]);
        assert_eq!(drain(&mut microphone).len(), 11 * 320);
        (11..31).for_each(|n| microphone.tick(start + FRAME * n));
        let silence = drain(&mut microphone);
        assert_eq!(silence.len(), 18 * 320, "silence comes while the client says nothing");
        assert_eq!(power(&silence), 0.0);
        microphone.packet(start + FRAME * 31, 31 * TICKS, &packets[11]);
        assert_eq!(drain(&mut microphone).len(), 3 * 320, "only what was missing is put before it");
    }

    #[test]
    fn a_stalled_network_adds_nothing_and_a_new_clock_is_no_gap() {
        let mut microphone = Microphone::new().unwrap();
        let start = Instant::now();
        let packets = tone(3, false);
        microphone.packet(start, 0, &packets[0]);
        microphone.tick(start + Duration::from_millis(700));
        microphone.packet(start + Duration::from_millis(710), TICKS, &packets[1]);
        assert_eq!(drain(&mut microphone).len(), 640);
        microphone.packet(start + Duration::from_millis(720), 1_000_000_000, &packets[2]);
        assert_eq!(drain(&mut microphone).len(), 320);
        microphone.packet(start + Duration::from_millis(740), 50, &packets[2]);
        assert_eq!(drain(&mut microphone).len(), 320);
    }

    proptest::proptest! {
        #[test]
        fn noise_is_survived(packets in proptest::collection::vec((0u64..100_000, proptest::collection::vec(0u8.., 0..40)), 0..20)) {
            let mut microphone = Microphone::new().unwrap();
            for (time, packet) in packets {
                microphone.packet(Instant::now(), time, &packet);
                while let Some(frame) = microphone.next() {
                    assert!(frame.iter().all(|sample| sample.abs() <= 1.0));
                }
            }
        }
    }
}
