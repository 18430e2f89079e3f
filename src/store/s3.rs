//! A store in an S3 bucket, on AWS or on anything that speaks its protocol.
//!
//! Always true here: the SDK retries a short hiccup (standard mode, 5 attempts unless the AWS environment says
//! otherwise), [`RetryStore`](super::RetryStore) whatever takes longer. What neither can do is done here: a body that
//! breaks off is read on ([`read`]), a completion is repeated and its lost answer made good ([`upload`]). Keys that come
//! from listings may be anything.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::{ByteStream as Body, DateTime};
use aws_sdk_s3::types::StorageClass as SdkClass;
use bytes::Bytes;

use crate::error::{Error, Result};

use super::failure::{StoreProblem, problem, store_error};
use super::key::{as_folder, check, shown};
use super::{
    Address, Answer, ByteStream, Deletion, Entry, LifecycleRule, Limits, Meta, OpenUpload, Patience, Receipt,
    ServerCopy, StorageClass, Store, StoreUrl, Tier, Upload,
};

mod bucket;
mod connect;
mod copy;
mod delete;
mod dialect;
mod failure;
mod list;
mod read;
mod thaw;
mod upload;
mod watched;

pub use connect::S3Options;

use failure::describe_failure;

/// A bucket, or a path within one, as a store. Clones share one client and its connections.
#[derive(Clone)]
pub struct S3Store {
    place: Arc<Place>,
}

struct Place {
    /// Made anew when the credentials have expired: the SDK's client keeps those it has found.
    client: RwLock<Client>,
    options: S3Options,
    /// The server's address; `None` is AWS itself.
    endpoint: Option<String>,
    bucket: String,
    /// Empty, or ending in a slash.
    prefix: String,
    /// Whether requests carry the SDK's CRC checksums; parts must then be completed with theirs.
    checksums: bool,
}

impl Place {
    /// The client as it is now; it is cheap to clone.
    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Store").field(&self.describe()).finish()
    }
}

impl S3Store {
    /// Prepares a client from the options and the AWS environment. Sends nothing to the bucket.
    pub async fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self> {
        let connect::Connected { client, checksums, endpoint } = connect::client(options).await?;
        let prefix = as_folder(prefix.trim_matches('/'));
        let (client, options) = (RwLock::new(client), options.clone());
        Ok(S3Store {
            place: Arc::new(Place { client, options, endpoint, bucket: bucket.to_owned(), prefix, checksums }),
        })
    }

    fn patience(&self) -> Patience {
        self.place.options.patience
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

    /// A whole object in one request; `new`: only where none is, and without the SDK's own retries, which would take their
    /// own object for somebody else's.
    async fn write(&self, key: &str, body: Bytes, class: Option<&StorageClass>, new: bool) -> Result<(), PutFailure> {
        let mut settings = Config::builder().timeout_config(connect::timeouts(self.patience(), body.len() as u64));
        if new {
            settings = settings.retry_config(RetryConfig::disabled());
        }
        self.place
            .client()
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.full_key(key))
            .set_if_none_match(new.then(|| "*".to_owned()))
            .set_storage_class(sdk_class(class))
            .body(Body::from(body))
            .customize()
            .config_override(settings)
            .send()
            .await
            .map(drop)
    }

    /// For requests that are repeated here: finds the credentials anew when that is what ails them.
    async fn renew_if_expired(&self, error: &Error) {
        if problem(error) == Some(StoreProblem::Expired)
            && let Err(error) = self.renew().await
        {
            tracing::warn!("cannot find the credentials anew: {error}");
        }
    }

    fn exists(&self, key: &str) -> Error {
        store_error(StoreProblem::AlreadyExists, "there is an object already").on(self.name(key))
    }
}

type PutFailure = SdkError<PutObjectError, aws_sdk_s3::config::http::HttpResponse>;

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
        let written = self.write(key, body, class, false).await;
        written.map_err(|error| describe_failure(&error, "cannot write", &self.name(key)))
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        check(key)?;
        // Asked first always, for stores that ignore the condition.
        if self.head(key).await?.is_some() {
            return Err(self.exists(key));
        }
        let Err(error) = self.write(key, body.clone(), None, true).await else { return Ok(()) };
        match error.raw_response().map(|response| response.status().as_u16()) {
            Some(412) => Err(self.exists(key)),
            // AWS answers 409 when another conditional write to the key is under way; trying again settles it.
            Some(409) => {
                Err(store_error(StoreProblem::Unreachable, "somebody else writes it right now").on(self.name(key)))
            }
            // The store does not know conditional writes.
            Some(501) => self.put(key, body, None).await,
            _ => Err(describe_failure(&error, "cannot write", &self.name(key))),
        }
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::open(self, key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        let answer = self.place.client().head_object().bucket(&self.place.bucket).key(self.full_key(key)).send().await;
        match answer {
            Ok(head) => {
                let Some(size) = length(head.content_length()) else {
                    return Err(
                        store_error(StoreProblem::Other, "the store does not say how large it is").on(self.name(key))
                    );
                };
                let class = thaw::class(&head).map(str::to_owned);
                Ok(Some(Meta { size, modified: time(head.last_modified()), class, thawing: thaw::state(&head) }))
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

    async fn lifecycle(&self) -> Result<Answer<Vec<LifecycleRule>>> {
        bucket::lifecycle_below(self).await
    }

    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        check(key)?;
        Ok(Box::new(upload::begin(self, key, class).await?))
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        list::uploads(self, prefix).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        upload::abort(self, &upload.key, &upload.id).await
    }

    async fn thaw(&self, key: &str, days: Option<u32>, tier: Tier) -> Result<()> {
        thaw::ask(self, key, days, tier).await
    }

    fn address(&self) -> Option<Address> {
        let place = &self.place;
        Some(Address {
            endpoint: place.endpoint.clone(),
            options: place.options.clone(),
            bucket: place.bucket.clone(),
            prefix: place.prefix.clone(),
        })
    }

    async fn copy_here(&self, copy: ServerCopy<'_>) -> Result<Receipt> {
        check(copy.key)?;
        copy::object(self, copy).await
    }

    async fn renew(&self) -> Result<()> {
        let connect::Connected { client, .. } = connect::client(&self.place.options).await?;
        *self.place.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::S3
    }
}
