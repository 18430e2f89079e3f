//! The parts of one upload, as they were sent: numbers, sizes, receipts.
//!
//! Always true here: an upload completes only with parts 1 to n without a gap, all but the last of one size. A gap would
//! be lost rows, and S3 itself would not notice it.

use std::collections::BTreeMap;

use crate::error::Result;

use super::Limits;
use super::failure::{StoreProblem, store_error};

/// What is known of the parts sent so far. `R` is what the store needs at the end for each part.
#[derive(Debug)]
pub(super) struct Ledger<R> {
    limits: Limits,
    parts: BTreeMap<u32, (u64, R)>,
}

impl<R> Ledger<R> {
    pub(super) fn new(limits: Limits) -> Self {
        Ledger { limits, parts: BTreeMap::new() }
    }

    /// Refuses a part that no store would take.
    pub(super) fn check(limits: Limits, number: u32, size: u64) -> Result<()> {
        if number == 0 || number > limits.max_parts {
            return Err(store_error(
                StoreProblem::Other,
                format!("part {number} is not within 1 to {}", limits.max_parts),
            )
            .hint("the object has too many parts: choose a larger part size"));
        }
        if size > limits.max_part {
            return Err(store_error(
                StoreProblem::Other,
                format!("part {number} is larger than {} bytes", limits.max_part),
            ));
        }
        Ok(())
    }

    /// Notes a part that the store has. The same number again replaces it.
    pub(super) fn record(&mut self, number: u32, receipt: R, size: u64) {
        self.parts.insert(number, (size, receipt));
    }

    /// All parts in order and their sum in bytes, if they make one whole object.
    pub(super) fn finish(self) -> Result<(Vec<(u32, R)>, u64)> {
        let count = self.parts.len();
        let first_size = self.parts.get(&1).map_or(0, |(size, _)| *size);
        let mut total = 0;
        let mut receipts = Vec::with_capacity(count);
        for (expected, (number, (size, receipt))) in (1u32..).zip(self.parts) {
            if number != expected {
                return Err(store_error(StoreProblem::Other, format!("part {expected} was never sent")));
            }
            let last = receipts.len() + 1 == count;
            if (!last && size != first_size) || size > first_size {
                return Err(store_error(
                    StoreProblem::Other,
                    format!(
                        "part {number} has {size} bytes and part 1 has {first_size}, but all parts except the last must be equal"
                    ),
                ));
            }
            if !last && size < self.limits.min_part {
                return Err(store_error(
                    StoreProblem::Other,
                    format!(
                        "part {number} has {size} bytes, fewer than the {} that this store wants",
                        self.limits.min_part
                    ),
                ));
            }
            total += size;
            receipts.push((number, receipt));
        }
        Ok((receipts, total))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Limits};

    fn finish(parts: &[(u32, u64)], limits: Limits) -> bool {
        let mut ledger = Ledger::new(limits);
        for (number, size) in parts {
            ledger.record(*number, (), *size);
        }
        ledger.finish().is_ok()
    }

    #[test]
    fn an_upload_completes_only_without_gaps_and_with_equal_parts() {
        assert!(finish(&[], Limits::OWN));
        assert!(finish(&[(2, 3), (1, 7)], Limits::OWN));
        assert!(finish(&[(1, 7), (2, 7), (3, 7)], Limits::OWN));
        assert!(!finish(&[(2, 7)], Limits::OWN), "part 1 is missing");
        assert!(!finish(&[(1, 7), (3, 7)], Limits::OWN), "part 2 is missing");
        assert!(!finish(&[(1, 7), (2, 8)], Limits::OWN), "the last is larger");
        assert!(!finish(&[(1, 7), (2, 6), (3, 7)], Limits::OWN), "one in the middle is smaller");
        assert!(!finish(&[(1, 7), (2, 7)], Limits::S3), "smaller than S3 takes");
        assert!(finish(&[(1, 7)], Limits::S3), "the only part is the last");
    }

    #[test]
    fn part_numbers_and_sizes_have_bounds() {
        Ledger::<()>::check(Limits::S3, 0, 1).expect_err("numbers start at 1");
        Ledger::<()>::check(Limits::S3, 10_001, 1).expect_err("numbers end at 10,000");
        Ledger::<()>::check(Limits::S3, 10_000, 5 << 30).expect("the last number, the largest part");
        Ledger::<()>::check(Limits::S3, 1, (5 << 30) + 1).expect_err("too large");
    }
}
