//! Compressors that are made once and used for every frame: making one costs as much as compressing a small frame.

use super::codec::Codec;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Up to this many raw bytes are compressed where they are: cheaper than a trip to another thread.
const INLINE_BYTES: usize = 16 * 1024;

/// At most so many compressors of one codec, each busy with one frame at a time. Clones share them.
#[derive(Clone)]
pub struct Compressors {
    codec: Codec,
    slots: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Compressor>>>,
}

/// Compressors that are kept are made for frames of up to this many bytes.
const LARGEST_FRAME: usize = 1 << 20;

/// One compressor and the room that it compresses into.
pub(super) struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl Compressors {
    /// Makes them when they are first needed. `at_once` is at least 1.
    pub fn new(codec: Codec, at_once: usize) -> Self {
        Compressors { codec, slots: Arc::new(Semaphore::new(at_once.max(1))), idle: Arc::default() }
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Compresses into one independent frame or member, as [`Codec::compress`] does, when a compressor is free.
    pub async fn compress(&self, raw: Bytes) -> Result<Bytes> {
        let Codec::Zstd(level) = self.codec else {
            let _slot = self.slots.acquire().await;
            return self.codec.compress(raw).await;
        };
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let (pool, length) = (self.clone(), raw.len());
        let work = move || {
            let _slot = slot;
            let kept = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut compressor = kept.map_or_else(|| Compressor::new(level, LARGEST_FRAME), Ok)?;
            let compressed = compressor.compress(&raw)?;
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(compressor);
            Ok::<Bytes, io::Error>(compressed)
        };
        let compressed = if length <= INLINE_BYTES {
            work()
        } else {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        compressed.map_err(|error| {
            Error::new(Kind::Internal, format!("cannot compress a frame with {}", self.codec)).because(error)
        })
    }
}

impl Compressor {
    /// For frames of up to so many raw bytes.
    pub(super) fn new(level: i32, raw_bytes: usize) -> io::Result<Self> {
        let mut zstd = zstd::bulk::Compressor::new(level)?;
        for parameter in super::codec::zstd_parameters(level, raw_bytes) {
            zstd.set_parameter(parameter)?;
        }
        Ok(Compressor { zstd, scratch: Vec::new() })
    }

    pub(super) fn compress(&mut self, raw: &[u8]) -> io::Result<Bytes> {
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.scratch)?;
        Ok(Bytes::copy_from_slice(&self.scratch))
    }
}
