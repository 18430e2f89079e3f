//! `pgstow run`: one job from its start to its end, as cron, a script and a mailer did it together.
//!
//! Lock, tell that it begins, dump, and only after a dump that went well what depends on it; then tell how it ended. Who
//! cannot be told is reported and changes nothing else.

mod copies;
mod lock;

pub use copies::CopyOutcome;

use super::dump::{DumpOptions, DumpReport, Kindness, dump};
use super::leftovers::Fate;
use super::memory::least;
use super::prune::{PruneOptions, prune};
use super::verify::{VerifyOptions, damaged, verify};
use super::{Journal, Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::jobs::{Job, JobStore, Verification};
use crate::keep::Age;
use crate::notify::{self, Event, Facts, Moment, Told};
use crate::store::Store;
use jiff::Timestamp;
use lock::JobLock;
use std::sync::Arc;

/// What has no manifest and is older than this was left by a dump that was killed; `pgstow prune` has the same default.
const UNFINISHED_AFTER_DAYS: i32 = 1;

/// A job that is ready to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The job.
    pub job: Job,
    /// Its store, opened.
    pub store: Arc<dyn Store>,
    /// The stores that get copies, opened, in the job's order.
    pub copies: Vec<Arc<dyn Store>>,
    /// This machine's name, for those who are told.
    pub host: String,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunReport {
    /// The backup, if there is one; also when something after it failed.
    pub dump: Option<DumpReport>,
    /// What became of its copies.
    pub copies: Vec<CopyOutcome>,
    /// How telling went.
    pub told: Vec<Told>,
    /// Why the run failed, if it did.
    pub error: Option<Error>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Runs the job. Failures are in the report, for there is more to say about a failed run than its error.
pub async fn run(options: &RunOptions, progress: &Arc<Progress>, journal: &Arc<Journal>, stop: &Stop) -> RunReport {
    let job = &options.job;
    let mut run = Run { options, progress, journal, id: random_id(), dump: None, copies: Vec::new(), told: Vec::new() };
    journal.say(&format!("job {}: {} to {}", job.name, job.connection.describe(), run.store()));
    let lock = match stop.unless(JobLock::take(&job.connection, &job.name, &run.store())).await {
        Ok(lock) => lock,
        // Whoever holds the lock tells how that run ends; this one never began.
        Err(error) if error.kind() == Kind::Busy => return run.report(Some(error)),
        Err(error) => return run.end(Err(error)).await,
    };
    run.tell(Moment::Start, None).await;
    let outcome = run.work(stop).await;
    lock.release().await;
    run.end(outcome).await
}

/// A run under way.
struct Run<'a> {
    options: &'a RunOptions,
    progress: &'a Arc<Progress>,
    journal: &'a Arc<Journal>,
    id: String,
    dump: Option<DumpReport>,
    copies: Vec<CopyOutcome>,
    told: Vec<Told>,
}

impl Run<'_> {
    fn store(&self) -> String {
        self.options.job.store.url.to_string()
    }

    /// All that can fail: the dump, and what only a good dump is followed by.
    async fn work(&mut self, stop: &Stop) -> Result<()> {
        let journal = Arc::clone(self.journal);
        // A dump's "done" is not yet the job's.
        self.progress.on_phase(move |phase| {
            if phase != "done" {
                journal.say(phase);
            }
        });
        let report = dump(dump_options(self.options), Arc::clone(self.progress), stop.clone()).await?;
        self.journal.say(&made(&report));
        for warning in &report.manifest.warnings {
            self.journal.say(&format!("warning: {warning}"));
        }
        for skipped in &report.manifest.skipped {
            self.journal.say(&format!("left out: {} ({})", skipped.object, skipped.reason));
        }
        let id = report.manifest.id.to_string();
        self.dump = Some(report);
        if let Some(how) = self.options.job.verify {
            self.verify(&id, how, stop).await?;
        }
        let copied = self.copy_to_all(&id, stop).await;
        if stop.is_asked() {
            return copied;
        }
        let pruned = self.prune(&self.options.store, &self.options.job.store, stop).await;
        copied.and(pruned)
    }

    /// Holds the new backup against its manifest, as it lies in the store.
    async fn verify(&self, id: &str, how: Verification, stop: &Stop) -> Result<()> {
        let options = VerifyOptions {
            store: Arc::clone(&self.options.store),
            backup: format!("{}/{id}", self.options.job.connection.database()),
            quick: how == Verification::Quick,
            jobs: self.options.job.connections,
        };
        let report = verify(options, self.step(), stop.clone()).await;
        self.progress.step(None);
        let report = report?;
        for problem in &report.problems {
            self.journal.say(&format!("problem: {}: {}", problem.key, problem.message));
        }
        match damaged(&report) {
            Some(error) => Err(error),
            None => {
                self.journal.say(&format!("verified {id}: {} objects", report.objects));
                Ok(())
            }
        }
    }

    /// Counters for what comes after the dump, shown until they are done.
    fn step(&self) -> Arc<Progress> {
        let step = Arc::<Progress>::default();
        self.progress.step(Some(Arc::clone(&step)));
        step
    }

    /// Removes from a store what its rules do not keep. Only after it got a good backup: a job that fails must not lose what
    /// it had.
    async fn prune(&self, store: &Arc<dyn Store>, place: &JobStore, stop: &Stop) -> Result<()> {
        let Some(rules) = &place.retention else { return Ok(()) };
        self.journal.say(&format!("pruning: {rules}"));
        let options = PruneOptions {
            store: Arc::clone(store),
            rules: rules.clone(),
            databases: vec![self.options.job.connection.database().to_owned()],
            unfinished_after: Age::days(UNFINISHED_AFTER_DAYS),
            dry_run: false,
            now: Timestamp::now(),
        };
        let report = prune(options, stop.clone()).await?;
        for line in report.backups.iter().filter(|line| line.fate != Fate::Stays) {
            let word = if line.fate == Fate::Retained { "the store retains" } else { "removed" };
            self.journal.say(&format!("{word} {}", line.place.id));
        }
        let (stays, bytes) = report.sum(Fate::Stays);
        let stay = if stays == 1 { "1 backup stays".to_owned() } else { format!("{stays} backups stay") };
        self.journal.say(&format!("{stay}, {}", indicatif::HumanBytes(bytes)));
        Ok(())
    }

    async fn end(mut self, outcome: Result<()>) -> RunReport {
        let error = outcome.err();
        match &error {
            None => self.journal.say("done"),
            Some(error) => {
                self.journal.say(&format!("failed: {error}"));
                if let Some(hint) = error.hint_text() {
                    self.journal.say(&format!("hint: {hint}"));
                }
            }
        }
        let moment = if error.is_some() { Moment::Failure } else { Moment::Success };
        self.tell(moment, error.as_ref()).await;
        self.report(error)
    }

    fn report(self, error: Option<Error>) -> RunReport {
        RunReport { dump: self.dump, copies: self.copies, told: self.told, error, seconds: self.progress.seconds() }
    }

    async fn tell(&mut self, moment: Moment, error: Option<&Error>) {
        let job = &self.options.job;
        let event = Event {
            moment,
            job: job.name.clone(),
            host: self.options.host.clone(),
            at: Timestamp::now(),
            run: self.id.clone(),
            source: job.connection.describe(),
            store: self.store(),
            check: None,
            facts: self.dump.as_ref().map(|report| facts(report, self.progress)),
            error: error.map(ToString::to_string),
            hint: error.and_then(Error::hint_text).map(str::to_owned),
            exit_code: error.map_or(0, |error| error.kind().exit_code()),
            log: self.journal.tail(),
        };
        for told in notify::tell(&job.notifiers, &event).await {
            match &told.outcome {
                Ok(()) => self.journal.say(&format!("told {} ({})", told.name, moment.as_str())),
                Err(error) => self.journal.say(&format!("warning: could not notify: {error}")),
            }
            self.told.push(told);
        }
    }
}

/// The dump that the job means.
fn dump_options(options: &RunOptions) -> DumpOptions {
    let (job, tuning) = (&options.job, &options.job.tuning);
    let usual = DumpOptions::new(job.connection.clone(), Arc::clone(&options.store));
    DumpOptions {
        jobs: job.connections,
        codec: job.codec,
        selection: job.selection.clone(),
        globals: job.globals,
        storage_class: job.store.class.clone(),
        // More connections hold more; how many was the user's choice.
        memory: tuning.memory.unwrap_or(usual.memory.max(least(job.connections, job.codec))),
        split_above: tuning.split_above.unwrap_or(usual.split_above),
        part_size: tuning.part_size,
        max_parts: tuning.max_parts,
        kindness: Kindness {
            lock_timeout: tuning.lock_timeout,
            rate_limit: tuning.rate_limit,
            max_snapshot_age: tuning.max_snapshot_age,
            max_blocking: tuning.max_blocking,
        },
        allow_incomplete: job.allow_incomplete,
        ..usual
    }
}

fn made(report: &DumpReport) -> String {
    let totals = &report.manifest.totals;
    format!(
        "made backup {} of database {}: {} {}, {} rows, {} stored, {:.1} s",
        report.manifest.id,
        report.manifest.database.name,
        indicatif::HumanCount(totals.tables),
        if totals.tables == 1 { "table" } else { "tables" },
        indicatif::HumanCount(totals.rows),
        indicatif::HumanBytes(totals.stored_bytes),
        report.seconds
    )
}

fn facts(report: &DumpReport, progress: &Progress) -> Facts {
    let manifest = &report.manifest;
    let skipped = manifest.skipped.iter().map(|skipped| format!("left out: {} ({})", skipped.object, skipped.reason));
    Facts {
        backup: manifest.id.to_string(),
        database: manifest.database.name.clone(),
        tables: manifest.totals.tables,
        rows: manifest.totals.rows,
        raw_bytes: manifest.totals.raw_bytes,
        stored_bytes: manifest.totals.stored_bytes,
        seconds: progress.seconds(),
        warnings: manifest.warnings.iter().cloned().chain(skipped).collect(),
    }
}

/// 32 hexadecimal digits.
pub(crate) fn random_id() -> String {
    faster_hex::hex_string(&rand::random::<[u8; 16]>())
}
