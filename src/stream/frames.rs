//! Rows gathered into frames: the unit of compression.

use super::rows::{RowsDigest, RowsDigester};
use bytes::{Bytes, BytesMut};

/// What the text of every table's data ends in, after the last row (`_PrintTocData` and friends write `\.` and two empty
/// lines; `WriteDataChunksForTocEntry`, `pg_backup_archiver.c`). It is a frame of its own, so that frames of rows may
/// come in any order and this one comes last.
pub const TERMINATOR: &[u8] = b"\\.\n\n\n";

/// What a first frame reserves, so that the many tables with few rows stay cheap.
const FIRST_RESERVE: usize = 64 * 1024;

/// COPY text, not yet compressed: whole rows, unless one is wider than a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// COPY text: rows, each with its line end.
    pub bytes: Bytes,
    /// The rows that end in it, and their digest.
    pub rows: RowsDigest,
    /// How many bytes of its last row are still to come. If any are, the next frame of the same rows must follow it directly.
    pub left: usize,
}

impl RawFrame {
    /// Whether it ends where a row ends.
    pub fn ends_row(&self) -> bool {
        self.left == 0
    }
}

/// Gathers rows into frames of at most a fixed size. A row is split only if it is wider than a frame, and then begins one.
#[derive(Debug)]
pub struct FrameBuilder {
    target: usize,
    reserve: usize,
    bytes: BytesMut,
    rows: RowsDigester,
    /// What is still to come of the row that has begun.
    left: usize,
    /// A part of this row went with the frame before.
    split: bool,
}

impl FrameBuilder {
    /// Frames of at most this many raw bytes; zero is taken for one.
    pub fn new(target_bytes: usize) -> Self {
        let target = target_bytes.max(1);
        FrameBuilder {
            target,
            reserve: target.min(FIRST_RESERVE),
            bytes: BytesMut::new(),
            rows: RowsDigester::new(),
            left: 0,
            split: false,
        }
    }

    /// Adds one row with its line end, or the next piece of one, of which so many bytes are still to come. Frames that are
    /// complete now are added to `full`.
    pub fn push(&mut self, piece: &[u8], left: usize, full: &mut Vec<RawFrame>) {
        if self.left == 0 && self.bytes.len() + piece.len() + left > self.target {
            full.extend(self.take(0));
        }
        let mut rest = piece;
        while self.bytes.len() + rest.len() > self.target {
            let (fitting, after) = rest.split_at(self.target - self.bytes.len());
            self.extend(fitting);
            full.extend(self.take(after.len() + left));
            self.split = true;
            rest = after;
        }
        self.extend(rest);
        self.rows.piece(piece, left == 0);
        self.left = left;
        // Otherwise the next wide row could begin here, and rows would never end where frames do.
        if left == 0 && std::mem::take(&mut self.split) {
            full.extend(self.take(0));
        }
    }

    /// The rows that have ended since the last full frame, and the hash of what there is of one that has not.
    pub fn so_far(&self) -> (RowsDigest, Option<u128>) {
        (self.rows.so_far(), self.rows.begun())
    }

    /// The rows that are left, if any.
    pub fn finish(mut self) -> Option<RawFrame> {
        self.take(self.left)
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.reserve.max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, left: usize) -> Option<RawFrame> {
        if self.bytes.is_empty() {
            return None;
        }
        self.reserve = self.target;
        Some(RawFrame { bytes: std::mem::take(&mut self.bytes).freeze(), rows: self.rows.take(), left })
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameBuilder, RawFrame};
    use crate::stream::RowsDigest;
    use proptest::prelude::*;

    fn frames(target: usize, pieces: &[(&[u8], usize)]) -> Vec<RawFrame> {
        let (mut builder, mut full) = (FrameBuilder::new(target), Vec::new());
        for &(piece, left) in pieces {
            builder.push(piece, left, &mut full);
        }
        full.extend(builder.finish());
        full
    }

    #[test]
    fn a_frame_closes_before_the_row_that_does_not_fit() {
        let found = frames(8, &[(b"123\n", 0), (b"456\n", 0), (b"\n", 0)]);
        let found: Vec<_> = found.iter().map(|f| (&f.bytes[..], f.rows.rows(), f.left)).collect();
        assert_eq!(found, [(&b"123\n456\n"[..], 2, 0), (&b"\n"[..], 1, 0)]);
        assert!(frames(8, &[]).is_empty());
    }

    #[test]
    fn a_row_wider_than_a_frame_is_split_and_counted_where_it_ends() {
        let found = frames(4, &[(b"1\n", 0), (b"ab", 7), (b"cdef", 3), (b"gh\n", 0), (b"2\n", 0)]);
        let found: Vec<_> = found.iter().map(|f| (&f.bytes[..], f.rows.rows(), f.left)).collect();
        assert_eq!(
            found,
            [(&b"1\n"[..], 1, 0), (&b"abcd"[..], 0, 5), (&b"efgh"[..], 0, 1), (&b"\n"[..], 1, 0), (&b"2\n"[..], 1, 0)]
        );
    }

    proptest! {
        #[test]
        fn frames_hold_every_row_once_in_order_and_never_more_than_the_target(
            rows in proptest::collection::vec("[a-z]{0,40}\n", 0..200),
            target in 1usize..300,
            piece in 1usize..50,
        ) {
            let mut pieces: Vec<(&[u8], usize)> = Vec::new();
            for row in &rows {
                let left = |at| row.len().saturating_sub((at + 1) * piece);
                pieces.extend(row.as_bytes().chunks(piece).enumerate().map(|(at, bytes)| (bytes, left(at))));
            }
            let frames = frames(target, &pieces);
            let (mut all, mut digest) = (Vec::new(), RowsDigest::default());
            for frame in &frames {
                prop_assert!(!frame.bytes.is_empty() && frame.bytes.len() <= target);
                prop_assert_eq!(frame.ends_row(), frame.bytes.ends_with(b"\n"));
                let lines = memchr::memchr_iter(b'\n', &frame.bytes).count() as u64;
                prop_assert_eq!(lines, frame.rows.rows());
                digest.add(frame.rows);
                all.extend_from_slice(&frame.bytes);
            }
            let mut whole = RowsDigest::default();
            for row in &rows {
                whole.add_row(row.as_bytes());
            }
            prop_assert_eq!(digest, whole);
            prop_assert_eq!(all, rows.concat().into_bytes());
        }
    }
}
