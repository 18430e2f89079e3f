//! `pgstow sweep`: aborts the uploads and removes the objects that killed dumps left, which cost and are no backup.
//!
//! A dump that is running has no manifest either, and nothing but its age tells it from one that was killed; so what is
//! younger than the user's word stays. Backups are never touched: whether a folder has its manifest is asked again right
//! before it goes.

use super::Stop;
use super::backups::{self, Place};
use super::leftovers::{self, Fate, Leftover};
use crate::error::{Error, Result};
use crate::keep::Age;
use crate::store::{Deletion, Store};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;

/// So many folders are looked at at once.
const AT_ONCE: usize = 8;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Only these databases; empty: all that the store holds.
    pub databases: Vec<String>,
    /// What is younger may belong to a dump that is running.
    pub older_than: Age,
    /// Look, and remove nothing.
    pub dry_run: bool,
    /// The moment.
    pub now: Timestamp,
}

/// What was found, and what became of it.
#[derive(Debug)]
pub struct SweepReport {
    /// Uploads first, then folders.
    pub leftovers: Vec<Leftover>,
    /// What deleting means in this store.
    pub deletion: Deletion,
}

/// Sweeps, or says what a sweep would do.
pub async fn sweep(options: SweepOptions, stop: Stop) -> Result<SweepReport> {
    let mut report = stop.unless(plan(&options)).await?;
    if options.dry_run {
        return Ok(report);
    }
    let store = options.store.as_ref();
    for leftover in report.leftovers.iter_mut().filter(|leftover| leftover.is_due()) {
        if leftover.upload.is_none() && stop.unless(backups::is_complete(store, &leftover.name)).await? {
            // It was finished meanwhile, however late.
            leftover.fate = Fate::Stays;
            continue;
        }
        stop.unless(leftover.remove(store, &report.deletion)).await?;
    }
    Ok(report)
}

async fn plan(options: &SweepOptions) -> Result<SweepReport> {
    let store = options.store.as_ref();
    let cutoff = options.older_than.before(options.now, &TimeZone::UTC);
    let mut leftovers = leftovers::uploads(store, &options.databases, cutoff).await?;
    let places = backups::places(store).await?;
    let chosen = places
        .into_iter()
        .filter(|place| options.databases.is_empty() || options.databases.contains(&place.database))
        .map(|place| look(store, place, cutoff));
    let folders: Vec<Option<Leftover>> =
        futures::stream::iter(chosen.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
    leftovers.extend(folders.into_iter().flatten());
    Ok(SweepReport { leftovers, deletion: store.deletion().await? })
}

/// The folder, if it has no manifest.
async fn look(store: &dyn Store, place: Place, cutoff: Timestamp) -> Result<Option<Leftover>> {
    if backups::is_complete(store, &place.folder).await? {
        return Ok(None);
    }
    let entries = store.list(&place.folder).await?;
    let (bytes, touched) =
        (entries.iter().map(|entry| entry.size).sum(), entries.iter().filter_map(|e| e.modified).max());
    Ok::<_, Error>(Some(Leftover::folder(place, bytes, touched, cutoff)))
}
