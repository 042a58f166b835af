//! `ai-anchor completions SHELL`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Context;
use crate::error::Error;

/// Print the completions for a shell
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell; for bash: source <(ai-anchor completions bash)
    shell: Shell,
}

pub(crate) fn run<C: CommandFactory>(args: Args, context: &Context) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "ai-anchor", &mut script);
    Ok(context.out.bytes(&script)?)
}
