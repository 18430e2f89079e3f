//! Large objects: read in batches, one object of the store each, on a connection of their own and on those of workers that
//! have no rows left to read.
//!
//! A connection may be lost. Another one sees the same snapshot, and reads of the batch what has not been written yet,
//! or of a long large object the pieces from the one that did not come.

use super::again;
use super::pace::Pace;
use super::{DumpOptions, follow_snapshot};
use crate::archive::manifest::{BlobEntry, LargeObjects};
use crate::archive::{blobs, keys};
use crate::commands::memory::DumpShares;
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::model::{BlobsData, Oid};
use crate::postgres::{CopyOut, Session, Snapshot};
use crate::stream::compressors::Compressors;
use crate::stream::copy_binary::BinaryRows;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many large objects are asked for in one question at most.
const BATCH: usize = 1000;
/// And at least, as far as there are so many.
const SMALLEST_BATCH: usize = 16;
/// Batches are made for this many turns of each connection, so that none waits long at the end.
const TURNS: usize = 4;
/// So many objects are written to the store at once by one connection.
const WRITES_AT_ONCE: usize = 8;

#[derive(Debug, Deserialize)]
struct SizeRow {
    oid: Oid,
    size: u64,
}

/// What the server is told of the connection.
const NAME: &str = "pgstow dump: reading large objects";

/// All large objects of a dump, for whoever has a connection to spare.
pub(super) struct Shelf {
    source: Arc<(DumpOptions, Snapshot)>,
    pace: Arc<Pace>,
    destination: Destination,
    compressors: Compressors,
    /// So many bytes of a large object come in one row; what is no larger is written beside others.
    piece: usize,
    /// What one connection may hold of large objects, in pieces.
    pieces: usize,
    promised: usize,
    batches: Mutex<VecDeque<Vec<Oid>>>,
    done: Mutex<Vec<BlobEntry>>,
}

impl Shelf {
    /// Shares the objects out in batches.
    pub(super) fn new(
        data: &BlobsData,
        source: Arc<(DumpOptions, Snapshot)>,
        pace: Arc<Pace>,
        destination: Destination,
        compressors: Compressors,
        shares: &DumpShares,
    ) -> Self {
        let jobs = source.0.jobs;
        let share = if jobs > 1 { data.oids.len() / ((jobs + 1) * TURNS) } else { BATCH };
        let size = share.clamp(SMALLEST_BATCH, BATCH);
        Shelf {
            source,
            pace,
            destination,
            compressors,
            piece: shares.frame_bytes,
            pieces: shares.frames_per_worker,
            promised: data.oids.len(),
            batches: Mutex::new(data.oids.chunks(size).map(<[Oid]>::to_vec).collect()),
            done: Mutex::default(),
        }
    }

    /// How many batches nobody has taken yet.
    pub(super) fn batches(&self) -> usize {
        lock(&self.batches).len()
    }

    /// Copies batches on a connection of its own until there are none. Where it cannot be had, others do all.
    pub(super) async fn copy(&self) -> Result<()> {
        let stop = &self.destination.stop;
        match stop.unless(follow_snapshot(&self.source.0, &self.source.1, NAME)).await {
            Ok(session) => self.copy_over(Arc::new(session)).await,
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                tracing::debug!("large objects have no connection of their own: {error}");
                Ok(())
            }
        }
    }

    /// Copies batches on the connection of a worker until there are none.
    pub(super) async fn help(&self, session: Arc<Session>) -> Result<()> {
        if self.batches() == 0 {
            return Ok(());
        }
        self.destination.stop.unless(session.name(NAME)).await?;
        self.copy_over(session).await
    }

    async fn copy_over(&self, session: Arc<Session>) -> Result<()> {
        let room = Arc::new(Semaphore::new(self.piece * self.pieces));
        let mut line = Line { session, shelf: self, room, tries: 0 };
        loop {
            let next = lock(&self.batches).pop_front();
            let Some(batch) = next else { return Ok(()) };
            let sizes = self.destination.stop.unless(sizes(&mut line, &batch)).await?;
            let (small, large): (Vec<SizeRow>, Vec<SizeRow>) =
                sizes.into_iter().partition(|row| row.size <= self.piece as u64);
            let mut objects = Vec::with_capacity(batch.len());
            copy_small(&mut line, small, &mut objects).await?;
            for row in large {
                objects.push(copy_large(&mut line, &row).await?);
            }
            lock(&self.done).extend(objects);
        }
    }

    /// When all who copied have ended well: writes the table of contents of all.
    pub(super) async fn finish(&self) -> Result<LargeObjects> {
        let mut objects = std::mem::take(&mut *lock(&self.done));
        if objects.len() != self.promised {
            let message = format!("{} of {} large objects were dumped", objects.len(), self.promised);
            return Err(Error::new(Kind::Internal, message));
        }
        objects.sort_by_key(|entry: &BlobEntry| entry.oid);
        let oids: Vec<Oid> = objects.iter().map(|entry| entry.oid).collect();
        let text = Bytes::from(blobs::encode(&oids));
        let part = self.destination.part_size(text.len() as u64);
        let toc = self.destination.write(keys::blobs_toc_key(), part, futures::stream::iter([Ok(text)])).await?;
        let bytes = objects.iter().map(|entry| entry.size).sum();
        Ok(LargeObjects { count: objects.len() as u64, bytes, toc, objects })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that reads them.
struct Line<'a> {
    session: Arc<Session>,
    shelf: &'a Shelf,
    /// The bytes that it may hold beside those that are just coming.
    room: Arc<Semaphore>,
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
        self.session = Arc::new(again::reconnect(&self.shelf.source, NAME, &mut self.tries, error).await?);
        Ok(())
    }
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
async fn copy_small(line: &mut Line<'_>, mut missing: Vec<SizeRow>, objects: &mut Vec<BlobEntry>) -> Result<()> {
    while !missing.is_empty() {
        let written = objects.len();
        let outcome = write_small(line, &missing, objects).await;
        let done: HashSet<Oid> = objects[written..].iter().map(|entry| entry.oid).collect();
        missing.retain(|row| !done.contains(&row.oid));
        if !done.is_empty() {
            line.tries = 0;
        }
        match outcome {
            Ok(()) if missing.is_empty() => {}
            Ok(()) => {
                let message = "fewer large objects came back than were asked for";
                return Err(Error::new(Kind::Database, message).on("large objects"));
            }
            Err(error) => line.shelf.destination.stop.unless(line.go_on(error)).await?,
        }
    }
    Ok(())
}

/// What comes of a question for many.
enum Come {
    /// An object, and its room.
    Object(Oid, Bytes, OwnedSemaphorePermit),
    /// Nothing more, for this reason.
    Lost(Error),
}

/// One question for many small objects: each comes back as one row, when there is room for it. What has come is written even
/// if the connection is lost then.
async fn write_small(line: &Line<'_>, batch: &[SizeRow], objects: &mut Vec<BlobEntry>) -> Result<()> {
    let Shelf { destination, pace, .. } = line.shelf;
    let sql = format!(
        "COPY (SELECT pg_catalog.lo_get(o.oid) FROM pg_catalog.unnest({}) AS o(oid)) TO STDOUT (FORMAT binary)",
        array(batch.iter().map(|row| row.oid))
    );
    let rows = BinaryRows::new(destination.stop.unless(line.session.copy_out(&sql)).await?);
    let coming = coming(rows, batch.iter().map(|row| (row.oid, row.size)).collect(), Arc::clone(&line.room));
    let written = coming
        .map(|come| async move {
            match come {
                Come::Object(oid, bytes, room) => {
                    pace.take(bytes.len() as u64).await;
                    let size = bytes.len() as u64;
                    let entry = write_one(oid, size, futures::stream::iter([Ok(bytes)]), line.shelf).await;
                    drop(room);
                    entry.map(Ok)
                }
                Come::Lost(error) => Ok(Err(error)),
            }
        })
        .buffer_unordered(WRITES_AT_ONCE);
    let mut written = std::pin::pin!(written);
    let mut failure = None;
    while let Some(entry) = destination.stop.unless(written.try_next()).await? {
        match entry {
            Ok(entry) => objects.push(entry),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The objects, each when there is room for it.
fn coming(rows: BinaryRows<CopyOut>, expected: Vec<(Oid, u64)>, room: Arc<Semaphore>) -> BoxStream<'static, Come> {
    let begin = Some((rows, expected.into_iter(), room));
    Box::pin(futures::stream::unfold(begin, |state| async move {
        let (mut rows, mut expected, all) = state?;
        let Some((oid, size)) = expected.next() else {
            return match rows.next().await? {
                Ok(_) => Some((Come::Lost(Error::new(Kind::Internal, "more large objects than asked for")), None)),
                Err(error) => Some((Come::Lost(error), None)),
            };
        };
        let room = Arc::clone(&all).acquire_many_owned(u32::try_from(size).unwrap_or(u32::MAX)).await.ok()?;
        match rows.next().await? {
            Ok(bytes) => Some((Come::Object(oid, bytes, room), Some((rows, expected, all)))),
            Err(error) => Some((Come::Lost(error), None)),
        }
    }))
}

async fn copy_large(line: &mut Line<'_>, row: &SizeRow) -> Result<BlobEntry> {
    let shelf = line.shelf;
    let entry = write_one(row.oid, row.size, pieces(line, row), shelf).await?;
    if entry.size != row.size {
        return Err(Error::new(Kind::Database, format!("{} bytes came back instead of {}", entry.size, row.size))
            .on(format!("large object {}", row.oid)));
    }
    Ok(entry)
}

/// The pieces of one large object, in order; on a new connection, from the one that did not come.
fn pieces<'a, 'b>(line: &'a mut Line<'b>, row: &SizeRow) -> impl Stream<Item = Result<Bytes>> + Send + use<'a, 'b> {
    let piece = line.shelf.piece as u64;
    let (oid, count) = (row.oid, row.size.div_ceil(piece));
    futures::stream::try_unfold((line, None, 0), move |(line, mut rows, number)| async move {
        loop {
            match next_piece(&line.session, &mut rows, oid, piece, number..count).await {
                Ok(Some(piece)) => {
                    line.tries = 0;
                    line.shelf.pace.take(piece.len() as u64).await;
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
    size: u64,
    pieces: Range<u64>,
) -> Result<Option<Bytes>> {
    let rows = match rows {
        Some(rows) => rows,
        None => {
            // Nothing comes where the last piece was the last thing that came. Places beyond 2 GiB need the longer integers.
            let sql = format!(
                "COPY (SELECT pg_catalog.lo_get({oid}::pg_catalog.oid, n * {size}, {size}) \
                 FROM pg_catalog.generate_series({}::pg_catalog.int8, {} - 1) AS s(n)) TO STDOUT (FORMAT binary)",
                pieces.start, pieces.end
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
    Shelf { destination, compressors, .. }: &Shelf,
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
