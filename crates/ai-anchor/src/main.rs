//! The program: command line, environment, files and exit codes.

fn main() {}
