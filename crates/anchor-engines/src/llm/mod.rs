//! Language models, one file or folder each.

pub mod desk;
