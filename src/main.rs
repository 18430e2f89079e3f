//! The `pgstow` binary: the allocator's settings, arguments, tracing, command, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::set();
    pgstow::commands::memory::give_back_by(allocator::give_back);
    pgstow::cli::main()
}

/// Makes what is freed free for others. Left to itself, glibc keeps blocks of up to 32 MiB once some were freed, in up to eight
/// arenas a processor, and a dump held half as much again as it used (mallopt(3), `M_MMAP_THRESHOLD` and "dynamic").
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "calls into the C library that take numbers, and refuse what they do not know")]
mod allocator {
    /// Before there is any other thread.
    pub(super) fn set() {
        // Parts are blocks of their own, and frames are not: to map and clear each frame anew took a tenth more of the client's
        // processor time (128 KiB in place of 4 MiB, a dump of 0.6 GB with zstd:1).
        let settings = [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TRIM_THRESHOLD, 4 << 20)];
        for (setting, value) in settings {
            // SAFETY: two numbers.
            unsafe { libc::mallopt(setting, value) };
        }
    }

    /// Also what lies between blocks that are in use.
    pub(super) fn give_back() {
        // SAFETY: a number.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other C libraries have no such settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod allocator {
    pub(super) fn set() {}
    pub(super) fn give_back() {}
}
