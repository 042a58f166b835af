//! The anchor's voice: sound of responses to Opus packets, one every 20 ms by a clock that does not drift.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anchor_core::ResponseId;
use anchor_core::audio::{AudioFrame, OUTPUT_RATE, Samples};
use opus_pure::{Application, Error, OpusEncoder};

use super::{CLOCK_RATE, FRAME};

/// Samples in a packet.
const FRAME_SAMPLES: usize = OUTPUT_RATE as usize * FRAME.as_millis() as usize / 1000;

/// Ticks of the RTP clock in a packet.
const FRAME_TICKS: u64 = CLOCK_RATE * FRAME.as_millis() as u64 / 1000;

/// Bits per second: Opus is transparent for wideband speech from about here (RFC 6716, 2.1.1).
const BIT_RATE: i32 = 32_000;

/// How hard the encoder tries, 0 to 10. More would be paid for in calls and not be heard at this rate.
const COMPLEXITY: i32 = 5;

/// Losses the encoder prepares for, in per cent; from there on it sends what a lost packet can be made up from.
const LOSSES: i32 = 10;

/// Longest packet of one frame, in bytes (RFC 6716, 3.2.1).
const PACKET_MAX: usize = 1275;

/// A whole packet that decodes to 20 ms of silence whatever came before it: CELT, full band, its first bit set to "silence"
/// (RFC 6716, 4.3). Sending it costs no encoding, and the client's jitter buffer keeps its measure of the network.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// Silent packets still made by the encoder after sound, so that the sound rings out.
const TAIL: u32 = 5;

/// What is dropped ends within this many samples (5 ms), because a wave that breaks off is heard as a click.
const FADE: usize = OUTPUT_RATE as usize / 200;

/// Further behind than this, the clock starts anew instead of catching up in a burst.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Sound on its way to one client. The session gives it out a few hundred milliseconds ahead, which bounds what waits here.
pub(super) struct Speaker {
    encoder: OpusEncoder,
    /// Sound of responses in the order they are heard.
    waiting: VecDeque<Utterance>,
    /// The end of what was dropped.
    fading: Vec<f32>,
    /// When the next packet is to leave.
    due: Instant,
    /// The RTP clock at the next packet.
    time: u64,
    /// Packets since the last with sound.
    silent: u32,
}

/// The sound of one response.
struct Utterance {
    response: ResponseId,
    samples: VecDeque<f32>,
    sent: Samples,
    /// No more will come.
    complete: bool,
}

/// What leaves.
pub(super) struct Packet {
    pub(super) time: u64,
    pub(super) data: Vec<u8>,
}

/// What the client hears of, beside the sound itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Playout {
    /// The first sound of a response leaves.
    Started(ResponseId),
    /// So much of it has left.
    Sent(ResponseId, Samples),
    /// All of it has left.
    Stopped(ResponseId),
}

impl Speaker {
    /// The first packet is due at `now`.
    pub(super) fn new(now: Instant) -> Result<Self, Error> {
        let mut encoder = OpusEncoder::new(OUTPUT_RATE as i32, 1, Application::Voip)?;
        encoder.bitrate_bps = BIT_RATE;
        encoder.complexity = COMPLEXITY;
        encoder.use_inband_fec = true;
        encoder.packet_loss_perc = LOSSES;
        Ok(Self { encoder, waiting: VecDeque::new(), fading: Vec::new(), due: now, time: 0, silent: TAIL })
    }

    /// Takes the next sound of a response.
    pub(super) fn push(&mut self, response: ResponseId, frame: &AudioFrame) {
        if self.waiting.back().is_none_or(|last| last.response != response) {
            let samples = VecDeque::new();
            self.waiting.push_back(Utterance { response, samples, sent: Samples(0), complete: false });
        }
        if let Some(last) = self.waiting.back_mut() {
            last.samples.extend(frame.iter());
        }
    }

    /// No more sound of a response will come.
    pub(super) fn complete(&mut self, response: ResponseId) {
        if let Some(utterance) = self.waiting.iter_mut().find(|utterance| utterance.response == response) {
            utterance.complete = true;
        }
    }

    /// Drops everything that has not left, and says how much of each response has.
    pub(super) fn clear(&mut self) -> Vec<(ResponseId, Samples)> {
        if let Some(sounding) = self.waiting.front() {
            let rest = sounding.samples.iter().take(FADE).enumerate();
            self.fading = rest.map(|(n, sample)| sample * (1.0 - n as f32 / FADE as f32)).collect();
        }
        self.waiting.drain(..).map(|utterance| (utterance.response, utterance.sent)).collect()
    }

    /// When [`next`](Self::next) is to be called.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The packet that is due, and what happens with it.
    pub(super) fn next(&mut self, now: Instant) -> (Packet, Vec<Playout>) {
        let late = now.saturating_duration_since(self.due);
        if late > LATE_MAX {
            self.time += late.as_micros() as u64 * CLOCK_RATE / 1_000_000;
            self.due = now;
        }
        let mut events = Vec::new();
        let mut sound = std::mem::take(&mut self.fading);
        self.take(&mut sound, &mut events);
        self.silent = if sound.is_empty() { self.silent.saturating_add(1) } else { 0 };
        let data = if self.silent > TAIL { SILENCE.to_vec() } else { self.encode(sound) };
        let packet = Packet { time: self.time, data };
        self.time += FRAME_TICKS;
        self.due += FRAME;
        (packet, events)
    }

    /// Fills a packet from what waits.
    fn take(&mut self, sound: &mut Vec<f32>, events: &mut Vec<Playout>) {
        loop {
            let last = self.waiting.len() == 1;
            let Some(utterance) = self.waiting.front_mut() else { return };
            let length = utterance.samples.len().min(FRAME_SAMPLES - sound.len());
            if length > 0 {
                if utterance.sent == Samples(0) {
                    events.push(Playout::Started(utterance.response));
                }
                sound.extend(utterance.samples.drain(..length));
                utterance.sent = utterance.sent + Samples(length as u64);
                events.push(Playout::Sent(utterance.response, utterance.sent));
            }
            // One that is not complete has run dry for a moment, unless another has taken its place.
            if !utterance.samples.is_empty() || !utterance.complete && last {
                return;
            }
            events.push(Playout::Stopped(utterance.response));
            self.waiting.pop_front();
        }
    }

    fn encode(&mut self, mut sound: Vec<f32>) -> Vec<u8> {
        sound.resize(FRAME_SAMPLES, 0.0);
        let mut data = vec![0; PACKET_MAX];
        match self.encoder.encode(&sound, FRAME_SAMPLES, &mut data) {
            Ok(length) => data.truncate(length),
            Err(_) => data = SILENCE.to_vec(),
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opus_pure::OpusDecoder;

    const ONE: ResponseId = ResponseId(1);
    const TWO: ResponseId = ResponseId(2);

    fn sound(milliseconds: usize) -> AudioFrame {
        AudioFrame::new((0..24 * milliseconds).map(|n| 0.3 * (n as f32 * 0.1).sin()).collect::<Vec<_>>())
    }

    #[test]
    fn a_response_is_told_of_when_it_starts_goes_on_and_ends() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now).unwrap();
        assert_eq!(speaker.next(now).1, []);
        speaker.push(ONE, &sound(30));
        assert_eq!(speaker.next(now).1, [Playout::Started(ONE), Playout::Sent(ONE, Samples(480))]);
        assert_eq!(speaker.next(now).1, [Playout::Sent(ONE, Samples(720))]);
        assert_eq!(speaker.next(now).1, [], "more may come");
        speaker.push(ONE, &sound(10));
        speaker.complete(ONE);
        assert_eq!(speaker.next(now).1, [Playout::Sent(ONE, Samples(960)), Playout::Stopped(ONE)]);
        assert_eq!(speaker.next(now).1, []);
    }

    #[test]
    fn the_next_response_follows_without_a_gap() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now).unwrap();
        speaker.push(ONE, &sound(10));
        speaker.complete(ONE);
        speaker.push(TWO, &sound(20));
        let events = speaker.next(now).1;
        assert_eq!(events[2..], [Playout::Stopped(ONE), Playout::Started(TWO), Playout::Sent(TWO, Samples(240))]);
    }

    #[test]
    fn what_is_dropped_is_silent_within_one_packet() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now).unwrap();
        let mut decoder = OpusDecoder::new(24_000, 1).unwrap();
        let mut heard = |packet: &Packet| {
            let mut sound = [0.0; FRAME_SAMPLES];
            decoder.decode(&packet.data, FRAME_SAMPLES, &mut sound).unwrap();
            sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()))
        };
        speaker.push(ONE, &sound(200));
        assert!((0..5).map(|_| heard(&speaker.next(now).0)).fold(0.0, f32::max) > 0.2);
        assert_eq!(speaker.clear(), [(ONE, Samples(2400))]);
        heard(&speaker.next(now).0);
        let rest: Vec<f32> = (0..12).map(|_| heard(&speaker.next(now).0)).collect();
        assert!(rest[1..].iter().all(|peak| *peak < 0.01), "{rest:?}");
        assert_eq!(speaker.next(now).0.data, SILENCE);
        assert_eq!(speaker.clear(), []);
    }

    #[test]
    fn the_clock_does_not_drift_and_skips_what_it_slept_through() {
        let start = Instant::now();
        let mut speaker = Speaker::new(start).unwrap();
        for n in 0..100 {
            // Every call is a little late.
            let packet = speaker.next(speaker.due() + Duration::from_millis(7)).0;
            assert_eq!(packet.time, n * 960);
        }
        assert_eq!(speaker.due(), start + FRAME * 100);
        let woken = speaker.due() + Duration::from_secs(1);
        assert_eq!(speaker.next(woken).0.time, 100 * 960 + 48_000);
        assert_eq!(speaker.due(), woken + FRAME);
    }
}
