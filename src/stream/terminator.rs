//! Takes the terminator off the end of decoded COPY text, and insists on it.

use super::frames::TERMINATOR;
use crate::error::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};

/// Passes COPY text on without its terminator.
///
/// The server takes a `\.` line for the end of the data and ignores or refuses what follows, so one that is not at the
/// very end means lost rows. No row can look like one: the server writes a backslash in a value as two.
#[derive(Debug, Default)]
pub struct TerminatorStripper {
    /// The last bytes seen, at most as many as the terminator has.
    held: BytesMut,
    /// The last byte that was passed on; none at the beginning.
    last: Option<u8>,
    /// A line began with `\.` before the end.
    misplaced: bool,
}

impl TerminatorStripper {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives those that may go on: all but the last five so far, any of which may belong to the
    /// terminator. After a misplaced terminator nothing goes on, and [`TerminatorStripper::finish`] says so.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        if self.misplaced {
            return Bytes::new();
        }
        let available = self.held.len() + bytes.len();
        if available <= TERMINATOR.len() {
            self.held.extend_from_slice(&bytes);
            return Bytes::new();
        }
        let passing = available - TERMINATOR.len();
        let text = if self.held.is_empty() {
            bytes
        } else {
            let mut joined = BytesMut::with_capacity(available);
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&bytes);
            joined.freeze()
        };
        if self.has_misplaced_terminator(&text, passing) {
            self.misplaced = true;
            return Bytes::new();
        }
        self.held.clear();
        self.held.extend_from_slice(&text[passing..]);
        self.last = text[..passing].last().copied();
        text.slice(..passing)
    }

    /// Whether a line begins with `\.` in the first `passing` bytes; five more bytes follow them.
    fn has_misplaced_terminator(&self, text: &[u8], passing: usize) -> bool {
        let is_mark = |at: usize| text[at..].starts_with(b"\\.");
        if self.last.is_none_or(|byte| byte == b'\n') && is_mark(0) {
            return true;
        }
        // A line that begins right after the passing bytes begins in the tail, which is judged when more is known.
        memchr::memmem::find(&text[..=passing], b"\n\\.").is_some()
    }

    /// Checks that the text ended with the terminator, on a line of its own.
    pub fn finish(self) -> Result<()> {
        if self.misplaced {
            return Err(Error::new(Kind::Archive, "table data goes on after its end marker"));
        }
        if self.held == TERMINATOR && self.last.is_none_or(|byte| byte == b'\n') {
            return Ok(());
        }
        Err(Error::new(Kind::Archive, "table data breaks off before its end marker")
            .hint("the data object is incomplete; restore from another backup"))
    }
}

#[cfg(test)]
mod tests {
    use super::{TERMINATOR, TerminatorStripper};
    use crate::stream::Codec;
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    /// Feeds the text in pieces of these lengths, repeated.
    fn strip(text: &[u8], lengths: &[usize]) -> Result<Vec<u8>, String> {
        let mut stripper = TerminatorStripper::new();
        let mut passed = Vec::new();
        let mut rest = text;
        for &length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(length.clamp(1, rest.len()));
            passed.extend(stripper.push(Bytes::copy_from_slice(piece)));
            rest = after;
        }
        stripper.finish().map(|()| passed).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_terminator_at_the_very_end_on_its_own_line_counts() {
        let good: [(&[u8], &[u8]); 5] = [
            (b"\\.\n\n\n", b""),
            (b"1\n\\.\n\n\n", b"1\n"),
            (b"\n\n\\.\n\n\n", b"\n\n"),
            (b"\\\\.\n\\.\n\n\n", b"\\\\.\n"),
            (b"a\\.\n\\.\n\n\n", b"a\\.\n"),
        ];
        let bad: [&[u8]; 10] = [
            b"",
            b"1\n",
            b"1\n\\.\n\n",
            b"1\\.\n\n\n",
            b"\\.\n\n\n\n",
            b"1\n\\.\n2\n\\.\n\n\n",
            b"\\.\n2\n\\.\n\n\n",
            b"\\.\n\n\n\\.\n\n\n",
            b"1\n\\.\r\n2\n\\.\n\n\n",
            b"123456\n\\.",
        ];
        for length in 1..12 {
            for (text, expected) in good {
                assert_eq!(strip(text, &[length]).as_deref(), Ok(expected), "{text:?} by {length}");
            }
            for text in bad {
                assert!(strip(text, &[length]).is_err(), "{text:?} by {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn rows_pass_unchanged_at_any_chunking(
            rows in proptest::collection::vec("(|[a.\t]|\\\\\\\\|\\\\N){0,6}\n", 0..60),
            lengths in proptest::collection::vec(1usize..40, 1..8),
        ) {
            let rows = rows.concat();
            let text = [rows.as_bytes(), TERMINATOR].concat();
            prop_assert_eq!(strip(&text, &lengths), Ok(rows.into_bytes()));
            let cut = &text[..text.len() - 1];
            prop_assert!(strip(cut, &lengths).is_err());
        }

        #[test]
        fn a_terminator_in_the_middle_is_an_error_at_any_chunking(
            before in proptest::collection::vec("[a-z\\\\]{0,5}\n", 0..20),
            after in proptest::collection::vec("[a-z\\\\]{0,5}\n", 1..20),
            lengths in proptest::collection::vec(1usize..40, 1..8),
        ) {
            let text = format!("{}\\.\n{}\\.\n\n\n", before.concat(), after.concat());
            prop_assert!(strip(text.as_bytes(), &lengths).is_err());
        }
    }

    #[test]
    fn a_compressed_stream_cut_anywhere_never_passes_for_whole() {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
            for codec in [Codec::None, Codec::Gzip(6), Codec::Lz4, Codec::Zstd(3)] {
                let mut stored = Vec::new();
                for frame in [&b"1\tone\n2\ttwo\n"[..], b"3\t\\N\n", TERMINATOR] {
                    stored.extend(codec.compress(Bytes::copy_from_slice(frame)).await.expect("compresses"));
                }
                for length in 0..stored.len() {
                    let mut text = Vec::new();
                    let reader = std::io::Cursor::new(stored[..length].to_vec());
                    let decoded = codec.decoder(reader).read_to_end(&mut text).await;
                    let whole = decoded.is_ok() && strip(&text, &[8192]).is_ok();
                    assert!(!whole, "{codec} cut to {length} of {} bytes", stored.len());
                }
            }
        });
    }
}
