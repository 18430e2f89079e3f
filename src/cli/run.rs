//! `pgstow run`: arguments, options, report.

use super::Context;
use super::display::Display;
use super::jobs::{ConfigArgs, ready};
use super::output::{print, print_json};
use crate::commands::Journal;
use crate::commands::run::{RunReport, run};
use crate::error::Result;
use clap::Args;
use serde_json::json;
use std::sync::Arc;

/// `pgstow run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a file of jobs, the environment that backup scripts use describes the job: DB_HOST, DB_PORT, DB_DATABASE,
DB_USERNAME, DB_PASSWORD say where the database is (the PG* variables come first), BACKUP_S3_BUCKET where the backup goes:
below database-backups/ in that bucket (PGSTOW_STORE comes first), in the class STANDARD_IA (PGSTOW_STORAGE_CLASS comes
first); after a good backup, those that are more than 30 days older are removed (PGSTOW_KEEP_WITHIN comes first). The exit code is that of what failed; `pgstow --help` lists them. Whoever cannot be notified changes no exit code.")]
pub struct RunArgs {
    /// The job's name [default: the only job of the file]
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print one JSON document on standard output, and no steps
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = ready(self.config.job(self.job.as_deref())?).await?;
        let silent = self.json || context.quiet;
        let journal = Arc::new(Journal::new(move |line| {
            if !silent {
                // Standard output that is closed ends no backup.
                let _unwritable = print(&[line.to_owned()]);
            }
        }));
        let display = (!silent).then(|| Display::lines("run", &context.progress));
        let report = run(&options, &context.progress, &journal, &context.stop).await;
        display.into_iter().for_each(Display::finish);
        if self.json {
            print_report(&options.job.name, &report)?;
        }
        report.error.map_or(Ok(()), Err)
    }
}

fn print_report(job: &str, report: &RunReport) -> Result<()> {
    let manifest = report.dump.as_ref().map(|dump| &dump.manifest);
    print_json(&json!({
        "job": job,
        "backup": manifest.map(|manifest| manifest.id.to_string()),
        "database": manifest.map(|manifest| manifest.database.name.clone()),
        "folder": report.dump.as_ref().map(|dump| dump.folder.clone()),
        "totals": manifest.map(|manifest| &manifest.totals),
        "warnings": manifest.map(|manifest| &manifest.warnings),
        "skipped": manifest.map(|manifest| &manifest.skipped),
        "copies": report.copies.iter().map(|copy| json!({"store": copy.store, "error": copy.error})).collect::<Vec<_>>(),
        "seconds": report.seconds,
        "error": report.error.as_ref().map(ToString::to_string),
        "told": report.told.iter()
            .map(|told| json!({"notifier": told.name, "error": told.outcome.as_ref().err().map(ToString::to_string)}))
            .collect::<Vec<_>>(),
    }))
}
