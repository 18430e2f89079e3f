//! `pgstow check`: arguments, options, report.

use super::Context;
use super::output::{plain, print, print_json};
use super::subject::{Subject, SubjectArgs};
use crate::commands::check::{CheckOptions, CheckReport, Checked, Depth, check, check_job, options_of, unhealthy};
use crate::error::{Error, Kind, Result};
use crate::jobs::JobCheck;
use crate::keep::Age;
use crate::keep::health::{Limits, Severity};
use crate::notify::Told;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

/// `pgstow check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Whose backups.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// Tell those whom the job tells what was found; who cannot be told changes no exit code
    #[arg(long)]
    pub notify: bool,
    /// This database must have healthy backups; may be repeated [default: all databases in the store, at least one]
    #[arg(long, value_name = "NAME")]
    pub database: Vec<String>,
    /// How old the newest good backup may be, such as 26h or 8d [default: what the job says, or 26h]
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// How large the newest backup must be in the store, such as 500k or 2G
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub min_size: Option<u64>,
    /// By how much the newest backup may be smaller than the one before, before compression [default: what the job says,
    /// or 50%]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub max_shrink: Option<u8>,
    /// How closely the newest backup is looked at [default: what the job says, or quick]
    #[arg(long, value_enum)]
    pub verify: Option<Verify>,
    /// How many objects a full verification reads at once [default: the job's connections, or 4]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// What has no manifest and is older than this was left by a dump that was killed
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub unfinished_after: Age,
    /// How the result is said; nagios also has its exit codes: 0 ok, 1 warning, 2 critical, 3 unknown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How closely to look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Verify {
    /// All objects are there, each of its size.
    Quick,
    /// Every byte is read and held against its digest.
    Full,
}

/// How to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line for each database, details after.
    Text,
    /// One line with performance data, details after.
    Nagios,
    /// One JSON document.
    Json,
}

impl CheckArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<ExitCode> {
        let (outcome, told) = match self.check(context).await {
            Ok((outcome, told)) => (outcome, told),
            Err(error) => (Err(error), Vec::new()),
        };
        if self.format == Format::Nagios {
            return nagios(outcome);
        }
        let report = outcome?;
        if self.format == Format::Json {
            print_json(&as_json(&report, &told))?;
        } else {
            print(&as_text(&report, &told))?;
        }
        unhealthy(&report).map_or(Ok(ExitCode::SUCCESS), Err)
    }

    /// What was found, or why it could not be found out, and how telling went.
    async fn check(&self, context: Context) -> Result<(Result<CheckReport>, Vec<Told>)> {
        let subject = self.subject.open().await?;
        let options = self.options(&subject);
        let job = match subject {
            Subject::Job(job) => Some(job),
            Subject::Store(_) => None,
        };
        if self.notify && job.is_none() {
            return Err(Error::new(Kind::Usage, "without a job there is nobody to tell")
                .hint("name a job of pgstow.toml: `pgstow check JOB --notify`"));
        }
        let display = context.display("check", self.format != Format::Text);
        let done = match job.filter(|_| self.notify) {
            None => (check(options, context.progress, context.stop).await, Vec::new()),
            Some(job) => {
                let checked = check_job(&job, options, context.progress, context.stop).await;
                (checked.outcome, checked.told)
            }
        };
        display.finish();
        Ok(done)
    }

    /// What to check: what the job says, unless an argument says otherwise.
    fn options(&self, subject: &Subject) -> CheckOptions {
        let now = Timestamp::now();
        let usual = match subject {
            Subject::Job(job) => options_of(job, now),
            Subject::Store(store) => CheckOptions {
                store: Arc::clone(store),
                copies: Vec::new(),
                databases: Vec::new(),
                limits: Limits {
                    max_age: Some(JobCheck::daily()),
                    min_size: None,
                    max_shrink: Some(JobCheck::MAX_SHRINK),
                },
                depth: Depth::Quick,
                jobs: 4,
                unfinished_after: self.unfinished_after,
                now,
            },
        };
        CheckOptions {
            databases: if self.database.is_empty() { usual.databases } else { self.database.clone() },
            limits: Limits {
                max_age: self.max_age.or(usual.limits.max_age),
                min_size: self.min_size.or(usual.limits.min_size),
                max_shrink: self.max_shrink.or(usual.limits.max_shrink),
            },
            depth: match self.verify {
                None => usual.depth,
                Some(Verify::Quick) => Depth::Quick,
                Some(Verify::Full) => Depth::Full,
            },
            jobs: self.jobs.map_or(usual.jobs, usize::from),
            unfinished_after: self.unfinished_after,
            ..usual
        }
    }
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim().parse::<u8>().ok().filter(|percent| *percent <= 100);
    number.ok_or_else(|| format!("{text:?} is not between 0% and 100%"))
}

fn as_text(report: &CheckReport, told: &[Told]) -> Vec<String> {
    let mut lines: Vec<String> = report.lines(Timestamp::now()).iter().map(|line| plain(line)).collect();
    // Whoever could not be told is a warning on standard error already.
    let arrived = told.iter().filter(|told| told.outcome.is_ok());
    lines.extend(arrived.map(|told| format!("told {}", plain(&told.name))));
    lines
}

fn as_json(report: &CheckReport, told: &[Told]) -> Value {
    let checked = |checked: &Checked| {
        json!({
            "database": checked.database,
            "severity": checked.severity().to_string(),
            "backups": checked.backups,
            "newest": checked.newest.as_ref().map(|newest| json!({
                "backup": newest.id,
                "begun": newest.begun.to_string(),
                "stored_bytes": newest.stored_bytes,
                "raw_bytes": newest.raw_bytes,
            })),
            "findings": checked.findings.iter().map(|finding| json!({
                "severity": finding.severity.to_string(),
                "rule": finding.rule,
                "message": finding.message,
            })).collect::<Vec<_>>(),
        })
    };
    json!({
        "severity": report.severity().to_string(),
        "databases": report.databases.iter().map(checked).collect::<Vec<_>>(),
        "told": told.iter()
            .map(|told| json!({"notifier": told.name, "error": told.outcome.as_ref().err().map(ToString::to_string)}))
            .collect::<Vec<_>>(),
    })
}

/// The words and exit codes of Nagios plugins (Monitoring Plugins Development Guidelines): one line with performance
/// data after a bar, more lines after it.
fn nagios(outcome: Result<CheckReport>) -> Result<ExitCode> {
    let (code, lines) = match outcome {
        Ok(report) => (code(report.severity()), nagios_lines(&report)),
        Err(error) if error.kind() == Kind::Unhealthy => (2, vec![format!("PGSTOW CRITICAL - {}", bare(&error))]),
        Err(error) => (3, vec![format!("PGSTOW UNKNOWN - {}", bare(&error))]),
    };
    print(&lines)?;
    Ok(ExitCode::from(code))
}

fn code(severity: Severity) -> u8 {
    match severity {
        Severity::Fine => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

/// A bar would begin the performance data.
fn bare(words: &impl ToString) -> String {
    plain(&words.to_string()).replace('|', "/")
}

fn nagios_lines(report: &CheckReport) -> Vec<String> {
    let now = Timestamp::now();
    let worst =
        report.databases.iter().max_by_key(|checked| (checked.severity(), std::cmp::Reverse(&checked.database)));
    let said = worst.map_or(String::new(), |checked| format!("{}: {}", checked.database, checked.state(now)));
    let others = report.databases.len().saturating_sub(1);
    let others = if others > 0 { format!(" (and {others} more databases)") } else { String::new() };
    let measured = |checked: &Checked| {
        let newest = checked.newest.as_ref()?;
        let age = now.duration_since(newest.begun).as_secs().max(0);
        // A quote in a label is doubled, and an equals sign cannot stand in one.
        let label = bare(&checked.database).replace('\'', "''").replace('=', "_");
        Some(format!("'{label} age'={age}s '{label} size'={}B", newest.stored_bytes))
    };
    let measured: Vec<String> = report.databases.iter().filter_map(measured).collect();
    let word = report.severity().to_string().to_uppercase();
    let mut lines = vec![format!("PGSTOW {word} - {}{others} | {}", bare(&said), measured.join(" "))];
    lines.extend(report.lines(now).iter().map(bare));
    lines
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_percentage_is_read_with_and_without_its_sign() {
        assert_eq!(["0", "50%", "100 %"].map(|text| percent(text).ok()), [Some(0), Some(50), Some(100)]);
        assert_eq!(["", "101%", "half"].map(|text| percent(text).ok()), [None; 3]);
    }
}
