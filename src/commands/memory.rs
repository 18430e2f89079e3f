//! One budget for memory, shared out before the work begins. Pure.
//!
//! Architecture invariant: what a dump or a restore holds at once depends on `--memory`, on `-j` and on the codec, never on
//! the data. Rows of any width pass through buffers of fixed size. Definitions are held whole; rows have what they leave.

use crate::error::{Error, Kind, Result};
use crate::stream::codec::Codec;

use std::sync::OnceLock;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The budget that holds when the user names none.
pub const DEFAULT_MEMORY: u64 = 256 * MIB;
/// The least that a dump or a restore with few connections can do with; see [`least`].
pub const LEAST_MEMORY: u64 = 64 * MIB;

/// The program itself, its threads, the catalogs of an ordinary database, the connections to the store.
const PROGRAM: u64 = 28 * MIB;
/// A connection to the server: what is read ahead, the text that comes of it, and the driver's buffers.
const CONNECTION: u64 = 448 * KIB;
/// Frames of one worker: one that is being filled, one in the codec, one between codec and part.
const FRAMES_PER_WORKER: u64 = 3;
const LARGEST_FRAME: u64 = MIB;
/// So long freed memory waits for whoever asks next, where there is room.
const FREED_KEPT: Duration = Duration::from_millis(200);
const SMALLEST_FRAME: u64 = 32 * KIB;
/// The smallest part that S3 takes, unless it is the last.
const SMALLEST_PART: u64 = 5 * MIB;
/// So many parts must fit at once, of one size: one that is filled while another one is on its way, and one to spare.
const PARTS_AT_LEAST: u64 = 3;
/// A worker of a restore: what the store sends ahead, the codec's window, decoded rows on their way to the server, and a row
/// that is converted.
const LOADER: u64 = 5 * MIB;

/// What an allocation costs beside its bytes, and rounds up to, on the average.
const ALLOCATION: usize = 24;

/// What the program's allocator can be told.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Keeps what is freed for so long for whoever asks next, instead of giving it back to the system at once.
    pub keep_freed: fn(Duration),
}

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// Says how the allocator is spoken to; without, it is left to itself. The first one counts.
pub fn speak_to(allocator: Allocator) {
    let _first = ALLOCATOR.set(allocator);
}

/// Lets what is new be made of the memory of what is gone where the budget has room for what is free, and only there, for one
/// process may make several dumps: to map and clear each frame anew took a sixth more of the processor time of a dump's
/// client, and a quarter of a restore's (0.6 GB with zstd:1).
pub(crate) fn keep_freed(budget: u64) {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.keep_freed)(if budget >= DEFAULT_MEMORY { FREED_KEPT } else { Duration::ZERO });
    }
}

/// The memory of the process, in bytes; zero where the system does not tell (Linux does, see `proc_pid_status(5)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Now (`VmRSS`).
    now: u64,
    /// At the most so far (`VmHWM`).
    most: u64,
}

impl Taken {
    /// What the system says.
    pub(crate) fn look() -> Taken {
        std::fs::read_to_string("/proc/self/status").map_or_else(|_| Taken::default(), |status| Taken::read(&status))
    }

    fn read(status: &str) -> Taken {
        let size = |name| {
            let size = status.lines().find_map(|line| line.strip_prefix(name))?;
            size.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(KIB)
        };
        Taken { now: size("VmRSS:").unwrap_or(0), most: size("VmHWM:").unwrap_or(0) }
    }

    /// The most that was taken on top since then, as far as two looks tell. One process may do many things one after another, so a
    /// height of earlier says nothing.
    pub(crate) fn since(self, then: Taken) -> u64 {
        let most = if self.most > then.most { self.most } else { self.now };
        most.saturating_sub(then.now)
    }
}

/// What texts and lists hold, in bytes, as the allocator counts them.
pub(crate) fn held(capacities: impl IntoIterator<Item = usize>) -> u64 {
    capacities.into_iter().filter(|&bytes| bytes > 0).map(|bytes| (bytes + ALLOCATION) as u64).sum()
}

/// What parts need at least, with what an allocator rounds up.
const LEAST_PARTS: u64 = PARTS_AT_LEAST * SMALLEST_PART / 7 * 8 + MIB;

/// The least budget, in bytes, for so many connections and a codec.
pub fn least(jobs: usize, codec: Codec) -> u64 {
    let frames = 2 * FRAMES_PER_WORKER * SMALLEST_FRAME;
    LEAST_MEMORY.max(PROGRAM + LEAST_PARTS + codec.context_bytes() + CONNECTION + readers(jobs) * (CONNECTION + frames))
}

/// The connections that read rows, and the one that reads large objects; the leader is none of them.
fn readers(jobs: usize) -> u64 {
    jobs.max(1) as u64 + 1
}

/// The shares of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DumpShares {
    /// A frame is closed at this many raw bytes.
    pub(crate) frame_bytes: usize,
    /// How many frames of one worker are on their way at once.
    pub(crate) frames_per_worker: usize,
    /// How many frames are compressed at once.
    pub(crate) codecs: usize,
    /// All parts, being filled or on their way.
    pub(crate) part_bytes: u64,
    /// The largest single part.
    pub(crate) largest_part: u64,
}

impl DumpShares {
    /// Shares a budget out.
    ///
    /// Errors: [`Kind::Usage`] when it is too small for so many connections.
    pub(crate) fn of(budget: u64, jobs: usize, codec: Codec, processors: usize) -> Result<DumpShares> {
        enough(budget, jobs, codec)?;
        let readers = readers(jobs);
        let connections = (readers + 1) * CONNECTION;
        let free = budget - PROGRAM - connections;
        // The least budget counts one codec.
        let others = LEAST_PARTS + readers * FRAMES_PER_WORKER * 2 * SMALLEST_FRAME;
        let room = (free / 4).min(free.saturating_sub(others));
        let codecs = (room / codec.context_bytes().max(1)).clamp(1, processors.max(1) as u64);
        let free = free.saturating_sub(codecs * codec.context_bytes());
        // A frame is there twice for a moment, raw and compressed.
        let room = free.saturating_sub(LEAST_PARTS).min(free / 3);
        let frame = (room / (readers * FRAMES_PER_WORKER * 2)).clamp(SMALLEST_FRAME, LARGEST_FRAME);
        let frames = frame * readers * FRAMES_PER_WORKER * 2;
        // Allocators round up.
        let parts = (free.saturating_sub(frames) / 8 * 7).max(PARTS_AT_LEAST * SMALLEST_PART);
        let narrow = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(DumpShares {
            frame_bytes: narrow(frame),
            frames_per_worker: narrow(FRAMES_PER_WORKER),
            codecs: narrow(codecs),
            part_bytes: parts,
            largest_part: parts / PARTS_AT_LEAST,
        })
    }
}

/// What a budget leaves beside the definitions, which are as many as they are: at the least what a dump or a restore needs.
/// `at_once` bytes were taken while they were made or read; all of them are the definitions'.
pub(crate) fn beside(definitions: u64, at_once: u64, budget: u64, jobs: usize, codec: Codec) -> u64 {
    let (left, least) = (budget.saturating_sub(definitions), least(jobs, codec));
    let needs = (least + definitions).max(PROGRAM + at_once);
    if needs > budget {
        let (needs, definitions) = (needs.div_ceil(MIB), definitions.max(at_once).div_ceil(MIB));
        tracing::warn!(
            "the definitions alone take {definitions} MiB, so {needs} MiB of memory are needed instead of --memory"
        );
    }
    left.max(least.min(budget))
}

/// How many connections of a restore load rows at once.
///
/// Errors: [`Kind::Usage`] when the budget is too small for so many connections.
pub(crate) fn loaders(budget: u64, jobs: usize, definitions: u64, at_once: u64) -> Result<usize> {
    enough(budget, jobs, Codec::None)?;
    let free = beside(definitions, at_once, budget, jobs, Codec::None) - PROGRAM - (jobs as u64 + 1) * CONNECTION;
    Ok(usize::try_from((free / LOADER).max(1)).unwrap_or(usize::MAX).min(jobs.max(1)))
}

/// Refuses a budget that is too small for so many connections and a codec.
pub(crate) fn enough(budget: u64, jobs: usize, codec: Codec) -> Result<()> {
    let least = least(jobs, codec);
    if budget >= least {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("--memory is too small for -j {jobs}"))
        .hint(format!("give it {} MiB at least, or use fewer connections or a lower level", least.div_ceil(MIB))))
}

#[cfg(test)]
mod tests {
    use super::{
        CONNECTION, DEFAULT_MEMORY, DumpShares, LEAST_MEMORY, MIB, PROGRAM, SMALLEST_PART, Taken, beside, held, least,
        loaders,
    };
    use crate::error::Kind;
    use crate::stream::codec::Codec;
    use proptest::prelude::*;

    #[test]
    fn the_default_is_enough_for_all_jobs_and_too_little_says_what_would_do() {
        DumpShares::of(DEFAULT_MEMORY, 256, Codec::Zstd(3), 64).expect("enough");
        DumpShares::of(LEAST_MEMORY, 4, Codec::Zstd(3), 64).expect("enough");
        let error = DumpShares::of(LEAST_MEMORY, 200, Codec::None, 2).expect_err("too little");
        assert_eq!(error.kind(), Kind::Usage);
        let hint = format!("{} MiB", least(200, Codec::None).div_ceil(MIB));
        assert!(error.hint_text().expect("a hint").contains(&hint), "{error}");
        assert_eq!(loaders(DEFAULT_MEMORY, 4, 0, 0).expect("enough"), 4);
    }

    #[test]
    fn rows_have_what_the_definitions_leave_and_never_less_than_they_need() {
        let of = |definitions| beside(definitions, 0, DEFAULT_MEMORY, 8, Codec::None);
        assert_eq!([of(0), of(40 * MIB), of(2 * DEFAULT_MEMORY)], [DEFAULT_MEMORY, 216 * MIB, LEAST_MEMORY]);
        assert_eq!(loaders(LEAST_MEMORY, 8, 0, 0).expect("enough"), 6);
        assert!(loaders(DEFAULT_MEMORY, 64, 200 * MIB, 0).expect("enough") < 8);
        let shares = |definitions| DumpShares::of(of(definitions), 8, Codec::None, 2).expect("enough");
        assert!(shares(100 * MIB).part_bytes < shares(0).part_bytes);
        assert_eq!(held([0, 8, 16]), 72);
    }

    #[test]
    fn what_was_taken_is_read_as_linux_writes_it() {
        let now = Taken::read("Name:\tpgstow\nVmHWM:\t    4096 kB\nVmRSS:\t    1024 kB\n");
        assert_eq!(now, Taken { now: MIB, most: 4 * MIB });
        assert_eq!(Taken::read("Name:\tpgstow\n"), Taken::default());
        let higher = Taken { now: 2 * MIB, most: 8 * MIB };
        // What was higher before is not on account of what came since.
        assert_eq!([higher.since(now), Taken { most: now.most, ..higher }.since(now)], [7 * MIB, MIB]);
    }

    proptest! {
        #[test]
        fn the_shares_fit_the_budget(
            spare in 0u64..1 << 34, jobs in 1usize..257, level in 1i32..23, processors in 1usize..200,
        ) {
            let codec = if level == 1 { Codec::None } else { Codec::Zstd(level) };
            // Where a budget is just enough is where shares are tight.
            let budget = least(jobs, codec) + spare / if jobs % 2 == 0 { 1 << 20 } else { 1 };
            let shares = DumpShares::of(budget, jobs, codec, processors).expect("enough");
            let frames = (2 * shares.frame_bytes * shares.frames_per_worker * (jobs + 1)) as u64;
            let fixed = PROGRAM + (jobs as u64 + 2) * CONNECTION + shares.codecs as u64 * codec.context_bytes();
            prop_assert!(fixed + frames + shares.part_bytes <= budget, "{shares:?}");
            prop_assert!(shares.largest_part >= SMALLEST_PART);
            prop_assert!((1..=processors).contains(&shares.codecs));
        }
    }
}
