//! `pgstow restore`: a backup back into a database.
//!
//! The order of things: manifest, table of contents, choice (pure), look at the target before touching it, roles and
//! tablespaces if asked, drops if asked, pre-data many entries to a transaction, then rows, indexes and constraints side by
//! side as their tables complete, foreign keys, privileges, and last refreshes and event triggers.

mod again;
mod apply;
pub(super) mod choose;
mod columns;
mod drops;
mod early;
mod explain;
mod failures;
mod generated;
mod globals;
mod keys;
pub(super) mod load;
mod named;
mod notes;
mod preflight;
mod refreshes;
mod row_order;
mod run;
mod slices;
mod start;
pub(super) mod statements;
mod target;
mod tasks;
mod ties;
pub(super) mod triggers;
mod verify;
mod waits;
mod watch;

pub use choose::{Choice, Step};
pub use globals::{GlobalsChoice, GlobalsReport};
pub use preflight::Lack;
pub use verify::Comparison;

use super::memory::Taken;
use super::source::{Source, Wanted};
use super::{Progress, Stop};
use crate::archive::toc::Toc;
use crate::archive::{BackupId, Charset};
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnectionSettings, Purpose, Session};
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// What to restore, where to, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where the archive lies.
    pub store: Arc<dyn Store>,
    /// Which archive.
    pub wanted: Wanted,
    /// The target database; with `create`, the database to connect to first.
    pub connection: ConnectionSettings,
    /// How many connections load at once, at least 1.
    pub jobs: usize,
    /// The memory that the restore may hold, in bytes; at least [`crate::commands::memory::least`].
    pub memory: u64,
    /// Which entries, and what of them.
    pub choice: Choice,
    /// Whether the server's roles and tablespaces come first, and what of them; `None` is that they do not.
    pub globals: Option<GlobalsChoice>,
    /// Make the database first, under the name it had.
    pub create: bool,
    /// Drop what the backup holds before making it.
    pub clean: bool,
    /// With `clean`: what is not there is no error.
    pub if_exists: bool,
    /// Only print the plan.
    pub dry_run: bool,
    /// In a dry run: look at the target, if it can be reached, for what it lacks.
    pub look: bool,
    /// Leave out what the connected role may not do in the target, and say what that was.
    pub no_superuser: bool,
    /// Collect errors instead of stopping at the first.
    pub keep_going: bool,
    /// Go on with the restore into this target that died, if there was one.
    pub resume: bool,
    /// Read every restored table back and compare it with what the manifest says.
    pub verify: bool,
    /// How long to wait for a lock that somebody else holds; `None` is for ever.
    pub lock_timeout: Option<Duration>,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// What was restored, such as `backup 20261124T010203Z-4f7a2c`.
    pub archive: String,
    /// The backup's id; a stock archive has none.
    pub backup: Option<BackupId>,
    /// The database restored into.
    pub database: String,
    /// The chosen entries in order, what was left out, and why.
    pub plan: Arc<choose::Plan>,
    /// What was done, or would be, about roles and tablespaces, if that was asked for.
    pub globals: Option<GlobalsReport>,
    /// Steps that an earlier run had done, when this one went on with it.
    pub resumed_after: Option<u64>,
    /// Tables loaded.
    pub tables: u64,
    /// Rows loaded.
    pub rows: u64,
    /// Statements that failed, when the user chose to go on; each reads object, message, statement.
    pub errors: Vec<String>,
    /// What comparing the target with the backup found, if that was asked for.
    pub comparison: Option<Comparison>,
    /// The major versions of the source and the target, once they are known.
    pub majors: (u32, u32),
    /// What the archive needs and the target lacks: in a dry run, or where the restore went on nevertheless.
    pub lacks: Vec<Lack>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Restores a backup, or plans to.
///
/// Errors: [`Kind::Archive`] for a backup that is incomplete, damaged or newer; [`Kind::Target`] for a target that
/// already has the objects, or lacks roles, extensions and the like that they need; [`Kind::Database`] for the first
/// statement that fails, naming its object.
pub async fn restore(options: RestoreOptions, progress: Arc<Progress>, stop: Stop) -> Result<RestoreReport> {
    progress.phase("reading the backup");
    let before = Taken::look();
    let mut source = stop.unless(Source::open(&options.store, &options.wanted)).await?;
    if options.verify && source.manifest.is_none() {
        return Err(verify::nothing_to_compare_with());
    }
    let plan = if options.globals.is_some_and(|choice| choice.only) {
        choose::Plan::default()
    } else {
        choose::plan(&source, &options.choice, options.create)?
    };
    let globals = match options.globals {
        Some(choice) => Some(stop.unless(globals::plan(&source, choice)).await?),
        None => None,
    };
    let mut report = RestoreReport {
        archive: source.name(),
        backup: source.manifest.as_ref().map(|manifest| manifest.id.clone()),
        globals: globals.as_ref().map(globals::Plan::report),
        database: options.connection.database().to_owned(),
        plan: Arc::new(plan),
        resumed_after: None,
        tables: 0,
        rows: 0,
        errors: Vec::new(),
        comparison: None,
        majors: (source.manifest.as_ref().map_or(0, |manifest| manifest.server.version_num / 10_000), 0),
        lacks: Vec::new(),
        warnings: source.warnings(),
        seconds: 0.0,
    };
    if options.create {
        source.database().clone_into(&mut report.database);
    }
    let words = Words { lock_timeout: options.lock_timeout, ..Words::of(&source.toc) };
    let held = source.held() + report.plan.held();
    if options.dry_run {
        if options.look && !options.globals.is_some_and(|choice| choice.only) {
            stop.unless(look_in_passing(&source, globals.as_ref(), &options, &words, &mut report)).await?;
        }
        report.seconds = progress.seconds();
        return Ok(report);
    }
    if !options.globals.is_some_and(|choice| choice.only) {
        stop.unless(source.refuse_frozen()).await?;
    }
    progress.expect(report.plan.table_count(), report.plan.raw_bytes());
    progress.phase("connecting");
    let mut failures = failures::Failures::new(options.keep_going, options.no_superuser);
    if options.globals.is_some_and(|choice| choice.only) {
        report.globals = restore_globals(globals.as_ref(), &options, &words, &mut failures, &progress, &stop).await?;
        report.errors = failures.into_errors();
        report.seconds = progress.seconds();
        return Ok(report);
    }
    let starting =
        start::start(&source, globals.as_ref(), &options, &words, &mut failures, &mut report, &progress, &stop);
    let start = tokio::select! {
        start = starting => start?,
        never = waits::tell(&options.connection) => match never {},
    };
    let (connection, are_kept) = (start.session.settings().clone(), start.notes.are_kept());
    let large = std::mem::take(&mut source.large_objects);
    let (plan, archive) =
        (Arc::clone(&report.plan), run::Archive { origin: source.origin.clone(), large, held, before });
    let running = run::run(start, &connection, &words, &options, archive, plan, failures, &progress, &stop);
    let outcome = tokio::select! {
        outcome = running => outcome,
        error = watch::server_gone(&connection) => Err(error),
        never = waits::tell(&connection) => match never {},
    };
    if outcome.is_err() {
        // An index that nobody waits for any more would be built to its end.
        connection.cancel_all().await;
    }
    let outcome = outcome.map_err(|error| if are_kept { start::or_resume(error) } else { error })?;
    report.warnings.extend(outcome.warnings);
    report.tables = outcome.tables;
    report.rows = outcome.rows;
    report.errors = outcome.errors;
    if options.verify {
        progress.phase("comparing");
        let compared =
            verify::compare(&report.plan, &source, &connection, &words, options.jobs, &progress, &stop).await?;
        report.comparison = Some(compared);
    }
    report.seconds = progress.seconds();
    progress.phase("done");
    Ok(report)
}

/// How long a dry run waits for a target.
const PATIENCE: Duration = Duration::from_secs(10);

/// In a dry run: what the target lacks, if there is one to ask; a plan needs none.
async fn look_in_passing(
    source: &Source,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
    words: &Words,
    report: &mut RestoreReport,
) -> Result<()> {
    let not_looked = |why: &dyn std::fmt::Display| format!("the target was not looked at: {why}");
    match tokio::time::timeout(PATIENCE, connect(&options.connection, words)).await {
        Ok(Ok(session)) => {
            let found = start::foresee(&session, source, globals, options, report).await?;
            report.warnings.extend(found.warnings);
            report.lacks = found.lacks;
        }
        Ok(Err(error)) => report.warnings.push(not_looked(&error)),
        Err(elapsed) => report.warnings.push(not_looked(&elapsed)),
    }
    Ok(())
}

/// Roles and tablespaces, which the database's entries name.
async fn restore_globals(
    plan: Option<&globals::Plan>,
    options: &RestoreOptions,
    words: &Words,
    failures: &mut failures::Failures,
    progress: &Progress,
    stop: &Stop,
) -> Result<Option<GlobalsReport>> {
    let Some(plan) = plan else { return Ok(None) };
    progress.phase("roles and tablespaces");
    globals::run(plan, options, words, failures, stop).await.map(Some)
}

async fn connect(connection: &ConnectionSettings, words: &Words) -> Result<Session> {
    let purpose = Purpose::Writes { encoding: words.encoding };
    let session = Session::connect(connection, "pgstow restore", purpose).await?;
    if !words.standard_conforming_strings {
        session.execute("SET standard_conforming_strings = off").await?;
    }
    if let Some(timeout) = words.lock_timeout {
        session.execute(&format!("SET lock_timeout = {}", timeout.as_millis())).await?;
    }
    Ok(session)
}

/// How the statements of an archive are to be understood and run.
#[derive(Debug, Clone)]
struct Words {
    /// What sessions speak: UTF-8, which names in other encodings were converted to; or `SQL_ASCII`, which cannot be.
    encoding: &'static str,
    /// Databases of old kept backslashes in string literals special; so do the definitions that came from them.
    standard_conforming_strings: bool,
    /// The encoding of rows that are statements, for those never meet a COPY that the server converts.
    charset: Charset,
    /// How long they wait for locks; `None` is for ever.
    lock_timeout: Option<Duration>,
}

impl Words {
    fn of(toc: &Toc) -> Self {
        let charset = toc.charset();
        Words {
            encoding: if charset.name() == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" },
            standard_conforming_strings: toc.standard_conforming_strings(),
            charset,
            lock_timeout: None,
        }
    }
}

/// The error of a restore that went on, or whose outcome is not what the backup says, for after the report was printed.
pub fn partial(report: &RestoreReport) -> Option<Error> {
    let difference = report.comparison.as_ref();
    let difference = difference.and_then(|found| verify::difference(found, &report.database, report.majors));
    difference.or_else(|| {
        (!report.errors.is_empty()).then(|| {
            Error::new(Kind::Partial, format!("{} of the statements failed; see above", report.errors.len()))
                .on(format!("restore into {}", report.database))
        })
    })
}
