//! The speech recognisers.

pub mod pocketsphinx;
pub mod voxtral;
