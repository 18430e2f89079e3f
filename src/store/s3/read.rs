//! Reading an object: a stream that delivers what was promised, and picks up where a connection broke off.

use std::ops::Range;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::error::{Error, Result};

use super::super::failure::{StoreProblem, store_error, store_error_with};
use super::super::retry::{Attempts, may_pass};
use super::super::{ByteStream, Store};
use super::failure::describe_failure;
use super::{S3Store, length};

/// Opens an object, or a range of it.
pub(super) async fn open(store: &S3Store, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
    if range.as_ref().is_some_and(Range::is_empty) {
        return match store.head(key).await? {
            Some(_) => Ok(stream::empty().boxed()),
            None => Err(store_error(StoreProblem::NotFound, "there is no such object").on(store.name(key))),
        };
    }
    let answer = request(store, key, range.clone())
        .await
        .map_err(|error| describe_failure(&error, "cannot read", &store.name(key)))?;
    let length = match length(answer.content_length()) {
        Some(length) => length,
        // An answer in chunks without a length promises nothing, so the promise is asked for.
        None => store.head(key).await?.map_or(0, |meta| meta.size),
    };
    let wanted = range.unwrap_or(0..length);
    if length != wanted.end - wanted.start {
        let message = format!("the store gave {length} bytes for the range {wanted:?}");
        return Err(store_error(StoreProblem::Other, message).on(store.name(key)));
    }
    let etag = answer.e_tag().map(str::to_owned);
    let reading =
        Reading { store: store.clone(), key: key.to_owned(), left: wanted, etag, body: answer.body, attempts: None };
    Ok(stream::try_unfold(reading, Reading::next).boxed())
}

async fn request(
    store: &S3Store,
    key: &str,
    range: Option<Range<u64>>,
) -> std::result::Result<GetObjectOutput, SdkError<GetObjectError, aws_sdk_s3::config::http::HttpResponse>> {
    let place = &store.place;
    store
        .place
        .client()
        .get_object()
        .bucket(&place.bucket)
        .key(store.full_key(key))
        // HTTP's ranges include their last byte (RFC 9110, section 14.1.2).
        .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)))
        .send()
        .await
}

struct Reading {
    store: S3Store,
    key: String,
    /// What is still to come.
    left: Range<u64>,
    etag: Option<String>,
    body: Body,
    /// Attempts at reading on since the last byte came.
    attempts: Option<Attempts>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let broken = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    let size = chunk.len() as u64;
                    if size > self.left.end - self.left.start {
                        return Err(self.error("the store sent more bytes than it promised", ""));
                    }
                    self.left.start += size;
                    self.attempts = None;
                    return Ok(Some((chunk, self)));
                }
                None if self.left.is_empty() => return Ok(None),
                None => format!("the store stopped {} bytes early", self.left.end - self.left.start),
                // A checksum that does not fit shows at the end, and reading the rest again would not mend it.
                Some(Err(error)) if self.left.is_empty() => return Err(self.error("cannot read", &chain(&error))),
                Some(Err(error)) => chain(&error),
            };
            self.resume(&broken).await?;
        }
    }

    /// Asks for the rest after the body broke off.
    async fn resume(&mut self, broken: &str) -> Result<()> {
        let name = self.store.name(&self.key);
        tracing::debug!(object = %name, from = self.left.start, broken, "reading on after a break");
        let patience = self.store.patience().total;
        let answer = loop {
            let attempts = self.attempts.get_or_insert_with(|| Attempts::new(patience));
            if !attempts.another().await {
                return Err(self.error("the store keeps breaking off", broken));
            }
            match request(&self.store, &self.key, Some(self.left.clone())).await {
                Ok(answer) => break answer,
                Err(error) => match describe_failure(&error, "cannot read on after a break", &name) {
                    error if may_pass(&error) => self.store.renew_if_expired(&error).await,
                    error => return Err(error),
                },
            }
        };
        if answer.e_tag().map(str::to_owned) != self.etag {
            return Err(self.error("the object was replaced while it was read", ""));
        }
        if length(answer.content_length()).is_some_and(|length| length != self.left.end - self.left.start) {
            return Err(self.error("the store gave another range than asked", ""));
        }
        self.body = answer.body;
        Ok(())
    }

    fn error(&self, message: &str, detail: &str) -> Error {
        let problem = if detail.is_empty() { StoreProblem::Other } else { StoreProblem::Unreachable };
        store_error_with(problem, message, detail).on(self.store.name(&self.key))
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
