//! `ai-anchor plan`

use crate::cli::Context;
use crate::error::Error;

/// Show what fits on the GPU, and with which settings
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<(), Error> {
    Err(Error::Usage("under construction".into()))
}
