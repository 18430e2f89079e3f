//! Scripts of SQL in a backup: taking them apart into statements, and the key that psql is restricted with.
//!
//! The scripts are `globals.sql` and such as psql reads: quoted names and texts, `E''` texts, comments, lines of psql's own
//! commands. Dollar quotes and nested comments do not occur in them and are refused rather than misread.

use crate::error::{Error, Kind, Result};

/// The statements of a script, each without its semicolon; comments between them and psql's commands are left out.
///
/// Errors: [`Kind::Archive`] for text that ends within a statement, and for what the scripts of a backup never hold.
pub fn statements(script: &str) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = script;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(found);
        }
        if rest.starts_with("--") || rest.starts_with('\\') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let end = pieces(rest)
            .find_map(|piece| match piece {
                Piece::Semicolon(at) => Some(Ok(at)),
                Piece::Refused(why) => Some(Err(why)),
                Piece::Word(..) => None,
            })
            .unwrap_or(Err("it ends within a statement"));
        let end = end.map_err(|why| Error::new(Kind::Archive, format!("the script cannot be read: {why}")))?;
        found.push(rest[..end].trim_end());
        rest = &rest[end + 1..];
    }
}

/// Where a word stands in a statement outside of quotes and in this case: in a script of ours only keywords are in upper
/// case there.
pub fn keyword(statement: &str, word: &str) -> Option<usize> {
    pieces(statement).find_map(|piece| match piece {
        Piece::Word(at, found) if found == word => Some(at),
        _ => None,
    })
}

/// The name at the beginning of the text, unquoted, and what stands behind it.
pub fn leading_name(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let end = end_of_quotes(quoted, b'"', false)?;
        return Some((quoted[..end - 1].replace("\"\"", "\""), &quoted[end..]));
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// The text literal at the beginning of the text, without its quotes, and what stands behind it.
pub fn leading_literal(text: &str) -> Option<(String, &str)> {
    let (quoted, escapes) = match text.strip_prefix('\'') {
        Some(quoted) => (quoted, false),
        None => (text.strip_prefix("E'")?, true),
    };
    let end = end_of_quotes(quoted, b'\'', escapes)?;
    let inner = quoted[..end - 1].replace("''", "'");
    Some((if escapes { inner.replace("\\\\", "\\") } else { inner }, &quoted[end..]))
}

/// A random word for `\restrict`: letters and digits only, as psql wants it.
pub fn restrict_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What matters in a statement: bare words and where they stand, and its end.
enum Piece<'s> {
    Word(usize, &'s str),
    Semicolon(usize),
    Refused(&'static str),
}

/// Takes the text apart from its beginning. After a refusal nothing more is to be asked.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'\'' | b'"' => {
                    let escapes = byte == b'\'' && ends_in_lone_e(&bytes[..start]);
                    match end_of_quotes(&text[at..], byte, escapes) {
                        Some(length) => at += length,
                        None => return Some(Piece::Refused("a quote has no end")),
                    }
                }
                b';' => return Some(Piece::Semicolon(start)),
                b'$' => return Some(Piece::Refused("it has a dollar outside of quotes")),
                b'-' if bytes.get(at) == Some(&b'-') => return Some(Piece::Refused("a comment is within a statement")),
                b'/' if bytes.get(at) == Some(&b'*') => return Some(Piece::Refused("a comment is within a statement")),
                byte if is_word(byte) => {
                    while bytes.get(at).copied().is_some_and(is_word) {
                        at += 1;
                    }
                    return Some(Piece::Word(start, &text[start..at]));
                }
                _ => {}
            }
        }
        None
    })
}

/// Whether an `E` of its own stands right before a quote.
fn ends_in_lone_e(before: &[u8]) -> bool {
    match before {
        [.., earlier, b'E' | b'e'] => !is_word(*earlier),
        [b'E' | b'e'] => true,
        _ => false,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length up to and with the closing quote mark; the text begins behind the opening one. A doubled mark is none, nor
/// is one behind a backslash where those escape.
fn end_of_quotes(text: &str, mark: u8, escapes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if escapes && byte == b'\\' {
            at += 1;
        } else if byte == mark {
            if bytes.get(at) != Some(&mark) {
                return Some(at);
            }
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{keyword, leading_literal, leading_name, restrict_key, statements};
    use crate::model::{ident, literal};
    use proptest::prelude::*;

    #[test]
    fn a_script_comes_apart_at_the_ends_of_its_statements() {
        let script = "-- a; comment\n\\restrict k\n\nSET a = 'x;y';\nCREATE ROLE \"a;\"\"b\";COMMENT ON ROLE a IS E'\\\\\\';\n--';\n\\unrestrict k\n";
        assert_eq!(
            statements(script).expect("a script"),
            ["SET a = 'x;y'", "CREATE ROLE \"a;\"\"b\"", "COMMENT ON ROLE a IS E'\\\\\\';\n--'"]
        );
        assert_eq!(statements("").expect("nothing"), Vec::<&str>::new());
    }

    #[test]
    fn what_cannot_be_read_for_sure_is_refused() {
        for script in ["SELECT 1", "SELECT 'a;", "DO $$ ; $$;", "SELECT /* ; */ 1;", "SELECT 1 -- ;\n;"] {
            assert!(statements(script).is_err(), "{script}");
        }
    }

    #[test]
    fn a_keyword_within_quotes_is_none() {
        assert_eq!(keyword("ALTER ROLE a PASSWORD 'x'", "PASSWORD"), Some(13));
        assert_eq!(keyword("ALTER ROLE \" PASSWORD \" CREATEDB", "PASSWORD"), None);
        assert_eq!(keyword("COMMENT ON ROLE a IS 'PASSWORD'", "PASSWORD"), None);
    }

    #[test]
    fn a_key_has_letters_and_digits_only() {
        let key = restrict_key();
        assert!(key.len() == 32 && key.chars().all(|c| c.is_ascii_alphanumeric()) && key != restrict_key());
    }

    proptest! {
        #[test]
        fn any_names_and_texts_survive(name in "[^\\x00]{1,40}", text in "[^\\x00]{0,40}") {
            let one = format!("COMMENT ON ROLE {} IS {}", ident(&name), literal(&text));
            let script = format!("{one};\n{one};\n");
            prop_assert_eq!(statements(&script).expect("a script"), vec![one.as_str(), one.as_str()]);
            let (found, rest) = leading_name(&one["COMMENT ON ROLE ".len()..]).expect("a name");
            prop_assert_eq!(found, name);
            prop_assert!(rest.starts_with(" IS "));
            let (found, rest) = leading_literal(&one[one.len() - literal(&text).len()..]).expect("a text");
            prop_assert_eq!((found, rest), (text, ""));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = statements(&text);
            let _ = leading_name(&text);
            let _ = leading_literal(&text);
        }
    }
}
