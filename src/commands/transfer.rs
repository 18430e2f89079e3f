//! One stream to one object and back: the seam between `stream` (no store) and `store` (no frames).

use super::{Progress, Stop};
use crate::archive::manifest::StoredObject;
use crate::error::{Error, Kind, Result};
use crate::store::{StorageClass, Store, StoreProblem, Upload, problem};
use crate::stream::digest::{Digest, Expected, verified};
use crate::stream::parts::{PartCutter, part_size};
use bytes::Bytes;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use std::sync::Arc;

/// How many parts of one object are on their way at once. Two keep the line busy while the next is being filled;
/// more would only hold more memory.
const PARTS_IN_FLIGHT: usize = 2;

/// Where the objects of one backup go.
#[derive(Clone)]
pub(crate) struct Destination {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The backup's folder, ending in a slash.
    pub(crate) folder: String,
    /// The storage class of data objects.
    pub(crate) class: Option<StorageClass>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: Stop,
}

impl Destination {
    /// Writes the stream to `key` below the folder: one PUT when it fits in one part, a multipart upload of equal parts
    /// otherwise. Whatever fails, the upload is aborted before the error is returned.
    pub(crate) async fn write(
        &self,
        key: &str,
        estimated_bytes: u64,
        source: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<StoredObject> {
        let limits = self.store.limits();
        let size = part_size(estimated_bytes, limits.min_part, limits.max_parts);
        let mut cutter = PartCutter::new(usize::try_from(size).unwrap_or(usize::MAX));
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
            self.stop.unless(self.store.put(&full_key, body, self.class.as_ref())).await?;
            self.progress.moved_stored(length);
        } else {
            let upload = self.stop.unless(self.store.start_upload(&full_key, self.class.as_ref())).await?;
            match self.stop.unless(self.write_parts(upload.as_ref(), cutter, waiting, counted.as_mut())).await {
                Ok(()) => upload.complete().await?,
                Err(error) => {
                    if let Err(second) = upload.abort().await {
                        tracing::warn!(key = full_key, error = %second, "could not abort the upload");
                    }
                    return Err(error);
                }
            }
        }
        Ok(StoredObject { key: key.to_owned(), bytes: total, sha256: digest.finish() })
    }

    async fn write_parts(
        &self,
        upload: &dyn Upload,
        mut cutter: PartCutter,
        first: Vec<Bytes>,
        mut source: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<()> {
        let mut in_flight = FuturesUnordered::new();
        let mut number = 0u32;
        let mut waiting = first;
        let mut ended = false;
        loop {
            for body in waiting.drain(..) {
                while in_flight.len() >= PARTS_IN_FLIGHT {
                    in_flight.next().await.transpose()?;
                }
                number += 1;
                in_flight.push(self.write_part(upload, number, body));
            }
            if ended {
                break;
            }
            tokio::select! {
                Some(outcome) = in_flight.next(), if !in_flight.is_empty() => outcome?,
                chunk = source.next() => match chunk.transpose()? {
                    Some(chunk) => waiting = cutter.push(chunk),
                    None => {
                        ended = true;
                        let rest = std::mem::replace(&mut cutter, PartCutter::new(1)).finish();
                        waiting.extend((!rest.is_empty()).then_some(rest));
                    }
                },
            }
        }
        while let Some(outcome) = in_flight.next().await {
            outcome?;
        }
        Ok(())
    }

    async fn write_part(&self, upload: &dyn Upload, number: u32, body: Bytes) -> Result<()> {
        let length = body.len() as u64;
        upload.part(number, body).await?;
        self.progress.moved_stored(length);
        Ok(())
    }

    /// Removes what a failed dump left: open uploads and objects below the folder. Best effort: what cannot be removed
    /// is named in the log.
    pub(crate) async fn sweep(&self) {
        match self.store.open_uploads(&self.folder).await {
            Ok(uploads) => {
                for upload in uploads {
                    if let Err(error) = self.store.abort_upload(&upload).await {
                        tracing::warn!(%error, "could not abort an upload of the failed dump");
                    }
                }
            }
            // A store that was never reached or cannot tell has nothing to say here; the first error says why.
            Err(error) if matches!(problem(&error), Some(StoreProblem::NoBucket | StoreProblem::Unsupported)) => {}
            Err(error) => tracing::warn!(%error, "could not look for open uploads of the failed dump"),
        }
        match self.store.list(&self.folder).await {
            Ok(entries) => {
                let keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
                if let Err(error) = self.store.delete(&keys).await {
                    tracing::warn!(%error, folder = self.folder, "could not delete the objects of the failed dump");
                }
            }
            Err(error) if problem(&error) == Some(StoreProblem::NoBucket) => {}
            Err(error) => tracing::warn!(%error, "could not list the objects of the failed dump"),
        }
    }
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
