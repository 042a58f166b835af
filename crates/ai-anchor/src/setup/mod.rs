//! Setting up the studio profile: probe, plan, apply.
