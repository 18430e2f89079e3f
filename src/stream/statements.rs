//! Cuts the text of an `--inserts` archive into whole statements, and insists on its end.

use crate::error::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};

/// What stock writes behind the last statement of a table (`dumpTableData_insert`, `pg_dump.c`).
const END: &[u8] = b"\n\n";

/// Where the reader stands within a statement (`ExecuteSimpleCommands`, `pg_backup_db.c`, knows the same places).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Bare,
    /// In a string literal, with backslashes special or not.
    Literal { escapes: bool },
    /// Behind a backslash in such a literal.
    Escaped,
    /// In a quoted name.
    Name,
}

/// Passes on whole statements, any number at a time.
///
/// Statements of such archives hold literals and quoted names, no comments and no dollar quotes. Bytes are looked at one
/// by one in any encoding, for a quote mark or a semicolon is never part of another character in those that stock writes.
#[derive(Debug, Default)]
pub struct StatementCutter {
    held: BytesMut,
    place: Place,
    /// The last two bytes that stood outside of quotes, the newest first, to know `E'` from `NAME'`.
    before: [u8; 2],
    statements: u64,
}

impl StatementCutter {
    /// Takes the next bytes and gives the statements that are complete now.
    pub fn push(&mut self, bytes: &[u8]) -> Bytes {
        let offset = self.held.len();
        let mut complete = 0;
        for (index, &byte) in bytes.iter().enumerate() {
            self.place = match (self.place, byte) {
                (Place::Bare, b'\'') => {
                    let [last, one_before] = self.before;
                    let starts_a_word = !one_before.is_ascii_alphanumeric() && one_before != b'_' && one_before < 0x80;
                    Place::Literal { escapes: matches!(last, b'E' | b'e') && starts_a_word }
                }
                (Place::Bare, b'"') => Place::Name,
                (Place::Bare, b';') => {
                    complete = offset + index + 1;
                    self.statements += 1;
                    Place::Bare
                }
                (Place::Literal { escapes: true }, b'\\') => Place::Escaped,
                (Place::Escaped, _) => Place::Literal { escapes: true },
                (Place::Literal { .. }, b'\'') | (Place::Name, b'"') => Place::Bare,
                (place, _) => place,
            };
            if self.place == Place::Bare {
                self.before = [byte, self.before[0]];
            }
        }
        self.held.extend_from_slice(bytes);
        self.held.split_to(complete).freeze()
    }

    /// Checks that the text ended as stock ends it, behind a whole statement or without any; gives the number of
    /// statements.
    pub fn finish(self) -> Result<u64> {
        let expected: &[u8] = if self.statements == 0 { END } else { b"\n\n\n" };
        if self.place == Place::Bare && self.held == expected {
            return Ok(self.statements);
        }
        Err(Error::new(Kind::Archive, "the statements that hold the rows stop before their end")
            .hint("the data object is incomplete; restore from another backup"))
    }
}

#[cfg(test)]
mod tests {
    use super::StatementCutter;

    fn cut(text: &str, length: usize) -> (Vec<String>, Option<u64>) {
        let mut cutter = StatementCutter::default();
        let mut pieces = Vec::new();
        for chunk in text.as_bytes().chunks(length) {
            let piece = cutter.push(chunk);
            if !piece.is_empty() {
                pieces.push(String::from_utf8(piece.to_vec()).expect("text"));
            }
        }
        (pieces, cutter.finish().ok())
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_at_any_chunking() {
        let statements = [
            "INSERT INTO public.t VALUES (1, 'a;b''; \\');",
            "\nINSERT INTO \"x;\"\"'y\".t VALUES (2, E'it\\'s; \\\\');",
            "\nINSERT INTO t VALUES (NULL, B'01', 'E', e'\\\\');",
        ];
        let text = format!("{}\n\n\n", statements.concat());
        for length in 1..text.len() {
            let (pieces, count) = cut(&text, length);
            assert_eq!((pieces.concat(), count), (statements.concat(), Some(3)), "by {length}");
        }
        assert_eq!(cut(&text, 1).0, statements);
    }

    #[test]
    fn text_that_stops_early_is_an_error_wherever_it_stops() {
        let text = "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('a');\n\n\n";
        for length in 0..text.len() {
            assert_eq!(cut(&text[..length], 7).1, None, "{:?}", &text[..length]);
        }
        assert_eq!(cut("\n\n", 1), (vec![], Some(0)));
    }
}
