//! Large objects: read in batches on a connection of their own, one object of the store each.
//!
//! That connection may be lost. Another one sees the same snapshot, and reads of the batch what has not been written yet,
//! or of a long large object the pieces from the one that did not come.

use super::again;
use super::pace::Pace;
use super::{DumpOptions, follow_snapshot};
use crate::archive::manifest::{BlobEntry, LargeObjects};
use crate::archive::{blobs, keys};
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::model::{BlobsData, Oid};
use crate::postgres::{CopyOut, Session, Snapshot};
use crate::stream::compressors::Compressors;
use crate::stream::copy_binary::BinaryRows;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::HashSet;
use std::task::{Poll, ready};

/// So many bytes of a large object per row that the server sends.
const PIECE: u64 = 1 << 20;
/// So many large objects are asked for in one question.
const BATCH: usize = 1000;
/// So many objects are written to the store at once.
const WRITES_AT_ONCE: usize = 8;
/// Large objects up to this size are written side by side; larger ones are streamed one by one.
const SMALL: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
struct SizeRow {
    oid: Oid,
    size: u64,
}

/// What the server is told of the connection.
const NAME: &str = "pgstow dump: reading large objects";

/// The connection that reads them.
struct Line<'a> {
    session: Session,
    source: &'a (DumpOptions, Snapshot),
    pace: &'a Pace,
    /// New connections since something came.
    tries: u32,
}

impl Line<'_> {
    /// Goes on over a new connection, if this failure is one of the old.
    async fn go_on(&mut self, error: Error) -> Result<()> {
        if !again::is_of_connection(&error) || self.tries == again::TRIES {
            return Err(error.on("large objects"));
        }
        tracing::warn!("large objects: {error}; reading on over a new connection");
        self.session = again::reconnect(self.source, NAME, &mut self.tries, error).await?;
        Ok(())
    }
}

/// Copies every large object and their table of contents.
pub(super) async fn copy(
    source: &(DumpOptions, Snapshot),
    pace: &Pace,
    data: &BlobsData,
    destination: &Destination,
    compressors: &Compressors,
) -> Result<LargeObjects> {
    let session = destination.stop.unless(follow_snapshot(&source.0, &source.1, NAME)).await?;
    let mut line = Line { session, source, pace, tries: 0 };
    let mut objects = Vec::with_capacity(data.oids.len());
    for batch in data.oids.chunks(BATCH) {
        let sizes = destination.stop.unless(sizes(&mut line, batch)).await?;
        let (small, large): (Vec<SizeRow>, Vec<SizeRow>) = sizes.into_iter().partition(|row| row.size <= SMALL);
        copy_small(&mut line, &small, destination, compressors, &mut objects).await?;
        for row in large {
            objects.push(copy_large(&mut line, &row, destination, compressors).await?);
        }
    }
    objects.sort_by_key(|entry: &BlobEntry| entry.oid);
    let oids: Vec<Oid> = objects.iter().map(|entry| entry.oid).collect();
    let text = Bytes::from(blobs::encode(&oids));
    let part = destination.part_size(text.len() as u64);
    let toc = destination.write(keys::blobs_toc_key(), part, futures::stream::iter([Ok(text)])).await?;
    Ok(LargeObjects { count: objects.len() as u64, bytes: objects.iter().map(|entry| entry.size).sum(), toc, objects })
}

fn array(oids: impl Iterator<Item = Oid>) -> String {
    let list: Vec<String> = oids.map(|oid| oid.to_string()).collect();
    format!("'{{{}}}'::pg_catalog.oid[]", list.join(","))
}

/// The sizes of a batch: each object is opened for reading (0x40000 is `INV_READ`), sought to its end, and closed.
async fn sizes(line: &mut Line<'_>, batch: &[Oid]) -> Result<Vec<SizeRow>> {
    let question = format!(
        "SELECT s.oid, s.size FROM ( \
           SELECT o.oid, f.fd, pg_catalog.lo_lseek64(f.fd, 0, 2) AS size \
           FROM pg_catalog.unnest({}) AS o(oid), \
                LATERAL (SELECT pg_catalog.lo_open(o.oid, 262144) AS fd OFFSET 0) f OFFSET 0) s \
         WHERE s.size >= 0 AND pg_catalog.lo_close(s.fd) = 0",
        array(batch.iter().copied())
    );
    let rows: Vec<SizeRow> = loop {
        match line.session.question(&question).await {
            Ok(rows) => break rows,
            Err(error) => line.go_on(error).await?,
        }
    };
    line.tries = 0;
    if rows.len() != batch.len() {
        return Err(Error::new(Kind::Database, "some large objects could not be sized").on("large objects"));
    }
    Ok(rows)
}

/// Copies many small objects; on a new connection, those that are not written yet.
async fn copy_small(
    line: &mut Line<'_>,
    batch: &[SizeRow],
    destination: &Destination,
    compressors: &Compressors,
    objects: &mut Vec<BlobEntry>,
) -> Result<()> {
    let mut missing: Vec<Oid> = batch.iter().map(|row| row.oid).collect();
    while !missing.is_empty() {
        let written = objects.len();
        let outcome = write_small(line, &missing, destination, compressors, objects).await;
        let done: HashSet<Oid> = objects[written..].iter().map(|entry| entry.oid).collect();
        missing.retain(|oid| !done.contains(oid));
        if !done.is_empty() {
            line.tries = 0;
        }
        match outcome {
            Ok(()) if missing.is_empty() => {}
            Ok(()) => {
                let message = "fewer large objects came back than were asked for";
                return Err(Error::new(Kind::Database, message).on("large objects"));
            }
            Err(error) => destination.stop.unless(line.go_on(error)).await?,
        }
    }
    Ok(())
}

/// One question for many small objects: each comes back as one row. What has come is written even if the connection is
/// lost then.
async fn write_small(
    line: &Line<'_>,
    oids: &[Oid],
    destination: &Destination,
    compressors: &Compressors,
    objects: &mut Vec<BlobEntry>,
) -> Result<()> {
    let sql = format!(
        "COPY (SELECT pg_catalog.lo_get(o.oid) FROM pg_catalog.unnest({}) AS o(oid)) TO STDOUT (FORMAT binary)",
        array(oids.iter().copied())
    );
    let mut rows = BinaryRows::new(destination.stop.unless(line.session.copy_out(&sql)).await?);
    let mut expected = oids.iter().copied();
    let mut failure = None;
    let contents = futures::stream::poll_fn(|context| {
        Poll::Ready(match ready!(rows.poll_next_unpin(context)) {
            Some(Ok(bytes)) => Some(match expected.next() {
                Some(oid) => Ok((oid, bytes)),
                None => Err(Error::new(Kind::Internal, "more large objects than asked for")),
            }),
            Some(Err(error)) => {
                failure = Some(error);
                None
            }
            None => None,
        })
    });
    let mut written = contents
        .map(|row| async move {
            let (oid, bytes) = row?;
            line.pace.take(bytes.len() as u64).await;
            write_one(oid, bytes.len() as u64, futures::stream::iter([Ok(bytes)]), destination, compressors).await
        })
        .buffer_unordered(WRITES_AT_ONCE);
    while let Some(entry) = destination.stop.unless(written.try_next()).await? {
        objects.push(entry);
    }
    drop(written);
    failure.map_or(Ok(()), Err)
}

async fn copy_large(
    line: &mut Line<'_>,
    row: &SizeRow,
    destination: &Destination,
    compressors: &Compressors,
) -> Result<BlobEntry> {
    let entry = write_one(row.oid, row.size, pieces(line, row), destination, compressors).await?;
    if entry.size != row.size {
        return Err(Error::new(Kind::Database, format!("{} bytes came back instead of {}", entry.size, row.size))
            .on(format!("large object {}", row.oid)));
    }
    Ok(entry)
}

/// The pieces of one large object, in order; on a new connection, from the one that did not come.
fn pieces<'a, 'b>(line: &'a mut Line<'b>, row: &SizeRow) -> impl Stream<Item = Result<Bytes>> + Send + use<'a, 'b> {
    let (oid, count) = (row.oid, row.size.div_ceil(PIECE));
    futures::stream::try_unfold((line, None, 0), move |(line, mut rows, number)| async move {
        loop {
            match next_piece(&line.session, &mut rows, oid, number, count).await {
                Ok(Some(piece)) => {
                    line.tries = 0;
                    line.pace.take(piece.len() as u64).await;
                    return Ok(Some((piece, (line, rows, number + 1))));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    rows = None;
                    line.go_on(error).await?;
                }
            }
        }
    })
}

/// The next piece that the COPY gives, which begins with the piece of this number if none is under way.
async fn next_piece(
    session: &Session,
    rows: &mut Option<BinaryRows<CopyOut>>,
    oid: Oid,
    number: u64,
    count: u64,
) -> Result<Option<Bytes>> {
    let rows = match rows {
        Some(rows) => rows,
        None => {
            // Nothing comes where the last piece was the last thing that came. Places beyond 2 GiB need the longer integers.
            let sql = format!(
                "COPY (SELECT pg_catalog.lo_get({oid}::pg_catalog.oid, n * {PIECE}, {PIECE}) \
                 FROM pg_catalog.generate_series({number}::pg_catalog.int8, {count} - 1) AS s(n)) TO STDOUT (FORMAT binary)"
            );
            rows.insert(BinaryRows::new(session.copy_out(&sql).await?))
        }
    };
    rows.next().await.transpose()
}

/// Each piece becomes one frame of the large object's own file; an empty object is an empty file.
async fn write_one(
    oid: Oid,
    expected: u64,
    pieces: impl Stream<Item = Result<Bytes>> + Send,
    destination: &Destination,
    compressors: &Compressors,
) -> Result<BlobEntry> {
    let mut size = 0u64;
    let frames = pieces
        .map(|piece| {
            let piece = piece?;
            size += piece.len() as u64;
            destination.progress.moved_raw(piece.len() as u64);
            Ok::<Bytes, Error>(piece)
        })
        .try_filter(|piece| std::future::ready(!piece.is_empty()))
        .and_then(|piece| compressors.compress(piece));
    let key = keys::blob_key(oid, compressors.codec().suffix());
    let object = destination
        .write(&key, destination.part_size(expected), frames)
        .await
        .map_err(|error| error.on(format!("large object {oid}")))?;
    Ok(BlobEntry { oid, size, object })
}
