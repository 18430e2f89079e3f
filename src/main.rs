//! The `pgstow` binary: arguments, tracing, command, exit code. Everything else is in the library.

fn main() {}
