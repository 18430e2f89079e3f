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
    /// Whether it ends where a row ends. If not, the next frame of the same rows must follow it directly.
    pub ends_row: bool,
}

/// Gathers rows into frames of at most a fixed size. A row is split only if it is wider than a frame.
#[derive(Debug)]
pub struct FrameBuilder {
    target: usize,
    reserve: usize,
    bytes: BytesMut,
    rows: RowsDigester,
    within_row: bool,
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
            within_row: false,
            split: false,
        }
    }

    /// Adds one row with its line end, or the next piece of one. Frames that are complete now are added to `full`.
    pub fn push(&mut self, piece: &[u8], ends_row: bool, full: &mut Vec<RawFrame>) {
        if !self.within_row && self.bytes.len() + piece.len() > self.target {
            full.extend(self.take(true));
        }
        let mut rest = piece;
        while self.bytes.len() + rest.len() > self.target {
            let (fitting, after) = rest.split_at(self.target - self.bytes.len());
            self.extend(fitting);
            full.extend(self.take(false));
            self.split = true;
            rest = after;
        }
        self.extend(rest);
        self.rows.piece(piece, ends_row);
        self.within_row = !ends_row;
        // Otherwise the next wide row could begin here, and rows would never end where frames do.
        if ends_row && std::mem::take(&mut self.split) {
            full.extend(self.take(true));
        }
    }

    /// The rows that have ended since the last full frame, and the hash of what there is of one that has not.
    pub fn so_far(&self) -> (RowsDigest, Option<u128>) {
        (self.rows.so_far(), self.rows.begun())
    }

    /// The rows that are left, if any.
    pub fn finish(mut self) -> Option<RawFrame> {
        self.take(!self.within_row)
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.reserve.max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, ends_row: bool) -> Option<RawFrame> {
        if self.bytes.is_empty() {
            return None;
        }
        self.reserve = self.target;
        Some(RawFrame { bytes: std::mem::take(&mut self.bytes).freeze(), rows: self.rows.take(), ends_row })
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameBuilder, RawFrame};
    use crate::stream::RowsDigest;
    use proptest::prelude::*;

    fn frames(target: usize, pieces: &[(&[u8], bool)]) -> Vec<RawFrame> {
        let (mut builder, mut full) = (FrameBuilder::new(target), Vec::new());
        for &(piece, ends_row) in pieces {
            builder.push(piece, ends_row, &mut full);
        }
        full.extend(builder.finish());
        full
    }

    #[test]
    fn a_frame_closes_before_the_row_that_does_not_fit() {
        let found = frames(8, &[(b"123\n", true), (b"456\n", true), (b"\n", true)]);
        let found: Vec<_> = found.iter().map(|f| (&f.bytes[..], f.rows.rows(), f.ends_row)).collect();
        assert_eq!(found, [(&b"123\n456\n"[..], 2, true), (&b"\n"[..], 1, true)]);
        assert!(frames(8, &[]).is_empty());
    }

    #[test]
    fn a_row_wider_than_a_frame_is_split_and_counted_where_it_ends() {
        let found = frames(4, &[(b"1\n", true), (b"abcdef", false), (b"gh\n", true), (b"2\n", true)]);
        let found: Vec<_> = found.iter().map(|f| (&f.bytes[..], f.rows.rows(), f.ends_row)).collect();
        assert_eq!(
            found,
            [
                (&b"1\n"[..], 1, true),
                (&b"abcd"[..], 0, false),
                (&b"efgh"[..], 0, false),
                (&b"\n"[..], 1, true),
                (&b"2\n"[..], 1, true)
            ]
        );
    }

    proptest! {
        #[test]
        fn frames_hold_every_row_once_in_order_and_never_more_than_the_target(
            rows in proptest::collection::vec("[a-z]{0,40}\n", 0..200),
            target in 1usize..300,
            piece in 1usize..50,
        ) {
            let mut pieces: Vec<(&[u8], bool)> = Vec::new();
            for row in &rows {
                let count = row.len().div_ceil(piece);
                pieces.extend(row.as_bytes().chunks(piece).enumerate().map(|(at, bytes)| (bytes, at + 1 == count)));
            }
            let frames = frames(target, &pieces);
            let (mut all, mut digest) = (Vec::new(), RowsDigest::default());
            for frame in &frames {
                prop_assert!(!frame.bytes.is_empty() && frame.bytes.len() <= target);
                prop_assert_eq!(frame.ends_row, frame.bytes.ends_with(b"\n"));
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
