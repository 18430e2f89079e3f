//! A verified copy of an archive in a folder of the local disk.

use super::ExportReport;
use crate::archive::keys;
use crate::commands::source::Source;
use crate::commands::transfer::{ArchiveObject, Destination};
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::store::{Store, StoreUrl};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// So many objects are copied at once.
const COPIES_AT_ONCE: usize = 4;

/// Copies every object of the archive, the table of contents and then the manifest last: until those are there the
/// folder is no archive. On a failure, what was written is removed.
///
/// Errors: [`Kind::Target`] when the folder holds something already.
pub(super) async fn copy(
    source: &Source,
    folder: &Path,
    progress: &Arc<Progress>,
    stop: &Stop,
    report: &mut ExportReport,
) -> Result<()> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::new(Kind::Target, "the folder is not empty")
            .on(folder.display().to_string())
            .hint("name a folder that does not exist yet"));
    }
    let store = crate::store::open(&StoreUrl::Folder(folder.to_owned()), &crate::store::S3Options::default()).await?;
    let destination = Destination {
        store: Arc::clone(&store),
        folder: String::new(),
        class: None,
        progress: Arc::clone(progress),
        stop: stop.clone(),
    };
    match copy_all(source, &store, &destination, report).await {
        Ok(()) => Ok(()),
        Err(error) => {
            destination.sweep().await;
            Err(error)
        }
    }
}

async fn copy_all(
    source: &Source,
    store: &Arc<dyn Store>,
    destination: &Destination,
    report: &mut ExportReport,
) -> Result<()> {
    let tables: HashSet<&str> = source.tables.values().map(|table| table.object.key.as_str()).collect();
    let copied: Vec<u64> = futures::stream::iter(&source.objects)
        .map(|object| {
            let is_table = tables.contains(object.key.as_str());
            async move {
                let bytes = copy_one(source, object, destination).await?;
                if is_table {
                    destination.progress.table_done();
                }
                Ok::<u64, Error>(bytes)
            }
        })
        .buffer_unordered(COPIES_AT_ONCE)
        .try_collect()
        .await?;
    report.bytes = copied.iter().sum();
    report.tables = source.tables.len() as u64;
    report.rows = source.tables.values().filter_map(|table| table.rows).sum();
    report.bytes += copy_one(source, &source.toc_object, destination).await?;
    if source.manifest.is_some() {
        // As it lies there: what this version does not know stays in it.
        let key = format!("{}{}", source.origin.folder, keys::manifest_key());
        let whole: Vec<Bytes> = source.origin.store.get(&key, None).await?.try_collect().await?;
        let whole = Bytes::from(whole.concat());
        report.bytes += whole.len() as u64;
        store.put_new(keys::manifest_key(), whole).await?;
    }
    Ok(())
}

async fn copy_one(source: &Source, object: &ArchiveObject, destination: &Destination) -> Result<u64> {
    let stream = destination.stop.unless(source.origin.read(object)).await?;
    let written = destination.write(&object.key, object.bytes, stream).await?;
    Ok(written.bytes)
}
