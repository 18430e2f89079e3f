//! How the rows of one large table are shared out among several connections, runs of frames that can be read alone, and how
//! large objects are. Pure.

use crate::commands::source::{BlobObject, TableObject};
use crate::stream::digest::Run;
use std::ops::Range;

/// Slices are made for this many turns of each worker, so that none waits at the end for longer than a small part of all.
const TURNS: u64 = 16;
/// A slice smaller than this, in bytes of COPY text, is not worth its request and its statement.
const SMALLEST: u64 = 16 << 20;
/// A slice larger than this loses too much when it has to be loaded again.
const LARGEST: u64 = 1 << 30;

/// What a large object costs beside its bytes: a request of the store and a statement or two.
const EACH_LARGE_OBJECT: u64 = 64 << 10;
/// Large objects that are fewer than this together are not worth another connection.
const SMALLEST_OF_LARGE_OBJECTS: u64 = 4 << 20;

/// A part of a table's object that one connection loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    /// Where it lies in the object.
    pub(super) stored: Range<u64>,
    /// What must be found there.
    pub(super) runs: Vec<Run>,
    /// How many rows it holds.
    pub(super) rows: u64,
    /// Whether it ends with the terminator.
    pub(super) is_last: bool,
}

/// The size of a slice, in bytes of COPY text, for so many bytes in all; `None` where one connection loads everything in
/// order.
pub(super) fn size(all_raw_bytes: u64, workers: usize) -> Option<u64> {
    (workers > 1).then(|| (all_raw_bytes / (workers as u64 * TURNS)).clamp(SMALLEST, LARGEST))
}

/// Cuts a table's object into slices of about this size; nothing when it should be, or can only be, loaded as a whole.
pub(super) fn slices(data: &TableObject, size: u64) -> Vec<Slice> {
    let count = data.raw_bytes.div_ceil(size.max(1));
    if count < 2 || data.runs.len() < 3 {
        return Vec::new();
    }
    let mut slices: Vec<Slice> = Vec::new();
    let (mut offset, mut raw_bytes) = (0u64, 0u64);
    for (number, run) in data.runs.iter().enumerate() {
        // The terminator stays with what is before it.
        let is_terminator = number + 1 == data.runs.len();
        let begins = raw_bytes >= data.raw_bytes / count * slices.len() as u64 && !is_terminator;
        if begins || slices.is_empty() {
            slices.push(Slice { stored: offset..offset, runs: Vec::new(), rows: 0, is_last: false });
        }
        offset += run.bytes;
        raw_bytes += run.raw_bytes;
        if let Some(slice) = slices.last_mut() {
            slice.stored.end = offset;
            slice.runs.push(Run { bytes: run.bytes, checksum: run.checksum });
            slice.rows += run.rows;
        }
    }
    if let Some(last) = slices.last_mut() {
        last.is_last = true;
    }
    slices
}

/// How long a large object takes, in bytes.
pub(super) fn weight(object: &BlobObject) -> u64 {
    object.size.unwrap_or(object.object.bytes) + EACH_LARGE_OBJECT
}

/// Shares large objects out, as they stand in the archive, in parts of about one weight; at least one part.
pub(super) fn of_large_objects(objects: &[BlobObject], workers: usize) -> Vec<Range<usize>> {
    let all: u64 = objects.iter().map(weight).sum();
    let size = (all / (workers as u64 * TURNS).max(1)).clamp(SMALLEST_OF_LARGE_OBJECTS, LARGEST);
    let size = if workers > 1 { size } else { u64::MAX };
    let (mut parts, mut begin, mut held) = (Vec::new(), 0, 0);
    for (place, object) in objects.iter().enumerate() {
        held += weight(object);
        if held >= size {
            parts.push(begin..place + 1);
            (begin, held) = (place + 1, 0);
        }
    }
    if begin < objects.len() || parts.is_empty() {
        parts.push(begin..objects.len());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{Slice, of_large_objects, slices};
    use crate::commands::source::{BlobObject, RunOfRows, TableObject};
    use crate::commands::transfer::ArchiveObject;
    use crate::model::Oid;
    use proptest::prelude::*;

    fn table(runs: &[(u64, u64)]) -> TableObject {
        let mut runs: Vec<RunOfRows> = runs
            .iter()
            .map(|&(raw_bytes, rows)| RunOfRows { bytes: raw_bytes / 3 + 1, raw_bytes, rows, checksum: raw_bytes })
            .collect();
        let raw_bytes = runs.iter().map(|run| run.raw_bytes).sum();
        let rows = runs.iter().map(|run| run.rows).sum();
        runs.push(RunOfRows { bytes: 14, raw_bytes: 5, rows: 0, checksum: 1 });
        let bytes = runs.iter().map(|run| run.bytes).sum();
        let object = ArchiveObject { key: "data_1.dat".to_owned(), bytes, sha256: None };
        TableObject { object, rows: Some(rows), raw_bytes, runs }
    }

    #[test]
    fn a_small_table_and_one_without_runs_are_loaded_whole() {
        assert!(slices(&table(&[(90, 1), (9, 1)]), 100).is_empty());
        assert!(slices(&TableObject { runs: Vec::new(), ..table(&[(900, 1), (900, 1)]) }, 100).is_empty());
        assert_eq!(slices(&table(&[(100, 1), (100, 1)]), 100).len(), 2);
    }

    fn large(size: u64) -> BlobObject {
        let object = ArchiveObject { key: "blob_1.dat".to_owned(), bytes: size / 2, sha256: None };
        BlobObject { oid: Oid(1), size: Some(size), object }
    }

    #[test]
    fn large_objects_that_are_few_or_for_one_connection_stay_together() {
        let ends = |objects: &[BlobObject], workers| -> Vec<usize> {
            of_large_objects(objects, workers).into_iter().map(|part| part.end).collect()
        };
        assert_eq!(ends(&[], 4), [0]);
        assert_eq!(ends(&[large(9), large(9)], 4), [2]);
        assert_eq!(ends(&vec![large(9 << 20); 9], 1), [9]);
        assert_eq!(ends(&vec![large(9 << 20); 3], 2), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn large_objects_are_shared_out_each_once_in_order(
            sizes in proptest::collection::vec(0u64..100 << 20, 0..300),
            workers in 1usize..20,
        ) {
            let parts = of_large_objects(&sizes.iter().map(|size| large(*size)).collect::<Vec<_>>(), workers);
            let mut at = 0;
            for part in &parts {
                prop_assert!(part.start == at && (part.end > at || sizes.is_empty()));
                at = part.end;
            }
            prop_assert_eq!(at, sizes.len());
        }

        #[test]
        fn slices_hold_every_run_once_in_order_and_are_of_about_one_size(
            runs in proptest::collection::vec((1u64..100, 0u64..9), 2..200),
            size in 100u64..2000,
        ) {
            let table = table(&runs);
            let found = slices(&table, size);
            let whole = found.is_empty();
            prop_assert_eq!(whole, table.raw_bytes <= size);
            let mut at = 0;
            for (number, slice) in found.iter().enumerate() {
                let Slice { stored, runs, rows: _, is_last } = slice;
                prop_assert_eq!(stored.start, at);
                prop_assert_eq!(stored.end - stored.start, runs.iter().map(|run| run.bytes).sum::<u64>());
                prop_assert_eq!(*is_last, number + 1 == found.len());
                at = stored.end;
            }
            if !whole {
                prop_assert_eq!(at, table.object.bytes);
                prop_assert_eq!(found.iter().map(|slice| slice.rows).sum::<u64>(), table.rows.expect("rows"));
                let count = found.iter().map(|slice| slice.runs.len()).sum::<usize>();
                prop_assert_eq!(count, table.runs.len());
            }
        }
    }
}
