//! Setting up the studio profile: probe, plan, apply.
//!
//! The machine is asked first ([`crate::machine`]); [`plan`] says from the facts what has to be done, and [`apply`] does
//! what is not done yet. No record is kept of what was done: every step sees for itself, so that setting up can be
//! stopped at any time and run again.

mod apply;
mod checks;
mod files;
mod live;
mod plan;
mod trouble;

#[cfg(test)]
mod machines;

pub use apply::{ApplyError, Pull, apply};
pub use checks::{Check, Given, ModelFact, checks};
pub use files::{CUDA12, CUDA13, ENVIRONMENT, Lock};
pub use plan::{Proof, SetupPlan, Step, Wishes, Work, plan};
pub use trouble::{Cuda, Finding, Level, trouble};
