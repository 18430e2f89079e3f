//! `pgstow check`: arguments, options, report.

use super::Context;
use super::output::{plain, print, print_json};
use super::store::FromArgs;
use crate::commands::check::{CheckOptions, CheckReport, Checked, Depth, check, unhealthy};
use crate::error::{Kind, Result};
use crate::keep::Age;
use crate::keep::health::{Limits, Severity, words};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;

/// `pgstow check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The store to check.
    #[command(flatten)]
    pub store: FromArgs,
    /// This database must have healthy backups; may be repeated [default: all databases in the store, at least one]
    #[arg(long, value_name = "NAME")]
    pub database: Vec<String>,
    /// How old the newest good backup may be, such as 26h or 8d
    #[arg(long, value_name = "AGE", default_value = "26h")]
    pub max_age: Age,
    /// How large the newest backup must be in the store, such as 500k or 2G
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub min_size: Option<u64>,
    /// By how much the newest backup may be smaller than the one before, before compression
    #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = percent)]
    pub max_shrink: u8,
    /// How closely the newest backup is looked at
    #[arg(long, value_enum, default_value_t = Verify::Quick)]
    pub verify: Verify,
    /// How many objects a full verification reads at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
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
        let outcome = self.check(context).await;
        if self.format == Format::Nagios {
            return nagios(outcome);
        }
        let report = outcome?;
        if self.format == Format::Json {
            print_json(&as_json(&report))?;
        } else {
            print(&as_text(&report))?;
        }
        unhealthy(&report).map_or(Ok(ExitCode::SUCCESS), Err)
    }

    async fn check(&self, context: Context) -> Result<CheckReport> {
        let options = CheckOptions {
            store: self.store.open().await?,
            databases: self.database.clone(),
            limits: Limits { max_age: Some(self.max_age), min_size: self.min_size, max_shrink: Some(self.max_shrink) },
            depth: match self.verify {
                Verify::Quick => Depth::Quick,
                Verify::Full => Depth::Full,
            },
            jobs: usize::from(self.jobs),
            unfinished_after: self.unfinished_after,
            now: Timestamp::now(),
        };
        let display = context.display("check", self.format != Format::Text);
        let report = check(options, context.progress, context.stop).await;
        display.finish();
        report
    }
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim().parse::<u8>().ok().filter(|percent| *percent <= 100);
    number.ok_or_else(|| format!("{text:?} is not between 0% and 100%"))
}

/// The state of one database in a few words: `newest 3h 2m old, 1.20 GiB, 31 backups`.
fn state(checked: &Checked) -> String {
    match (checked.findings.first(), &checked.newest) {
        (Some(finding), _) => finding.message.clone(),
        (None, Some(newest)) => {
            let age = words(Timestamp::now().duration_since(newest.begun));
            format!("newest {age} old, {}, {} backups", HumanBytes(newest.stored_bytes), checked.backups)
        }
        (None, None) => "no backup".to_owned(),
    }
}

fn severity(checked: &Checked) -> Severity {
    checked.findings.first().map_or(Severity::Fine, |finding| finding.severity)
}

/// The findings that the first line of a database does not say.
fn details(checked: &Checked) -> impl Iterator<Item = String> {
    checked
        .findings
        .iter()
        .skip(1)
        .map(|finding| format!("  {}: {} [{}]", finding.severity, plain(&finding.message), finding.rule))
}

fn as_text(report: &CheckReport) -> Vec<String> {
    let mut lines = Vec::new();
    for checked in &report.databases {
        lines.push(format!("{}: {}: {}", severity(checked), plain(&checked.database), plain(&state(checked))));
        lines.extend(details(checked));
    }
    lines
}

fn as_json(report: &CheckReport) -> Value {
    let checked = |checked: &Checked| {
        json!({
            "database": checked.database,
            "severity": severity(checked).to_string(),
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
    let worst = report.databases.iter().max_by_key(|checked| (severity(checked), std::cmp::Reverse(&checked.database)));
    let said = worst.map_or(String::new(), |checked| format!("{}: {}", checked.database, state(checked)));
    let others = report.databases.len().saturating_sub(1);
    let others = if others > 0 { format!(" (and {others} more databases)") } else { String::new() };
    let measured = |checked: &Checked| {
        let newest = checked.newest.as_ref()?;
        let age = Timestamp::now().duration_since(newest.begun).as_secs().max(0);
        // A quote in a label is doubled, and an equals sign cannot stand in one.
        let label = bare(&checked.database).replace('\'', "''").replace('=', "_");
        Some(format!("'{label} age'={age}s '{label} size'={}B", newest.stored_bytes))
    };
    let measured: Vec<String> = report.databases.iter().filter_map(measured).collect();
    let word = report.severity().to_string().to_uppercase();
    let mut lines = vec![format!("PGSTOW {word} - {}{others} | {}", bare(&said), measured.join(" "))];
    for checked in &report.databases {
        lines.push(format!("{}: {}: {}", severity(checked), bare(&checked.database), bare(&state(checked))));
        lines.extend(details(checked).map(|line| bare(&line)));
    }
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
