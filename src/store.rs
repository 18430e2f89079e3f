//! Where a backup lies: an S3 bucket, a folder, or memory, behind one trait.
//!
//! May import: error, and `model::Secret` for the one credential that tests hand in. Always true here:
//!
//! - Keys are relative to the store's prefix; nothing above this room knows the bucket or the folder.
//! - A reader sees an object whole or not at all: an upload appears at `complete`, a `put` in one step.
//! - A failed or dropped upload leaves nothing behind that `complete` did not promise: `complete` itself aborts when it
//!   fails, and what a killed process leaves is found by `open_uploads`.
//! - A [`ByteStream`] that ends without an error has delivered exactly the bytes it promised.
//! - Every error is of [`Kind::Store`](crate::error::Kind::Store) and carries a [`StoreProblem`] (arguments that cannot
//!   be used are [`Kind::Usage`](crate::error::Kind::Usage)); none holds a secret.
//! - What passes on one store passes on all: keys and parts are checked alike everywhere, by the strictest rule known.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Result;

mod address;
mod bucket;
mod class;
mod failure;
mod faulty;
mod folder;
mod frozen;
mod key;
mod ledger;
mod memory;
mod requests;
mod retry;
mod s3;
mod url;

pub use address::{Address, Receipt, ServerCopy};
pub use bucket::{Answer, BucketState, BucketStep, Deletion, Encryption, LifecycleRule, Lock, LockDefault};
pub use class::StorageClass;
pub use failure::{StoreProblem, problem};
pub use faulty::{FaultyStore, Operation};
pub use folder::FolderStore;
pub use frozen::{Thawing, Tier, frozen, is_archive_class, may_be_archived, thaws_for_days};
pub use key::check as check_key;
pub use memory::MemoryStore;
pub use requests::{Request, note_requests, noted_requests};
pub use retry::{Patience, RetryStore};
pub use s3::{S3Options, S3Store};
pub use url::StoreUrl;

/// The bytes of an object as they arrive. It ends without an error only when all promised bytes came.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Opens the store behind a URL. Asks no question of a bucket yet, so a bucket that is missing shows at the first use. An
/// S3 store is waited for as long as [`S3Options::patience`] says; a folder needs none of that.
pub async fn open(url: &StoreUrl, options: &S3Options) -> Result<Arc<dyn Store>> {
    match url {
        StoreUrl::S3 { bucket, prefix } => {
            let store = S3Store::connect(bucket, prefix, options).await?;
            Ok(Arc::new(RetryStore::new(Arc::new(store), options.patience)))
        }
        StoreUrl::Folder(folder) => Ok(Arc::new(FolderStore::open(folder)?)),
    }
}

/// A place for objects. Methods may be called from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The store's URL, without secrets, such as `s3://bucket/prefix`.
    fn describe(&self) -> String;

    /// Writes a whole object, replacing one that is there.
    async fn put(&self, key: &str, body: Bytes, class: Option<&StorageClass>) -> Result<()>;

    /// Writes a whole object where none is; never replaces one.
    ///
    /// Fails with [`StoreProblem::AlreadyExists`] if there is one. Against writers at the same instant this is exact on
    /// folders, in memory and on S3 stores with conditional writes (`If-None-Match: *`: AWS, `MinIO`, R2, Ceph); stores
    /// that ignore the condition (Garage) are asked by `HEAD` first, which leaves a gap of one request.
    async fn put_new(&self, key: &str, body: Bytes) -> Result<()>;

    /// Reads an object, or a range of its bytes. A range that the object does not hold in full is an error; an empty
    /// range of an object that exists is an empty stream. Fails with [`StoreProblem::NotFound`] if there is no object.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// What is known of an object without reading it, or `None` if there is none.
    async fn head(&self, key: &str) -> Result<Option<Meta>>;

    /// All objects whose keys start with this text, sorted by key. `""` lists everything.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>>;

    /// The next path components below a path, without slashes, sorted, each once: with objects `a/b/1` and `a/c/2`,
    /// the folders of `a` (or `a/`) are `b` and `c`. Objects directly below the path are not folders. On S3 the bucket
    /// does the folding, so its objects are not enumerated.
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>>;

    /// Deletes objects. Those that are not there count as deleted.
    async fn delete(&self, keys: &[String]) -> Result<()>;

    /// What [`Store::delete`] does to the bytes: nothing but a bucket that keeps versions holds on to them.
    async fn deletion(&self) -> Result<Deletion> {
        Ok(Deletion::Final)
    }

    /// The lifecycle rules that act on objects of this store, their prefixes relative to it as keys are: a rule with the
    /// prefix `""` acts on all. Nothing but a bucket has any.
    async fn lifecycle(&self) -> Result<Answer<Vec<LifecycleRule>>> {
        Ok(Answer::Unsupported)
    }

    /// Begins an upload in parts. Nothing is visible under the key until [`Upload::complete`].
    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>>;

    /// Uploads below a prefix that were started and neither completed nor aborted, also those of other processes.
    /// Fails with [`StoreProblem::Unsupported`] on a store that cannot tell.
    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>>;

    /// Aborts an upload found by [`Store::open_uploads`]. One that is gone counts as aborted.
    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()>;

    /// Asks for an archived object to be readable, for so many days if it [thaws for days](thaws_for_days). Asking again is
    /// no error.
    async fn thaw(&self, key: &str, _days: Option<u32>, _tier: Tier) -> Result<()> {
        Err(failure::store_error(StoreProblem::Unsupported, "this store has no archive classes").on(key))
    }

    /// Where this store is, for copies that a server makes by itself; `None` where there is no server.
    fn address(&self) -> Option<Address> {
        None
    }

    /// Copies an object of a store that [shares a server](Address::shares_a_server_with) with this one, without its bytes
    /// passing here. A copy that fails leaves nothing behind.
    async fn copy_here(&self, copy: ServerCopy<'_>) -> Result<Receipt> {
        Err(failure::store_error(StoreProblem::Unsupported, "this store copies nothing by itself").on(copy.key))
    }

    /// Looks for credentials anew, after the store said that those it was given have expired.
    async fn renew(&self) -> Result<()> {
        Ok(())
    }

    /// What an upload to this store has to respect.
    fn limits(&self) -> Limits;
}

/// One object on its way into a store, in parts.
///
/// Parts are numbered from 1 without gaps, and all but the last have the same size (Cloudflare R2 demands that, so every
/// store here does). Sending a number again replaces that part. Dropping an upload that is neither completed nor aborted
/// aborts it as far as that is possible without waiting.
#[async_trait]
pub trait Upload: Send + Sync {
    /// Sends one part; several may be on their way at once, in any order.
    async fn part(&self, number: u32, body: Bytes) -> Result<()>;

    /// Makes the object visible: with no part at all, an empty object. When it fails, the upload has been aborted.
    async fn complete(self: Box<Self>) -> Result<()>;

    /// Throws the upload away. Nothing is left behind, and one that is already gone is no error.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// What a store knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Length in bytes.
    pub size: u64,
    /// When it was written, if the store says.
    pub modified: Option<SystemTime>,
    /// The storage class, if the store says; S3 says nothing for `STANDARD`. What `INTELLIGENT_TIERING` has archived is in
    /// the class of its tier.
    pub class: Option<String>,
    /// How it stands, if it cannot be read without being thawed.
    pub thawing: Option<Thawing>,
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, relative to the store's prefix. It came from the store and may be anything.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// When it was written, if the store says.
    pub modified: Option<SystemTime>,
    /// The storage class, if the store says.
    pub class: Option<String>,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key it would appear under, relative to the store's prefix.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
    /// When it was started, if the store says.
    pub started: Option<SystemTime>,
}

/// What an upload in parts has to respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The smallest size of a part that is not the last one, in bytes.
    pub min_part: u64,
    /// The largest size of a part, in bytes.
    pub max_part: u64,
    /// The largest number of parts.
    pub max_parts: u32,
}

impl Limits {
    /// S3's limits (AWS S3 user guide, "Amazon S3 multipart upload limits").
    pub const S3: Limits = Limits { min_part: 5 << 20, max_part: 5 << 30, max_parts: 10_000 };

    /// A store of our own: S3's limits without the smallest size.
    pub const OWN: Limits = Limits { min_part: 0, ..Limits::S3 };
}
