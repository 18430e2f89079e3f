//! `pgstow verify`: whether every object of a backup is what the manifest says, without a database.
//!
//! The manifest was checked against its own digest when it was read. Then every object is read once, several at a time,
//! in memory that does not depend on their size: its size and SHA-256; of a table's rows each frame alone, at its
//! offset; of the table of contents and the list of large objects that they name exactly what the manifest names. What
//! is wrong becomes a [`Problem`], and the work goes on, so that a report holds all of them.

mod contents;
mod objects;

use super::backups::{self, Place};
use super::frozen;
use super::transfer::Origin;
use super::{Progress, Stop};
use crate::archive::manifest::Manifest;
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use objects::Reader;
use std::sync::Arc;
use tokio::task::JoinSet;

/// So many sizes are asked for at once.
const HEADS_AT_ONCE: usize = 16;

/// What to verify, and how.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Where the backup lies.
    pub store: Arc<dyn Store>,
    /// `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
    pub backup: String,
    /// Ask for the sizes of the objects only, and read none.
    pub quick: bool,
    /// How many objects are read at once, at least 1.
    pub jobs: usize,
}

/// Something that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object's key in the store.
    pub key: String,
    /// What it holds, such as `table public.t`; absent where the key says it.
    pub holds: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// What was verified.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// Where the backup lies.
    pub place: Place,
    /// Its manifest.
    pub manifest: Manifest,
    /// Only sizes were looked at.
    pub quick: bool,
    /// Objects looked at, the manifest included.
    pub objects: u64,
    /// Everything that is wrong, in the order of the manifest.
    pub problems: Vec<Problem>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Verifies one backup. Errors are failures to verify: no such backup, a manifest that is damaged, a store that does not
/// answer. What is wrong with the backup is in the report.
pub async fn verify(options: VerifyOptions, progress: Arc<Progress>, stop: Stop) -> Result<VerifyReport> {
    progress.phase("reading the manifest");
    let (place, manifest) = stop.unless(backups::find(options.store.as_ref(), &options.backup)).await?;
    let problems = if options.quick {
        quick_check(&options.store, &place, &manifest, &progress, &stop).await?
    } else {
        full_check(&options.store, &place, &manifest, options.jobs, &progress, &stop).await?
    };
    let objects = manifest.stored_objects().count() as u64 + 1;
    progress.phase("done");
    Ok(VerifyReport { place, manifest, quick: options.quick, objects, problems, seconds: progress.seconds() })
}

/// The error of a backup that is not what it should be, for after the report was printed.
pub fn damaged(report: &VerifyReport) -> Option<Error> {
    (!report.problems.is_empty()).then(|| {
        let count = report.problems.len();
        Error::new(Kind::Archive, format!("{count} {} found", if count == 1 { "problem" } else { "problems" }))
            .on(format!("backup {}", report.manifest.id))
            .hint("restore from another backup; `pgstow list` shows them")
    })
}

/// Holds the size of every object against the manifest, by HEAD requests alone.
pub async fn quick_check(
    store: &Arc<dyn Store>,
    place: &Place,
    manifest: &Manifest,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Vec<Problem>> {
    use futures::{StreamExt, TryStreamExt};
    progress.phase("asking for sizes");
    let questions = manifest.stored_objects().map(|object| async move {
        let key = format!("{}{}", place.folder, object.key);
        let message = match store.head(&key).await? {
            None => objects::MISSING.to_owned(),
            Some(meta) if meta.size != object.bytes => objects::wrong_size(meta.size, object),
            Some(_) => return Ok::<_, Error>(None),
        };
        Ok(Some(Problem { key, holds: None, message }))
    });
    let answers = futures::stream::iter(questions.collect::<Vec<_>>())
        .buffered(HEADS_AT_ONCE)
        .try_filter_map(|problem| std::future::ready(Ok(problem)));
    stop.unless(answers.try_collect()).await
}

/// Reads every object and holds it against the manifest.
pub async fn full_check(
    store: &Arc<dyn Store>,
    place: &Place,
    manifest: &Manifest,
    jobs: usize,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Vec<Problem>> {
    let reader = Reader {
        origin: Origin { store: Arc::clone(store), folder: place.folder.clone() },
        codec: manifest.options.codec.parse()?,
        progress: Arc::clone(progress),
    };
    stop.unless(frozen::refuse_backup(store.as_ref(), place, manifest)).await?;
    progress.expect(manifest.tables.len() as u64, manifest.totals.raw_bytes);
    progress.phase("verifying");
    let mut problems = stop.unless(contents::check(&reader, manifest)).await?;
    let mut found: Vec<(usize, Vec<Problem>)> = Vec::new();
    let mut tasks: JoinSet<Result<(usize, Vec<Problem>)>> = JoinSet::new();
    let mut waiting = objects::work(manifest).enumerate();
    // The set ends its tasks when it is dropped, so a stop or a failure leaves none behind.
    loop {
        while tasks.len() < jobs.max(1)
            && let Some((number, work)) = waiting.next()
        {
            let reader = reader.clone();
            tasks.spawn(async move { Ok((number, reader.check(work).await?)) });
        }
        let Some(ended) = stop.unless(async { Ok(tasks.join_next().await) }).await? else { break };
        let ended =
            ended.unwrap_or_else(|panic| Err(Error::new(Kind::Internal, "a reader ended unexpectedly").because(panic)));
        found.push(ended?);
    }
    found.sort_by_key(|(number, _)| *number);
    problems.extend(found.into_iter().flat_map(|(_, problems)| problems));
    Ok(problems)
}
