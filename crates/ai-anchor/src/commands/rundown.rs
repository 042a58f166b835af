//! `ai-anchor rundown`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::cli::Context;
use crate::error::Error;
use crate::on_air::{self, RundownError};

/// Work on rundowns
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say whether a rundown can go on air, and what is wrong with it, line by line
    Check {
        /// The Markdown file
        file: PathBuf,
    },
}

pub(crate) fn run(args: Args, context: &Context) -> Result<(), Error> {
    let Action::Check { file } = args.action;
    match on_air::read(Some(&file)) {
        Ok(rundown) => {
            let stories: Vec<_> = rundown.stories.iter().map(|story| &story.slug).collect();
            let count = on_air::count(&rundown);
            let text = format!("{} can go on air: \"{}\", {count}.", file.display(), rundown.title);
            Ok(context.out.result(&json!({ "ok": true, "title": rundown.title, "stories": stories }), text)?)
        }
        Err(RundownError::Broken { path, problems }) => {
            let list: Vec<_> = problems
                .iter()
                .map(|problem| json!({ "line": problem.line, "what": problem.what, "remedy": problem.remedy }))
                .collect();
            context.out.whole(&json!({ "ok": false, "problems": list }))?;
            Err(RundownError::Broken { path, problems }.into())
        }
        Err(error) => Err(error.into()),
    }
}
