//! Equal parts for multipart uploads.

use bytes::{Bytes, BytesMut};

const MEBIBYTE: u64 = 1024 * 1024;
/// S3's floor is 5 MiB; smaller parts only cost requests.
const SMALLEST_PART: u64 = 8 * MEBIBYTE;
/// What is larger than this gets larger parts, for half as many requests.
const SMALL: u64 = 64 * MEBIBYTE;
const ORDINARY_PART: u64 = 16 * MEBIBYTE;
/// S3's ceiling (Amazon S3 user guide, "Multipart upload limits").
const LARGEST_PART: u64 = 5 * 1024 * MEBIBYTE;

/// Cuts a stream of bytes into parts of one size, the last one excepted: some stores refuse unequal parts. It never holds more
/// than a part and what was given last.
#[derive(Debug)]
pub struct PartCutter {
    size: usize,
    /// All of the part so far, as long as that is one piece.
    only: Bytes,
    /// All of the part so far, when it is more than one piece. It has room for a whole part from the beginning, and the system
    /// gives it memory as it is filled.
    gathered: BytesMut,
}

impl PartCutter {
    /// Parts of this many bytes; zero is taken for one.
    pub fn new(part_size: usize) -> Self {
        PartCutter { size: part_size.max(1), only: Bytes::new(), gathered: BytesMut::new() }
    }

    /// Takes the next bytes and gives the parts they complete, each of exactly the size. A part that lies within the
    /// given bytes shares them; one gathered from several pieces is copied once.
    pub fn push(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut parts = Vec::new();
        while self.held() + bytes.len() >= self.size {
            let piece = bytes.split_to(self.size - self.held());
            self.keep(piece);
            parts.push(self.take());
        }
        self.keep(bytes);
        parts
    }

    /// What is left: less than a part, possibly nothing.
    pub fn finish(mut self) -> Bytes {
        self.take()
    }

    fn held(&self) -> usize {
        self.only.len() + self.gathered.len()
    }

    fn keep(&mut self, piece: Bytes) {
        if self.held() == 0 {
            self.only = piece;
        } else if !piece.is_empty() {
            if self.gathered.is_empty() {
                self.gathered = BytesMut::with_capacity(self.size);
            }
            self.gathered.extend_from_slice(&std::mem::take(&mut self.only));
            self.gathered.extend_from_slice(&piece);
        }
    }

    fn take(&mut self) -> Bytes {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.is_empty() { std::mem::take(&mut self.only) } else { gathered.freeze() }
    }
}

/// A part size in bytes with which `max_parts` parts hold twice the estimate: at least 8 MiB (16 MiB for more than 64 MiB)
/// and `min_part`, at most 5 GiB, a multiple of 1 MiB. Twice, because the estimate of a table's size is stale and compression may not help.
pub fn part_size(estimated_bytes: u64, min_part: u64, max_parts: u32) -> u64 {
    let wanted = estimated_bytes.saturating_mul(2).div_ceil(u64::from(max_parts.max(1)));
    let usual = if estimated_bytes > SMALL { ORDINARY_PART } else { SMALLEST_PART };
    let size = wanted.max(min_part).clamp(usual, LARGEST_PART);
    size.div_ceil(MEBIBYTE) * MEBIBYTE
}

#[cfg(test)]
mod tests {
    use super::{MEBIBYTE, PartCutter, part_size};
    use bytes::Bytes;
    use proptest::prelude::*;

    #[test]
    fn a_part_within_one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![7; 100]);
        let start = bytes.as_ptr();
        let parts = PartCutter::new(40).push(bytes);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].as_ptr(), start);
    }

    #[test]
    fn the_part_size_grows_with_the_estimate_only() {
        assert_eq!(part_size(0, 5 * MEBIBYTE, 10_000), 8 * MEBIBYTE);
        assert_eq!(part_size(0, 16 * MEBIBYTE + 1, 10_000), 17 * MEBIBYTE);
        assert_eq!(part_size(64 * MEBIBYTE, 0, 10_000), 8 * MEBIBYTE);
        assert_eq!(part_size(80_000 * MEBIBYTE, 0, 10_000), 16 * MEBIBYTE);
        assert_eq!(part_size(80_001 * MEBIBYTE, 0, 10_000), 17 * MEBIBYTE);
        assert_eq!(part_size(u64::MAX, 0, 0), 5 * 1024 * MEBIBYTE);
    }

    proptest! {
        #[test]
        fn parts_hold_twice_the_estimate(estimate in 0u64..1 << 44, min in 0u64..1 << 30, max in 1000u32..10_001) {
            let size = part_size(estimate, min, max);
            prop_assert_eq!(size % MEBIBYTE, 0);
            prop_assert!(size >= min && size >= 8 * MEBIBYTE);
            prop_assert!(size * u64::from(max) >= estimate * 2 || size == 5 * 1024 * MEBIBYTE);
        }

        #[test]
        fn parts_are_equal_and_lose_nothing_at_any_chunking(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 0..40),
            size in 1usize..50,
        ) {
            let mut cutter = PartCutter::new(size);
            let mut all = Vec::new();
            for piece in &pieces {
                for part in cutter.push(Bytes::from(piece.clone())) {
                    prop_assert_eq!(part.len(), size);
                    all.extend_from_slice(&part);
                }
            }
            let rest = cutter.finish();
            prop_assert!(rest.len() < size);
            all.extend_from_slice(&rest);
            prop_assert_eq!(all, pieces.concat());
        }
    }
}
