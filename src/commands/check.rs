//! `pgstow check`: whether the backups in a store are healthy. It reads the store and nothing else.

mod job;
mod words;

pub use job::{JobChecked, check_job, options_of};

use super::backups;
use super::examine::{self, Examined, State};
use super::sweep::{SweepOptions, sweep};
use super::{Progress, Stop, verify};
use crate::archive::keys;
use crate::archive::manifest::Manifest;
use crate::error::{Error, Kind, Result};
use crate::keep::Age;
use crate::keep::health::{BackupFacts, Facts, Finding, Limits, Severity, is_future, judge};
use crate::store::Store;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to check, and what is healthy.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Where the backups lie.
    pub store: Arc<dyn Store>,
    /// Where copies of them should lie, and are checked alike.
    pub copies: Vec<Arc<dyn Store>>,
    /// These databases must have backups; empty: all that the store holds, and at least one.
    pub databases: Vec<String>,
    /// What is healthy.
    pub limits: Limits,
    /// How closely the newest backup is looked at.
    pub depth: Depth,
    /// How many objects a full look reads at once.
    pub jobs: usize,
    /// What has no manifest and is older than this was left by a dump that was killed.
    pub unfinished_after: Age,
    /// The moment.
    pub now: Timestamp,
}

/// How closely the newest backup is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All objects are there, each of its size.
    Quick,
    /// Every byte is read and held against its digest.
    Full,
}

/// What was found.
#[derive(Debug)]
pub struct CheckReport {
    /// Database by database, in the order of their names.
    pub databases: Vec<Checked>,
}

/// What was found of one database.
#[derive(Debug)]
pub struct Checked {
    /// Its name, and its server where the store holds backups of one name of several.
    pub database: String,
    /// Its newest good backup.
    pub newest: Option<BackupFacts>,
    /// How many backups it has, good or not.
    pub backups: u64,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// The worst of all findings.
    pub fn severity(&self) -> Severity {
        let findings = self.databases.iter().flat_map(|checked| &checked.findings);
        findings.map(|finding| finding.severity).max().unwrap_or(Severity::Fine)
    }
}

/// The error of a store whose backups are not healthy, for after the report was printed; a warning is none.
pub fn unhealthy(report: &CheckReport) -> Option<Error> {
    let first = report.databases.iter().filter_map(|checked| checked.findings.first().map(|first| (checked, first)));
    let (checked, finding) = first.max_by_key(|(_, finding)| finding.severity)?;
    (finding.severity == Severity::Critical)
        .then(|| Error::new(Kind::Unhealthy, finding.message.clone()).on(format!("database {}", checked.database)))
}

/// Checks. Errors are failures to check, such as a store that does not answer; what is wrong is in the report.
pub async fn check(mut options: CheckOptions, progress: Arc<Progress>, stop: Stop) -> Result<CheckReport> {
    let copies = std::mem::take(&mut options.copies);
    let mut report = check_store(&options, &progress, &stop).await?;
    for store in copies {
        let place = store.describe();
        options.store = store;
        let found = check_store(&options, &progress, &stop).await?.databases.into_iter();
        report
            .databases
            .extend(found.map(|checked| Checked { database: format!("{} in {place}", checked.database), ..checked }));
    }
    Ok(report)
}

async fn check_store(options: &CheckOptions, progress: &Arc<Progress>, stop: &Stop) -> Result<CheckReport> {
    progress.phase("looking for backups");
    let store = options.store.as_ref();
    let mut databases: BTreeMap<String, Vec<_>> =
        options.databases.iter().map(|database| (database.clone(), Vec::new())).collect();
    for place in stop.unless(examine::places(store, &options.databases)).await? {
        databases.entry(place.database.clone()).or_default().push(place);
    }
    if databases.is_empty() {
        return Err(Error::new(Kind::Unhealthy, "the store holds no backup at all")
            .on(store.describe())
            .hint("`pgstow dump` makes one; check the prefix if there should be some"));
    }
    let leftovers = SweepOptions {
        store: Arc::clone(&options.store),
        databases: options.databases.clone(),
        older_than: options.unfinished_after,
        dry_run: true,
        now: options.now,
    };
    let leftovers = sweep(leftovers, stop.clone()).await?.leftovers;
    let mut checked = Vec::new();
    for (database, places) in databases {
        let folder = format!("{}/", keys::database_folder(&database));
        let ours = leftovers.iter().filter(|leftover| leftover.name.starts_with(&folder));
        let unfinished = ours.clone().filter(|leftover| leftover.upload.is_none()).count();
        let backups = places.len().saturating_sub(unfinished) as u64;
        let due: Vec<String> =
            ours.filter(|leftover| leftover.is_due()).map(|leftover| leftover.name.clone()).collect();
        let servers = stop.unless(backups::by_server(store, places)).await?;
        let one = servers.len() == 1;
        for (number, (server, places)) in servers.into_iter().enumerate() {
            let backups = if one { backups } else { places.len() as u64 };
            let database = if one { database.clone() } else { format!("{database} of server {server}") };
            let leftovers = if number == 0 { due.clone() } else { Vec::new() };
            let mut facts = Facts { leftovers, ..Facts::default() };
            // The newest good backup and the one before it are enough.
            for place in places {
                if facts.before.is_none() {
                    let examined = stop.unless(examine::examine(store, place)).await?;
                    note(options, examined, &mut facts, progress, stop).await?;
                }
            }
            let findings = judge(&facts, &options.limits, options.now);
            checked.push(Checked { database, newest: facts.newest, backups, findings });
        }
    }
    Ok(CheckReport { databases: checked })
}

/// Adds what one folder says.
async fn note(
    options: &CheckOptions,
    examined: Examined,
    facts: &mut Facts,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<()> {
    let Examined { place, bytes, state, .. } = examined;
    let id = place.id.to_string();
    if !matches!(state, State::Unfinished) && is_future(place.id.created(), options.now) {
        facts.future.push(id);
        return Ok(());
    }
    match state {
        // A sweep has found these.
        State::Unfinished => {}
        State::Unreadable(error) => facts.broken.push((id, error.to_string())),
        State::Complete { manifest, mut broken } => {
            if broken.is_empty() && facts.newest.is_none() && options.depth == Depth::Full {
                let problems =
                    verify::full_check(&options.store, &place, &manifest, options.jobs, progress, stop).await?;
                broken.extend(problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)));
            }
            let good = broken.is_empty();
            if !good && facts.newest.is_none() {
                facts.broken.push((id.clone(), broken.join(", ")));
            }
            if good {
                let known = known(&manifest, &id, place.id.created(), bytes);
                if facts.newest.is_none() { facts.newest = Some(known) } else { facts.before = Some(known) }
            }
        }
    }
    Ok(())
}

fn known(manifest: &Manifest, id: &str, begun: Timestamp, stored_bytes: u64) -> BackupFacts {
    let tables = manifest.tables.iter().map(|table| (format!("{}.{}", table.schema, table.name), table.rows));
    BackupFacts {
        id: id.to_owned(),
        begun,
        stored_bytes,
        raw_bytes: manifest.totals.raw_bytes,
        tables: tables.collect(),
        selection: manifest.options.selection.clone(),
    }
}
