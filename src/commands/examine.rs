//! Looking at what lies in a backup's folder, without reading it: its manifest, and whether all objects are there.

use super::backups::{self, Place};
use crate::archive::keys::is_data;
use crate::archive::manifest::{Manifest, SourceFacts};
use crate::error::{Error, Kind, Result};
use crate::keep::Condition;
use crate::store::{Entry, Store};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// Folders are looked at so many at a time.
const AT_ONCE: usize = 8;

/// What a manifest takes of the [`ROOM`] is counted in so many bytes.
const UNIT: u64 = 64 << 10;

/// So many units of manifests are looked at together, that is 32 MiB as text: those of 100,000 tables have 46 MB, and what is made
/// of one takes twice as much again. A larger one is looked at alone.
const ROOM: u32 = 512;

/// So many broken objects are named; the rest is counted.
const NAMED: usize = 5;

/// A backup's folder and what was found in it.
#[derive(Debug)]
pub struct Examined {
    /// Where it lies.
    pub place: Place,
    /// Objects in the folder, the manifest included.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// When the newest of them was written, if the store says.
    pub touched: Option<SystemTime>,
    /// The storage classes of its data; empty where the store does not say.
    pub classes: BTreeSet<String>,
    /// What it is.
    pub state: State,
}

/// What a backup's folder is.
#[derive(Debug)]
pub enum State {
    /// It has no manifest: a dump is running, or was killed.
    Unfinished,
    /// It has a manifest that this pgstow cannot read.
    Unreadable(Error),
    /// It has a manifest.
    Complete {
        /// The manifest.
        manifest: Box<Manifest>,
        /// What is wrong with its objects, the first few named; empty when all are there, each of its size.
        broken: Vec<String>,
    },
}

impl Examined {
    /// The server that it is of, where its manifest says.
    pub fn source(&self) -> Option<SourceFacts> {
        match &self.state {
            State::Complete { manifest, .. } => manifest.server.source.clone(),
            _ => None,
        }
    }

    /// What retention needs to know; `None` for what is no backup.
    pub fn condition(&self) -> Option<Condition> {
        match &self.state {
            State::Unfinished => None,
            State::Unreadable(_) => Some(Condition::Unreadable),
            State::Complete { broken, .. } if broken.is_empty() => Some(Condition::Good),
            State::Complete { .. } => Some(Condition::Damaged),
        }
    }
}

/// The folders of these databases (empty: of all), newest first.
pub(crate) async fn places(store: &dyn Store, databases: &[String]) -> Result<Vec<Place>> {
    let mut places = backups::places(store).await?;
    places.retain(|place| databases.is_empty() || databases.contains(&place.database));
    Ok(places)
}

/// Looks at each of these folders, in their order, and keeps of each what `keep` makes of it: manifests are large.
pub(crate) async fn each<T: Send>(
    store: &dyn Store,
    places: Vec<Place>,
    keep: impl Fn(Examined) -> T + Copy + Send,
) -> Result<Vec<T>> {
    let room = &Semaphore::new(ROOM as usize);
    let looks = places.into_iter().map(|place| async move { examine_within(store, place, room).await.map(keep) });
    futures::stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await
}

/// Looks at one folder: one manifest and one listing, in this order, so that a backup which is being finished right now
/// does not look broken.
pub(crate) async fn examine(store: &dyn Store, place: Place) -> Result<Examined> {
    examine_within(store, place, &Semaphore::new(ROOM as usize)).await
}

/// Looks at one folder when there is room for its manifest.
async fn examine_within(store: &dyn Store, place: Place, room: &Semaphore) -> Result<Examined> {
    let look = async {
        let Some(bytes) = backups::manifest_bytes(store, &place.folder).await? else { return Ok::<_, Error>(None) };
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(ROOM).clamp(1, ROOM);
        let taken = room.acquire_many(units).await.ok();
        Ok(Some((backups::manifest_there(store, &place.folder).await?, taken)))
    };
    // What was taken of the room is given back at the end.
    let (manifest, _taken) = match look.await {
        Ok(Some((manifest, taken))) => (Ok(Some(manifest)), taken),
        Ok(None) => (Ok(None), None),
        Err(error) if error.kind() == Kind::Archive => (Err(error), None),
        Err(error) => return Err(error),
    };
    let entries = store.list(&place.folder).await?;
    let (objects, bytes) = (entries.len() as u64, entries.iter().map(|entry| entry.size).sum());
    let touched = entries.iter().filter_map(|entry| entry.modified).max();
    let classes = classes(&entries, &place);
    let state = match manifest {
        Ok(None) => State::Unfinished,
        Err(error) => State::Unreadable(error),
        Ok(Some(manifest)) => {
            let broken = broken(&manifest, &sizes(&entries, &place));
            State::Complete { broken, manifest: Box::new(manifest) }
        }
    };
    Ok(Examined { place, objects, bytes, touched, classes, state })
}

/// What a listing says of the objects of a backup whose manifest is known.
#[derive(Debug)]
pub(crate) struct Objects {
    /// The storage classes of its data, sorted; empty where the store does not say.
    pub(crate) classes: Vec<String>,
    /// What is missing or of another size.
    pub(crate) wrong: Vec<String>,
}

/// Looks at the objects of a backup whose manifest is known.
pub(crate) async fn objects(store: &dyn Store, place: &Place, manifest: &Manifest) -> Result<Objects> {
    let entries = store.list(&place.folder).await?;
    let wrong = broken(manifest, &sizes(&entries, place));
    Ok(Objects { classes: classes(&entries, place).into_iter().collect(), wrong })
}

/// The sizes of what lies in the folder, by its key there.
fn sizes<'a>(entries: &'a [Entry], place: &Place) -> BTreeMap<&'a str, u64> {
    let size = |entry: &'a Entry| Some((entry.key.strip_prefix(place.folder.as_str())?, entry.size));
    entries.iter().filter_map(size).collect()
}

/// The storage classes of the data in the folder; what tells about it is always in the default one.
fn classes(entries: &[Entry], place: &Place) -> BTreeSet<String> {
    let data = entries.iter().filter(|entry| entry.key.strip_prefix(place.folder.as_str()).is_some_and(is_data));
    data.filter_map(|entry| entry.class.clone()).collect()
}

/// The objects of a manifest that are missing or of another size.
fn broken(manifest: &Manifest, sizes: &BTreeMap<&str, u64>) -> Vec<String> {
    let mut named = Vec::new();
    let mut more = 0u64;
    for object in manifest.stored_objects() {
        let problem = match sizes.get(object.key.as_str()) {
            Some(size) if *size == object.bytes => continue,
            Some(size) => format!("{} has {size} bytes instead of {}", object.key, object.bytes),
            None => format!("{} is missing", object.key),
        };
        if named.len() < NAMED { named.push(problem) } else { more += 1 }
    }
    if more > 0 {
        named.push(format!("{more} more objects are missing or of another size"));
    }
    named
}
