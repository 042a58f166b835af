//! Sessions over WebRTC: a call carries the person's and the anchor's voice as Opus, and the events of the dialect on a data
//! channel.
//!
//! All calls share one UDP port ([`CallSocket`]); one task of the [`Switchboard`] reads it and hands every datagram to the call
//! it belongs to. A [`Call`](call::Call) is a [`Transport`](crate::transport::Transport), so it lives in its session's task.
//! The protocols are str0m's, which does no I/O of its own.

mod call;
mod line;
mod microphone;
mod socket;
mod speaker;
mod switchboard;

use std::time::Duration;

pub(crate) use call::{Call, Offer};
pub use socket::CallSocket;
pub(crate) use switchboard::Switchboard;

/// Length of the pieces in which sound is sent, the one WebRTC clients use by default.
const FRAME: Duration = Duration::from_millis(20);

/// Rate of the clock of Opus in RTP, whatever the sound's own rate (RFC 7587, 4.1), in Hz.
const CLOCK_RATE: u64 = 48_000;
