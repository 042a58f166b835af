//! Networks: tensors in, tensors out. Nothing here knows of a voice product.
#![forbid(unsafe_code)]

pub mod silero;
