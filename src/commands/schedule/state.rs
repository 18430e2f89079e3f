//! What is known of the jobs, for health and metrics.

use super::keeper::Ended;
use crate::archive::BackupId;
use crate::archive::manifest::Manifest;
use crate::notify::metrics::{Metrics, seconds};
use crate::notify::{Checked, Facts};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A job's newest backup.
#[derive(Debug, Clone)]
pub(super) struct LastBackup {
    pub(super) id: String,
    /// When the dump began, to the second.
    pub(super) begun: Timestamp,
    /// When it ended.
    ended: Timestamp,
    facts: Facts,
}

impl LastBackup {
    pub(super) fn of(id: &BackupId, manifest: &Manifest) -> Self {
        let begun = id.created();
        let ended = manifest.finished_at.parse().unwrap_or(begun);
        LastBackup {
            id: id.to_string(),
            begun,
            ended,
            facts: Facts {
                backup: id.to_string(),
                database: manifest.database.name.clone(),
                tables: manifest.totals.tables,
                rows: manifest.totals.rows,
                raw_bytes: manifest.totals.raw_bytes,
                stored_bytes: manifest.totals.stored_bytes,
                seconds: ended.duration_since(begun).as_secs_f64(),
                warnings: manifest.warnings.clone(),
            },
        }
    }

    /// One that nothing else is known of.
    #[cfg(test)]
    pub(super) fn begun_at(begun: Timestamp) -> Self {
        let facts = crate::notify::Event::test("").facts.expect("a test has all facts");
        LastBackup { id: String::new(), begun, ended: begun, facts }
    }
}

#[derive(Debug, Default)]
struct JobState {
    next: Option<Timestamp>,
    running: bool,
    last_run: Option<(Timestamp, bool)>,
    last_backup: Option<LastBackup>,
    last_check: Option<(Timestamp, Checked)>,
    successes: u32,
    failures: u32,
    elsewhere: u32,
}

/// What is known of all jobs.
#[derive(Debug)]
pub(super) struct State(Mutex<BTreeMap<String, JobState>>);

impl State {
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        State(Mutex::new(names.into_iter().map(|name| (name, JobState::default())).collect()))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut JobState)) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(jobs.entry(name.to_owned()).or_default());
    }

    pub(super) fn next(&self, name: &str, at: Timestamp) {
        self.change(name, |job| job.next = Some(at));
    }

    pub(super) fn found(&self, name: &str, backup: &LastBackup) {
        self.change(name, |job| job.last_backup = Some(backup.clone()));
    }

    pub(super) fn checked(&self, name: &str, at: Timestamp, check: Checked) {
        self.change(name, |job| job.last_check = Some((at, check)));
    }

    pub(super) fn begins(&self, name: &str) {
        self.change(name, |job| {
            job.running = true;
            job.next = None;
        });
    }

    pub(super) fn ended(&self, name: &str, how: &Ended, at: Timestamp) {
        self.change(name, |job| {
            job.running = false;
            match how {
                Ended::Success(backup) => {
                    job.successes += 1;
                    job.last_run = Some((at, true));
                    job.last_backup = Some(backup.clone());
                }
                Ended::Failed => {
                    job.failures += 1;
                    job.last_run = Some((at, false));
                }
                Ended::Elsewhere => job.elsewhere += 1,
                Ended::Stopped => {}
            }
        });
    }

    /// For Prometheus.
    pub(super) fn metrics(&self) -> String {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metrics = Metrics::default();
        metrics.gauge("pgstow_info", "Which pgstow this is.", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        for (name, job) in jobs.iter() {
            let labels = [("job", name.as_str())];
            let running = if job.running { 1.0 } else { 0.0 };
            metrics.gauge("pgstow_running", "Whether the job runs now.", &labels, running);
            if let Some(next) = job.next {
                metrics.gauge("pgstow_next_run_timestamp_seconds", "When the job runs next.", &labels, seconds(next));
            }
            for (outcome, count) in
                [("success", job.successes), ("failure", job.failures), ("elsewhere", job.elsewhere)]
            {
                let labels = [("job", name.as_str()), ("outcome", outcome)];
                metrics.counter("pgstow_runs_total", "How runs ended since the start.", &labels, f64::from(count));
            }
            if let Some((at, success)) = job.last_run {
                metrics.last_run(&labels, at, success);
            }
            if let Some(backup) = &job.last_backup {
                metrics.last_success(&labels, backup.ended, &backup.facts);
            }
            if let Some((at, check)) = &job.last_check {
                metrics.last_check(&labels, *at, check);
            }
        }
        metrics.text()
    }
}
