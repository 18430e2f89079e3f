//! Keys: which ones may be written, and how they relate to a prefix.

use crate::error::{Error, Result};

use super::failure::{StoreProblem, store_error};

/// S3's longest key in bytes of UTF-8 (AWS S3 user guide, "Naming Amazon S3 objects").
const LONGEST: usize = 1024;

/// Refuses keys that are not the same object everywhere: empty ones, absolute ones, ones that end in a slash or hold an
/// empty, `.` or `..` component or a control character. Spaces, plus and percent signs and all other letters are fine.
pub fn check(key: &str) -> Result<()> {
    let reason = if key.is_empty() {
        "is empty"
    } else if key.len() > LONGEST {
        "is longer than 1024 bytes"
    } else if key.chars().any(char::is_control) {
        "holds a control character"
    } else if key.split('/').any(str::is_empty) {
        "holds an empty path component"
    } else if key.split('/').any(|component| component == "." || component == "..") {
        "holds a path component `.` or `..`"
    } else {
        return Ok(());
    };
    Err(bad_key(key, reason))
}

/// The error for a key that this room does not take.
pub(super) fn bad_key(key: &str, reason: &str) -> Error {
    store_error(StoreProblem::Other, format!("this key {reason}")).on(format!("key {}", shown(key)))
}

/// A key as messages show it.
pub(super) fn shown(key: &str) -> String {
    if key.chars().any(char::is_control) { key.escape_debug().to_string() } else { key.to_owned() }
}

/// A path as the start of the keys below it: with one slash at its end, or empty.
pub(super) fn as_folder(prefix: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") }
}

/// The first component of a key below `folder` (as [`as_folder`] gives it), if a slash follows it.
pub(super) fn next_component<'a>(key: &'a str, folder: &str) -> Option<&'a str> {
    let (component, _) = key.strip_prefix(folder)?.split_once('/')?;
    (!component.is_empty()).then_some(component)
}

#[cfg(test)]
mod tests {
    use super::{check, next_component};

    #[test]
    fn a_key_stays_below_its_store_and_has_one_spelling() {
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a/.", "./a", "a\nb", "a\0", &"x".repeat(1025)] {
            check(bad).expect_err("a key that must be refused");
        }
        for good in ["a", "a/b.c", "...", "a b+c%20/ü/数", "a\\b", ".hidden", "*?\"'"] {
            check(good).expect("a key that must pass");
        }
    }

    #[test]
    fn a_component_needs_a_slash_behind_it() {
        assert_eq!(next_component("a/b/c", "a/"), Some("b"));
        assert_eq!(next_component("a/b", "a/"), None);
        assert_eq!(next_component("a//b", "a/"), None);
        assert_eq!(next_component("a/b/c", ""), Some("a"));
    }
}
