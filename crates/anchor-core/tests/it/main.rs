//! Conversations told as timelines, and conversations made up at random.

mod random;
mod scenario;
mod world;
