//! The models of the studio profile: which there are, where they come from, and whether they are here and whole.

use std::path::PathBuf;

use crate::config::Config;

/// The folder the models lie in, one folder each.
pub fn folder(config: &Config) -> PathBuf {
    if !config.models.path.is_empty() {
        return PathBuf::from(&config.models.path);
    }
    data_folder().join("models")
}

/// Where this program keeps what it downloads and builds, by the XDG base directory specification:
/// `$XDG_DATA_HOME/ai-anchor`, which is `~/.local/share/ai-anchor` where that is not set.
pub fn data_folder() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.unwrap_or_else(|| home.join(".local/share")).join("ai-anchor")
}
