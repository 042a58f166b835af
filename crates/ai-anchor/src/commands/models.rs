//! `ai-anchor models`

use crate::cli::Context;
use crate::error::Error;

/// List, download, verify and remove models
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<(), Error> {
    Err(Error::Usage("under construction".into()))
}
