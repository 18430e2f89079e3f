//! A store in an S3 bucket, on AWS or on anything that speaks its protocol.
//!
//! Always true here: the SDK retries what is worth retrying (standard mode, 5 attempts unless the AWS environment says
//! otherwise); what it cannot retry without doubt is done here: a conditional write whose answer was lost
//! ([`S3Store::put_new`](super::Store::put_new)), a body that breaks off ([`read`]), a completion whose answer was lost
//! ([`upload`]). Keys that come from listings may be anything.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream as Body, DateTime};
use aws_sdk_s3::types::StorageClass as SdkClass;
use bytes::Bytes;

use crate::error::{Error, Result};

use super::failure::{StoreProblem, problem, store_error};
use super::key::{as_folder, check, shown};
use super::{ByteStream, Deletion, Entry, Limits, Meta, OpenUpload, StorageClass, Store, StoreUrl, Upload};

mod bucket;
mod connect;
mod delete;
mod failure;
mod list;
mod read;
mod upload;

pub use connect::S3Options;

use failure::{describe_failure, is_transient};

/// How often a conditional write is tried; the SDK's own retries are off for it.
const CONDITIONAL_ATTEMPTS: u32 = 5;

/// A bucket, or a path within one, as a store. Clones share one client and its connections.
#[derive(Clone)]
pub struct S3Store {
    place: Arc<Place>,
}

struct Place {
    client: Client,
    bucket: String,
    /// Empty, or ending in a slash.
    prefix: String,
    /// Whether requests carry the SDK's CRC checksums; parts must then be completed with theirs.
    checksums: bool,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Store").field(&self.describe()).finish()
    }
}

impl S3Store {
    /// Prepares a client from the options and the AWS environment. Sends nothing to the bucket.
    pub async fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self> {
        let (client, checksums) = connect::client(options).await?;
        let prefix = as_folder(prefix.trim_matches('/'));
        Ok(S3Store { place: Arc::new(Place { client, bucket: bucket.to_owned(), prefix, checksums }) })
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.place.prefix)
    }

    /// The key as the store's users know it; `None` for one that is not below the prefix, or is the prefix itself.
    fn own_key<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.place.prefix).filter(|key| !key.is_empty())
    }

    /// The name of a key in messages.
    fn name(&self, key: &str) -> String {
        format!("s3://{}/{}{}", self.place.bucket, self.place.prefix, shown(key))
    }

    /// One conditional write, without retries. `Ok(false)`: an object is there.
    async fn put_if_absent(&self, key: &str, body: &Bytes) -> std::result::Result<bool, Refusal> {
        let no_retries = aws_sdk_s3::config::Config::builder()
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .timeout_config(connect::timeouts(body.len() as u64));
        let answer = self
            .place
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.full_key(key))
            .if_none_match("*")
            .body(Body::from(body.clone()))
            .customize()
            .config_override(no_retries)
            .send()
            .await;
        let Err(error) = answer else { return Ok(true) };
        match error.raw_response().map(|response| response.status().as_u16()) {
            Some(412) => Ok(false),
            // AWS answers 409 when another conditional write to the key is under way; trying again settles it.
            Some(409) => Err(Refusal::Transient(describe_failure(&error, "cannot write", &self.name(key)))),
            Some(501) => Err(Refusal::Unsupported),
            _ if is_transient(&error) => {
                Err(Refusal::Transient(describe_failure(&error, "cannot write", &self.name(key))))
            }
            _ => Err(Refusal::Final(describe_failure(&error, "cannot write", &self.name(key)))),
        }
    }

    /// Whether an object holds exactly these bytes.
    async fn holds(&self, key: &str, body: &Bytes) -> Result<bool> {
        use futures::TryStreamExt;
        if self.head(key).await?.is_none_or(|meta| meta.size != body.len() as u64) {
            return Ok(false);
        }
        let mut rest = body.clone();
        let mut stream = self.get(key, None).await?;
        while let Some(chunk) = stream.try_next().await? {
            if rest.len() < chunk.len() || rest.split_to(chunk.len()) != chunk {
                return Ok(false);
            }
        }
        Ok(rest.is_empty())
    }

    fn exists(&self, key: &str) -> Error {
        store_error(StoreProblem::AlreadyExists, "there is an object already").on(self.name(key))
    }
}

/// Why a conditional write did not happen.
enum Refusal {
    /// It may have happened or not; another attempt may succeed.
    Transient(Error),
    /// The store does not know conditional writes.
    Unsupported,
    Final(Error),
}

/// The SDK's point in time as ours.
fn time(at: Option<&DateTime>) -> Option<SystemTime> {
    at.and_then(|at| SystemTime::try_from(*at).ok())
}

/// A length that the protocol writes as a signed number.
fn length(size: Option<i64>) -> Option<u64> {
    size.and_then(|size| u64::try_from(size).ok())
}

fn sdk_class(class: Option<&StorageClass>) -> Option<SdkClass> {
    class.map(|class| SdkClass::from(class.as_str()))
}

#[async_trait]
impl Store for S3Store {
    fn describe(&self) -> String {
        let prefix = self.place.prefix.trim_end_matches('/').to_owned();
        StoreUrl::S3 { bucket: self.place.bucket.clone(), prefix }.to_string()
    }

    async fn put(&self, key: &str, body: Bytes, class: Option<&StorageClass>) -> Result<()> {
        check(key)?;
        let timeouts = aws_sdk_s3::config::Config::builder().timeout_config(connect::timeouts(body.len() as u64));
        self.place
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.full_key(key))
            .set_storage_class(sdk_class(class))
            .body(Body::from(body))
            .customize()
            .config_override(timeouts)
            .send()
            .await
            .map(drop)
            .map_err(|error| describe_failure(&error, "cannot write", &self.name(key)))
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        check(key)?;
        // Asked first always, for stores that ignore the condition.
        if self.head(key).await?.is_some() {
            return Err(self.exists(key));
        }
        let mut earlier_attempt_in_doubt = false;
        let mut attempt = 1;
        loop {
            match self.put_if_absent(key, &body).await {
                Ok(true) => return Ok(()),
                // Our own earlier attempt may have arrived although its answer did not.
                Ok(false) if earlier_attempt_in_doubt && self.holds(key, &body).await? => return Ok(()),
                Ok(false) => return Err(self.exists(key)),
                Err(Refusal::Unsupported) => return self.put(key, body, None).await,
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Transient(error)) if attempt == CONDITIONAL_ATTEMPTS => return Err(error),
                Err(Refusal::Transient(_)) => {
                    earlier_attempt_in_doubt = true;
                    tokio::time::sleep(Duration::from_millis(250) * 2u32.pow(attempt)).await;
                    attempt += 1;
                }
            }
            // A store that ignores the condition would write again over what the lost attempt wrote, and over anybody
            // else's object that came in between.
            if self.head(key).await?.is_some() {
                return if self.holds(key, &body).await? { Ok(()) } else { Err(self.exists(key)) };
            }
        }
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::open(self, key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        let answer = self.place.client.head_object().bucket(&self.place.bucket).key(self.full_key(key)).send().await;
        match answer {
            Ok(head) => {
                let Some(size) = length(head.content_length()) else {
                    return Err(
                        store_error(StoreProblem::Other, "the store does not say how large it is").on(self.name(key))
                    );
                };
                let class = head.storage_class().map(|class| class.as_str().to_owned());
                Ok(Some(Meta { size, modified: time(head.last_modified()), class }))
            }
            Err(error) => match describe_failure(&error, "cannot look at", &self.name(key)) {
                error if problem(&error) == Some(StoreProblem::NotFound) => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        list::entries(self, prefix).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        list::folders(self, &as_folder(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        delete::keys(self, keys).await
    }

    async fn deletion(&self) -> Result<Deletion> {
        bucket::deletion(self).await
    }

    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        check(key)?;
        upload::start(self, key, class).await
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        list::uploads(self, prefix).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        upload::abort(self, &upload.key, &upload.id).await
    }

    fn limits(&self) -> Limits {
        Limits::S3
    }
}
