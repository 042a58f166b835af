//! `ai-anchor config`

use serde_json::json;

use crate::cli::Context;
use crate::config::{ConfigError, example};
use crate::error::Error;
use crate::on_air;

/// Print all settings, or check yours
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Args {
    /// Print a commented file of all settings
    #[arg(long)]
    defaults: bool,
    /// Check the configuration, the environment and the rundown
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<(), Error> {
    if args.defaults {
        return Ok(context.out.bytes(example().as_bytes())?);
    }
    let config = match context.config([]) {
        Err(ConfigError::Mistakes(mistakes)) => {
            context.out.whole(&json!({ "ok": false, "mistakes": mistakes }))?;
            return Err(ConfigError::Mistakes(mistakes).into());
        }
        other => other?,
    };
    let rundown = on_air::read(config.rundown_path().as_deref())?;
    let json = json!({ "ok": true, "profile": config.profile, "stories": rundown.stories.len() });
    let count = on_air::count(&rundown);
    let text = format!("The configuration can be used: profile {}, {count} in the rundown.", config.profile);
    Ok(context.out.result(&json, text)?)
}
