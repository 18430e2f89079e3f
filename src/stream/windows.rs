//! One stream of stored bytes, read as a run of windows: each frame of an object alone, without holding a whole frame.

use super::digest::Digest;
use crate::error::Result;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use xxhash_rust::xxh3::Xxh3;

/// The source of windows. It digests what passes and counts it.
#[derive(Clone)]
pub struct Windows(Arc<Mutex<Source>>);

struct Source {
    stream: BoxStream<'static, Result<Bytes>>,
    /// What has arrived and is in no window yet.
    ahead: Bytes,
    /// How many bytes the window that is open may still take.
    left: u64,
    ended: bool,
    digest: Digest,
    seen: u64,
    /// Of what the window that is open has taken.
    checksum: Xxh3,
}

impl Windows {
    /// Nothing is read before the first window.
    pub fn new(stream: BoxStream<'static, Result<Bytes>>) -> Self {
        let source = Source {
            stream,
            ahead: Bytes::new(),
            left: 0,
            ended: false,
            digest: Digest::new(),
            seen: 0,
            checksum: Xxh3::new(),
        };
        Windows(Arc::new(Mutex::new(source)))
    }

    /// Opens the next window, so many bytes long or to the end of the stream. The one before is closed: what it has not
    /// taken is passed over first.
    pub async fn next(&self, length: u64) -> Result<Window> {
        self.pass_over().await?;
        let mut source = self.source();
        source.left = length;
        source.checksum.reset();
        Ok(Window { source: self.clone(), current: Bytes::new() })
    }

    /// Closes the window that is open; gives its [`frame_checksum`](super::digest::frame_checksum).
    pub async fn checksum(&self) -> Result<u64> {
        self.pass_over().await?;
        Ok(self.source().checksum.digest())
    }

    /// Reads what is left of the window that is open, for nobody.
    async fn pass_over(&self) -> Result<()> {
        while let Some(chunk) = futures::future::poll_fn(|context| self.source().poll_chunk(context)).await {
            drop(chunk?);
        }
        Ok(())
    }

    /// Reads to the end of the stream; gives the number of all bytes and their digest.
    pub async fn finish(self) -> Result<(u64, String)> {
        self.source().left = u64::MAX;
        self.pass_over().await?;
        let source = self.source();
        Ok((source.seen, source.digest.clone().finish()))
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// The next bytes of the window that is open; `None` at its end or the stream's.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        while self.left > 0 {
            if self.ahead.is_empty() {
                if self.ended {
                    return Poll::Ready(None);
                }
                match ready!(self.stream.poll_next_unpin(context)) {
                    Some(Ok(chunk)) => {
                        self.digest.update(&chunk);
                        self.seen = self.seen.saturating_add(chunk.len() as u64);
                        self.ahead = chunk;
                    }
                    Some(Err(error)) => {
                        self.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => self.ended = true,
                }
                continue;
            }
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.ahead.len());
            self.left -= length as u64;
            let taken = self.ahead.split_to(length);
            self.checksum.update(&taken);
            return Poll::Ready(Some(Ok(taken)));
        }
        Poll::Ready(None)
    }
}

/// One window, as a reader. An error of the stream comes out as an `io::Error` that holds it.
pub struct Window {
    source: Windows,
    current: Bytes,
}

impl AsyncBufRead for Window {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.current.is_empty() {
            match ready!(this.source.source().poll_chunk(context)) {
                Some(Ok(chunk)) => this.current = chunk,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&this.current))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        bytes::Buf::advance(&mut self.get_mut().current, amount);
    }
}

impl AsyncRead for Window {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let available = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = available.len().min(buffer.remaining());
        buffer.put_slice(&available[..length]);
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;
    use crate::error::Result;
    use crate::stream::digest::{Digest, frame_checksum};
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    fn windows(bytes: &[u8], chunk: usize) -> Windows {
        let chunks: Vec<Result<Bytes>> = bytes.chunks(chunk).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Windows::new(stream::iter(chunks).boxed())
    }

    proptest! {
        #[test]
        fn windows_cut_the_stream_where_they_are_told_whoever_stops_early(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            chunk in 1usize..50,
            lengths in proptest::collection::vec((0usize..60, 0usize..70), 0..12),
        ) {
            futures::executor::block_on(async {
                let source = windows(&bytes, chunk);
                let mut at = 0;
                for (length, taken) in lengths {
                    let expected = &bytes[at.min(bytes.len())..(at + length).min(bytes.len())];
                    let mut read = Vec::new();
                    let window = source.next(length as u64).await.expect("no error");
                    window.take(taken as u64).read_to_end(&mut read).await.expect("no error");
                    prop_assert_eq!(&read[..], &expected[..taken.min(expected.len())]);
                    prop_assert_eq!(source.checksum().await.expect("no error"), frame_checksum(expected));
                    at += length;
                }
                let (seen, digest) = source.finish().await.expect("no error");
                let mut whole = Digest::new();
                whole.update(&bytes);
                prop_assert_eq!((seen, digest), (bytes.len() as u64, whole.finish()));
                Ok(())
            })?;
        }
    }
}
