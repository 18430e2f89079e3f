//! From text to tables: errors name the line and the key, never a value, and say which key was meant.

use super::tables::FileTable;
use crate::error::{Error, Kind, Result};

/// Words further apart than this are not mistypings of each other (Jaro-Winkler, 1 is the same).
const ALIKE: f64 = 0.75;

pub(super) fn parse(text: &str) -> Result<FileTable> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or(String::new(), |line| format!("line {line}: "));
        // Not the whole of toml's error: it shows the line, which may hold a password.
        let message = error.message().lines().next().unwrap_or_default();
        match unknown_key(message) {
            Some((key, known)) => {
                let mut hint = format!("the keys here are {}", known.join(", "));
                if let Some(meant) = alike(key, &known) {
                    hint = format!("did you mean {meant:?}? {hint}");
                }
                Error::new(Kind::Usage, format!("{place}there is no key {key:?}")).hint(hint)
            }
            None => {
                let key = error.span().and_then(|span| key_of(text, span.start));
                let key = key.map_or(String::new(), |key| format!("{key}: "));
                Error::new(Kind::Usage, format!("{place}{key}{}", message.trim_end_matches('.')))
                    .hint("`pgstow config init` writes an example of every key")
            }
        }
    })
}

/// The key whose value starts here, if it stands before it on the line. Nothing of a value is ever taken.
fn key_of(text: &str, value: usize) -> Option<&str> {
    let line = text.get(..value)?.rsplit('\n').next()?;
    let key = line.strip_suffix([' ', '\t']).unwrap_or(line).strip_suffix('=')?.trim();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(is_bare)).then_some(key)
}

/// The key and the known ones in serde's message for `deny_unknown_fields`: "unknown field `x`, expected one of `a`, `b`"
/// (`serde_core::de::Error::unknown_field`).
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}

/// The known word that is most like this one, if any is.
pub(super) fn alike<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn wrong(text: &str) -> (String, String) {
        let error = parse(text).expect_err(text);
        (error.to_string(), error.hint_text().unwrap_or_default().to_owned())
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line_and_the_key_that_was_meant() {
        let (message, hint) = wrong("[job.shop]\nsource = \"x\"\nshedule = \"@daily\"\n");
        assert_eq!(message, "line 3: there is no key \"shedule\"");
        assert!(hint.starts_with("did you mean \"schedule\"? the keys here are source, password, "), "{hint}");
        let (message, hint) = wrong("[jobs.shop]\n");
        assert_eq!(message, "line 1: there is no key \"jobs\"");
        assert!(hint.starts_with("did you mean \"job\"?"), "{hint}");
        let (_, hint) = wrong("[job.shop]\nqwertz = 1\n");
        assert!(hint.starts_with("the keys here are "), "{hint}");
        let (message, _) = wrong("[job.shop.selection]\nexclude_table = []\n");
        assert_eq!(message, "line 2: there is no key \"exclude_table\"");
    }

    #[test]
    fn a_value_of_another_type_is_an_error_with_its_line_and_its_key() {
        let (message, hint) = wrong("[job.shop]\nsource = \"x\"\nnotify = 7\n");
        assert_eq!(message, "line 3: notify: invalid type: integer `7`, expected a text or a list of texts");
        assert!(hint.contains("config init"), "{hint}");
        let (message, _) = wrong("[job.shop]\nsource = [7]\n");
        assert!(message.starts_with("line 2: source: invalid type"), "{message}");
    }

    #[test]
    fn errors_do_not_repeat_secrets() {
        for text in [
            "[job.shop]\npassword = 4711\n",
            "[job.shop]\npassword = \"4711\n",
            "[job.shop]\npassword = 4711 4711\n",
            "[job.shop]\npassword = \"4711\"\npassword = \"4711\"\n",
            "[job.shop]\npassword = [\"4711\"]\n",
        ] {
            let (message, hint) = wrong(text);
            assert!(!message.contains("4711") && !hint.contains("4711"), "{message} {hint}");
            assert!(message.starts_with("line "), "{message}");
        }
    }

    #[test]
    fn one_notifier_or_several_may_be_named() {
        for (text, count) in [("notify = \"a\"", 1), ("notify = [\"a\", \"b\"]", 2)] {
            let file = parse(&format!("[job.x]\n{text}\n")).expect(text);
            assert_eq!(file.job["x"].notify.as_ref().map(Vec::len), Some(count));
        }
        let (message, _) = wrong("[job.x]\nnotify = 3\n");
        assert_eq!(message, "line 2: notify: invalid type: integer `3`, expected a text or a list of texts");
    }
}
