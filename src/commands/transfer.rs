//! One stream to one object and back: the seam between `stream` (no store) and `store` (no frames).

use super::memory::{DumpShares, held};
use super::{Progress, Stop};
use crate::archive::keys;
use crate::archive::manifest::StoredObject;
use crate::error::{Error, Kind, Result};
use crate::store::{Limits, StorageClass, Store, StoreProblem, Upload, problem};
use crate::stream::digest::{Digest, Expected, Run, verified, verified_runs};
use crate::stream::parts::{PartCutter, part_size};
use bytes::Bytes;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many parts of one object are on their way at once, if the memory for parts allows.
const PARTS_IN_FLIGHT: usize = 4;
/// The memory for parts is handed out in pieces of this many bytes.
const UNIT: u64 = 64 << 10;
/// So long after a stop, what is being written may still be written, and an upload completed or aborted.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// While a failure is cleaned up, a store that is silent for so long is given up.
const AFTER_A_FAILURE: Duration = Duration::from_secs(10);
/// After a signal it is given up sooner: with [`LAST_MOMENT`] before, all is over within two seconds.
const AFTER_A_STOP: Duration = Duration::from_millis(1_400);
/// So many objects are deleted between two looks at the clock; S3 takes no more in one request.
const KEYS_AT_ONCE: usize = 1_000;
/// No object may be larger on most stores (S3's own limit was raised since).
const LARGEST_OBJECT: u64 = 5 << 40;

/// How objects are cut into parts, and the memory that all parts share.
#[derive(Clone)]
pub(crate) struct Parts {
    memory: Arc<Semaphore>,
    largest: u64,
    fixed_size: Option<u64>,
    most: u32,
}

impl Parts {
    /// Settles the sizes for a store.
    ///
    /// Errors: [`Kind::Usage`] for a part size that the store does not take or the memory does not hold.
    pub(crate) fn new(limits: Limits, shares: &DumpShares, size: Option<u64>, most: Option<u32>) -> Result<Self> {
        let (least, largest) = (limits.min_part, limits.max_part.min(shares.largest_part));
        if let Some(size) = size.filter(|size| !(least.max(1)..=largest).contains(size)) {
            return Err(Error::new(Kind::Usage, format!("parts cannot have {size} bytes here"))
                .hint(format!("use {least} to {largest} bytes; more memory allows larger parts")));
        }
        let memory = usize::try_from(shares.part_bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Parts {
            memory: Arc::new(Semaphore::new(memory)),
            largest,
            fixed_size: size,
            most: most.unwrap_or(limits.max_parts).clamp(1, limits.max_parts),
        })
    }

    /// The size of an object's parts, for so many bytes expected.
    pub(crate) fn size(&self, estimated_bytes: u64, limits: Limits) -> u64 {
        self.fixed_size.unwrap_or_else(|| part_size(estimated_bytes, limits.min_part, self.most).min(self.largest))
    }

    /// How much one object holds at most in parts of this size.
    pub(crate) fn capacity(&self, part_size: u64) -> u64 {
        part_size.saturating_mul(u64::from(self.most)).min(LARGEST_OBJECT)
    }

    /// Waits for the memory of one part, which is free again when the permit is dropped.
    async fn room(&self, part_size: u64) -> Result<OwnedSemaphorePermit> {
        let units = u32::try_from(part_size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.memory).acquire_many_owned(units).await;
        room.map_err(|error| Error::new(Kind::Internal, "the memory for parts is closed").because(error))
    }
}

/// Where the objects of one backup go.
#[derive(Clone)]
pub(crate) struct Destination {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The backup's folder, ending in a slash.
    pub(crate) folder: String,
    /// The storage class of data objects; [`Destination::class_of`] says which those are.
    pub(crate) class: Option<StorageClass>,
    pub(crate) parts: Parts,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: Stop,
}

impl Destination {
    /// The size of an object's parts, for so many bytes expected.
    pub(crate) fn part_size(&self, estimated_bytes: u64) -> u64 {
        self.parts.size(estimated_bytes, self.store.limits())
    }

    /// The storage class of an object. What tells about a backup stays in the store's default class, so that it can be read
    /// whatever the data's class is; it is small, and most other classes bill small objects as larger ones.
    pub(crate) fn class_of(&self, key: &str) -> Option<&StorageClass> {
        self.class.as_ref().filter(|_| keys::is_data(key))
    }

    /// Writes the stream to `key` below the folder: one PUT when it fits in one part, a multipart upload of equal parts
    /// otherwise. Whatever fails, the upload is aborted before the error is returned.
    ///
    /// A part takes its memory before its first byte comes. Whoever waits for memory holds none, so it always comes.
    pub(crate) async fn write(
        &self,
        key: &str,
        part_size: u64,
        source: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<StoredObject> {
        let room = self.stop.unless(self.parts.room(part_size)).await?;
        let mut cutter = PartCutter::new(usize::try_from(part_size).unwrap_or(usize::MAX));
        let (mut digest, mut total) = (Digest::default(), 0u64);
        let mut counted = std::pin::pin!(source.map(|chunk| {
            let chunk = chunk?;
            digest.update(&chunk);
            total += chunk.len() as u64;
            Ok::<Bytes, Error>(chunk)
        }));
        let full_key = format!("{}{key}", self.folder);
        let mut waiting = Vec::new();
        while waiting.is_empty() {
            match self.stop.unless(async { counted.next().await.transpose() }).await? {
                Some(chunk) => waiting = cutter.push(chunk),
                None => break,
            }
        }
        if waiting.is_empty() {
            let body = cutter.finish();
            let length = body.len() as u64;
            self.soon(self.store.put(&full_key, body, self.class_of(key))).await?;
            self.progress.moved_stored(length);
        } else {
            let upload = self.soon(self.store.start_upload(&full_key, self.class_of(key))).await?;
            let sending = Sending { destination: self, upload: upload.as_ref(), part_size, room: Some(room), cutter };
            match self.stop.unless(sending.all(waiting, counted.as_mut())).await {
                Ok(()) => self.soon(upload.complete()).await?,
                Err(error) => {
                    if let Err(second) = self.soon(upload.abort()).await {
                        tracing::warn!(key = full_key, error = %second, "could not abort the upload");
                    }
                    return Err(error);
                }
            }
        }
        Ok(StoredObject { key: key.to_owned(), bytes: total, sha256: digest.finish() })
    }

    /// Lets a request end that makes something in the store or ends an upload. After a stop it has a moment for that, for
    /// what is given up on its way may be done after the sweep of the folder looked; what did not end, the sweep removes.
    pub(crate) async fn soon<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let too_late = async {
            self.stop.asked().await;
            tokio::time::sleep(LAST_MOMENT).await;
        };
        tokio::select! {
            outcome = request => outcome,
            () = too_late => Err(Stop::interrupted()),
        }
    }

    async fn write_part(
        &self,
        upload: &dyn Upload,
        number: u32,
        body: Bytes,
        room: OwnedSemaphorePermit,
    ) -> Result<()> {
        let length = body.len() as u64;
        upload.part(number, body).await?;
        drop(room);
        self.progress.moved_stored(length);
        Ok(())
    }

    /// Removes what a failed dump or copy left: open uploads and objects below the folder. Says what could not be removed.
    /// A store that is silent for longer than the patience is asked for nothing more.
    pub(crate) async fn sweep(&self, patience: Duration) -> Option<String> {
        let (uploads, answers) = self.abort_uploads(patience).await;
        let objects = if answers { self.delete_objects(patience).await } else { None };
        let said: Vec<String> = [uploads, objects].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What could not be aborted, and whether the store still answers.
    async fn abort_uploads(&self, patience: Duration) -> (Option<String>, bool) {
        let mut open = 0;
        let mut last = None;
        let mut answers = true;
        match in_time(patience, self.store.open_uploads(&self.folder)).await {
            Ok(uploads) => {
                for upload in uploads {
                    let outcome =
                        if answers { in_time(patience, self.store.abort_upload(&upload)).await } else { Err(silent()) };
                    if let Err(error) = outcome {
                        open += 1;
                        answers &= !is_silent(&error);
                        last = Some(error);
                    }
                }
            }
            // A store that was never reached or cannot tell has nothing to say here; the first error says why.
            Err(error) if matches!(problem(&error), Some(StoreProblem::NoBucket | StoreProblem::Unsupported)) => {}
            Err(error) => {
                answers = !is_silent(&error);
                last = Some(error);
            }
        }
        let what = match (open, answers) {
            (0, true) => "perhaps uploads of it".to_owned(),
            (0, false) => "perhaps uploads and objects of it".to_owned(),
            (1, _) => "1 upload of it".to_owned(),
            (open, _) => format!("{open} uploads of it"),
        };
        (last.map(|error| self.left(&what, &error)), answers)
    }

    async fn delete_objects(&self, patience: Duration) -> Option<String> {
        let keys = match in_time(patience, self.store.list(&self.folder)).await {
            Ok(entries) => entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>(),
            Err(error) if problem(&error) == Some(StoreProblem::NoBucket) => return None,
            Err(error) => return Some(self.left("perhaps objects of it", &error)),
        };
        let mut last = None;
        for some in keys.chunks(KEYS_AT_ONCE) {
            if let Err(error) = in_time(patience, self.store.delete(some)).await {
                let silent = is_silent(&error);
                last = Some(error);
                if silent {
                    break;
                }
            }
        }
        let error = last?;
        let still = match in_time(patience, self.store.list(&self.folder)).await {
            Ok(entries) => entries.len(),
            Err(_) => keys.len(),
        };
        let objects = if still == 1 { "object" } else { "objects" };
        (still > 0).then(|| self.left(&format!("{still} {objects} of it"), &error))
    }

    /// What nobody but a sweep removes any more.
    pub(crate) fn left(&self, what: &str, error: &Error) -> String {
        let place = format!("{}/{}", self.store.describe(), self.folder);
        format!("{what} are left in {place} until `pgstow prune` or `pgstow sweep` removes them ({error})")
    }
}

/// How long the store may be silent while a failed dump or copy is cleaned up: whoever sent a signal waits for it.
pub(crate) fn patience(stopped: bool) -> Duration {
    if stopped { AFTER_A_STOP } else { AFTER_A_FAILURE }
}

/// Waits so long for the store.
pub(crate) async fn in_time<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(silent()))
}

const SILENT: &str = "the store does not answer";

fn silent() -> Error {
    Error::new(Kind::Store, SILENT)
}

fn is_silent(error: &Error) -> bool {
    error.message() == SILENT
}

/// One upload in the making.
struct Sending<'a> {
    destination: &'a Destination,
    upload: &'a dyn Upload,
    part_size: u64,
    /// The memory of the part that is being filled; none while it is waited for.
    room: Option<OwnedSemaphorePermit>,
    cutter: PartCutter,
}

impl Sending<'_> {
    /// Sends the parts that are complete and those that are still to come.
    async fn all(mut self, first: Vec<Bytes>, mut source: impl Stream<Item = Result<Bytes>> + Unpin) -> Result<()> {
        let mut in_flight = FuturesUnordered::new();
        let mut waiting = VecDeque::from(first);
        let (mut number, mut ended) = (0u32, false);
        loop {
            if !waiting.is_empty()
                && in_flight.len() < PARTS_IN_FLIGHT
                && let Some(room) = self.room.take()
                && let Some(body) = waiting.pop_front()
            {
                if number == self.destination.parts.most {
                    return Err(too_many_parts(number, self.part_size));
                }
                number += 1;
                in_flight.push(self.destination.write_part(self.upload, number, body, room));
            }
            if ended && waiting.is_empty() {
                break;
            }
            tokio::select! {
                Some(outcome) = in_flight.next(), if !in_flight.is_empty() => outcome?,
                room = self.destination.parts.room(self.part_size), if self.room.is_none() => self.room = Some(room?),
                chunk = source.next(), if self.room.is_some() && waiting.is_empty() && !ended => {
                    match chunk.transpose()? {
                        Some(chunk) => waiting.extend(self.cutter.push(chunk)),
                        None => {
                            ended = true;
                            let rest = std::mem::replace(&mut self.cutter, PartCutter::new(1)).finish();
                            waiting.extend((!rest.is_empty()).then_some(rest));
                        }
                    }
                }
            }
        }
        while let Some(outcome) = in_flight.next().await {
            outcome?;
        }
        Ok(())
    }
}

/// Rows roll over into a further object before this; a large object, or a copy of what a wider store held, cannot.
fn too_many_parts(most: u32, part_size: u64) -> Error {
    Error::new(
        Kind::Usage,
        format!("is larger than the {most} parts of {part_size} bytes that one object may have here"),
    )
    .hint("give larger parts with --part-size, or more of them with --max-parts, as far as the store takes them")
}

/// An object of an archive, as far as its archive tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveObject {
    /// Its key, relative to the archive's folder.
    pub key: String,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// The SHA-256 that the manifest promises; a stock archive promises none.
    pub sha256: Option<String>,
}

impl ArchiveObject {
    /// The memory that it takes beside itself, in bytes.
    pub(crate) fn held(&self) -> u64 {
        held([self.key.capacity(), self.sha256.as_ref().map_or(0, String::capacity)])
    }
}

impl From<&StoredObject> for ArchiveObject {
    fn from(object: &StoredObject) -> Self {
        ArchiveObject { key: object.key.clone(), bytes: object.bytes, sha256: Some(object.sha256.clone()) }
    }
}

/// Where the objects of one archive come from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The archive's folder, ending in a slash; empty when the store itself is the folder.
    pub(crate) folder: String,
}

impl Origin {
    /// The object's bytes, ending in an error that names it when its size or digest is not the promised one.
    pub(crate) async fn read(&self, object: &ArchiveObject) -> Result<BoxStream<'static, Result<Bytes>>> {
        let key = format!("{}{}", self.folder, object.key);
        let stream = self.store.get(&key, None).await?;
        Ok(match object.sha256.clone() {
            Some(sha256) => verified(stream, Expected { key, bytes: object.bytes, sha256 }),
            // The store itself notices an object that ends too early.
            None => stream,
        })
    }

    /// A part of the object's bytes, ending in an error that names it when they are not these runs.
    pub(crate) async fn read_runs(
        &self,
        object: &ArchiveObject,
        stored: Range<u64>,
        runs: Vec<Run>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let key = format!("{}{}", self.folder, object.key);
        let stream = self.store.get(&key, Some(stored)).await?;
        Ok(verified_runs(stream, key, runs))
    }

    /// The whole object, for small ones; `limit` guards against an archive that lies about its size.
    pub(crate) async fn read_whole(&self, object: &ArchiveObject, limit: u64) -> Result<Vec<u8>> {
        if object.bytes > limit {
            return Err(Error::new(Kind::Archive, format!("is larger than the {limit} bytes that it may have"))
                .on(format!("{}{}", self.folder, object.key)));
        }
        let mut stream = self.read(object).await?;
        let mut whole = Vec::with_capacity(usize::try_from(object.bytes).unwrap_or_default());
        while let Some(chunk) = stream.next().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole)
    }
}
