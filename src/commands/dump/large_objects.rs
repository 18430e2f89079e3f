//! Large objects: read in batches on the leader's connection, one object of the store each.

use crate::archive::manifest::{BlobEntry, LargeObjects};
use crate::archive::{blobs, keys};
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::model::{BlobsData, Oid};
use crate::postgres::Session;
use crate::stream::compressors::Compressors;
use crate::stream::copy_binary::BinaryRows;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::VecDeque;

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

/// Copies every large object and their table of contents.
pub(super) async fn copy(
    session: &Session,
    data: &BlobsData,
    destination: &Destination,
    compressors: &Compressors,
) -> Result<LargeObjects> {
    let mut objects = Vec::with_capacity(data.oids.len());
    for batch in data.oids.chunks(BATCH) {
        let sizes = destination.stop.unless(sizes(session, batch)).await?;
        let (small, large): (Vec<SizeRow>, Vec<SizeRow>) = sizes.into_iter().partition(|row| row.size <= SMALL);
        copy_small(session, &small, destination, compressors, &mut objects).await?;
        for row in large {
            objects.push(copy_large(session, &row, destination, compressors).await?);
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
async fn sizes(session: &Session, batch: &[Oid]) -> Result<Vec<SizeRow>> {
    let rows: Vec<SizeRow> = session
        .question(&format!(
            "SELECT s.oid, s.size FROM ( \
               SELECT o.oid, f.fd, pg_catalog.lo_lseek64(f.fd, 0, 2) AS size \
               FROM pg_catalog.unnest({}) AS o(oid), \
                    LATERAL (SELECT pg_catalog.lo_open(o.oid, 262144) AS fd OFFSET 0) f OFFSET 0) s \
             WHERE s.size >= 0 AND pg_catalog.lo_close(s.fd) = 0",
            array(batch.iter().copied())
        ))
        .await?;
    if rows.len() != batch.len() {
        return Err(Error::new(Kind::Database, "some large objects could not be sized").on("large objects"));
    }
    Ok(rows)
}

/// One question for many small objects: each comes back as one row.
async fn copy_small(
    session: &Session,
    batch: &[SizeRow],
    destination: &Destination,
    compressors: &Compressors,
    objects: &mut Vec<BlobEntry>,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "COPY (SELECT pg_catalog.lo_get(o.oid) FROM pg_catalog.unnest({}) AS o(oid)) TO STDOUT (FORMAT binary)",
        array(batch.iter().map(|row| row.oid))
    );
    let mut rows = BinaryRows::new(session.copy_out(&sql).await?);
    let mut expected: VecDeque<Oid> = batch.iter().map(|row| row.oid).collect();
    let contents = futures::stream::poll_fn(move |context| rows.poll_next_unpin(context)).map(move |row| {
        let bytes = row?;
        let oid =
            expected.pop_front().ok_or_else(|| Error::new(Kind::Internal, "more large objects than asked for"))?;
        Ok::<_, Error>((oid, bytes))
    });
    let written: Vec<BlobEntry> = contents
        .map(|row| async move {
            let (oid, bytes) = row?;
            write_one(oid, bytes.len() as u64, futures::stream::iter([Ok(bytes)]), destination, compressors).await
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect()
        .await?;
    if written.len() != batch.len() {
        return Err(Error::new(Kind::Database, "fewer large objects came back than were asked for").on("large objects"));
    }
    objects.extend(written);
    Ok(())
}

async fn copy_large(
    session: &Session,
    row: &SizeRow,
    destination: &Destination,
    compressors: &Compressors,
) -> Result<BlobEntry> {
    let sql = format!(
        "COPY (SELECT pg_catalog.lo_get({}::pg_catalog.oid, n * {PIECE}, {PIECE}) \
         FROM pg_catalog.generate_series(0, {}) AS s(n)) TO STDOUT (FORMAT binary)",
        row.oid,
        row.size.saturating_sub(1) / PIECE
    );
    let rows = BinaryRows::new(session.copy_out(&sql).await?);
    let entry = write_one(row.oid, row.size, rows, destination, compressors).await?;
    if entry.size != row.size {
        return Err(Error::new(Kind::Database, format!("{} bytes came back instead of {}", entry.size, row.size))
            .on(format!("large object {}", row.oid)));
    }
    Ok(entry)
}

/// Each piece becomes one frame of the large object's own file; an empty object is an empty file.
async fn write_one(
    oid: Oid,
    expected: u64,
    pieces: impl futures::Stream<Item = Result<Bytes>> + Send,
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
