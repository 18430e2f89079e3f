//! `pgstow dump`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::output::{counts, plain, print, print_json, remarks};
use super::selection::{SelectionArgs, patterns};
use super::store::ToArgs;
use super::{Context, environment};
use crate::catalog::GlobalsWanted;
use crate::commands::dump::{AllReport, DumpOptions, DumpReport, Kindness, dump, dump_all, failed};
use crate::error::{Error, Kind, Result};
use crate::jobs::Script;
use crate::store::StorageClass;
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// `pgstow dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The database: its name, a libpq URI or keyword string [default: the PG* variables, then the DB_* variables of a
    /// backup script]
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
    /// Dump every database of the server that is no template, one backup each; they have no common point in time
    #[arg(long)]
    pub all: bool,
    /// With --all, leave out databases that match the pattern; may be repeated
    #[arg(long = "exclude-database", value_name = "PATTERN", requires = "all")]
    pub exclude_databases: Vec<String>,
    /// The store to dump to.
    #[command(flatten)]
    pub store: ToArgs,
    /// How many connections read at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Compression: zstd[:1-19], gzip[:1-9], lz4 or none; gzip and none are read by pg_restore 12 and newer, the others
    /// by 16 and newer
    #[arg(short = 'Z', long, value_name = "METHOD", default_value = "zstd:3")]
    pub compress: String,
    /// Memory to stay within: a number with KiB, MiB or GiB; at least 64MiB, and more with many connections
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = super::size::parse)]
    pub memory: u64,
    /// Read tables larger than this, TOAST included, by several connections at once (servers 14 and newer)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = super::size::parse)]
    pub split_above: u64,
    /// Size of the parts of an upload [default: 8MiB, more for large tables]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub part_size: Option<u64>,
    /// The most parts that the store takes in one upload; more rows go into a further object [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_parts: Option<u32>,
    /// What to dump.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Leave out the server's roles, tablespaces and privileges on parameters
    #[arg(long)]
    pub no_globals: bool,
    /// Leave out the passwords of roles
    #[arg(long)]
    pub no_role_passwords: bool,
    /// Storage class of the data objects, such as STANDARD_IA [default: the bucket's]
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// Wait no longer than this for a lock that somebody else holds, such as 10s or 2m [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = super::size::duration)]
    pub lock_timeout: Option<Duration>,
    /// Read at most so many bytes of rows a second, on all connections together, such as 20MiB [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = super::size::parse)]
    pub rate_limit: Option<u64>,
    /// Fail rather than hold the snapshot, and so keep vacuum back, for longer than this, such as 2h [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = super::size::duration)]
    pub max_snapshot_age: Option<Duration>,
    /// Fail rather than have other sessions wait for the dump's locks for longer than this, such as 30s [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = super::size::duration)]
    pub max_blocking: Option<Duration>,
    /// Leave out, with a warning that the manifest keeps, what pgstow does not know or may not read
    #[arg(long)]
    pub allow_incomplete: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl DumpArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = self.options().await?;
        let display = context.display("dump", self.json);
        if self.all {
            let mut options = options;
            let mut exclude = std::mem::take(&mut options.selection.exclude_databases);
            exclude.extend(patterns(&self.exclude_databases)?);
            let report = dump_all(options, &exclude, context.progress, context.stop).await;
            display.finish();
            let report = report?;
            print_all(&report, self.json)?;
            return failed(&report).map_or(Ok(()), Err);
        }
        let report = dump(options, context.progress, context.stop).await;
        display.finish();
        print_report(&report?, self.json)
    }

    async fn options(&self) -> Result<DumpOptions> {
        let connection = Script::source(self.database.as_deref(), &environment)?;
        let selection = self.selection.selection()?;
        if self.all && !selection.everything() {
            return Err(Error::new(Kind::Usage, "--all dumps whole databases; only exclusions go with it"));
        }
        let globals = GlobalsWanted::beside(&selection, !self.no_role_passwords);
        Ok(DumpOptions {
            globals: (!self.no_globals).then_some(globals),
            codec: self.compress.parse()?,
            selection,
            jobs: usize::from(self.jobs),
            memory: self.memory,
            split_above: self.split_above,
            kindness: Kindness {
                lock_timeout: self.lock_timeout,
                rate_limit: self.rate_limit,
                max_snapshot_age: self.max_snapshot_age,
                max_blocking: self.max_blocking,
            },
            part_size: self.part_size,
            max_parts: self.max_parts,
            storage_class: self.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?,
            allow_incomplete: self.allow_incomplete,
            ..DumpOptions::new(connection, self.store.open().await?)
        })
    }
}

fn print_report(report: &DumpReport, as_json: bool) -> Result<()> {
    if as_json { print_json(&as_document(report)) } else { print(&in_words(report)) }
}

fn print_all(report: &AllReport, as_json: bool) -> Result<()> {
    if as_json {
        let databases = report.databases.iter().map(|(name, outcome)| match outcome {
            Ok(report) => as_document(report),
            Err(error) => json!({
                "database": name,
                "error": error.to_string(),
                "hint": error.hint_text(),
                "exit_code": error.kind().exit_code(),
            }),
        });
        return print_json(&json!({
            "databases": databases.collect::<Vec<_>>(),
            "excluded": report.excluded,
            "common_point_in_time": false,
            "seconds": report.seconds,
        }));
    }
    let mut lines = Vec::new();
    for (name, outcome) in &report.databases {
        match outcome {
            Ok(report) => lines.extend(in_words(report)),
            Err(error) => lines.push(format!("NOT dumped: database {}: {}", plain(name), plain(&error.to_string()))),
        }
    }
    lines.extend(report.excluded.iter().map(|name| format!("excluded: database {}", plain(name))));
    lines.push("each database is of a moment of its own: the backups have no common point in time".to_owned());
    print(&lines)
}

fn as_document(report: &DumpReport) -> Value {
    let manifest = &report.manifest;
    json!({
        "backup": manifest.id,
        "database": manifest.database.name,
        "folder": report.folder,
        "tables": manifest.totals.tables,
        "rows": manifest.totals.rows,
        "raw_bytes": manifest.totals.raw_bytes,
        "stored_bytes": manifest.totals.stored_bytes,
        "seconds": report.seconds,
        "globals": manifest.globals,
        "warnings": manifest.warnings,
        "skipped": manifest.skipped,
    })
}

fn in_words(report: &DumpReport) -> Vec<String> {
    let manifest = &report.manifest;
    let mut lines = vec![format!(
        "backup {} of database {}: {}, {:.1} s",
        manifest.id,
        plain(&manifest.database.name),
        counts(manifest),
        report.seconds
    )];
    lines.extend(remarks(manifest));
    lines
}
