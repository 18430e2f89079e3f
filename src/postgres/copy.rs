//! COPY in both directions, with back-pressure: neither side runs ahead of the other by more than a few buffers.

use super::failure::{Fate, statement_failed};
use crate::error::Result;
use bytes::Bytes;
use futures::{SinkExt, Stream};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_postgres::{CopyInSink, CopyOutStream};

/// The data of a `COPY ... TO STDOUT`: one item a row, for a server sends each row in a CopyData message of its own
/// (PostgreSQL documentation, "COPY Operations"). The items share the buffer they were read into.
///
/// Dropping it before its end leaves the rest to be read and thrown away; cancel the statement first.
pub struct CopyOut {
    stream: Pin<Box<CopyOutStream>>,
    fate: Fate,
}

impl CopyOut {
    pub(super) fn new(stream: CopyOutStream, fate: Fate) -> Self {
        CopyOut { stream: Box::pin(stream), fate }
    }
}

impl fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOut").finish_non_exhaustive()
    }
}

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.as_mut().poll_next(context));
        Poll::Ready(item.map(|row| row.map_err(|error| statement_failed(error, &self.fate))))
    }
}

/// The way in for the data of a `COPY ... FROM STDIN`. Dropping it without [`CopyIn::finish`] aborts the statement.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    fate: Fate,
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn").finish_non_exhaustive()
    }
}

impl CopyIn {
    pub(super) fn new(sink: CopyInSink<Bytes>, fate: Fate) -> Self {
        CopyIn { sink: Box::pin(sink), fate }
    }

    /// Hands over some bytes, cut anywhere; waits while the server is behind.
    pub async fn send(&mut self, data: Bytes) -> Result<()> {
        self.sink.feed(data).await.map_err(|error| statement_failed(error, &self.fate))
    }

    /// Ends the data and returns how many rows the server took.
    pub async fn finish(mut self) -> Result<u64> {
        self.sink.as_mut().finish().await.map_err(|error| statement_failed(error, &self.fate))
    }
}
