//! Multipart uploads to S3.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::primitives::ByteStream as Body;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use crate::error::{Error, Result};

use super::super::failure::{StoreProblem, problem, store_error};
use super::super::ledger::Ledger;
use super::super::retry::{Attempts, may_pass};
use super::super::{Limits, StorageClass, Store, Upload};
use super::failure::describe_failure;
use super::{S3Store, connect, sdk_class};

/// Starts an upload.
pub(super) async fn begin(store: &S3Store, key: &str, class: Option<&StorageClass>) -> Result<S3Upload> {
    let place = &store.place;
    let answer = store
        .place
        .client()
        .create_multipart_upload()
        .bucket(&place.bucket)
        .key(store.full_key(key))
        .set_storage_class(sdk_class(class))
        .set_checksum_algorithm(checksum(store))
        .send()
        .await
        .map_err(|error| describe_failure(&error, "cannot start an upload", &store.name(key)))?;
    let Some(id) = answer.upload_id().filter(|id| !id.is_empty()) else {
        return Err(store_error(StoreProblem::Other, "the store gave no upload id").on(store.name(key)));
    };
    let ledger = Mutex::new(Ledger::new(Limits::S3));
    let (key, id, class) = (key.to_owned(), id.to_owned(), class.cloned());
    Ok(S3Upload { store: store.clone(), key, id, class, ledger, finished: false })
}

/// Aborts an upload; one that is gone is no error.
pub(super) async fn abort(store: &S3Store, key: &str, id: &str) -> Result<()> {
    let place = &store.place;
    let answer = store
        .place
        .client()
        .abort_multipart_upload()
        .bucket(&place.bucket)
        .key(store.full_key(key))
        .upload_id(id)
        .send()
        .await
        .map_err(|error| describe_failure(&error, "cannot abort an upload", &store.name(key)));
    match answer {
        Err(error) if problem(&error) != Some(StoreProblem::NotFound) => Err(error),
        _ => Ok(()),
    }
}

/// The checksum that parts carry. An upload says it at its start, or AWS refuses its parts' checksums at its end.
fn checksum(store: &S3Store) -> Option<ChecksumAlgorithm> {
    store.place.checksums.then_some(ChecksumAlgorithm::Crc32)
}

pub(super) struct S3Upload {
    store: S3Store,
    key: String,
    id: String,
    class: Option<StorageClass>,
    ledger: Mutex<Ledger<CompletedPart>>,
    finished: bool,
}

impl S3Upload {
    pub(super) fn store(&self) -> &S3Store {
        &self.store
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The store's name for it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    async fn send(&self, number: u32, body: Bytes) -> Result<()> {
        let size = body.len() as u64;
        Ledger::<CompletedPart>::check(Limits::S3, number, size)
            .map_err(|error| error.on(self.store.name(&self.key)))?;
        if body.is_empty() {
            // Garage takes no empty parts, and an object does not need them: `finish` leaves it out.
            self.note(number, CompletedPart::builder().build(), 0);
            return Ok(());
        }
        let protocol_number = i32::try_from(number).unwrap_or(i32::MAX);
        let place = &self.store.place;
        let answer = self
            .store
            .place
            .client()
            .upload_part()
            .bucket(&place.bucket)
            .key(self.store.full_key(&self.key))
            .upload_id(&self.id)
            .part_number(protocol_number)
            .set_checksum_algorithm(checksum(&self.store))
            .body(Body::from(body))
            .customize()
            .config_override(Config::builder().timeout_config(connect::timeouts(self.store.patience(), size)))
            .send()
            .await
            .map_err(|error| {
                describe_failure(&error, &format!("cannot send part {number}"), &self.store.name(&self.key))
            })?;
        let receipt = CompletedPart::builder()
            .part_number(protocol_number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256)
            .build();
        self.note(number, receipt, size);
        Ok(())
    }

    /// Notes a part that the store has.
    pub(super) fn note(&self, number: u32, receipt: CompletedPart, size: u64) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).record(number, receipt, size);
    }

    fn take_ledger(&self) -> Ledger<CompletedPart> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *ledger, Ledger::new(Limits::S3))
    }

    async fn finish(&self) -> Result<()> {
        let (parts, total) = self.take_ledger().finish().map_err(|error| error.on(self.store.name(&self.key)))?;
        if total == 0 {
            // A multipart upload has at least one part and Garage wants a byte in it, so an empty object is a plain one.
            abort(&self.store, &self.key, &self.id).await?;
            return self.store.put(&self.key, Bytes::new(), self.class.as_ref()).await;
        }
        let parts = parts.into_iter().map(|(_, receipt)| receipt).filter(|receipt| receipt.part_number().is_some());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let mut attempts = Attempts::new(self.store.patience().total);
        loop {
            let Err(error) = self.ask_for_completion(parts.clone()).await else { return Ok(()) };
            let in_doubt = may_pass(&error) || problem(&error) == Some(StoreProblem::NotFound);
            if in_doubt && self.arrived(total).await {
                return Ok(());
            }
            if !may_pass(&error) || !attempts.another().await {
                return Err(error);
            }
            tracing::info!("asking the store again to complete an upload: {error}");
            self.store.renew_if_expired(&error).await;
        }
    }

    async fn ask_for_completion(&self, parts: CompletedMultipartUpload) -> Result<()> {
        let place = &self.store.place;
        let answer = self
            .store
            .place
            .client()
            .complete_multipart_upload()
            .bucket(&place.bucket)
            .key(self.store.full_key(&self.key))
            .upload_id(&self.id)
            .multipart_upload(parts)
            .customize()
            .config_override(Config::builder().timeout_config(connect::answer_within(connect::COMPLETION_TIMEOUT)))
            .send()
            .await;
        answer
            .map(drop)
            .map_err(|error| describe_failure(&error, "cannot complete the upload", &self.store.name(&self.key)))
    }

    /// Whether the object is there with its size. When the answer to a completion is lost, it is asked for again, and a
    /// store that has completed the upload then no longer knows it.
    async fn arrived(&self, total: u64) -> bool {
        matches!(self.store.head(&self.key).await, Ok(Some(meta)) if meta.size == total)
    }

    fn spawn_abort(&mut self) {
        self.finished = true;
        let (store, key, id) = (self.store.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = abort(&store, &key, &id).await {
                    tracing::warn!(%error, "an upload that was dropped could not be aborted");
                }
            });
        }
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        if !self.finished {
            self.spawn_abort();
        }
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn part(&self, number: u32, body: Bytes) -> Result<()> {
        self.send(number, body).await
    }

    async fn complete(mut self: Box<Self>) -> Result<()> {
        let result = self.finish().await;
        if result.is_err()
            && let Err(error) = abort(&self.store, &self.key, &self.id).await
        {
            warn_left_behind(&error);
        }
        self.finished = true;
        result
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let result = abort(&self.store, &self.key, &self.id).await;
        self.finished = true;
        result
    }
}

fn warn_left_behind(error: &Error) {
    tracing::warn!(%error, "an upload that failed could not be aborted; its parts are kept and billed until it is");
}
