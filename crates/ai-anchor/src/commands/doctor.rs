//! `ai-anchor doctor`

use crate::cli::Context;
use crate::error::Error;

/// Tell what is wrong with this machine, and how to mend it
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<(), Error> {
    Err(Error::Usage("under construction".into()))
}
