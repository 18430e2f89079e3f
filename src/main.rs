//! The `pgstow` binary: the allocator, arguments, tracing, command, exit code. Everything else is in the library.

use std::process::ExitCode;

use pgstow::commands::memory;

fn main() -> ExitCode {
    memory::speak_to(memory::Allocator { keep_freed: allocator::keep_freed });
    pgstow::cli::main()
}

/// Catalogs are millions of small texts, for which the C library's allocator takes twice the processor time of this one.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a name by which the allocator finds its settings, and one that is changed later")]
mod allocator {
    use std::time::Duration;

    use tikv_jemallocator::Jemalloc;

    #[global_allocator]
    static ALLOCATOR: Jemalloc = Jemalloc;

    /// What is freed is the system's again at once, for memory is promised to be bounded. Few arenas, for each has what it has
    /// freed for itself (jemalloc(3), "TUNING").
    #[used]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    static SETTINGS: &[u8; 61] = b"narenas:4,dirty_decay_ms:0,muzzy_decay_ms:0,tcache_max:4096\0\0";

    /// As many as the settings say.
    const ARENAS: usize = 4;

    /// What is freed serves whoever asks next for so long, before it is the system's.
    pub(super) fn keep_freed(time: Duration) {
        let milliseconds = isize::try_from(time.as_millis()).unwrap_or(isize::MAX);
        let there = (0..ARENAS).map(|arena| format!("arena.{arena}.dirty_decay_ms\0"));
        for name in std::iter::once("arenas.dirty_decay_ms\0".to_owned()).chain(there) {
            // SAFETY: the name ends in a zero byte, and its value is an `ssize_t`. Arenas that are still to come refuse, and
            // begin with what the first name has.
            let _to_come = unsafe { tikv_jemalloc_ctl::raw::write(name.as_bytes(), milliseconds) };
        }
    }
}

/// Elsewhere the system's allocator is left to itself.
#[cfg(not(target_os = "linux"))]
mod allocator {
    pub(super) fn keep_freed(_time: std::time::Duration) {}
}
