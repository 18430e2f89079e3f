//! `pgstow prune`: removes the backups that no rule keeps, and what killed dumps left.
//!
//! The order of things: look at every folder, decide (pure), and for each backup that goes delete the manifest first,
//! so that a prune which is stopped in its middle leaves nothing that looks like a backup.

use super::Stop;
use super::backups::Place;
use super::examine::{self, Examined};
use super::leftovers::{self, Fate, Leftover, remove_folder};
use crate::archive::manifest::SourceFacts;
use crate::error::{Error, Kind, Result};
use crate::keep::{self, Age, Candidate, Rules, Verdict};
use crate::store::{Deletion, Store};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to prune, and by which rules.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Where the backups lie.
    pub store: Arc<dyn Store>,
    /// Which stay.
    pub rules: Rules,
    /// Only these databases; empty: all that the store holds.
    pub databases: Vec<String>,
    /// What has no manifest and is older than this was left by a dump that was killed.
    pub unfinished_after: Age,
    /// Decide, and delete nothing.
    pub dry_run: bool,
    /// The moment.
    pub now: Timestamp,
}

/// What was decided, and what became of it.
#[derive(Debug)]
pub struct PruneReport {
    /// Every backup, database by database, newest first.
    pub backups: Vec<Line>,
    /// Folders without a manifest, and uploads that were never completed.
    pub leftovers: Vec<Leftover>,
    /// What deleting means in this store.
    pub deletion: Deletion,
}

/// One backup.
#[derive(Debug)]
pub struct Line {
    /// Where it lies, or lay.
    pub place: Place,
    /// Its objects, the manifest included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it stays, and why.
    pub verdict: Verdict,
    /// What became of it.
    pub fate: Fate,
}

impl PruneReport {
    /// How many backups and leftovers have this fate, and their bytes.
    pub fn sum(&self, fate: Fate) -> (u64, u64) {
        let backups = self.backups.iter().map(|line| (line.fate, line.bytes));
        let leftovers = self.leftovers.iter().map(|leftover| (leftover.fate, leftover.bytes));
        let chosen = backups.chain(leftovers).filter(|(found, _)| *found == fate);
        chosen.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes))
    }
}

/// Prunes, or says what a prune would do.
///
/// Errors: [`Kind::Usage`] where no rule is set; [`Kind::Store`] for the first deletion that fails. What the store
/// retains because it is locked is no error.
pub async fn prune(options: PruneOptions, stop: Stop) -> Result<PruneReport> {
    if options.rules.is_empty() {
        return Err(Error::new(Kind::Usage, "no rule says which backups stay")
            .hint("give at least one, such as --keep-within 30d or --keep-daily 7 --keep-weekly 4 --keep-monthly 12"));
    }
    let mut report = stop.unless(plan(&options)).await?;
    if options.dry_run {
        return Ok(report);
    }
    let store = options.store.as_ref();
    for line in report.backups.iter_mut().filter(|line| line.fate == Fate::WouldGo) {
        line.fate = stop.unless(remove_folder(store, &line.place.folder, &report.deletion)).await?;
    }
    for leftover in report.leftovers.iter_mut().filter(|leftover| leftover.fate == Fate::WouldGo) {
        stop.unless(leftover.remove(store, &report.deletion)).await?;
    }
    Ok(report)
}

/// A backup and the server that it is of.
type Judged = (Candidate, Option<SourceFacts>);

/// What is there, and what should become of it.
async fn plan(options: &PruneOptions) -> Result<PruneReport> {
    let store = options.store.as_ref();
    let places = examine::places(store, &options.databases).await?;
    let found = examine::each(store, places, |examined| {
        let (condition, source) = (examined.condition(), examined.source());
        let Examined { place, objects, bytes, touched, .. } = examined;
        (place, objects, bytes, touched, condition, source)
    })
    .await?;
    let cutoff = options.unfinished_after.before(options.now, &options.rules.zone);
    let mut databases: BTreeMap<String, Vec<(Judged, Place, u64, u64)>> = BTreeMap::new();
    let mut leftovers = Vec::new();
    for (place, objects, bytes, touched, condition, source) in found {
        match condition {
            Some(condition) => {
                let candidate = Candidate { id: place.id.clone(), condition };
                databases.entry(place.database.clone()).or_default().push(((candidate, source), place, objects, bytes));
            }
            None => leftovers.push(Leftover::folder(place, bytes, touched, cutoff)),
        }
    }
    let mut backups = Vec::new();
    for found in databases.into_values() {
        let judged: Vec<Judged> = found.iter().map(|(judged, ..)| judged.clone()).collect();
        let verdicts = keep::decide_by_server(&judged, &options.rules, options.now);
        for ((_, place, objects, bytes), verdict) in found.into_iter().zip(verdicts) {
            let fate = if verdict.stays() { Fate::Stays } else { Fate::WouldGo };
            backups.push(Line { place, objects, bytes, verdict, fate });
        }
    }
    leftovers.extend(leftovers::uploads(store, &options.databases, cutoff).await?);
    Ok(PruneReport { backups, leftovers, deletion: store.deletion().await? })
}
