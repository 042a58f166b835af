//! The speech recognisers.

pub mod pocketsphinx;
