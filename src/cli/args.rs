//! What the user can type before and after the verb, and the list of verbs. Inert: nothing here has an effect.

use super::bucket::BucketArgs;
use super::check::CheckArgs;
use super::config::ConfigVerb;
use super::copy::CopyArgs;
use super::cost::CostArgs;
use super::doctor::DoctorArgs;
use super::dump::DumpArgs;
use super::export::ExportArgs;
use super::list::ListArgs;
use super::notify::NotifyVerb;
use super::prune::PruneArgs;
use super::report::ReportArgs;
use super::restore::RestoreArgs;
use super::run::RunArgs;
use super::schedule::ScheduleArgs;
use super::show::ShowArgs;
use super::sweep::SweepArgs;
use super::thaw::ThawArgs;
use super::verify::VerifyArgs;
use clap::{Parser, Subcommand, ValueEnum};

/// Exit codes, for `--help`; the README has the same table.
const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  something inside pgstow that must not happen
    2  arguments, environment or configuration that cannot be used
    3  the PostgreSQL server cannot be reached or refuses the login
    4  the server refused a question or a statement
    5  the store cannot be reached, refuses, or lacks what was asked for
    6  the backup is missing, incomplete, damaged, or of a newer format; or restore --verify found other rows
    7  the database holds something that cannot be dumped
    8  it went to its end, but a part failed: statements of restore --keep-going, databases of dump --all, backups of
       copy --new, copies of a job
    9  the target of a restore already has the objects, or lacks what they need
   10  a check found something that needs attention
   12  a notification did not arrive (`notify test` only)
   13  another process runs the job already
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
    /// Take the variables of this file (lines `export NAME=value`) over the environment's; its owner alone may read it
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<std::path::PathBuf>,
    /// Add to this file which kinds of requests the S3 store was asked, for `pgstow bucket policy used`
    #[arg(long, global = true, value_name = "FILE")]
    pub note_requests: Option<std::path::PathBuf>,
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
    /// Write a backup as a script for psql, or as a folder for pg_restore
    Export(ExportArgs),
    /// List the backups in the store
    List(ListArgs),
    /// Show one backup
    Show(ShowArgs),
    /// Run one backup job: of pgstow.toml, or what the environment of a backup script describes
    Run(RunArgs),
    /// Run the jobs of pgstow.toml whenever their time comes, until stopped by a signal
    Schedule(ScheduleArgs),
    /// Try everything that a backup needs, and say what to do about what is amiss
    Doctor(DoctorArgs),
    /// Write a page for people about the backups in the store
    Report(ReportArgs),
    /// Write an example of pgstow.toml, or say what its jobs will do
    Config(ConfigVerb),
    /// Try the notifications of pgstow.toml
    Notify(NotifyVerb),
    /// Abort the uploads and remove the objects that killed dumps left
    Sweep(SweepArgs),
    /// Check that every object of a backup is what it was
    Verify(VerifyArgs),
    /// Remove the backups that no rule keeps, and what killed dumps left
    Prune(PruneArgs),
    /// Copy backups into another store
    Copy(CopyArgs),
    /// Ask the store to make a backup readable that lies in an archive class
    Thaw(ThawArgs),
    /// Say whether the backups in the store are healthy
    Check(CheckArgs),
    /// Say what the backups cost, and what plans for them would
    Cost(CostArgs),
    /// Set up a bucket for backups, check it, print policies for it
    Bucket(BucketArgs),
}
