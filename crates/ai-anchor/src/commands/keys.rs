//! `ai-anchor keys`

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::cli::Context;
use crate::error::Error;
use crate::keys;

/// Make, list and remove the API keys that let others use the server
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make a key and show it, this once
    Add {
        /// Whose it is, for the list and the log
        name: String,
        /// Days it is good for; without, it is good until it is removed
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
        expires: Option<i64>,
    },
    /// List the keys: whose, since when, until when
    List,
    /// Remove a key; a running server takes notice within a second
    Remove {
        /// Its name
        name: String,
    },
}

pub(crate) fn run(args: Args, context: &Context) -> Result<(), Error> {
    let file = keys::file(&context.config([])?);
    match args.action {
        Action::Add { name, expires } => {
            let until = expires.map(|days| Timestamp::now() + (24 * days).hours());
            let key = keys::add(&file, &name, until)?;
            let json = json!({ "name": name, "key": key, "expires": until });
            Ok(context.out.result(&json, format!("{key}\nKeep it: it is not shown again."))?)
        }
        Action::List => {
            let keys = keys::read(&file)?;
            let rows: Vec<_> = keys
                .iter()
                .map(|key| json!({ "name": key.name, "created": key.created, "expires": key.expires }))
                .collect();
            let line = |key: &keys::Record| {
                let until = key.expires.map_or("until it is removed".into(), |end| format!("until {}", day(end)));
                format!("{:20} made {}, good {until}", key.name, day(key.created))
            };
            let text = match keys.iter().map(line).collect::<Vec<_>>().join("\n") {
                none if none.is_empty() => "There are no keys. Make one with: ai-anchor keys add NAME".into(),
                lines => lines,
            };
            Ok(context.out.result(&rows, text)?)
        }
        Action::Remove { name } => {
            keys::remove(&file, &name)?;
            Ok(context.out.result(&json!({ "removed": name }), format!("{name} is removed."))?)
        }
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}
