//! The program `ai-anchor`. Everything it does is in the library beside it.

fn main() -> std::process::ExitCode {
    ai_anchor::run()
}
