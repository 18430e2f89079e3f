//! Rows gathered into frames: the unit of compression, of parallel restore, and of reading a range of a table.

use super::rows::RowsDigest;
use bytes::{Bytes, BytesMut};

/// What the text of every table's data ends in, after the last row (`_PrintTocData` and friends write `\.` and two empty
/// lines; `WriteDataChunksForTocEntry`, `pg_backup_archiver.c`). It is a frame of its own, so that frames of rows may
/// come in any order and this one comes last.
pub const TERMINATOR: &[u8] = b"\\.\n\n\n";

/// What a first frame reserves, so that the many tables with few rows stay cheap.
const FIRST_RESERVE: usize = 64 * 1024;

/// Whole rows, not yet compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// COPY text: rows, each with its line end.
    pub bytes: Bytes,
    /// How many rows there are in it, and their digest.
    pub rows: RowsDigest,
}

/// Gathers rows until they reach the target; never splits a row, so a frame is larger than the target by less than its
/// last row.
#[derive(Debug)]
pub struct FrameBuilder {
    target: usize,
    reserve: usize,
    bytes: BytesMut,
    rows: RowsDigest,
}

impl FrameBuilder {
    /// Frames of this many raw bytes, or somewhat more.
    pub fn new(target_bytes: usize) -> Self {
        let reserve = target_bytes.min(FIRST_RESERVE);
        FrameBuilder { target: target_bytes, reserve, bytes: BytesMut::new(), rows: RowsDigest::default() }
    }

    /// Adds one row with its line end: the body of one `CopyData` message, for the server sends one row in each (protocol
    /// documentation, "COPY Operations"). Gives the frame that this row completes.
    pub fn push(&mut self, row: &[u8]) -> Option<RawFrame> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.reserve.max(row.len()));
        }
        self.bytes.extend_from_slice(row);
        self.rows.add_row(row);
        if self.bytes.len() < self.target {
            return None;
        }
        // The next frame will be about as long, and a row more.
        self.reserve = self.target.saturating_add(row.len());
        self.take()
    }

    /// The rows that are left, if any.
    pub fn finish(mut self) -> Option<RawFrame> {
        self.take()
    }

    fn take(&mut self) -> Option<RawFrame> {
        if self.rows.rows() == 0 {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Some(RawFrame { bytes, rows: std::mem::take(&mut self.rows) })
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameBuilder, RawFrame};
    use proptest::prelude::*;

    #[test]
    fn a_frame_closes_at_the_first_row_that_reaches_the_target() {
        let mut builder = FrameBuilder::new(8);
        assert_eq!(builder.push(b"1234567"), None);
        let frame = builder.push(b"x\n").expect("the target is reached");
        assert_eq!((&frame.bytes[..], frame.rows.rows()), (&b"1234567x\n"[..], 2));
        assert_eq!(builder.push(b"\n"), None);
        assert_eq!(builder.finish().expect("a rest").rows.rows(), 1);
        assert_eq!(FrameBuilder::new(8).finish(), None);
    }

    proptest! {
        #[test]
        fn frames_hold_every_row_once_whole_and_in_order(
            rows in proptest::collection::vec("[a-z]{0,20}\n", 0..200),
            target in 0usize..300,
        ) {
            let mut builder = FrameBuilder::new(target);
            let mut frames: Vec<RawFrame> = rows.iter().filter_map(|row| builder.push(row.as_bytes())).collect();
            for frame in &frames {
                prop_assert!(frame.bytes.len() >= target);
            }
            frames.extend(builder.finish());
            for frame in &frames {
                let lines = std::str::from_utf8(&frame.bytes).expect("text").lines().count() as u64;
                prop_assert_eq!(lines, frame.rows.rows());
                prop_assert!(lines > 0 && frame.bytes.ends_with(b"\n"));
                prop_assert!(frame.bytes.len() < target.max(1) + 21);
            }
            let all: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
            prop_assert_eq!(all, rows.concat().into_bytes());
        }
    }
}
