//! Are our numbers the numbers of the reference implementation?

mod silero;
