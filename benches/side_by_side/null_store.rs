//! A store that takes everything and keeps nothing: what is left is the way from the server to it.

use async_trait::async_trait;
use bytes::Bytes;
use pgstow::error::{Error, Kind, Result};
use pgstow::store::{ByteStream, Entry, Limits, Meta, OpenUpload, StorageClass, Store, Upload};
use std::ops::Range;

#[derive(Debug)]
pub(crate) struct NullStore;

struct NullUpload;

fn nothing() -> Error {
    Error::new(Kind::Store, "this store keeps nothing")
}

#[async_trait]
impl Store for NullStore {
    fn describe(&self) -> String {
        "null".to_owned()
    }

    async fn put(&self, _: &str, _: Bytes, _: Option<&StorageClass>) -> Result<()> {
        Ok(())
    }

    async fn put_new(&self, _: &str, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn get(&self, _: &str, _: Option<Range<u64>>) -> Result<ByteStream> {
        Err(nothing())
    }

    async fn head(&self, _: &str) -> Result<Option<Meta>> {
        Ok(None)
    }

    async fn list(&self, _: &str) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    async fn list_folders(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn delete(&self, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn start_upload(&self, _: &str, _: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        Ok(Box::new(NullUpload))
    }

    async fn open_uploads(&self, _: &str) -> Result<Vec<OpenUpload>> {
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
    async fn part(&self, _: u32, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
