//! `pgstow verify`: arguments, options, report.

use super::Context;
use super::output::{plain, print, print_json};
use super::store::FromArgs;
use crate::commands::verify::{VerifyOptions, VerifyReport, damaged, verify};
use crate::error::Result;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

/// `pgstow verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The store to look into.
    #[command(flatten)]
    pub store: FromArgs,
    /// Ask the store for the objects' sizes only, and read none
    #[arg(long)]
    pub quick: bool,
    /// How many objects are read at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = VerifyOptions {
            store: self.store.open().await?,
            backup: self.backup.clone(),
            quick: self.quick,
            jobs: usize::from(self.jobs),
        };
        let display = context.display("verify", self.json);
        let report = verify(options, context.progress, context.stop).await;
        display.finish();
        let report = report?;
        print_report(&report, self.json)?;
        damaged(&report).map_or(Ok(()), Err)
    }
}

fn print_report(report: &VerifyReport, as_json: bool) -> Result<()> {
    let manifest = &report.manifest;
    if as_json {
        let problem = |problem: &crate::commands::verify::Problem| json!({ "key": problem.key, "holds": problem.holds, "message": problem.message });
        return print_json(&json!({
            "backup": manifest.id,
            "database": manifest.database.name,
            "quick": report.quick,
            "objects": report.objects,
            "stored_bytes": manifest.totals.stored_bytes,
            "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
            "seconds": report.seconds,
        }));
    }
    let mut lines: Vec<String> = report
        .problems
        .iter()
        .map(|problem| {
            let holds = problem.holds.as_ref().map_or(String::new(), |holds| format!(" ({})", plain(holds)));
            format!("damaged: {}{holds}: {}", plain(&problem.key), plain(&problem.message))
        })
        .collect();
    let how = if report.quick { "sizes only" } else { "every byte read" };
    let outcome = match report.problems.len() {
        0 => "nothing wrong".to_owned(),
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    lines.push(format!(
        "backup {} of database {}: {} objects, {} stored, {how}: {outcome}, {:.1} s",
        manifest.id,
        plain(&manifest.database.name),
        HumanCount(report.objects),
        HumanBytes(manifest.totals.stored_bytes),
        report.seconds
    ));
    print(&lines)
}
