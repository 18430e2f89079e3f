//! `pgstow sweep`: arguments, options, report.

use super::Context;
use super::output::{fate_word, plain, print, print_json};
use super::store::ToArgs;
use crate::commands::leftovers::{Fate, Leftover};
use crate::commands::sweep::{SweepOptions, SweepReport, sweep};
use crate::error::Result;
use crate::keep::Age;
use clap::Args;
use indicatif::HumanBytes;
use jiff::Timestamp;
use serde_json::json;

/// `pgstow sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The store to sweep.
    #[command(flatten)]
    pub store: ToArgs,
    /// Sweep only what dumps of this database left; may be repeated
    #[arg(long, value_name = "NAME")]
    pub database: Vec<String>,
    /// What was begun later than this stays, for it may be a dump that is running: say more than your longest dump takes
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub older_than: Age,
    /// Print what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl SweepArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = SweepOptions {
            store: self.store.open().await?,
            databases: self.database.clone(),
            older_than: self.older_than,
            dry_run: self.dry_run,
            now: Timestamp::now(),
        };
        let report = sweep(options, context.stop).await?;
        self.print_report(&report)
    }

    fn print_report(&self, report: &SweepReport) -> Result<()> {
        let kind = |leftover: &Leftover| if leftover.upload.is_some() { "upload" } else { "folder" };
        if self.json {
            let leftover = |leftover: &Leftover| {
                json!({
                    "name": leftover.name,
                    "kind": kind(leftover),
                    "bytes": leftover.bytes,
                    "begun": leftover.begun.map(|begun| begun.to_string()),
                    "fate": fate_word(leftover.fate),
                })
            };
            return print_json(&json!({
                "dry_run": self.dry_run,
                "leftovers": report.leftovers.iter().map(leftover).collect::<Vec<_>>(),
            }));
        }
        let mut lines: Vec<String> = report
            .leftovers
            .iter()
            .map(|leftover| {
                let bytes = HumanBytes(leftover.bytes).to_string();
                format!("{:<12}  {}  {bytes:>11}  {}", fate_word(leftover.fate), kind(leftover), plain(&leftover.name))
            })
            .collect();
        let fate = if self.dry_run { Fate::WouldGo } else { Fate::Deleted };
        let gone = report.leftovers.iter().filter(|leftover| leftover.fate == fate).count();
        let stay = report.leftovers.iter().filter(|leftover| leftover.fate == Fate::Stays).count();
        let verb = if self.dry_run { "would remove" } else { "removed" };
        lines.push(format!("{verb} {gone}, {stay} younger than {} stay", self.older_than));
        print(&lines)
    }
}
