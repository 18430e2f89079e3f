//! `pgstow report`: arguments, report.

use super::Context;
use super::output::{plain, print};
use super::subject::{Subject, SubjectArgs};
use crate::commands::report::{Report, ReportOptions, ago, page, report};
use crate::error::{Error, Kind, Result};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use std::path::PathBuf;

/// So many failures of one sort are named.
const NAMED: usize = 20;

/// `pgstow report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Whose backups.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// Write one HTML page into this file, without anything to fetch; if its name ends in .txt, plain text [default:
    /// plain text on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl ReportArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let now = Timestamp::now();
        let options = match self.subject.open().await? {
            Subject::Job(ready) => ReportOptions { store: ready.store, job: Some(ready.job), now },
            Subject::Store(store) => ReportOptions { store, job: None, now },
        };
        let report = report(&options, &context.stop).await?;
        let Some(path) = &self.output else { return print(&text(&report)) };
        let as_text = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"));
        let content = if as_text { text(&report).join("\n") + "\n" } else { page(&report) };
        std::fs::write(path, content)
            .map_err(|error| Error::new(Kind::Usage, "cannot be written").on(path.display().to_string()).because(error))
    }
}

fn text(report: &Report) -> Vec<String> {
    let mut lines =
        vec![plain(&format!("backups in {}, {}", report.store, report.made_at.strftime("%Y-%m-%d %H:%M UTC")))];
    if report.databases.is_empty() {
        lines.push("there are none".to_owned());
    }
    for database in &report.databases {
        lines.push(String::new());
        lines.push(plain(&format!(
            "{}: {} backups, {} together",
            database.name,
            database.backups.len(),
            HumanBytes(database.stored_bytes())
        )));
        lines.extend(database.newest().map(|newest| format!("  last success {}", ago(newest.begun, report.made_at))));
        lines.extend(database.failures(NAMED).iter().map(|line| plain(&format!("  ! {line}"))));
        for backup in &database.backups {
            lines.push(format!(
                "  {}  {:>10}  {:>14} rows  {:>8.1} s",
                backup.id,
                HumanBytes(backup.stored_bytes).to_string(),
                HumanCount(backup.rows).to_string(),
                backup.seconds
            ));
            lines.extend(backup.remarks.iter().map(|remark| plain(&format!("    {remark}"))));
        }
    }
    if !report.unfinished.is_empty() {
        lines.push(String::new());
        lines.push("not finished (running now, or killed)".to_owned());
        lines.extend(report.unfinished.iter().map(|name| plain(&format!("  {name}"))));
    }
    lines.push(String::new());
    lines.push("a run that fails removes what it wrote; it shows above as a time without a backup".to_owned());
    lines
}
