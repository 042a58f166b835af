//! Sessions and wire formats: the only crate that speaks to clients.
