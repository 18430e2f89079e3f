//! Files of `export NAME=value` lines, as backup scripts keep them, read without a shell.
//!
//! A line is `NAME=value` or `export NAME=value`; lines that are empty or begin with `#` mean nothing. A value is put
//! together from pieces as a shell does it: bare text, `'text as it is'`, and double quotes, in which a backslash keeps `"`,
//! `$`, a backquote and itself; in bare text a backslash keeps the character behind it, and ` #` begins a comment. Nothing is expanded or run: an unquoted or
//! double-quoted `$` or backquote is an error that says so, because taking it literally would be a surprise, and so are
//! values over several lines and other commands.

use crate::error::{Error, Kind, Result};
use crate::model::Secret;
use std::fs::File;
use std::io::Read;
use std::iter::Peekable;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::Chars;

/// An environment file larger than this is something else.
const LARGEST: u64 = 1 << 20;

/// The variables of an environment file, in the order in which they stand there; of two with one name the later counts.
#[derive(Debug, Clone, Default)]
pub struct EnvFile(Vec<(String, Secret)>);

impl EnvFile {
    /// Reads a file that nobody but its owner can read.
    ///
    /// Errors: [`Kind::Usage`] for a file that cannot be read, that group or others may read, or that has a line of
    /// another form. No error repeats a value.
    pub fn read(path: &Path) -> Result<EnvFile> {
        let on = || format!("environment file {}", path.display());
        let failed = |error: std::io::Error| Error::new(Kind::Usage, "cannot be read").on(on()).because(error);
        let mut file = File::open(path).map_err(failed)?;
        // Of the open file, so that nobody can put another in its place in between.
        let facts = file.metadata().map_err(failed)?;
        if facts.is_dir() {
            return Err(Error::new(Kind::Usage, "is a folder").on(on()));
        }
        refuse_readable_by_others(facts.mode(), facts.is_file())
            .map_err(|error| error.on(on()).hint(format!("chmod 600 {}", path.display())))?;
        if facts.len() > LARGEST {
            return Err(Error::new(Kind::Usage, "is too large to be one").on(on()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        EnvFile::parse(&text).map_err(|error| error.on(on()))
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> Result<EnvFile> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut variables = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start_matches([' ', '\t']).trim_end_matches('\r');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |message: String| Error::new(Kind::Usage, format!("line {}: {message}", number + 1));
            let assignment = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
            let (name, value) = assignment
                .trim_start_matches([' ', '\t'])
                .split_once('=')
                .filter(|(name, _)| is_name(name))
                .ok_or_else(|| {
                    wrong("is neither NAME=value nor export NAME=value".into())
                        .hint("a name has letters, digits and _, without blanks around the =; commands are not run")
                })?;
            let value =
                value_of(value).map_err(|trouble| wrong(format!("{name}: {}", trouble.message)).hint(trouble.hint))?;
            if value.contains('\0') {
                return Err(wrong(format!("{name}: the value holds a zero byte")));
            }
            variables.push((name.to_owned(), Secret::new(value)));
        }
        Ok(EnvFile(variables))
    }

    /// The variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Whether a shell would take it as the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Refuses a file with secrets that group or others may read. A pipe (`<(..)` in a shell, `/dev/stdin`) has no others.
pub(super) fn refuse_readable_by_others(mode: u32, regular: bool) -> Result<()> {
    if regular && mode & 0o044 != 0 {
        let message = format!("holds secrets, but others than its owner may read it (mode {:03o})", mode & 0o777);
        return Err(Error::new(Kind::Usage, message));
    }
    Ok(())
}

struct Trouble {
    message: &'static str,
    hint: &'static str,
}

const EXPANSION: Trouble = Trouble {
    message: "a shell would expand the $ or run the ` in it, and pgstow does not",
    hint: "put the value in single quotes if it means the character itself, or write the value out",
};
const UNCLOSED: Trouble =
    Trouble { message: "a quote is not closed on its line", hint: "values over several lines are not read" };

/// The value behind the equals sign.
fn value_of(text: &str) -> Result<String, Trouble> {
    let mut value = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => single_quoted(&mut rest, &mut value)?,
            '"' => double_quoted(&mut rest, &mut value)?,
            '\\' => match rest.next() {
                Some(kept) => value.push(kept),
                None => {
                    return Err(Trouble {
                        message: "the line goes on behind a backslash",
                        hint: "values over several lines are not read",
                    });
                }
            },
            '$' | '`' => return Err(EXPANSION),
            ' ' | '\t' => {
                let behind: String = rest.collect();
                let behind = behind.trim_start_matches([' ', '\t']);
                if behind.is_empty() || behind.starts_with('#') {
                    return Ok(value);
                }
                return Err(Trouble {
                    message: "something stands behind the value",
                    hint: "put a value with blanks in quotes",
                });
            }
            ';' | '&' | '|' | '<' | '>' | '(' | ')' => {
                return Err(Trouble {
                    message: "a shell would end the value at one of ; & | < > ( )",
                    hint: "put the value in single quotes",
                });
            }
            _ => value.push(c),
        }
    }
    Ok(value)
}

fn single_quoted(rest: &mut Peekable<Chars<'_>>, value: &mut String) -> Result<(), Trouble> {
    for c in rest.by_ref() {
        if c == '\'' {
            return Ok(());
        }
        value.push(c);
    }
    Err(UNCLOSED)
}

/// POSIX shell, "Double-Quotes": the backslash keeps `$`, a backquote, `"` and itself, and stays before anything else.
fn double_quoted(rest: &mut Peekable<Chars<'_>>, value: &mut String) -> Result<(), Trouble> {
    while let Some(c) = rest.next() {
        match c {
            '"' => return Ok(()),
            '$' | '`' => return Err(EXPANSION),
            '\\' => match rest.next_if(|next| matches!(next, '$' | '`' | '"' | '\\')) {
                Some(kept) => value.push(kept),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    Err(UNCLOSED)
}

#[cfg(test)]
mod tests {
    use super::EnvFile;
    use std::os::unix::fs::PermissionsExt;

    fn values(text: &str) -> Vec<(String, String)> {
        let file = EnvFile::parse(text).expect(text);
        file.variables().map(|(name, value)| (name.to_owned(), value.expose().to_owned())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_means_what_a_shell_makes_of_it() {
        let text = "# the backup\n\nexport DB_HOST=db.example.com\nDB_PORT=5432   # the port\n  export DB_DATABASE=\"my db\"\r\n\
                    export\tDB_PASSWORD='p$w\"`#'\nE=\nQ=\"\"\nM=a'b c'\"d\\\"e\"\\ f#g\nB=\"a\\n\\$\\\\\"\nU=postgres://h/d?x=1\n";
        assert_eq!(
            values(text),
            [
                pair("DB_HOST", "db.example.com"),
                pair("DB_PORT", "5432"),
                pair("DB_DATABASE", "my db"),
                pair("DB_PASSWORD", "p$w\"`#"),
                pair("E", ""),
                pair("Q", ""),
                pair("M", "ab cd\"e f#g"),
                pair("B", "a\\n$\\"),
                pair("U", "postgres://h/d?x=1"),
            ]
        );
        assert_eq!(values("exported=1"), [pair("exported", "1")]);
    }

    #[test]
    fn what_a_shell_would_do_more_with_is_refused_without_repeating_the_value() {
        for text in [
            "A=geheim$HOME",
            "A=\"geheim$(date)\"",
            "A=`geheim`",
            "A='geheim",
            "A=\"geheim",
            "A=geheim x",
            "A=geheim;rm",
            "A=geheim\\",
            "A = geheim",
            "export A",
            "source geheim",
            "1A=geheim",
            "A=(geheim)",
        ] {
            let error = EnvFile::parse(text).expect_err(text);
            assert!(error.to_string().contains("line 1"), "{error}");
            assert!(error.hint_text().is_some(), "{text}");
            assert!(!format!("{error} {:?}", error.hint_text()).contains("geheim"), "{error}");
        }
        assert!(!format!("{:?}", EnvFile::parse("A=geheim")).contains("geheim"));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("backup.env");
        std::fs::write(&path, "A=1\n").expect("written");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
            assert_eq!(EnvFile::read(&path).is_ok(), fine, "mode {mode:o}");
        }
        let error = EnvFile::read(&path).expect_err("readable");
        assert!(error.to_string().contains("mode 644"), "{error}");
        EnvFile::read(folder.path()).expect_err("a folder");
    }
}
