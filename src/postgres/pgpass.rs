//! The password file: `host:port:database:user:password` lines, `*` for any.
//!
//! Source: PostgreSQL documentation, "The Password File"; `passwordFromFile` in `src/interfaces/libpq/fe-connect.c`.

use crate::model::Secret;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The lines of a password file, read once; `Debug` tells their number only.
#[derive(Clone, Default)]
pub(super) struct PasswordFile {
    path: PathBuf,
    lines: Vec<Line>,
}

#[derive(Clone)]
struct Line {
    /// Host, port, database, user; `None` matches anything.
    fields: [Option<String>; 4],
    password: Secret,
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("path", &self.path).field("lines", &self.lines.len()).finish()
    }
}

impl PasswordFile {
    /// Reads the file. One that is missing is empty; one that others could read is ignored with a warning, as libpq does.
    pub(super) fn read(path: &Path) -> Self {
        let nothing = PasswordFile { path: path.to_owned(), lines: Vec::new() };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    tracing::warn!("password file {} is ignored: {error}", path.display());
                }
                return nothing;
            }
        };
        if !metadata.is_file() {
            tracing::warn!("password file {} is ignored: it is not a plain file", path.display());
            return nothing;
        }
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(
                "password file {} is ignored: group or others have access to it; its mode should be 0600 or less",
                path.display()
            );
            return nothing;
        }
        match std::fs::read(path) {
            Ok(bytes) => PasswordFile { path: path.to_owned(), lines: parse(&String::from_utf8_lossy(&bytes)) },
            Err(error) => {
                tracing::warn!("password file {} is ignored: {error}", path.display());
                nothing
            }
        }
    }

    /// Where it was read from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The password of the first line that matches.
    pub(super) fn find(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        self.lines
            .iter()
            .find(|line| {
                line.fields
                    .iter()
                    .zip(wanted)
                    .all(|(field, wanted)| field.as_deref().is_none_or(|field| field == wanted))
            })
            .map(|line| &line.password)
            .filter(|password| !password.expose().is_empty())
    }
}

fn parse(text: &str) -> Vec<Line> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(parse_line).collect()
}

/// A backslash takes the next character as it is; a field that is exactly `*` matches anything.
fn parse_line(line: &str) -> Option<Line> {
    let mut fields: Vec<Option<String>> = Vec::with_capacity(4);
    let mut rest = line;
    while fields.len() < 4 {
        let (field, after) = split_field(rest, true)?;
        let any = rest.starts_with("*:");
        fields.push((!any).then_some(field));
        rest = after;
    }
    // The password runs to the end of the line, but an unescaped colon ends it, as in libpq.
    let password = Secret::new(split_field(rest, false)?.0);
    Some(Line { fields: fields.try_into().ok()?, password })
}

/// The unescaped text up to a colon, and what follows it. `None` when the colon is wanted and missing.
fn split_field(text: &str, colon_wanted: bool) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            ':' => return Some((field, &text[index + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped)) => field.push(escaped),
                None => field.push('\\'),
            },
            _ => field.push(character),
        }
    }
    (!colon_wanted).then_some((field, ""))
}

#[cfg(test)]
mod tests {
    use super::{PasswordFile, parse};
    use std::os::unix::fs::PermissionsExt;

    fn find(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let file = PasswordFile { lines: parse(text), ..PasswordFile::default() };
        file.find(host, port, database, user).map(|password| password.expose().to_owned())
    }

    #[test]
    fn the_first_matching_line_wins_and_a_star_matches_anything() {
        let text = "# comment\nother:5432:shop:alice:no\nh:5432:shop:alice:first\n*:*:*:*:any\n";
        assert_eq!(find(text, "h", 5432, "shop", "alice").as_deref(), Some("first"));
        assert_eq!(find(text, "h", 5433, "shop", "alice").as_deref(), Some("any"));
        assert_eq!(find("h:5432:shop:alice:x", "h", 5432, "shop", "bob"), None);
    }

    #[test]
    fn a_backslash_escapes_colons_backslashes_and_stars() {
        let text = r"\:\:1:5432:a\\b:\*:p\:w\\d";
        assert_eq!(find(text, "::1", 5432, r"a\b", "*").as_deref(), Some(r"p:w\d"));
        assert_eq!(find(text, "::1", 5432, r"a\b", "alice"), None);
    }

    #[test]
    fn a_line_with_too_few_fields_is_passed_over() {
        assert_eq!(find("h:5432:shop\n\nh:5432:shop:alice:x\r\n", "h", 5432, "shop", "alice").as_deref(), Some("x"));
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:x\n").expect("written");
        for (mode, found) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode set");
            let file = PasswordFile::read(&path);
            assert_eq!(file.find("h", 1, "d", "u").is_some(), found, "mode {mode:o}");
        }
        assert!(PasswordFile::read(&folder.path().join("none")).find("h", 1, "d", "u").is_none());
    }

    #[test]
    fn debug_shows_no_password() {
        let file = PasswordFile { lines: parse("*:*:*:*:sesame"), ..PasswordFile::default() };
        assert!(!format!("{file:?}").contains("sesame"));
    }
}
