//! `pgstow list` and `pgstow show`: what the store holds.

use super::backups::{self, Place};
use crate::archive::manifest::Manifest;
use crate::error::Result;
use crate::store::Store;

/// What `list` found.
#[derive(Debug)]
pub struct Listing {
    /// Complete backups, newest first.
    pub backups: Vec<(Place, Manifest)>,
    /// Folders without a manifest: running now, or left by a dump that was killed. They are not backups.
    pub unfinished: Vec<Place>,
}

/// Lists the backups of every database in the store.
pub async fn list(store: &dyn Store) -> Result<Listing> {
    let (backups, unfinished) = backups::complete(store).await?;
    Ok(Listing { backups, unfinished })
}

/// Finds one backup and gives its manifest.
pub async fn show(store: &dyn Store, wanted: &str) -> Result<(Place, Manifest)> {
    backups::find(store, wanted).await
}
