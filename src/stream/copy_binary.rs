//! Binary COPY of one column: how large objects come out of the server without an escape of every byte.
//!
//! Layout: "COPY", section "Binary Format" of the PostgreSQL documentation.

use crate::error::{Error, Kind, Result};
use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The values of a one-column binary COPY, in order. A null, a second column or a short stream is an error.
#[derive(Debug)]
pub struct BinaryRows<S> {
    source: S,
    buffer: BytesMut,
    header_done: bool,
    trailer_seen: bool,
    ended: bool,
}

impl<S> BinaryRows<S> {
    /// Wraps the stream of `CopyData` messages.
    pub fn new(source: S) -> Self {
        BinaryRows { source, buffer: BytesMut::new(), header_done: false, trailer_seen: false, ended: false }
    }

    /// The next value in the buffer, if it is there as a whole.
    fn take(&mut self) -> Result<Option<Bytes>> {
        if !self.header_done {
            let Some(head) = self.buffer.get(..SIGNATURE.len() + 8) else { return Ok(None) };
            if &head[..SIGNATURE.len()] != SIGNATURE {
                return Err(damaged("the stream does not start with the signature"));
            }
            let extension = (&head[SIGNATURE.len() + 4..]).get_u32() as usize;
            if self.buffer.len() < SIGNATURE.len() + 8 + extension {
                return Ok(None);
            }
            self.buffer.advance(SIGNATURE.len() + 8 + extension);
            self.header_done = true;
        }
        let Some(mut fields) = self.buffer.get(..2) else { return Ok(None) };
        match fields.get_i16() {
            -1 => {
                self.trailer_seen = true;
                Ok(None)
            }
            1 => {
                let Some(mut length) = self.buffer.get(2..6) else { return Ok(None) };
                let length = usize::try_from(length.get_i32()).map_err(|_| damaged("a value is null"))?;
                if self.buffer.len() < 6 + length {
                    return Ok(None);
                }
                self.buffer.advance(6);
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            _ => Err(damaged("a row does not have one column")),
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Database, format!("binary COPY: {what}"))
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for BinaryRows<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if self.trailer_seen {
                // On to the end of the COPY: who drops one before takes its connection along.
                match ready!(Pin::new(&mut self.source).poll_next(context)) {
                    Some(Ok(message)) if message.is_empty() => continue,
                    Some(Ok(_)) => return Poll::Ready(Some(Err(damaged("something follows the trailer")))),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self.ended = true,
                }
                continue;
            }
            if let Some(row) = self.take().transpose() {
                return Poll::Ready(Some(row));
            }
            if self.trailer_seen {
                continue;
            }
            match ready!(Pin::new(&mut self.source).poll_next(context)) {
                Some(Ok(message)) => self.buffer.extend_from_slice(&message),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(damaged("the stream ends before its trailer"))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BinaryRows, SIGNATURE};
    use bytes::Bytes;
    use futures::{StreamExt, executor::block_on, stream};

    fn wire(values: &[&[u8]], trailer: bool) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        for value in values {
            bytes.extend_from_slice(&1i16.to_be_bytes());
            bytes.extend_from_slice(&i32::try_from(value.len()).expect("short").to_be_bytes());
            bytes.extend_from_slice(value);
        }
        if trailer {
            bytes.extend_from_slice(&(-1i16).to_be_bytes());
        }
        bytes
    }

    #[test]
    fn values_come_out_whatever_the_cut_of_the_messages() {
        let bytes = wire(&[b"one", b"", b"three"], true);
        for size in 1..bytes.len() {
            let messages: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let rows: Vec<_> = block_on(BinaryRows::new(stream::iter(messages)).collect());
            let rows: Vec<Bytes> = rows.into_iter().map(|row| row.expect("a value")).collect();
            assert_eq!(rows, [&b"one"[..], b"", b"three"]);
        }
    }

    #[test]
    fn the_copy_is_read_on_to_its_end() {
        let mut asked_at_the_end = false;
        let mut messages = vec![Ok(Bytes::from(wire(&[b"one"], true)))].into_iter();
        let source = stream::poll_fn(|_| {
            let next = messages.next();
            asked_at_the_end |= next.is_none();
            std::task::Poll::Ready(next)
        });
        assert_eq!(block_on(BinaryRows::new(source).collect::<Vec<_>>()).len(), 1);
        assert!(asked_at_the_end);
    }

    #[test]
    fn a_stream_without_its_trailer_is_an_error() {
        let message = Ok(Bytes::from(wire(&[b"one"], false)));
        let rows: Vec<_> = block_on(BinaryRows::new(stream::iter([message])).collect());
        assert!(rows.last().expect("an item").is_err());
    }
}
