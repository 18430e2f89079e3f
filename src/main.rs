//! The `pgstow` binary: the allocator's settings, arguments, tracing, command, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_memory_back();
    pgstow::cli::main()
}

/// Makes what is freed free for others. Left to itself, glibc keeps blocks of up to 32 MiB once some were freed, in up to eight
/// arenas a processor, and a dump held half as much again as it used (mallopt(3), `M_MMAP_THRESHOLD` and "dynamic").
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call into the C library, before there is any other thread; it takes two numbers")]
fn give_memory_back() {
    for (setting, value) in
        [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, 128 << 10), (libc::M_TRIM_THRESHOLD, 512 << 10)]
    {
        // SAFETY: it takes numbers and refuses what it does not know.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Other C libraries have no such settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}
