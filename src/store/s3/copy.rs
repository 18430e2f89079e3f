//! Copies within the server: one request up to 5 GiB, parts beyond.
//!
//! What AWS says of a copy in one request is the best there is: the SHA-256 of the whole, computed from what it wrote. A
//! copy in parts has no such digest; where its parts are those of the source, its `ETag` is the source's.

use aws_sdk_s3::config::Config;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedPart};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;

use super::super::failure::{StoreProblem, store_error};
use super::super::{Limits, Receipt, ServerCopy, Upload};
use super::failure::describe_failure;
use super::{S3Store, connect, length, sdk_class, upload};

/// What S3 copies in one request (Amazon S3 API reference, `CopyObject`).
pub(super) const LARGEST_WHOLE: u64 = 5 << 30;
/// The size of parts where the source does not tell its own.
const PART: u64 = 512 << 20;
/// So many parts of one object are copied at once.
const AT_ONCE: usize = 8;

/// Copies one object.
pub(super) async fn object(store: &S3Store, copy: ServerCopy<'_>) -> Result<Receipt> {
    if copy.size > store.place.options.copy_whole_up_to.unwrap_or(LARGEST_WHOLE) {
        return in_parts(store, copy).await;
    }
    let answer = store
        .place
        .client()
        .copy_object()
        .bucket(&store.place.bucket)
        .key(store.full_key(copy.key))
        .copy_source(copy.from.copy_source(copy.source))
        .set_storage_class(sdk_class(copy.class))
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .customize()
        .config_override(Config::builder().timeout_config(connect::answer_within(connect::COMPLETION_TIMEOUT)))
        .send()
        .await
        .map_err(|error| describe_failure(&error, "cannot copy within the store", &store.name(copy.key)))?;
    let sha256 = answer.copy_object_result().and_then(|result| result.checksum_sha256());
    // A digest of digests of parts has their number behind it, and is no digest of the whole.
    let sha256 = sha256.and_then(|text| aws_smithy_types::base64::decode(text).ok()).filter(|bytes| bytes.len() == 32);
    match sha256 {
        Some(bytes) => Ok(Receipt::Sha256(faster_hex::hex_string(&bytes))),
        None => compare(store, copy).await,
    }
}

async fn in_parts(store: &S3Store, copy: ServerCopy<'_>) -> Result<Receipt> {
    let part = part_size(store, copy).await;
    let upload = upload::begin(store, copy.key, copy.class).await?;
    let ranges = (1u32..).zip((0..copy.size.div_ceil(part)).map(|n| n * part..copy.size.min((n + 1) * part)));
    let parts = ranges.map(|(number, range)| upload.copy_part(number, copy.from.copy_source(copy.source), range));
    let copied: Result<()> =
        stream::iter(parts.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await;
    if let Err(error) = copied {
        if let Err(second) = Box::new(upload).abort().await {
            tracing::warn!(error = %second, "an upload that failed could not be aborted");
        }
        return Err(error);
    }
    Box::new(upload).complete().await?;
    compare(store, copy).await
}

/// The size of the source's own parts, so that the copy's `ETag` can be the same, where the store tells a usable one.
async fn part_size(store: &S3Store, copy: ServerCopy<'_>) -> u64 {
    let limits = Limits::S3;
    let fits = |part: &u64| {
        (limits.min_part..=limits.max_part).contains(part) && copy.size.div_ceil(*part) <= u64::from(limits.max_parts)
    };
    let first = store.source(copy).part_number(1).send().await.ok();
    let own = first.filter(|head| head.parts_count().is_some_and(|count| count > 1));
    let own = own.and_then(|head| length(head.content_length())).filter(fits);
    own.unwrap_or_else(|| PART.max(copy.size.div_ceil(u64::from(limits.max_parts))))
}

/// Holds the copy's size and `ETag` against the source's.
async fn compare(store: &S3Store, copy: ServerCopy<'_>) -> Result<Receipt> {
    let target = store.place.client().head_object().bucket(&store.place.bucket).key(store.full_key(copy.key)).send();
    let target =
        target.await.map_err(|error| describe_failure(&error, "cannot look at the copy", &store.name(copy.key)))?;
    if length(target.content_length()) != Some(copy.size) {
        return Err(
            store_error(StoreProblem::Other, "the store copied another number of bytes").on(store.name(copy.key))
        );
    }
    // A source in another region does not answer here, and then nothing is known.
    let source = store.source(copy).send().await.ok();
    let etag = source.as_ref().and_then(|source| source.e_tag()).filter(|etag| !etag.is_empty());
    let same = etag.is_some() && target.e_tag() == etag;
    Ok(if same { Receipt::SameEtag } else { Receipt::Nothing })
}

impl S3Store {
    /// A question about the source of a copy, with this store's client: both lie on one server.
    fn source(&self, copy: ServerCopy<'_>) -> aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder {
        let from = copy.from;
        self.place.client().head_object().bucket(&from.bucket).key(format!("{}{}", from.prefix, copy.source))
    }
}

impl upload::S3Upload {
    /// Sends as a part what lies in another object.
    async fn copy_part(&self, number: u32, source: String, range: std::ops::Range<u64>) -> Result<()> {
        let protocol_number = i32::try_from(number).unwrap_or(i32::MAX);
        let (store, size) = (self.store(), range.end - range.start);
        let answer = store
            .place
            .client()
            .upload_part_copy()
            .bucket(&store.place.bucket)
            .key(store.full_key(self.key()))
            .upload_id(self.id())
            .part_number(protocol_number)
            .copy_source(source)
            // HTTP's ranges include their last byte.
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .customize()
            .config_override(Config::builder().timeout_config(connect::answer_within(connect::COMPLETION_TIMEOUT)))
            .send()
            .await
            .map_err(|error| {
                describe_failure(
                    &error,
                    &format!("cannot copy part {number} within the store"),
                    &store.name(self.key()),
                )
            })?;
        let mut receipt = CompletedPart::builder().part_number(protocol_number);
        if let Some(result) = answer.copy_part_result() {
            receipt = receipt
                .set_e_tag(result.e_tag().map(str::to_owned))
                .set_checksum_crc32(result.checksum_crc32().map(str::to_owned))
                .set_checksum_crc32_c(result.checksum_crc32_c().map(str::to_owned))
                .set_checksum_crc64_nvme(result.checksum_crc64_nvme().map(str::to_owned))
                .set_checksum_sha1(result.checksum_sha1().map(str::to_owned))
                .set_checksum_sha256(result.checksum_sha256().map(str::to_owned));
        }
        self.note(number, receipt.build(), size);
        Ok(())
    }
}
