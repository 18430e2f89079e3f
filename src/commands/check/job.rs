//! Checking a job's backups, and telling what was found.
//!
//! Always true here: telling never changes what was found, and who could not be told is in the outcome.

use super::{CheckOptions, CheckReport, Depth, check};
use crate::commands::run::{RunOptions, random_id};
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::jobs::Verification;
use crate::keep::Age;
use crate::keep::health::Severity;
use crate::notify::{self, Event, Found, Grade, Moment, Told};
use jiff::Timestamp;
use std::sync::Arc;

/// What has no manifest and is older than this was left by a dump that was killed; `pgstow check` has the same default.
const UNFINISHED_AFTER_DAYS: i32 = 1;

/// How a check went.
#[derive(Debug)]
pub struct JobChecked {
    /// What was found, or why it could not be found out.
    pub outcome: Result<CheckReport>,
    /// How telling went.
    pub told: Vec<Told>,
}

/// What the job says of its check.
pub fn options_of(options: &RunOptions, now: Timestamp) -> CheckOptions {
    let job = &options.job;
    CheckOptions {
        store: Arc::clone(&options.store),
        copies: options.copies.clone(),
        databases: vec![job.connection.database().to_owned()],
        limits: job.check.limits.clone(),
        depth: match job.check.verify {
            Verification::Quick => Depth::Quick,
            Verification::Full => Depth::Full,
        },
        jobs: job.connections,
        unfinished_after: Age::days(UNFINISHED_AFTER_DAYS),
        now,
    }
}

/// Checks, and tells those whom the job's check tells. A check that was stopped is told to nobody.
pub async fn check_job(job: &RunOptions, options: CheckOptions, progress: Arc<Progress>, stop: Stop) -> JobChecked {
    let now = options.now;
    let outcome = check(options, progress, stop).await;
    if outcome.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted) {
        return JobChecked { outcome, told: Vec::new() };
    }
    let event = event(job, outcome.as_ref(), now);
    let told = notify::tell(&job.job.check.notifiers, &event).await;
    JobChecked { outcome, told }
}

impl JobChecked {
    /// The check as those see it who are told.
    pub(crate) fn facts(&self) -> notify::Checked {
        facts(self.outcome.as_ref())
    }
}

fn event(options: &RunOptions, outcome: Result<&CheckReport, &Error>, now: Timestamp) -> Event {
    let job = &options.job;
    let check = facts(outcome);
    let unhealthy = match outcome {
        Ok(report) => super::unhealthy(report),
        Err(_) => None,
    };
    let error = outcome.err().or(unhealthy.as_ref());
    Event {
        moment: match check.severity {
            Grade::Ok => Moment::Healthy,
            Grade::Warning => Moment::Warning,
            Grade::Critical | Grade::Unknown => Moment::Unhealthy,
        },
        job: job.name.clone(),
        host: options.host.clone(),
        at: now,
        run: random_id(),
        source: job.connection.describe(),
        store: job.store.url.to_string(),
        facts: None,
        error: error.map(ToString::to_string),
        hint: error.and_then(Error::hint_text).map(str::to_owned),
        exit_code: error.map_or(0, |error| error.kind().exit_code()),
        check: Some(check),
        log: Vec::new(),
    }
}

fn facts(outcome: Result<&CheckReport, &Error>) -> notify::Checked {
    let (severity, databases) = match outcome {
        Ok(report) => (grade(report.severity()), report.databases.as_slice()),
        Err(error) if error.kind() == Kind::Unhealthy => (Grade::Critical, [].as_slice()),
        Err(_) => (Grade::Unknown, [].as_slice()),
    };
    let findings = databases.iter().flat_map(|checked| &checked.findings).map(|finding| Found {
        severity: finding.severity.to_string(),
        rule: finding.rule.to_owned(),
        message: finding.message.clone(),
    });
    let newest = databases.iter().find_map(|checked| checked.newest.as_ref());
    notify::Checked {
        severity,
        findings: findings.collect(),
        newest: newest.map(|newest| newest.id.clone()),
        newest_at: newest.map(|newest| newest.begun),
    }
}

fn grade(severity: Severity) -> Grade {
    match severity {
        Severity::Fine => Grade::Ok,
        Severity::Warning => Grade::Warning,
        Severity::Critical => Grade::Critical,
    }
}
