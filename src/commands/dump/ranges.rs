//! How the rows of all tables are shared out: in which order, and which tables in ranges of pages. Pure.
//!
//! A worker takes the next unit whenever it is free, so what counts is that the largest units come first and that the last
//! ones are small: then all workers end at about the same time, whatever the sizes of the tables.

/// What is known of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Heap and TOAST together, in bytes.
    pub(super) bytes: u64,
    /// Pages of the heap when the plan is made; 0 for a table that cannot be read in ranges.
    pub(super) pages: u64,
}

/// A part of a table: the pages from the first to the one before the second. Without a second it is open-ended, for a table
/// may have grown since it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    /// The first page.
    pub(super) from: u64,
    /// The page after the last.
    pub(super) below: Option<u64>,
}

/// One piece of work for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Which table, by its place in the list that was planned.
    pub(super) table: usize,
    /// Which pages; `None` for the whole table.
    pub(super) pages: Option<Pages>,
    /// What it is expected to weigh, in bytes.
    pub(super) bytes: u64,
}

/// Units are made for this many turns of each worker, so that none waits at the end for longer than a small part of the
/// whole.
const TURNS: u64 = 16;
/// A range smaller than this is not worth its statement.
const SMALLEST: u64 = 8 << 20;
/// A range larger than this loses too much when it has to be read again.
const LARGEST: u64 = 1 << 30;

/// Shares the tables out among so many workers. Tables of more than `threshold` bytes are read in ranges, where that is
/// possible and there is more than one worker. The units of one table stand together, largest units first.
pub(super) fn units(tables: &[Extent], workers: usize, threshold: u64) -> Vec<Unit> {
    let workers = workers.max(1) as u64;
    let total: u64 = tables.iter().fold(0, |sum, table| sum.saturating_add(table.bytes));
    let target = (total / (workers * TURNS)).clamp(SMALLEST.min(threshold.max(1)), LARGEST);
    let mut shared: Vec<Vec<Unit>> = tables
        .iter()
        .enumerate()
        .map(|(table, &extent)| {
            let wanted = extent.bytes.div_ceil(target).min(extent.pages);
            if workers == 1 || extent.bytes <= threshold || wanted < 2 {
                return vec![Unit { table, pages: None, bytes: extent.bytes }];
            }
            ranges(table, extent, wanted)
        })
        .collect();
    // A stable order: equal tables keep the order they came in.
    shared.sort_by_key(|units| std::cmp::Reverse(units.first().map_or(0, |unit| unit.bytes)));
    shared.concat()
}

fn ranges(table: usize, extent: Extent, count: u64) -> Vec<Unit> {
    let at =
        |number: u64| u64::try_from(u128::from(extent.pages) * u128::from(number) / u128::from(count)).unwrap_or(0);
    (0..count)
        .map(|number| {
            let below = (number + 1 < count).then(|| at(number + 1));
            Unit { table, pages: Some(Pages { from: at(number), below }), bytes: extent.bytes / count }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Extent, LARGEST, SMALLEST, Unit, units};
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn split(mebibytes: u64) -> Extent {
        Extent { bytes: mebibytes * MIB, pages: mebibytes * MIB / 8192 }
    }

    fn whole(mebibytes: u64) -> Extent {
        Extent { pages: 0, ..split(mebibytes) }
    }

    /// How long it takes until all workers are done, each taking the next unit when it is free.
    fn makespan(units: &[Unit], workers: usize) -> u64 {
        let mut busy = vec![0u64; workers];
        for unit in units {
            *busy.iter_mut().min().expect("workers") += unit.bytes;
        }
        busy.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn one_worker_or_a_small_table_is_not_split() {
        assert_eq!(units(&[split(5000)], 1, 64 * MIB).len(), 1);
        assert_eq!(units(&[split(64), whole(900)], 4, 64 * MIB).len(), 2);
        assert!(units(&[], 4, 0).is_empty());
    }

    #[test]
    fn a_table_that_cannot_be_split_goes_before_smaller_ranges() {
        let order: Vec<usize> = units(&[split(4000), whole(900)], 2, 64 * MIB).iter().map(|unit| unit.table).collect();
        assert_eq!((order[0], order.len()), (1, 1 + 27));
    }

    #[test]
    fn a_heap_of_few_pages_before_much_toast_is_split_by_what_it_carries() {
        let toasted = Extent { bytes: 900 * 1024 * MIB, pages: 300 };
        assert_eq!(units(&[toasted], 4, 64 * MIB).len(), 300);
    }

    proptest! {
        #[test]
        fn every_page_is_read_once(pages in 2u64..100_000, mebibytes in 65u64..10_000_000, workers in 2usize..40) {
            let shared = units(&[Extent { bytes: mebibytes * MIB, pages }], workers, 64 * MIB);
            let mut next = 0;
            for (number, unit) in shared.iter().enumerate() {
                let Some(range) = unit.pages else { prop_assert_eq!(shared.len(), 1); continue };
                prop_assert_eq!(range.from, next);
                match range.below {
                    Some(below) => {
                        prop_assert!(below > range.from && below <= pages);
                        next = below;
                    }
                    None => prop_assert_eq!(number, shared.len() - 1),
                }
            }
        }

        #[test]
        fn all_workers_are_busy_to_the_end(
            sizes in proptest::collection::vec((0u64..3000, any::<bool>()), 1..60),
            workers in 1usize..17,
        ) {
            let tables: Vec<Extent> =
                sizes.iter().map(|&(size, splits)| if splits { split(size) } else { whole(size) }).collect();
            let shared = units(&tables, workers, 64 * MIB);
            let total: u64 = tables.iter().map(|table| table.bytes).sum();
            let largest_whole = tables.iter().filter(|table| table.pages == 0).map(|table| table.bytes).max().unwrap_or(0);
            let ideal = (total / workers as u64).max(largest_whole);
            // The last unit to start is no larger than one turn, or than a table that is not split.
            let last = (total / (workers as u64 * 16)).clamp(SMALLEST, LARGEST).max(64 * MIB).max(largest_whole);
            let alone = if workers == 1 { total } else { ideal + last };
            prop_assert!(makespan(&shared, workers) <= alone.max(ideal), "{:?}", shared);
        }

        #[test]
        fn the_ranges_of_a_table_stand_together(sizes in proptest::collection::vec(0u64..3000, 1..20)) {
            let tables: Vec<Extent> = sizes.iter().map(|&size| split(size)).collect();
            let mut order: Vec<usize> = units(&tables, 4, 64 * MIB).iter().map(|unit| unit.table).collect();
            order.dedup();
            prop_assert_eq!(order.len(), tables.len());
        }
    }
}
