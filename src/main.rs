//! The `pgstow` binary: the allocator's settings, arguments, tracing, command, exit code. Everything else is in the library.

use std::process::ExitCode;

use pgstow::commands::memory;

fn main() -> ExitCode {
    allocator::set();
    memory::speak_to(memory::Allocator { give_back: allocator::give_back, keep_below: allocator::keep_below });
    pgstow::cli::main()
}

/// Makes what is freed free for others. Left to itself, glibc keeps blocks of up to 32 MiB once some were freed, in up to eight
/// arenas a processor, and a dump held half as much again as it used (mallopt(3), `M_MMAP_THRESHOLD` and "dynamic").
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "calls into the C library that take numbers, and refuse what they do not know")]
mod allocator {
    /// Before there is any other thread.
    pub(super) fn set() {
        // SAFETY: two numbers.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
        keep_below(pgstow::commands::memory::KEPT_BELOW);
    }

    /// Blocks from this size on are the system's again when they are freed.
    pub(super) fn keep_below(bytes: usize) {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        for (setting, value) in [(libc::M_MMAP_THRESHOLD, bytes), (libc::M_TRIM_THRESHOLD, bytes.saturating_mul(4))] {
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

    pub(super) fn keep_below(_bytes: usize) {}

    pub(super) fn give_back() {}
}
