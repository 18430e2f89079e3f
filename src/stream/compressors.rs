//! Compressors that are made once and used for every frame: making one costs as much as compressing a small frame.

use super::codec::Codec;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

    /// Compresses into one independent frame or member, as [`Codec::compress`] does, when a compressor is free. Needs a tokio
    /// runtime.
    ///
    /// Whoever asks may look away before this is done, for as long as its object waits for memory, and those who hold that memory may be
    /// waiting for a compressor. So nothing that is held here depends on being looked at: who has to wait for a compressor does so
    /// in a task of its own.
    pub async fn compress(&self, raw: Bytes) -> Result<Bytes> {
        match (self.codec, Arc::clone(&self.slots).try_acquire_owned()) {
            (Codec::Zstd(level), Ok(slot)) => self.by_zstd(level, raw, slot).await.map_err(|error| self.failed(error)),
            (_, free) => {
                drop(free);
                let all = self.clone();
                let task = tokio::spawn(async move { all.when_free(raw).await });
                task.await.unwrap_or_else(|error| Err(self.failed(io::Error::other(error))))
            }
        }
    }

    async fn when_free(&self, raw: Bytes) -> Result<Bytes> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|error| self.failed(io::Error::other(error)))?;
        match self.codec {
            Codec::Zstd(level) => self.by_zstd(level, raw, slot).await.map_err(|error| self.failed(error)),
            codec => codec.compress(raw).await,
        }
    }

    async fn by_zstd(&self, level: i32, raw: Bytes, slot: OwnedSemaphorePermit) -> io::Result<Bytes> {
        let (pool, length) = (self.clone(), raw.len());
        let work = move || {
            let _slot = slot;
            let kept = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut compressor = kept.map_or_else(|| Compressor::new(level, LARGEST_FRAME), Ok)?;
            let compressed = compressor.compress(&raw)?;
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(compressor);
            Ok(compressed)
        };
        if length <= INLINE_BYTES {
            return work();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(Kind::Internal, format!("cannot compress a frame with {}", self.codec)).because(error)
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

#[cfg(test)]
mod tests {
    use super::Compressors;
    use crate::stream::codec::Codec;
    use bytes::Bytes;
    use futures::FutureExt as _;
    use std::time::Duration;

    /// One compressor, somebody who waits for it and then looks away, and somebody who needs it meanwhile.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_looks_away_while_waiting_keeps_no_compressor_from_others() {
        for codec in [Codec::Zstd(3), Codec::Gzip(6), Codec::Lz4] {
            let compressors = Compressors::new(codec, 1);
            let raw = || Bytes::from(vec![7; 1 << 18]);
            let mut first = Box::pin(compressors.compress(raw()));
            let mut away = Box::pin(compressors.compress(raw()));
            let early = (first.as_mut().now_or_never(), away.as_mut().now_or_never());
            assert!(early.1.is_none(), "there is one compressor");
            // From here on nobody looks at the first two.
            let others = async { compressors.compress(raw()).await.expect("compresses") };
            tokio::time::timeout(Duration::from_secs(30), others).await.expect("the compressor comes free");
            let later = away.await.expect("compresses");
            assert!(!later.is_empty());
        }
    }
}
