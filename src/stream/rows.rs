//! A digest of rows that does not depend on their order: how a table is compared with what a backup says of it.

use crate::error::{Error, Kind, Result};
use std::fmt;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How many rows there are, and the sum of their hashes: XXH3 with 128 bits over each row's COPY text, its line end
/// included, added up modulo 2 to the 128.
///
/// A sum, so that rows may come in any order and parts of a table can be added; and not an exclusive or, in which equal
/// rows would cancel each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowsDigest {
    rows: u64,
    sum: u128,
}

impl RowsDigest {
    /// Takes one whole row with its line end.
    pub fn add_row(&mut self, row: &[u8]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(row));
    }

    /// Takes the rows that another digest is of.
    pub fn add(&mut self, other: RowsDigest) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// A digest as the manifest has it: the number of rows, and the sum as its digits; `None` for other digits.
    pub fn of(rows: u64, sum: &str) -> Option<Self> {
        Some(RowsDigest { rows, sum: u128::from_str_radix(sum, 16).ok()? })
    }

    /// How many rows it is of.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// The sum as 32 lower-case hexadecimal digits, as the manifest has it; the number of rows stands beside it there.
impl fmt::Display for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

/// Digests COPY text (without its terminator) that comes in pieces cut anywhere. Its memory does not depend on the length
/// of rows.
#[derive(Default)]
pub struct RowsDigester {
    digest: RowsDigest,
    /// The beginning of a row whose end has not come yet.
    begun: Option<Box<Xxh3>>,
}

impl RowsDigester {
    /// Of nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of COPY text, where every line end is the end of a row: one within a value is written `\\n`.
    pub fn push(&mut self, text: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            self.piece(&text[start..=end], true);
            start = end + 1;
        }
        if start < text.len() {
            self.piece(&text[start..], false);
        }
    }

    /// Takes the next piece of one row, whose end is known from elsewhere.
    pub fn piece(&mut self, bytes: &[u8], ends_row: bool) {
        match self.begun.take() {
            None if ends_row => self.digest.add_row(bytes),
            begun => {
                let mut hash = begun.unwrap_or_default();
                hash.update(bytes);
                if ends_row {
                    self.digest.add(RowsDigest { rows: 1, sum: hash.digest128() });
                } else {
                    self.begun = Some(hash);
                }
            }
        }
    }

    /// The digest of the rows that have ended, which are forgotten here.
    pub fn take(&mut self) -> RowsDigest {
        std::mem::take(&mut self.digest)
    }

    /// The digest of the rows that have ended since the last time they were taken.
    pub fn so_far(&self) -> RowsDigest {
        self.digest
    }

    /// The hash of what there is of a row whose end has not come yet.
    pub fn begun(&self) -> Option<u128> {
        self.begun.as_ref().map(|hash| hash.digest128())
    }

    /// The digest of all rows.
    ///
    /// Errors: [`Kind::Archive`] when the text breaks off within a row.
    pub fn finish(self) -> Result<RowsDigest> {
        match self.begun {
            None => Ok(self.digest),
            Some(_) => Err(Error::new(Kind::Archive, "the rows break off within a row")),
        }
    }
}

impl fmt::Debug for RowsDigester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsDigester").field("digest", &self.digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{RowsDigest, RowsDigester};
    use proptest::prelude::*;

    fn of<'a>(rows: impl IntoIterator<Item = &'a String>) -> RowsDigest {
        let mut digest = RowsDigest::default();
        rows.into_iter().for_each(|row| digest.add_row(row.as_bytes()));
        digest
    }

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        // Backups hold it, so it may never change. The second is XXH3's 128 bits of "a\n" by another implementation of it.
        assert_eq!(RowsDigest::default().to_string(), "0".repeat(32));
        let one = of(&["a\n".to_owned()]);
        assert_eq!((one.rows(), one.to_string().as_str()), (1, "5c73e7e3dcbb0395e841f27363849a18"));
    }

    #[test]
    fn equal_rows_do_not_cancel_and_text_that_ends_within_a_row_is_an_error() {
        let row = "a\n".to_owned();
        assert_ne!(of([&row, &row, &row]), of([&row]));
        assert_ne!(of([&row, &row]).to_string(), of([]).to_string());
        let mut digester = RowsDigester::new();
        digester.push(b"a\nb");
        assert!(digester.finish().is_err());
    }

    proptest! {
        #[test]
        fn order_parts_and_pieces_do_not_matter(
            rows in proptest::collection::vec("[a-c\t]{0,300}\n", 0..40),
            cut in 0usize..40,
            pieces in proptest::collection::vec(1usize..400, 1..8),
        ) {
            let whole = of(&rows);
            prop_assert_eq!(of(rows.iter().rev()), whole);
            let (one, other) = rows.split_at(cut.min(rows.len()));
            let mut sum = of(one);
            sum.add(of(other));
            prop_assert_eq!(sum, whole);
            let text = rows.concat();
            let (mut digester, mut rest) = (RowsDigester::new(), text.as_bytes());
            for length in pieces.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(length.min(rest.len()));
                digester.push(piece);
                rest = after;
            }
            prop_assert_eq!(digester.finish().expect("whole rows"), whole);
        }

        #[test]
        fn a_changed_lost_or_doubled_row_changes_the_digest(
            rows in proptest::collection::vec("[a-c\t]{0,30}\n", 1..20),
            at in 0usize..20,
        ) {
            let at = at % rows.len();
            let mut changed = rows.clone();
            changed[at].insert(0, 'x');
            prop_assert_ne!(of(&changed), of(&rows));
            let mut shorter = rows.clone();
            shorter.remove(at);
            prop_assert_ne!(of(&shorter), of(&rows));
            prop_assert_ne!(of(rows.iter().chain([&rows[at]])), of(&rows));
        }
    }
}
