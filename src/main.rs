//! The `pgstow` binary: arguments, tracing, command, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgstow::cli::main()
}
