//! What killed dumps leave: folders without a manifest, and uploads that were never completed; and how folders go.

use super::backups::Place;
use crate::archive::BackupId;
use crate::archive::keys;
use crate::error::{Error, Kind, Result};
use crate::store::{Deletion, OpenUpload, Store, StoreProblem, problem};
use jiff::Timestamp;
use std::time::SystemTime;

/// Something that is no backup.
#[derive(Debug)]
pub struct Leftover {
    /// A folder, ending in a slash, or the key of an upload.
    pub name: String,
    /// The upload, where it is one.
    pub upload: Option<OpenUpload>,
    /// Its bytes; those of an upload are not known.
    pub bytes: u64,
    /// When an upload was begun, or a folder begun or last written to, if that is known.
    pub begun: Option<Timestamp>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It is to go, and nothing has happened to it yet.
    WouldGo,
    /// It was deleted; what that means, [`Store::deletion`] says.
    Deleted,
    /// The store holds on to it, for it is locked.
    Retained,
}

impl Leftover {
    /// Whether it is so old that it goes.
    pub fn is_due(&self) -> bool {
        self.fate == Fate::WouldGo
    }

    /// A folder without a manifest. It is to go if the dump was begun, and its last object was written, before the cutoff;
    /// a younger one may be running, and a copy of an old backup too.
    pub(crate) fn folder(place: Place, bytes: u64, touched: Option<SystemTime>, cutoff: Timestamp) -> Self {
        let touched = touched.and_then(|touched| Timestamp::try_from(touched).ok());
        let begun = touched.unwrap_or(Timestamp::MIN).max(place.id.created());
        Leftover { name: place.folder, upload: None, bytes, begun: Some(begun), fate: due(Some(begun), cutoff) }
    }

    /// Deletes or aborts it.
    pub(crate) async fn remove(&mut self, store: &dyn Store, deletion: &Deletion) -> Result<()> {
        self.fate = match &self.upload {
            Some(upload) => {
                store.abort_upload(upload).await?;
                Fate::Deleted
            }
            None => remove_folder(store, &self.name, deletion).await?,
        };
        Ok(())
    }
}

/// Uploads below the folders of these databases (empty: of all) that were never completed; none on a store that cannot
/// tell.
pub(crate) async fn uploads(store: &dyn Store, databases: &[String], cutoff: Timestamp) -> Result<Vec<Leftover>> {
    let found = match store.open_uploads("").await {
        Err(error) if problem(&error) == Some(StoreProblem::Unsupported) => return Ok(Vec::new()),
        found => found?,
    };
    let ours = |upload: &OpenUpload| {
        let mut components = upload.key.split('/');
        let database = components.next().and_then(keys::database_of_folder);
        let is_backup = components.next().is_some_and(|name| name.parse::<BackupId>().is_ok());
        is_backup && database.is_some_and(|database| databases.is_empty() || databases.contains(&database))
    };
    let leftover = |upload: OpenUpload| {
        let begun = upload.started.and_then(|started| Timestamp::try_from(started).ok());
        Leftover { name: upload.key.clone(), upload: Some(upload), bytes: 0, begun, fate: due(begun, cutoff) }
    };
    Ok(found.into_iter().filter(ours).map(leftover).collect())
}

fn due(begun: Option<Timestamp>, cutoff: Timestamp) -> Fate {
    if begun.is_some_and(|begun| begun < cutoff) { Fate::WouldGo } else { Fate::Stays }
}

/// Deletes a backup's folder, its manifest first: from then on it is no backup. What a lock keeps is not an error.
pub(crate) async fn remove_folder(store: &dyn Store, folder: &str, deletion: &Deletion) -> Result<Fate> {
    let manifest = format!("{folder}{}", keys::manifest_key());
    if !delete(store, std::slice::from_ref(&manifest), folder, deletion).await? {
        return Ok(Fate::Retained);
    }
    let rest: Vec<String> = store.list(folder).await?.into_iter().map(|entry| entry.key).collect();
    Ok(if delete(store, &rest, folder, deletion).await? { Fate::Deleted } else { Fate::Retained })
}

/// Deletes objects; `false` where a lock keeps some.
async fn delete(store: &dyn Store, keys: &[String], folder: &str, deletion: &Deletion) -> Result<bool> {
    let Err(error) = store.delete(keys).await else { return Ok(true) };
    let locked = matches!(deletion, Deletion::Hides { locked: true, .. });
    if locked && problem(&error) == Some(StoreProblem::Denied) {
        tracing::info!(%error, folder, "the store retains what is locked");
        return Ok(false);
    }
    if problem(&error) == Some(StoreProblem::Denied) {
        return Err(Error::new(Kind::Store, "may not be removed by these credentials")
            .on(folder)
            .hint(
                "a writer may not delete: leave retention out of its job, and let `pgstow prune` run with credentials \
                 of its own, whose policy `pgstow bucket policy pruner` prints",
            )
            .because(error));
    }
    Err(error.on(folder))
}
