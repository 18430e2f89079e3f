//! `pgstow restore`: a backup back into a database.
//!
//! The order of things: manifest, table of contents, choice (pure), look at the target before touching it, drops if
//! asked, pre-data one by one, then rows, indexes and constraints side by side as their tables complete, foreign keys,
//! privileges, and last refreshes and event triggers.

mod choose;
mod load;
mod run;
mod statements;
mod target;

pub use choose::{Choice, Step};

use super::backups;
use super::transfer::Origin;
use super::{Progress, Stop};
use crate::archive::keys;
use crate::archive::manifest::Manifest;
use crate::archive::toc::Toc;
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnectionSettings, Session, pin_for_restore};
use crate::store::Store;
use std::sync::Arc;

/// A table of contents larger than this is not one of ours.
const TOC_LIMIT: u64 = 4 << 30;

/// What to restore, where to, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where the backup lies.
    pub store: Arc<dyn Store>,
    /// `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
    pub backup: String,
    /// The target database; with `create`, the database to connect to first.
    pub connection: ConnectionSettings,
    /// How many connections load at once, at least 1.
    pub jobs: usize,
    /// The memory that the restore may hold, in bytes; at least [`crate::commands::memory::least`].
    pub memory: u64,
    /// Which entries, and what of them.
    pub choice: Choice,
    /// Make the database first, under the name it had.
    pub create: bool,
    /// Drop what the backup holds before making it.
    pub clean: bool,
    /// With `clean`: what is not there is no error.
    pub if_exists: bool,
    /// Only print the plan.
    pub dry_run: bool,
    /// Collect errors instead of stopping at the first.
    pub keep_going: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// The database restored into.
    pub database: String,
    /// The chosen entries in order, what was left out, and why.
    pub plan: choose::Plan,
    /// Tables loaded.
    pub tables: u64,
    /// Rows loaded.
    pub rows: u64,
    /// Statements that failed, when the user chose to go on; each reads object, message, statement.
    pub errors: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Restores a backup, or plans to.
///
/// Errors: [`Kind::Archive`] for a backup that is incomplete, damaged or newer; [`Kind::Target`] for a target that
/// already has the objects; [`Kind::Database`] for the first statement that fails, naming its object.
pub async fn restore(options: RestoreOptions, progress: Arc<Progress>, stop: Stop) -> Result<RestoreReport> {
    progress.phase("reading the backup");
    let (place, manifest) = stop.unless(backups::find(options.store.as_ref(), &options.backup)).await?;
    let origin = Origin { store: Arc::clone(&options.store), folder: place.folder.clone() };
    let toc = stop.unless(origin.read_whole(&manifest.toc, TOC_LIMIT)).await?;
    let toc = Toc::decode(&toc).map_err(|error| error.on(format!("{}{}", place.folder, keys::toc_key())))?;
    let plan = choose::plan(&toc, &manifest, &options.choice, options.create)?;
    let mut report = RestoreReport {
        database: options.connection.database().to_owned(),
        manifest,
        plan,
        tables: 0,
        rows: 0,
        errors: Vec::new(),
        warnings: Vec::new(),
        seconds: 0.0,
    };
    if options.create {
        report.database.clone_from(&report.manifest.database.name);
    }
    if options.dry_run {
        report.seconds = progress.seconds();
        return Ok(report);
    }
    progress.expect(report.plan.table_count(), report.plan.raw_bytes());
    progress.phase("connecting");
    let encoding = encoding(&toc);
    let first = stop.unless(connect(&options.connection, &encoding)).await?;
    report.warnings.extend(target::warnings(&first, &report.manifest));
    let mut failures = run::Failures::new(options.keep_going);
    let first = if options.create {
        stop.unless(target::create_database(first, &options, &report.plan, &encoding, &mut failures)).await?
    } else {
        first
    };
    progress.phase("looking at the target");
    if options.clean && !options.create {
        stop.unless(target::drop_objects(&first, &report.plan, options.if_exists, &mut failures)).await?;
    } else if !options.choice.data_only {
        stop.unless(target::refuse_existing(&first, &report.plan)).await?;
    }
    let connection = first.settings().clone();
    let outcome =
        run::run(first, &connection, &encoding, &options, &origin, &report, failures, &progress, &stop).await?;
    report.tables = outcome.tables;
    report.rows = outcome.rows;
    report.errors = outcome.errors;
    report.seconds = progress.seconds();
    progress.phase("done");
    Ok(report)
}

async fn connect(connection: &ConnectionSettings, encoding: &str) -> Result<Session> {
    let session = Session::connect(connection, "pgstow restore").await?;
    pin_for_restore(&session, encoding).await?;
    Ok(session)
}

/// The encoding of every name and row in the archive (`processEncodingEntry`, `pg_backup_archiver.c`).
fn encoding(toc: &Toc) -> String {
    let entry = toc.entries.iter().find(|entry| entry.desc == "ENCODING");
    let statement = entry.and_then(|entry| entry.create.as_deref()).unwrap_or_default();
    statement.split('\'').nth(1).unwrap_or("UTF8").to_owned()
}

/// The error of a restore that went on: exit code and count, for after the report was printed.
pub fn partial(report: &RestoreReport) -> Option<Error> {
    (!report.errors.is_empty()).then(|| {
        Error::new(Kind::Partial, format!("{} of the statements failed; see above", report.errors.len()))
            .on(format!("restore into {}", report.database))
    })
}
