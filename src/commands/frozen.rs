//! Backups of which objects lie in archive classes, and cannot be read until they are thawed.
//!
//! The classes come with the listing; only objects in archive classes, and in the one that archives by itself, are asked about
//! one by one.

use super::backups::Place;
use crate::archive::manifest::Manifest;
use crate::error::{Error, Result};
use crate::store::{Store, StoreProblem, Thawing, frozen, is_archive_class, may_be_archived, problem};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::HashSet;

/// So many objects are asked about at once.
const AT_ONCE: usize = 16;

/// An object in an archive class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cold {
    /// Its key in the store.
    pub(crate) key: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Its class, or the tier of `INTELLIGENT_TIERING` that archives it.
    pub(crate) class: String,
}

/// The objects of a folder that lie in archive classes, as far as these keys, relative to the folder, name them.
pub(crate) async fn cold(store: &dyn Store, folder: &str, keys: &HashSet<&str>) -> Result<Vec<Cold>> {
    let entries = store.list(folder).await?.into_iter();
    let named = entries.filter(|entry| entry.key.strip_prefix(folder).is_some_and(|key| keys.contains(key)));
    let maybe = named.filter_map(|entry| {
        let class = entry.class.filter(|class| may_be_archived(class))?;
        Some(Cold { key: entry.key, bytes: entry.size, class })
    });
    let looks = maybe.map(|cold| is_cold(store, cold)).collect::<Vec<_>>();
    let found: Vec<Option<Cold>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The object, if it is archived: where its class does not tell, it does.
async fn is_cold(store: &dyn Store, cold: Cold) -> Result<Option<Cold>> {
    if is_archive_class(&cold.class) {
        return Ok(Some(cold));
    }
    let archived = store.head(&cold.key).await?.filter(|meta| meta.thawing.is_some());
    Ok(archived.map(|meta| Cold { class: meta.class.unwrap_or_else(|| cold.class.clone()), ..cold }))
}

/// How one of them stands; one that is gone, or in another class by now, needs no thawing.
pub(crate) async fn stands(store: &dyn Store, cold: &Cold) -> Result<Thawing> {
    let meta = store.head(&cold.key).await?;
    Ok(meta.and_then(|meta| meta.thawing).unwrap_or(Thawing::Until(None)))
}

/// Refuses to read a backup that is frozen.
pub(crate) async fn refuse_backup(store: &dyn Store, place: &Place, manifest: &Manifest) -> Result<()> {
    let keys: HashSet<&str> = manifest.stored_objects().map(|object| object.key.as_str()).collect();
    refuse(store, &place.folder, &keys, &format!("{}/{}", place.database, place.id)).await
}

/// Refuses to read what is frozen, before anything else is done. `name` is what `pgstow thaw` takes.
pub(crate) async fn refuse(store: &dyn Store, folder: &str, keys: &HashSet<&str>, name: &str) -> Result<()> {
    // What is no bucket has no such classes.
    if store.address().is_none() {
        return Ok(());
    }
    let cold = match cold(store, folder, keys).await {
        // Whoever may read and not list sees it when reading.
        Err(error) if problem(&error) == Some(StoreProblem::Denied) => return Ok(()),
        cold => cold?,
    };
    let looks = cold.iter().map(|cold| async move { Ok::<_, Error>((cold, stands(store, cold).await?)) });
    let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((cold, state)) = looks.try_next().await? {
        let class = &cold.class;
        match state {
            Thawing::Until(_) => {}
            Thawing::Frozen => {
                return Err(frozen(format!("lies in {class} and has to be thawed before it can be read"))
                    .on(name)
                    .hint(format!("`pgstow thaw {name}` asks the store for it; --wait waits until it is there")));
            }
            Thawing::UnderWay => {
                return Err(frozen(format!("lies in {class} and is being thawed, but cannot be read yet"))
                    .on(name)
                    .hint(format!("`pgstow thaw {name} --wait` waits until it can")));
            }
        }
    }
    Ok(())
}
