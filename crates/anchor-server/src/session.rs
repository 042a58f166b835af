//! One session: the only place where a [`Conversation`] meets the world.

use std::time::Instant;

use anchor_core::audio::{AudioFrame, SampleTime};
use anchor_core::engine::{Engines, Vad};
use anchor_core::{Conversation, Input, Output};
use tracing::trace;

use crate::jobs::Jobs;
use crate::metrics;
use crate::transport::{ClientMessage, Disconnected, ServerMessage, Transport};

/// Holds a conversation until its client leaves. Work that engines still do for it then is dropped.
pub async fn run<T: Transport + Send>(
    engines: &Engines,
    mut conversation: Conversation,
    transport: &mut T,
) -> Result<(), Disconnected> {
    let mut ear = Ear::new(engines.vad.start());
    let mut jobs = Jobs::new();
    loop {
        let deadline = loop {
            match conversation.poll_output() {
                Output::Timeout(deadline) => break deadline,
                Output::Event(event) => {
                    trace!(?event);
                    metrics::observe(&event);
                    transport.send(ServerMessage::Event(event)).await?;
                }
                Output::Play(response, frame) => transport.send(ServerMessage::Play(response, frame)).await?,
                Output::ClearPlayout => transport.send(ServerMessage::ClearPlayout).await?,
                Output::Stt(turn, job) => jobs.stt(engines, turn, job),
                Output::Llm(response, job) => jobs.llm(engines, response, job),
                Output::Tts(response, job) => jobs.tts(engines, response, job),
            }
        };
        // A client may send minutes of sound at once; the other sessions of this thread get their turn in between.
        tokio::task::consume_budget().await;
        let input = match ear.next() {
            Some(input) => input,
            None => tokio::select! {
                message = transport.recv() => match message {
                    None => return Ok(()),
                    Some(ClientMessage::Audio(frame)) => {
                        ear.hear(frame);
                        continue;
                    }
                    Some(ClientMessage::Command(command)) => Input::Client(command),
                    Some(ClientMessage::Playout(response, played)) => Input::Playout(response, played),
                },
                input = jobs.next() => input,
                () = reach(deadline) => Input::Timeout,
            },
        };
        conversation.handle_input(Instant::now(), input);
    }
}

async fn reach(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Longest piece of sound handed to the detector at once, in samples: no longer than a detector's window (32 ms for
/// Silero), so that a push completes at most one window and every window is heard of.
const PIECE: usize = 512;

/// Cuts what the client sends into pieces and judges each by its likeness to speech.
struct Ear {
    vad: Box<dyn Vad>,
    /// Sound not listened to yet: a frame and the place in it.
    waiting: Option<(AudioFrame, usize)>,
    /// Probability that the piece given out last is speech, not given out yet.
    verdict: Option<f32>,
    heard: SampleTime,
}

impl Ear {
    fn new(vad: Box<dyn Vad>) -> Self {
        Self { vad, waiting: None, verdict: None, heard: SampleTime(0) }
    }

    /// Takes sound in. Only once [`next`](Self::next) has given out all of the last.
    fn hear(&mut self, frame: AudioFrame) {
        self.waiting = Some((frame, 0));
    }

    /// The next piece, then what the detector says to it.
    fn next(&mut self) -> Option<Input> {
        if let Some(probability) = self.verdict.take() {
            return Some(Input::Speech(self.heard, probability));
        }
        let (frame, from) = self.waiting.take()?;
        let to = frame.len().min(from + PIECE);
        let piece = if to - from == frame.len() { frame.clone() } else { AudioFrame::new(&frame[from..to]) };
        if to < frame.len() {
            self.waiting = Some((frame, to));
        }
        self.heard = self.heard + SampleTime(piece.len() as u64);
        self.verdict = self.vad.push(&piece);
        Some(Input::Audio(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of each complete window of 512 samples how long it is, in thousands of samples since the start.
    struct Counting(usize);

    impl Vad for Counting {
        fn push(&mut self, pcm: &[f32]) -> Option<f32> {
            let before = self.0 / 512;
            self.0 += pcm.len();
            (self.0 / 512 > before).then(|| (self.0 / 512) as f32 / 1000.0)
        }
    }

    fn drain(ear: &mut Ear) -> Vec<String> {
        std::iter::from_fn(|| ear.next())
            .map(|input| match input {
                Input::Audio(frame) => format!("audio {}", frame.len()),
                Input::Speech(at, probability) => format!("speech at {} {probability}", at.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn every_window_is_judged_at_its_end_however_long_the_frames_are() {
        let mut ear = Ear::new(Box::new(Counting(0)));
        ear.hear(AudioFrame::new(vec![0.0; 320]));
        assert_eq!(drain(&mut ear), ["audio 320"]);
        ear.hear(AudioFrame::new(vec![0.0; 1344]));
        assert_eq!(
            drain(&mut ear),
            [
                "audio 512",
                "speech at 832 0.001",
                "audio 512",
                "speech at 1344 0.002",
                "audio 320",
                "speech at 1664 0.003"
            ]
        );
        ear.hear(AudioFrame::new(vec![]));
        assert_eq!(drain(&mut ear), ["audio 0"]);
    }
}
