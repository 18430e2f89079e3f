//! What the user can type, as clap sees it. Inert: nothing here is resolved, nothing has an effect.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit codes, for `--help`; the README has the same table.
const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  something inside pgstow that must not happen
    2  arguments, environment or configuration that cannot be used
    3  the PostgreSQL server cannot be reached or refuses the login
    4  the server refused a question or a statement
    5  the store cannot be reached, refuses, or lacks what was asked for
    6  the backup is missing, incomplete, damaged, or of a newer format
    7  the database holds something that cannot be dumped yet
    8  a restore with --keep-going went to its end, but some statements failed
    9  the target of a restore already has the objects
  130  stopped by a signal";

/// Dumps a PostgreSQL database straight to S3 and restores it, without pg_dump.
#[derive(Debug, Parser)]
#[command(name = "pgstow", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Arguments {
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on standard error; repeat for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors on standard error, and show no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How log lines on standard error look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Dump one database into the store
    Dump(DumpArgs),
    /// Restore a backup into a database
    Restore(RestoreArgs),
    /// List the backups in the store
    List(ListArgs),
    /// Show one backup
    Show(ShowArgs),
}

/// How to reach the store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Endpoint of an S3-compatible store [default: the standard AWS environment and files]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket [default: the standard AWS environment and files]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Whether the bucket stands in the path instead of the host name [default: true with an endpoint of your own]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub path_style: Option<bool>,
}

/// Where a dump goes.
#[derive(Debug, Args)]
pub struct ToArgs {
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub to: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// Where a backup comes from.
#[derive(Debug, Args)]
pub struct FromArgs {
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub from: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// Which archive to read: a backup in a store, or a folder that is one archive.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP", required_unless_present = "archive")]
    pub backup: Option<String>,
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE", required_unless_present = "archive")]
    pub from: Option<String>,
    /// Instead of a backup in a store: a folder that holds one directory archive (pg_dump -F d), as s3://bucket/folder,
    /// file:///folder or a path
    #[arg(long, value_name = "FOLDER", conflicts_with = "backup")]
    pub archive: Option<String>,
    /// With --archive: take what pgstow wrote even though its manifest is missing, so that nothing can be verified
    #[arg(long, requires = "archive")]
    pub without_manifest: bool,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

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
    /// Leave out, with a warning that the manifest keeps, kinds of objects that pgstow cannot dump yet
    #[arg(long)]
    pub allow_incomplete: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `pgstow restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// What to restore.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// The target: its name, a libpq URI or keyword string [default: the PG* variables]; with -C, the database to connect
    /// to first
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
    /// How many connections load at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Make the database first, under the name it had
    #[arg(short = 'C', long)]
    pub create: bool,
    /// Drop what the backup holds before making it
    #[arg(short, long)]
    pub clean: bool,
    /// With -c, do not mind what is not there
    #[arg(long, requires = "clean")]
    pub if_exists: bool,
    /// Do not set owners
    #[arg(short = 'O', long)]
    pub no_owner: bool,
    /// Do not set privileges
    #[arg(short = 'x', long, alias = "no-acl")]
    pub no_privileges: bool,
    /// Restore only this schema; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "SCHEMA")]
    pub schemas: Vec<String>,
    /// Restore only this table (view, sequence) with what hangs on it; may be repeated
    #[arg(short = 't', long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Restore definitions only, no rows
    #[arg(short, long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Restore rows only, no definitions
    #[arg(short = 'a', long)]
    pub data_only: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Collect errors instead of stopping at the first; the exit code is 8 then
    #[arg(long)]
    pub keep_going: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `pgstow list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The store to look into.
    #[command(flatten)]
    pub store: FromArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `pgstow show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The store to look into.
    #[command(flatten)]
    pub store: FromArgs,
    /// Print the manifest as one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}
