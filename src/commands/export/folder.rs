//! A verified copy of an archive in a folder of the local disk.
//!
//! Always true here: nothing is written outside of the folder, whatever the archive's keys are; nobody but the user may
//! read it, for an archive holds everything that the database holds.

use super::ExportReport;
use crate::archive::keys;
use crate::commands::source::Source;
use crate::commands::transfer::ArchiveObject;
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// So many objects are copied at once.
const COPIES_AT_ONCE: usize = 4;
/// How often, and how long after one another, a folder is removed in which a file is being made.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// Copies every object of the archive, the table of contents and then the manifest last: until those are there the
/// folder is no archive. On a failure, what was written is removed.
///
/// Errors: [`Kind::Target`] when the folder holds something already.
pub(super) async fn copy(
    source: &Source,
    folder: &Path,
    progress: &Progress,
    stop: &Stop,
    report: &mut ExportReport,
) -> Result<()> {
    let was_there = folder.exists();
    if was_there && std::fs::read_dir(folder).map_err(|error| unwritable(folder, error))?.next().is_some() {
        return Err(Error::new(Kind::Target, "the folder is not empty")
            .on(folder.display().to_string())
            .hint("name a folder that does not exist yet"));
    }
    make_folder(folder)?;
    let outcome = stop.unless(copy_all(source, folder, progress, report)).await;
    if outcome.is_err() {
        // It was empty when this began, so everything in it is from here.
        let removed = remove(folder).await;
        let restored = if was_there { removed.and_then(|()| std::fs::create_dir(folder)) } else { removed };
        if let Err(error) = restored {
            tracing::warn!(folder = %folder.display(), %error, "could not remove the unfinished copy");
        }
    }
    outcome
}

/// Removes the folder with all that is in it. A file that was being made when the copy ended may come still, once.
async fn remove(folder: &Path) -> std::io::Result<()> {
    let mut attempts = 0;
    loop {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && attempts < ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn copy_all(source: &Source, folder: &Path, progress: &Progress, report: &mut ExportReport) -> Result<()> {
    let further = source.further_segments();
    let tables = source.tables.iter().filter(|(id, _)| !further.contains(id));
    let tables: HashSet<&str> = tables.map(|(_, table)| table.object.key.as_str()).collect();
    let copied: Vec<u64> = futures::stream::iter(&source.objects)
        .map(|object| {
            let is_table = tables.contains(object.key.as_str());
            async move {
                let bytes = copy_one(source, object, folder, progress).await?;
                if is_table {
                    progress.table_done();
                }
                Ok::<u64, Error>(bytes)
            }
        })
        .buffer_unordered(COPIES_AT_ONCE)
        .try_collect()
        .await?;
    report.bytes = copied.iter().sum();
    report.tables = tables.len() as u64;
    report.rows = source.tables.values().filter_map(|table| table.rows).sum();
    report.bytes += copy_one(source, &source.toc_object, folder, progress).await?;
    if source.manifest.is_some() {
        // As it lies there: what this version does not know stays in it.
        let key = format!("{}{}", source.origin.folder, keys::manifest_key());
        let stream = source.origin.store.get(&key, None).await?;
        report.bytes += write(keys::manifest_key(), stream, folder, progress).await?;
    }
    Ok(())
}

async fn copy_one(source: &Source, object: &ArchiveObject, folder: &Path, progress: &Progress) -> Result<u64> {
    write(&object.key, source.origin.read(object).await?, folder, progress).await
}

/// Writes one object under its key; gives its size.
async fn write(
    key: &str,
    mut stream: BoxStream<'static, Result<Bytes>>,
    folder: &Path,
    progress: &Progress,
) -> Result<u64> {
    keys::check_relative(key)?;
    let path = folder.join(key);
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&path).await.map_err(|error| unwritable(&path, error))?;
    let mut size = 0u64;
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        file.write_all(&bytes).await.map_err(|error| unwritable(&path, error))?;
        size += bytes.len() as u64;
        progress.moved_stored(bytes.len() as u64);
    }
    file.sync_all().await.map_err(|error| unwritable(&path, error))?;
    Ok(size)
}

fn make_folder(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| unwritable(folder, error))
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Usage, "cannot be written").on(path.display().to_string()).because(error)
}
