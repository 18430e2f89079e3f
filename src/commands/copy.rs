//! `pgstow copy`: backups from one store into another.
//!
//! The order of things is that of a dump: the objects, each held against the manifest; a look at what lies there now; the
//! manifest last, as it is. Where one server holds both stores it copies by itself, otherwise the bytes pass here in
//! bounded memory. A copy that fails removes what it wrote, unless somebody else finished the same copy meanwhile.

mod objects;

use super::backups::{self, Place};
use super::examine;
use super::frozen;
use super::memory::DumpShares;
use super::transfer::{self, Destination, Origin, Parts};
use super::{Progress, Stop};
use crate::archive::keys;
use crate::archive::manifest::Manifest;
use crate::error::{Error, Kind, Result};
use crate::keep::Age;
use crate::store::{StorageClass, Store, StoreProblem, problem};
use crate::stream::codec::Codec;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use objects::Copying;
pub use objects::Proofs;
use std::sync::Arc;

/// So many manifests are looked for at once.
const LOOKS_AT_ONCE: usize = 8;

/// What to copy, from where to where.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Where the backups lie.
    pub source: Arc<dyn Store>,
    /// Where they go, under the same names.
    pub target: Arc<dyn Store>,
    /// Which.
    pub which: Which,
    /// How.
    pub how: CopyHow,
}

/// Which backups to copy.
#[derive(Debug, Clone)]
pub enum Which {
    /// One: `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
    One(String),
    /// All that the target does not have yet, the oldest first.
    New {
        /// Only these databases; empty: all that the source holds.
        databases: Vec<String>,
        /// Only those that are not older than this.
        max_age: Option<Age>,
        /// The moment.
        now: Timestamp,
    },
}

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyHow {
    /// The storage class of data objects in the target.
    pub storage_class: Option<StorageClass>,
    /// How many objects are copied at once, at least 1.
    pub jobs: usize,
    /// The memory that bytes on their way may hold, in bytes; at least [`super::memory::least`].
    pub memory: u64,
    /// The size of the parts of an upload, in bytes, instead of one that grows with the object.
    pub part_size: Option<u64>,
    /// The most parts of one upload, for stores that take fewer than S3.
    pub max_parts: Option<u32>,
    /// Read every object back that the store copied by itself, also where it vouches for it.
    pub read_back: bool,
}

impl Default for CopyHow {
    fn default() -> Self {
        CopyHow {
            storage_class: None,
            jobs: 4,
            memory: super::memory::DEFAULT_MEMORY,
            part_size: None,
            max_parts: None,
            read_back: false,
        }
    }
}

/// What was copied.
#[derive(Debug)]
pub struct CopyReport {
    /// Every backup that is in the target now, in the order in which they were copied.
    pub copied: Vec<Copied>,
    /// Those that could not be copied, and why; only where all new ones were asked for.
    pub failed: Vec<(Place, Error)>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A backup that is in the target.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Where it lies, in both stores.
    pub place: Place,
    /// How its objects were checked; `None` when it was there already.
    pub proofs: Option<Proofs>,
    /// Its objects, the manifest included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The error of a copy that some backups did not take part in, for after the report was printed.
pub fn failed(report: &CopyReport) -> Option<Error> {
    (!report.failed.is_empty()).then(|| {
        let all = report.failed.len() + report.copied.len();
        Error::new(Kind::Partial, format!("{} of {all} backups could not be copied", report.failed.len()))
    })
}

/// Copies. A backup that is damaged or frozen does not keep the other new ones from being copied; a store that fails ends it all.
pub async fn copy(options: CopyOptions, progress: Arc<Progress>, stop: Stop) -> Result<CopyReport> {
    progress.phase("looking for backups");
    let mut report = CopyReport { copied: Vec::new(), failed: Vec::new(), seconds: 0.0 };
    match &options.which {
        Which::One(name) => {
            let (place, _) = stop.unless(backups::find(options.source.as_ref(), name)).await?;
            report.copied.push(one(&options, place, &progress, &stop).await?);
        }
        Which::New { databases, max_age, now } => {
            let cutoff = max_age.map_or(Timestamp::MIN, |age| age.before(*now, &TimeZone::UTC));
            for place in stop.unless(missing(&options, databases, cutoff)).await? {
                match one(&options, place.clone(), &progress, &stop).await {
                    Ok(copied) => report.copied.push(copied),
                    Err(error) if is_its_own(&error) => report.failed.push((place, error)),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    progress.phase("done");
    report.seconds = progress.seconds();
    Ok(report)
}

/// Whether a failure says something of one backup and nothing of the stores.
fn is_its_own(error: &Error) -> bool {
    error.kind() == Kind::Archive || problem(error) == Some(StoreProblem::Frozen)
}

/// The backups of the source that the target does not have, the oldest first.
async fn missing(options: &CopyOptions, databases: &[String], cutoff: Timestamp) -> Result<Vec<Place>> {
    let (source, target) = (options.source.as_ref(), options.target.as_ref());
    let places = examine::places(source, databases).await?.into_iter().rev();
    let looks = places.filter(|place| place.id.created() >= cutoff).map(|place| async move {
        let wanted =
            !backups::is_complete(target, &place.folder).await? && backups::is_complete(source, &place.folder).await?;
        Ok::<_, Error>(wanted.then_some(place))
    });
    let found: Vec<Option<Place>> =
        stream::iter(looks.collect::<Vec<_>>()).buffered(LOOKS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Copies one backup.
pub(crate) async fn one(options: &CopyOptions, place: Place, progress: &Arc<Progress>, stop: &Stop) -> Result<Copied> {
    let (started, how) = (progress.seconds(), &options.how);
    let text = stop.unless(backups::manifest_text(options.source.as_ref(), &place.folder)).await?;
    let text =
        text.ok_or_else(|| Error::new(Kind::Archive, "the backup has no manifest any more").on(place.folder.clone()))?;
    let manifest = Manifest::decode(&text).map_err(|error| error.on(place.folder.clone()))?;
    let mut copied = Copied {
        objects: manifest.stored_objects().count() as u64 + 1,
        bytes: manifest.stored_objects().map(|object| object.bytes).sum::<u64>() + text.len() as u64,
        proofs: None,
        place,
        seconds: 0.0,
    };
    let folder = copied.place.folder.clone();
    if stop.unless(is_there(options.target.as_ref(), &folder, &text)).await? {
        return Ok(copied);
    }
    stop.unless(frozen::refuse_backup(options.source.as_ref(), &copied.place, &manifest)).await?;
    let work = stop.child();
    let shares = DumpShares::of(how.memory, how.jobs, Codec::None, 1)?;
    let copying = Copying {
        origin: Origin { store: Arc::clone(&options.source), folder: folder.clone() },
        destination: Destination {
            store: Arc::clone(&options.target),
            folder,
            class: how.storage_class.clone(),
            parts: Parts::new(options.target.limits(), &shares, how.part_size, how.max_parts)?,
            progress: Arc::clone(progress),
            stop: work.clone(),
        },
        read_back: how.read_back,
    };
    progress.expect_objects(copied.objects, copied.bytes);
    progress.phase("copying");
    match commit(&copying, &manifest, text, how.jobs, &work).await {
        Ok(proofs) => {
            copied.proofs = Some(proofs);
            copied.seconds = progress.seconds() - started;
            Ok(copied)
        }
        Err(error) => {
            progress.phase("cleaning up");
            work.now();
            let left = undo(&copying.destination, stop.is_asked()).await;
            let error = if stop.is_asked() { Stop::interrupted() } else { error };
            Err(left.into_iter().fold(error, |error, left| error.also(&left)))
        }
    }
}

/// Whether the target has this very backup already.
async fn is_there(target: &dyn Store, folder: &str, text: &Bytes) -> Result<bool> {
    match backups::manifest_text(target, folder).await? {
        None => Ok(false),
        Some(there) if there == *text => Ok(true),
        Some(_) => Err(Error::new(Kind::Archive, "the target holds another backup of the same name")
            .on(format!("{}/{folder}", target.describe()))
            .hint("verify both; remove the one that is wrong, or copy to another prefix")),
    }
}

/// The objects, a look at them, the manifest.
async fn commit(copying: &Copying, manifest: &Manifest, text: Bytes, jobs: usize, stop: &Stop) -> Result<Proofs> {
    let proofs = stop.unless(copying.all(manifest, jobs)).await?;
    stop.unless(copying.look(manifest)).await?;
    let Destination { store, folder, progress, .. } = &copying.destination;
    let (key, bytes) = (format!("{folder}{}", keys::manifest_key()), text.len() as u64);
    match copying.destination.soon(store.put_new(&key, text.clone())).await {
        Ok(()) => {}
        // Somebody else copied the same backup meanwhile.
        Err(error) if problem(&error) == Some(StoreProblem::AlreadyExists) => {
            stop.unless(is_there(store.as_ref(), folder, &text)).await?;
        }
        Err(error) => return Err(error),
    }
    progress.moved_stored(bytes);
    progress.object_done();
    Ok(proofs)
}

/// Removes what a failed copy wrote, and says what could not be removed. A manifest that is there makes it somebody's
/// backup, of which nothing is taken.
async fn undo(destination: &Destination, stopped: bool) -> Option<String> {
    let patience = transfer::patience(stopped);
    let look = backups::is_complete(destination.store.as_ref(), &destination.folder);
    match transfer::in_time(patience, look).await {
        Ok(false) => destination.sweep(patience).await,
        Ok(true) => Some(format!("{} has its manifest, so nothing there was removed", destination.folder)),
        Err(error) => Some(destination.left("perhaps uploads and objects of it", &error)),
    }
}
