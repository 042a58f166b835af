//! `ai-anchor setup`

use crate::cli::Context;
use crate::error::Error;

/// Build the environment and download the models of the studio profile
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<(), Error> {
    Err(Error::Usage("under construction".into()))
}
