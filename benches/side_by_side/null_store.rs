//! A store that takes everything and keeps nothing: what is left is the way from the server to it.

use async_trait::async_trait;
use bytes::Bytes;
use pgstow::error::{Error, Kind, Result};
use pgstow::store::{ByteStream, Entry, Limits, Meta, OpenUpload, StorageClass, Store, Upload};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The store. Its clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct NullStore(Arc<Counted>);

/// What a store of S3 would have been asked, and given.
#[derive(Debug, Default)]
struct Counted {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl NullStore {
    fn asked(&self, bytes: usize) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Requests, and bytes stored.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.0.requests.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }
}

struct NullUpload(NullStore);

fn nothing() -> Error {
    Error::new(Kind::Store, "this store keeps nothing")
}

#[async_trait]
impl Store for NullStore {
    fn describe(&self) -> String {
        "null".to_owned()
    }

    async fn put(&self, _: &str, body: Bytes, _: Option<&StorageClass>) -> Result<()> {
        self.asked(body.len());
        Ok(())
    }

    async fn put_new(&self, _: &str, body: Bytes) -> Result<()> {
        // It looks first.
        self.asked(0);
        self.asked(body.len());
        Ok(())
    }

    async fn get(&self, _: &str, _: Option<Range<u64>>) -> Result<ByteStream> {
        self.asked(0);
        Err(nothing())
    }

    async fn head(&self, _: &str) -> Result<Option<Meta>> {
        self.asked(0);
        Ok(None)
    }

    async fn list(&self, _: &str) -> Result<Vec<Entry>> {
        self.asked(0);
        Ok(Vec::new())
    }

    async fn list_folders(&self, _: &str) -> Result<Vec<String>> {
        self.asked(0);
        Ok(Vec::new())
    }

    async fn delete(&self, _: &[String]) -> Result<()> {
        self.asked(0);
        Ok(())
    }

    async fn start_upload(&self, _: &str, _: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        self.asked(0);
        Ok(Box::new(NullUpload(self.clone())))
    }

    async fn open_uploads(&self, _: &str) -> Result<Vec<OpenUpload>> {
        self.asked(0);
        Ok(Vec::new())
    }

    async fn abort_upload(&self, _: &OpenUpload) -> Result<()> {
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::S3
    }
}

#[async_trait]
impl Upload for NullUpload {
    async fn part(&self, _: u32, body: Bytes) -> Result<()> {
        self.0.asked(body.len());
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<()> {
        self.0.asked(0);
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
