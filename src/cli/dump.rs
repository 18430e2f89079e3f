//! `pgstow dump`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::output::{counts, plain, print, print_json, remarks};
use super::store::ToArgs;
use super::{Context, environment};
use crate::catalog::{Pattern, Selection};
use crate::commands::dump::{DumpOptions, DumpReport, dump};
use crate::error::Result;
use crate::postgres::ConnectionSettings;
use crate::store::StorageClass;
use clap::Args;
use serde_json::json;

/// `pgstow dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The database: its name, a libpq URI or keyword string [default: the PG* variables]
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
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
    /// Dump only schemas that match the pattern; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "PATTERN")]
    pub schemas: Vec<String>,
    /// Do not dump schemas that match the pattern; may be repeated
    #[arg(short = 'N', long = "exclude-schema", value_name = "PATTERN")]
    pub exclude_schemas: Vec<String>,
    /// Dump only tables (views, sequences, ...) that match the pattern; may be repeated
    #[arg(short = 't', long = "table", value_name = "PATTERN")]
    pub tables: Vec<String>,
    /// Do not dump tables that match the pattern; may be repeated
    #[arg(short = 'T', long = "exclude-table", value_name = "PATTERN")]
    pub exclude_tables: Vec<String>,
    /// Dump the definition but not the rows of tables that match the pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude_table_data: Vec<String>,
    /// Dump definitions only, no rows
    #[arg(short, long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Dump rows only, no definitions
    #[arg(short = 'a', long)]
    pub data_only: bool,
    /// Storage class of the data objects, such as STANDARD_IA [default: the bucket's]
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
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
        let report = dump(options, context.progress, context.stop).await;
        display.finish();
        print_report(&report?, self.json)
    }

    async fn options(&self) -> Result<DumpOptions> {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>>>();
        let connection = ConnectionSettings::resolve(self.database.as_deref(), &environment)?;
        Ok(DumpOptions {
            connection,
            codec: self.compress.parse()?,
            selection: Selection {
                schemas: patterns(&self.schemas)?,
                exclude_schemas: patterns(&self.exclude_schemas)?,
                tables: patterns(&self.tables)?,
                exclude_tables: patterns(&self.exclude_tables)?,
                exclude_table_data: patterns(&self.exclude_table_data)?,
                schema_only: self.schema_only,
                data_only: self.data_only,
                large_objects: None,
            },
            jobs: usize::from(self.jobs),
            storage_class: self.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?,
            allow_incomplete: self.allow_incomplete,
            store: self.store.open().await?,
        })
    }
}

fn print_report(report: &DumpReport, as_json: bool) -> Result<()> {
    let manifest = &report.manifest;
    if as_json {
        return print_json(&json!({
            "backup": manifest.id,
            "database": manifest.database.name,
            "folder": report.folder,
            "tables": manifest.totals.tables,
            "rows": manifest.totals.rows,
            "raw_bytes": manifest.totals.raw_bytes,
            "stored_bytes": manifest.totals.stored_bytes,
            "seconds": report.seconds,
            "warnings": manifest.warnings,
            "skipped": manifest.skipped,
        }));
    }
    let mut lines = vec![format!(
        "backup {} of database {}: {}, {:.1} s",
        manifest.id,
        plain(&manifest.database.name),
        counts(manifest),
        report.seconds
    )];
    lines.extend(remarks(manifest));
    print(&lines)
}
