//! A reader that lost its connection goes on where it was: the same rows again, those that were taken already skipped.
//!
//! The snapshot is the same, and rows come in the order in which they lie in their pages: a range of `ctid` is scanned so by
//! nature, a whole table because nothing synchronizes or shares the scan (`postgres/pin.rs`). Yet this is not taken on trust:
//! what is skipped must have the digest of what was taken.

use super::{DumpOptions, follow_snapshot};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Piece, Session, Snapshot, sqlstate};
use crate::stream::rows::{RowsDigest, RowsDigester};
use std::time::Duration;

/// How often one unit is begun again.
pub(super) const TRIES: u32 = 5;
/// The pause before the first new try; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);

/// The pause before this try, counted from 1.
fn pause(number: u32) -> Duration {
    PAUSE * 2u32.saturating_pow(number.saturating_sub(1))
}

/// `admin_shutdown`: somebody ended this session; with the whole server, the snapshot is gone too.
const ADMIN_SHUTDOWN: &str = "57P01";

/// Whether a failure is that of a connection, so that another one may do better.
pub(super) fn is_of_connection(error: &Error) -> bool {
    error.kind() == Kind::Connection || sqlstate(error) == Some(ADMIN_SHUTDOWN)
}

/// Opens another connection of this name that sees the same snapshot, after a pause, as long as tries are left.
pub(super) async fn reconnect(
    (options, snapshot): &(DumpOptions, Snapshot),
    name: &str,
    tries: &mut u32,
    lost: Error,
) -> Result<Session> {
    let mut last = lost;
    while *tries < TRIES {
        *tries += 1;
        tokio::time::sleep(pause(*tries)).await;
        match follow_snapshot(options, snapshot, name).await {
            Ok(session) => return Ok(session),
            Err(error) if error.kind() == Kind::Connection => last = error,
            Err(error) => {
                let message = "the connection to the server was lost, and a new one cannot see the snapshot";
                return Err(Error::new(Kind::Connection, message)
                    .hint("the session that holds it may be gone, too: dump again")
                    .because(error));
            }
        }
    }
    Err(last)
}

/// What was taken of a unit's rows so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// The whole rows.
    pub(super) rows: RowsDigest,
    /// How many bytes of the row after them, and their hash.
    pub(super) begun: Option<(usize, u128)>,
}

/// Skips what was taken, and compares.
#[derive(Debug)]
pub(super) struct Skipper {
    taken: Taken,
    again: RowsDigester,
    /// Whole rows, and bytes of the next, that were skipped.
    rows: u64,
    bytes: usize,
    done: bool,
}

impl Skipper {
    pub(super) fn new(taken: Taken) -> Self {
        let done = taken.rows.rows() == 0 && taken.begun.is_none();
        Skipper { taken, again: RowsDigester::new(), rows: 0, bytes: 0, done }
    }

    /// Whether everything was skipped.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// What is new in this piece, if anything is.
    ///
    /// Errors: when the rows are not those that came before.
    pub(super) fn pass<'a>(&mut self, piece: Piece<'a>) -> Result<Option<Piece<'a>>> {
        if self.done {
            return Ok(Some(piece));
        }
        if self.rows < self.taken.rows.rows() {
            self.again.piece(piece.bytes, piece.ends_row());
            self.rows += u64::from(piece.ends_row());
            if self.rows == self.taken.rows.rows() {
                if self.again.take() != self.taken.rows {
                    return Err(other_rows());
                }
                self.done = self.taken.begun.is_none();
            }
            return Ok(None);
        }
        let (length, hash) = self.taken.begun.unwrap_or_default();
        let missing = length - self.bytes;
        let (old, new) = piece.bytes.split_at(missing.min(piece.bytes.len()));
        self.again.piece(old, false);
        self.bytes += old.len();
        if self.bytes < length {
            return if piece.ends_row() { Err(other_rows()) } else { Ok(None) };
        }
        self.done = true;
        if self.again.begun() != Some(hash) || (new.is_empty() && piece.ends_row()) {
            return Err(other_rows());
        }
        Ok((!new.is_empty()).then_some(Piece { bytes: new, left: piece.left }))
    }

    /// The rows are at their end.
    pub(super) fn finish(&self) -> Result<()> {
        if self.done { Ok(()) } else { Err(other_rows()) }
    }
}

fn other_rows() -> Error {
    Error::new(
        Kind::Database,
        "the connection was lost, and on a new one the same snapshot gives other rows than before",
    )
    .hint("dump again; if it happens again, the server is not what it seems (a pool of several servers?)")
}

#[cfg(test)]
mod tests {
    use super::{Skipper, Taken};
    use crate::postgres::Piece;
    use crate::stream::rows::RowsDigester;
    use proptest::prelude::*;

    /// Everything that was passed on, with a bar where rows end.
    fn passed(taken: Taken, rows: &[String], size: usize) -> Result<String, String> {
        let mut skipper = Skipper::new(taken);
        let mut out = String::new();
        for row in rows {
            for (number, bytes) in row.as_bytes().chunks(size).enumerate() {
                let piece = Piece { bytes, left: row.len().saturating_sub((number + 1) * size) };
                if let Some(new) = skipper.pass(piece).map_err(|error| error.to_string())? {
                    out.push_str(&String::from_utf8_lossy(new.bytes));
                    out.push_str(if new.ends_row() { "|" } else { "" });
                }
            }
        }
        skipper.finish().map_err(|error| error.to_string())?;
        Ok(out)
    }

    fn taken(rows: &[String], whole: usize, bytes: usize) -> Taken {
        let mut digester = RowsDigester::new();
        for row in &rows[..whole] {
            digester.piece(row.as_bytes(), true);
        }
        let digest = digester.take();
        let begun =
            rows.get(whole).map(|row| &row.as_bytes()[..bytes.min(row.len() - 1)]).filter(|part| !part.is_empty());
        let begun = begun.map(|part| {
            digester.piece(part, false);
            (part.len(), digester.begun().expect("a row that has begun"))
        });
        Taken { rows: digest, begun }
    }

    proptest! {
        #[test]
        fn what_was_taken_is_skipped_to_the_byte_and_other_rows_are_refused(
            rows in proptest::collection::vec("[a-z]{0,20}\n", 1..20),
            whole in 0usize..20,
            bytes in 0usize..20,
            size in 1usize..30,
            changed in 0usize..20,
        ) {
            let whole = whole.min(rows.len());
            let before = taken(&rows, whole, bytes);
            let cut = before.begun.map_or(0, |(bytes, _)| bytes);
            let text: Vec<String> = rows[whole..].iter().map(|row| format!("{row}|")).collect();
            prop_assert_eq!(passed(before, &rows, size), Ok(text.concat()[cut..].to_owned()));
            let mut other = rows.clone();
            let changed = changed % rows.len();
            other[changed].insert(0, '!');
            let seen = changed < whole || (changed == whole && cut > 0);
            prop_assert_eq!(passed(before, &other, size).is_err(), seen);
            if whole > 0 {
                prop_assert!(passed(before, &rows[..whole - 1], size).is_err());
            }
        }
    }
}
