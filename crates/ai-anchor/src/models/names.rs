//! Names of files as a server lists them: which are wanted, and which must never touch the disk.

use std::path::PathBuf;

/// Longest name of a file or folder: what Linux file systems hold, less the endings of unfinished files.
const MAX_NAME: usize = 200;

/// Deepest folder: no model repository comes near it.
const MAX_DEPTH: usize = 8;

/// Endings of this program's own files beside the models.
const RESERVED: &[&str] = &[".part", ".part.json", ".tmp", super::RECORD];

/// Whether `path` fits the pattern, in which `*` stands for anything but `/`.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(before) else { return false };
    let inside = rest.find('/').unwrap_or(rest.len());
    (0..=inside).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(after, &rest[end..]))
}

/// A name that leads out of its folder, or that nobody gives a file in good faith.
pub(super) fn hostile(path: &str) -> bool {
    let component = |part: &str| part.is_empty() || part == "." || part == "..";
    path.contains(['\\', '\0']) || path.chars().any(char::is_control) || path.split('/').any(component)
}

/// The path to write a listed file to, relative to its model's folder, if its name is plain: letters, digits and
/// `._-+=` in at most eight folders, none of it hidden or named like this program's own files.
pub(super) fn plain(path: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |part: &&str| {
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"._-+=".contains(c);
        !part.is_empty() && part.len() <= MAX_NAME && !part.starts_with('.') && !part.contains(odd)
    };
    let reserved = RESERVED.iter().any(|ending| path.ends_with(ending));
    (parts.len() <= MAX_DEPTH && !reserved && parts.iter().all(plain)).then(|| parts.iter().collect())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything_but_a_folder() {
        for (pattern, path, fits) in [
            ("tekken.json", "tekken.json", true),
            ("*.json", "tekken.json", true),
            ("*.json", "folder/tekken.json", false),
            ("LICENSE*", "LICENSE", true),
            ("LICENSE*", "LICENSE.md", true),
            ("sub/*.safetensors", "sub/model-00001-of-00002.safetensors", true),
            ("sub/*.safetensors", "model.safetensors", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("*", "größe", true),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn hostile_names_are_known() {
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/.", "a\\b", "a\0b", "a\nb", "x/"] {
            assert!(hostile(path), "{path:?}");
            assert_eq!(plain(path), None, "{path:?}");
        }
        for path in ["assets/a chart.png", ".gitattributes", "größe.json"] {
            assert!(!hostile(path) && plain(path).is_none(), "{path:?}");
        }
        for path in ["model.safetensors.part", "a.tmp", "ai-anchor.json", "C:x", "a/b/c/d/e/f/g/h/i", &"x".repeat(201)]
        {
            assert_eq!(plain(path), None, "{path:?}");
        }
        assert_eq!(plain("sub/model-1.safetensors").unwrap(), Path::new("sub/model-1.safetensors"));
    }

    proptest! {
        #[test]
        fn no_accepted_name_leads_out_of_its_folder(path in r"([a-c./\\~:\PC]|\.\.){0,40}") {
            if let Some(accepted) = plain(&path) {
                prop_assert!(!hostile(&path));
                prop_assert!(accepted.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(accepted.to_str(), Some(&*path));
            }
        }

        #[test]
        fn a_pattern_without_a_star_fits_itself_alone(path in "[a-z/.]{0,20}", other in "[a-z/.]{0,20}") {
            prop_assert!(matches(&path, &path));
            prop_assert_eq!(matches(&path, &other), path == other);
        }
    }
}
