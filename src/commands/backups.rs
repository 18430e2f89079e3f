//! Finding backups in a store: a backup is a folder with a manifest, and nothing else is.

use crate::archive::backup_id::BackupId;
use crate::archive::keys;
use crate::archive::manifest::{Manifest, SourceFacts, server_of_beginning};
use crate::error::{Error, Kind, Result};
use crate::keep::sources::groups;
use crate::store::Store;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;

/// A manifest larger than this is not one of ours.
const MANIFEST_LIMIT: u64 = 1 << 30;

/// What a manifest says of its server stands within so many bytes of its beginning, as a rule.
const BEGINNING: u64 = 32 << 10;

/// So many beginnings are read at once.
const BEGINNINGS_AT_ONCE: usize = 16;

/// Where a backup lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The database's name, unescaped.
    pub database: String,
    /// Its id.
    pub id: BackupId,
    /// Its folder in the store, ending in a slash.
    pub folder: String,
}

/// Every folder that looks like a backup, newest first, complete or not. Folders with other names are left alone.
pub async fn places(store: &dyn Store) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for folder in store.list_folders("").await? {
        let Some(database) = keys::database_of_folder(&folder) else { continue };
        for name in store.list_folders(&format!("{folder}/")).await? {
            if let Ok(id) = name.parse::<BackupId>() {
                places.push(Place { database: database.clone(), id, folder: format!("{folder}/{name}/") });
            }
        }
    }
    places.sort_by(|a, b| b.id.cmp(&a.id).then_with(|| a.database.cmp(&b.database)));
    Ok(places)
}

/// The folders of one database, newest first, complete or not.
pub async fn places_of(store: &dyn Store, database: &str) -> Result<Vec<Place>> {
    let folder = keys::database_folder(database);
    let mut places = Vec::new();
    for name in store.list_folders(&format!("{folder}/")).await? {
        if let Ok(id) = name.parse::<BackupId>() {
            places.push(Place { database: database.to_owned(), id, folder: format!("{folder}/{name}/") });
        }
    }
    places.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(places)
}

/// The manifest of a place, or nothing when the backup was never finished.
pub async fn manifest(store: &dyn Store, place: &Place) -> Result<Option<Manifest>> {
    manifest_in(store, &place.folder).await
}

/// The manifest in a folder, which ends in a slash or is empty; nothing when there is none.
pub async fn manifest_in(store: &dyn Store, folder: &str) -> Result<Option<Manifest>> {
    match manifest_bytes(store, folder).await? {
        Some(_) => manifest_there(store, folder).await.map(Some),
        None => Ok(None),
    }
}

/// The manifest in a folder that has one.
pub async fn manifest_there(store: &dyn Store, folder: &str) -> Result<Manifest> {
    let named = |error: Error| error.on(format!("{folder}{}", keys::manifest_key()));
    Manifest::decode(&text(store, folder).await?).map_err(named)
}

/// Whether a folder, which ends in a slash, has a manifest and is thus a backup.
pub async fn is_complete(store: &dyn Store, folder: &str) -> Result<bool> {
    Ok(store.head(&format!("{folder}{}", keys::manifest_key())).await?.is_some())
}

/// The size of the manifest in a folder, in bytes; nothing when there is none.
pub async fn manifest_bytes(store: &dyn Store, folder: &str) -> Result<Option<u64>> {
    let key = format!("{folder}{}", keys::manifest_key());
    let Some(meta) = store.head(&key).await? else { return Ok(None) };
    if meta.size > MANIFEST_LIMIT {
        return Err(Error::new(Kind::Archive, "the manifest is larger than any that pgstow writes").on(key));
    }
    Ok(Some(meta.size))
}

/// The manifest in a folder as it lies there, unchecked.
pub async fn manifest_text(store: &dyn Store, folder: &str) -> Result<Option<Bytes>> {
    match manifest_bytes(store, folder).await? {
        Some(_) => text(store, folder).await.map(Some),
        None => Ok(None),
    }
}

/// The text of a manifest that is there.
async fn text(store: &dyn Store, folder: &str) -> Result<Bytes> {
    let key = format!("{folder}{}", keys::manifest_key());
    let mut stream = store.get(&key, None).await?;
    let mut text = Vec::new();
    while let Some(chunk) = stream.next().await {
        text.extend_from_slice(&chunk?);
    }
    Ok(text.into())
}

/// The newest complete backup of a database.
pub async fn newest(store: &dyn Store, database: &str) -> Result<Option<(Place, Manifest)>> {
    for place in places(store).await?.into_iter().filter(|place| place.database == database) {
        if let Some(manifest) = manifest(store, &place).await? {
            return Ok(Some((place, manifest)));
        }
    }
    Ok(None)
}

/// Finds one backup by `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
///
/// Errors: [`Kind::Archive`] when there is none, or none with a manifest; [`Kind::Usage`] when `latest` could mean
/// several databases.
pub async fn find(store: &dyn Store, wanted: &str) -> Result<(Place, Manifest)> {
    let (database, name) = match wanted.rsplit_once('/') {
        Some((database, name)) => (Some(database), name),
        None => (None, wanted),
    };
    let mut candidates = places(store).await?;
    if let Some(database) = database {
        candidates.retain(|place| place.database == database);
    }
    if name == "latest" {
        latest(store, candidates, wanted).await
    } else {
        by_id(store, candidates, name, wanted).await
    }
}

async fn latest(store: &dyn Store, candidates: Vec<Place>, wanted: &str) -> Result<(Place, Manifest)> {
    let mut names: Vec<&str> = candidates.iter().map(|place| place.database.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        // A dump that runs or was killed leaves a folder too.
        let whole = with_backups(store, &candidates).await?;
        names.retain(|name| whole.contains(*name));
    }
    if names.len() > 1 {
        return Err(Error::new(Kind::Usage, format!("the store holds backups of {} databases", names.len()))
            .on(wanted)
            .hint(format!(
                "say which: {}",
                names.iter().map(|n| format!("{n}/latest")).collect::<Vec<_>>().join(", ")
            )));
    }
    let of_servers = with_sources(store, &candidates).await?;
    refuse_several(&of_servers, wanted)?;
    let mut unfinished = 0;
    let mut found: Option<(Place, Manifest)> = None;
    for place in candidates {
        // Ids tell two of one second apart, but not which was later.
        if found.as_ref().is_some_and(|(newest, _)| newest.id.created() != place.id.created()) {
            break;
        }
        match manifest(store, &place).await? {
            Some(manifest) if found.as_ref().is_none_or(|(_, newest)| newest.created_at < manifest.created_at) => {
                found = Some((place, manifest));
            }
            Some(_) => {}
            None => unfinished += 1,
        }
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let message = match unfinished {
        0 => "the store holds no backup".to_owned(),
        count => format!("the store holds no complete backup, only {count} without a manifest"),
    };
    Err(Error::new(Kind::Archive, message)
        .on(format!("{wanted} in {}", store.describe()))
        .hint("`pgstow list` shows what is there; `pgstow dump` makes a backup"))
}

/// The complete ones of these, each with the server that it is of, as far as the beginning of its manifest says.
pub async fn with_sources(store: &dyn Store, places: &[Place]) -> Result<Vec<(Place, Option<SourceFacts>)>> {
    let looks = places.iter().map(|place| async move {
        let Some(bytes) = manifest_bytes(store, &place.folder).await? else { return Ok::<_, Error>(None) };
        let key = format!("{}{}", place.folder, keys::manifest_key());
        let mut stream = store.get(&key, Some(0..bytes.min(BEGINNING))).await?;
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk?);
        }
        let server = match server_of_beginning(&text) {
            None if bytes > BEGINNING => {
                manifest_there(store, &place.folder).await.ok().map(|manifest| manifest.server)
            }
            server => server,
        };
        Ok(Some((place.clone(), server.and_then(|server| server.source))))
    });
    let found: Vec<Option<_>> =
        futures::stream::iter(looks.collect::<Vec<_>>()).buffered(BEGINNINGS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// These places by their servers, each with what tells it from others; all under one where the complete ones are of one.
pub async fn by_server(store: &dyn Store, places: Vec<Place>) -> Result<Vec<(String, Vec<Place>)>> {
    let found = if places.len() < 2 { Vec::new() } else { with_sources(store, &places).await? };
    let sources: Vec<Option<SourceFacts>> = found.iter().map(|(_, source)| source.clone()).collect();
    let groups = groups(&sources);
    let count = groups.iter().max().map_or(0, |last| last + 1);
    if count < 2 {
        return Ok(vec![(String::new(), places)]);
    }
    let of_group = |group: usize| {
        let of_it = || groups.iter().zip(&found).filter(move |(of, _)| **of == group).map(|(_, found)| found);
        let server = of_it().find_map(|(_, source)| source.as_ref());
        let server = server.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        (server, of_it().map(|(place, _)| place.clone()).collect())
    };
    Ok((0..count).map(of_group).collect())
}

/// `latest` cannot mean one of two servers' backups, whose databases only share a name.
fn refuse_several(backups: &[(Place, Option<SourceFacts>)], wanted: &str) -> Result<()> {
    let sources: Vec<Option<SourceFacts>> = backups.iter().map(|(_, source)| source.clone()).collect();
    let groups = groups(&sources);
    let count = groups.iter().max().map_or(0, |last| last + 1);
    if count < 2 {
        return Ok(());
    }
    let newest = (0..count).filter_map(|group| {
        let index = groups.iter().position(|of| *of == group)?;
        let known = groups.iter().zip(&sources).filter(|(of, _)| **of == group).find_map(|(_, source)| source.as_ref());
        let server = known.map_or_else(|| "a server that it does not say".to_owned(), ToString::to_string);
        Some(format!("{}/{} (of {server})", backups[index].0.database, backups[index].0.id))
    });
    let newest: Vec<String> = newest.collect();
    Err(Error::new(Kind::Usage, format!("the backups are of {count} servers, whose databases have the same name"))
        .on(wanted)
        .hint(format!("name the backup; the newest of each server: {}", newest.join("; "))))
}

/// The databases that have a complete backup.
async fn with_backups(store: &dyn Store, candidates: &[Place]) -> Result<HashSet<String>> {
    let mut whole = HashSet::new();
    for place in candidates {
        if !whole.contains(&place.database) && is_complete(store, &place.folder).await? {
            whole.insert(place.database.clone());
        }
    }
    Ok(whole)
}

async fn by_id(store: &dyn Store, candidates: Vec<Place>, id: &str, wanted: &str) -> Result<(Place, Manifest)> {
    for place in candidates {
        if place.id.to_string() == id {
            return match manifest(store, &place).await? {
                Some(manifest) => Ok((place, manifest)),
                None => Err(Error::new(Kind::Archive, "the backup has no manifest, so it was never finished")
                    .on(wanted)
                    .hint("choose a complete one: `pgstow list` shows them")),
            };
        }
    }
    Err(Error::new(Kind::Archive, "there is no such backup")
        .on(format!("{wanted} in {}", store.describe()))
        .hint("`pgstow list` shows the backups in the store"))
}
