//! Rows and large objects back into the server, every byte checked on the way.

use super::slices::Slice;
use super::target::table_name;
use crate::archive::Charset;
use crate::archive::toc::TocEntry;
use crate::commands::source::{BlobObject, TableObject};
use crate::commands::transfer::{ArchiveObject, Origin};
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::postgres::{CopyIn, Session};
use crate::stream::binary::{Layout, ToBinary};
use crate::stream::codec::Codec;
use crate::stream::statements::StatementCutter;
use crate::stream::terminator::TerminatorStripper;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

/// So many decoded bytes go to the server at once.
const CHUNK: usize = 256 << 10;
/// So many chunks are decoded before the server wants them.
const AHEAD: usize = 2;
/// Large objects are written in pieces of this many bytes.
const PIECE: usize = 256 << 10;
/// Small large objects travel together until their statements reach this many bytes.
const BATCH: usize = 512 << 10;

pub(crate) type Decoder = Pin<Box<dyn AsyncRead + Send>>;

/// Opens an object and decodes it as its name says.
pub(crate) async fn open(origin: &Origin, object: &ArchiveObject) -> Result<Decoder> {
    let stream = origin.read(object).await?.map(|chunk| chunk.map_err(std::io::Error::other));
    Ok(Codec::of_name(&object.key).decoder(StreamReader::new(stream)))
}

/// Reads until the chunk is full or the stream ends; an empty chunk is the end.
pub(crate) async fn next_chunk(decoder: &mut Decoder, size: usize, key: &str) -> Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(size);
    while chunk.len() < size {
        let read = decoder.read_buf(&mut chunk).await.map_err(|error| damaged(error, key))?;
        if read == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

/// Reads and decodes ahead of whoever takes the chunks, on another thread, so that the server need not wait for either. The
/// last chunk is followed by the end of the channel, and an error is the last thing that comes.
fn ahead(mut decoder: Decoder, key: &str) -> mpsc::Receiver<Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let key = key.to_owned();
    tokio::spawn(async move {
        loop {
            let chunk = next_chunk(&mut decoder, CHUNK, &key).await;
            let (is_end, is_error) = (matches!(&chunk, Ok(chunk) if chunk.is_empty()), chunk.is_err());
            if is_end || sender.send(chunk).await.is_err() || is_error {
                return;
            }
        }
    });
    receiver
}

/// Gives back our own error when it went through the decoder, and wraps the decoder's otherwise.
fn damaged(error: std::io::Error, key: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::new(Kind::Archive, "cannot be decompressed").on(key).because(error),
    }
}

/// The statements that load an entry's rows: a COPY, or, where they are `typed`, one in binary and one in text, of which
/// [`Rows`] fills the first as far as it gets. A fresh table was made by this restore, and nobody else has it.
///
/// It is emptied in the same transaction, as `pg_restore -j` does it (`restore_toc_entry` in
/// `pg_backup_archiver.c`), so that its rows may be frozen as they come (PostgreSQL documentation, "COPY", FREEZE): the
/// indexes that follow need not find out which rows are visible and write that into every page, and no vacuum has to
/// read the table again. Statements of one message are one transaction.
///
/// Errors: [`Kind::Archive`] when there is none.
pub(super) fn copy_statements(entry: &TocEntry, is_fresh: bool, typed: bool) -> Result<String> {
    let Some(copy) = entry.copy.as_deref() else {
        return Err(Error::new(Kind::Archive, "the table of contents has no COPY statement for this table")
            .on(table_name(entry.schema.as_deref(), &entry.tag).to_string()));
    };
    let Some(start) = copy.trim_end().strip_suffix(" FROM stdin;").filter(|_| is_fresh || typed) else {
        return Ok(copy.to_owned());
    };
    let table = table_name(entry.schema.as_deref(), &entry.tag);
    let emptied = if is_fresh { format!("TRUNCATE TABLE ONLY {table};\n") } else { String::new() };
    let binary = if !typed {
        String::new()
    } else if is_fresh {
        format!("{start} FROM stdin WITH (FORMAT binary, FREEZE);\n")
    } else {
        format!("{start} FROM stdin WITH (FORMAT binary);\n")
    };
    let frozen = if is_fresh { " WITH (FREEZE)" } else { "" };
    Ok(format!("{emptied}{binary}{start} FROM stdin{frozen};\n"))
}

/// The way of rows to the server: in binary as long as all is usual, the rest as text.
struct Rows<'a> {
    target: &'a mut CopyIn,
    converter: Option<ToBinary>,
    /// Converted rows; kept, so that it is allocated once.
    binary: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(target: &'a mut CopyIn, layouts: Option<&Arc<[Layout]>>) -> Self {
        let converter = layouts.map(|layouts| ToBinary::new(Arc::clone(layouts)));
        Rows { target, converter, binary: Vec::new() }
    }

    async fn send(&mut self, text: &Bytes) -> Result<()> {
        let Some(converter) = &mut self.converter else { return self.target.send(text).await };
        self.binary.clear();
        match converter.push(text, &mut self.binary) {
            None => self.target.send(&self.binary).await,
            Some(rest) => {
                tracing::debug!("a value is unusual: from its row on, rows go as text");
                self.go_on_as_text(&rest).await
            }
        }
    }

    /// The end of the rows.
    async fn end(&mut self) -> Result<()> {
        let Some(converter) = self.converter.take() else { return Ok(()) };
        self.binary.clear();
        let rest = converter.finish(&mut self.binary);
        self.go_on_as_text(&rest).await
    }

    async fn go_on_as_text(&mut self, rest: &[u8]) -> Result<()> {
        self.converter = None;
        self.target.send(&self.binary).await?;
        self.target.next().await?;
        self.target.send(rest).await
    }
}

/// Loads one table, or a slice of its rows, by the statements given, which end as [`copy_statements`] says; `layouts` where
/// they are typed. Gives the number of rows that the server counted.
///
/// Errors: [`Kind::Archive`] when a byte, the terminator or the number of rows is not what the manifest says. The COPY is
/// then given up before the server commits it.
pub(super) async fn load_table(
    session: &Session,
    statements: &str,
    layouts: Option<&Arc<[Layout]>>,
    data: &TableObject,
    slice: Option<&Slice>,
    origin: &Origin,
    progress: &Progress,
) -> Result<u64> {
    let key = &data.object.key;
    let (promised, stored) = match slice {
        Some(slice) => (Some(slice.rows), slice.stored.end - slice.stored.start),
        None => (data.rows, data.object.bytes),
    };
    let mut target = session.copy_in(statements).await?;
    let rows = Rows::new(&mut target, layouts);
    let fed = match slice {
        Some(slice) => feed_slice(rows, data, slice, origin, progress).await,
        None => feed(rows, data, origin, progress).await,
    };
    if let Err(error) = fed {
        // The session is wanted for other steps; where it is lost too, the first error says why.
        let _second = target.give_up().await;
        return Err(error);
    }
    let rows = target.finish().await?;
    progress.moved_rows(rows);
    progress.moved_stored(stored);
    if let Some(promised) = promised.filter(|&promised| promised != rows) {
        return Err(Error::new(Kind::Archive, format!("{rows} rows arrived, the manifest promises {promised}"))
            .on(key.clone())
            .hint("a trigger or rule on the target may have changed them; otherwise the backup is damaged"));
    }
    Ok(rows)
}

/// Looks through an object that has no rows, as the manifest says.
///
/// Errors: [`Kind::Archive`] when a byte is not what the manifest says, or there are rows.
pub(super) async fn no_rows(data: &TableObject, origin: &Origin, progress: &Progress) -> Result<u64> {
    let key = &data.object.key;
    let mut decoder = open(origin, &data.object).await?;
    let mut stripper = TerminatorStripper::default();
    loop {
        let chunk = next_chunk(&mut decoder, CHUNK, key).await?;
        if chunk.is_empty() {
            break;
        }
        if !stripper.push(chunk).is_empty() {
            return Err(Error::new(Kind::Archive, "has rows, the manifest promises none").on(key.clone()));
        }
    }
    stripper.finish().map_err(|error| error.on(key.clone()))?;
    progress.moved_stored(data.object.bytes);
    Ok(0)
}

/// Sends the object's rows. Everything that can be wrong with the object is known at its end, before the server is told that
/// the rows are complete.
async fn feed(mut target: Rows<'_>, data: &TableObject, origin: &Origin, progress: &Progress) -> Result<()> {
    let key = &data.object.key;
    let mut chunks = ahead(open(origin, &data.object).await?, key);
    let mut stripper = TerminatorStripper::default();
    while let Some(chunk) = chunks.recv().await {
        let rows = stripper.push(chunk?);
        progress.moved_raw(rows.len() as u64);
        if let Err(refused) = target.send(&rows).await {
            return Err(damage_behind(refused, chunks).await);
        }
    }
    stripper.finish().map_err(|error| error.on(key.clone()))?;
    target.end().await
}

/// What a server refuses may be damage that shows only further on, where the checksum stands: reads on, and gives the damage if
/// there is any, the server's refusal otherwise.
async fn damage_behind(refused: Error, mut chunks: mpsc::Receiver<Result<Bytes>>) -> Error {
    if refused.kind() != Kind::Database {
        return refused;
    }
    loop {
        match chunks.recv().await {
            Some(Ok(_)) => {}
            Some(Err(damage)) if damage.kind() == Kind::Archive => return damage,
            Some(Err(_)) | None => return refused,
        }
    }
}

/// Sends the rows of a slice. Its runs have checksums, and only the last one has the terminator; what the manifest promises of
/// it is known before the server is told that the rows are complete.
async fn feed_slice(
    mut target: Rows<'_>,
    data: &TableObject,
    slice: &Slice,
    origin: &Origin,
    progress: &Progress,
) -> Result<()> {
    let key = &data.object.key;
    let stream = origin.read_runs(&data.object, slice.stored.clone(), slice.runs.clone()).await?;
    let stream = stream.map(|chunk| chunk.map_err(std::io::Error::other));
    let mut chunks = ahead(Codec::of_name(key).decoder(StreamReader::new(stream)), key);
    let mut stripper = slice.is_last.then(TerminatorStripper::default);
    let (mut lines, mut last) = (0u64, b'\n');
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let rows = match &mut stripper {
            Some(stripper) => stripper.push(chunk),
            None => chunk,
        };
        lines += memchr::memchr_iter(b'\n', &rows).count() as u64;
        last = rows.last().copied().unwrap_or(last);
        progress.moved_raw(rows.len() as u64);
        if let Err(refused) = target.send(&rows).await {
            return Err(damage_behind(refused, chunks).await);
        }
    }
    if let Some(stripper) = stripper {
        stripper.finish().map_err(|error| error.on(key.clone()))?;
    }
    if lines != slice.rows || last != b'\n' {
        return Err(Error::new(Kind::Archive, format!("{lines} rows came, the manifest promises {}", slice.rows))
            .on(key.clone()));
    }
    target.end().await
}

/// Loads one table by the INSERT statements that an archive made with `--inserts` has in place of COPY text; gives their
/// number, for only the server could count the rows. The caller's transaction makes it all or nothing, as with COPY.
///
/// Errors: [`Kind::Archive`] when the text does not end as stock ends it.
pub(super) async fn run_statements(
    session: &Session,
    data: &TableObject,
    charset: &Charset,
    origin: &Origin,
    progress: &Progress,
) -> Result<u64> {
    let count = run_all_statements(session, data, charset, origin, progress).await?;
    progress.moved_stored(data.object.bytes);
    Ok(count)
}

async fn run_all_statements(
    session: &Session,
    data: &TableObject,
    charset: &Charset,
    origin: &Origin,
    progress: &Progress,
) -> Result<u64> {
    let key = &data.object.key;
    let mut decoder = open(origin, &data.object).await?;
    let mut cutter = StatementCutter::default();
    loop {
        let chunk = next_chunk(&mut decoder, CHUNK, key).await?;
        if chunk.is_empty() {
            break;
        }
        let statements = cutter.push(&chunk);
        if !statements.is_empty() {
            progress.moved_raw(statements.len() as u64);
            let statements = charset.decode(&statements).map_err(|error| error.on(key.clone()))?;
            session.execute(&statements).await?;
        }
    }
    let count = cutter.finish().map_err(|error| error.on(key.clone()))?;
    progress.moved_rows(count);
    Ok(count)
}

/// Fills the large objects, which the definitions have made.
pub(super) async fn load_large_objects(
    session: &Session,
    large: &[BlobObject],
    origin: &Origin,
    progress: &Progress,
    stop: &Stop,
) -> Result<()> {
    let mut batch = String::new();
    for blob in large {
        stop.unless(load_large_object(session, blob, origin, progress, &mut batch))
            .await
            .map_err(|error| error.on(format!("large object {}", blob.oid)))?;
    }
    send(session, &mut batch).await
}

async fn load_large_object(
    session: &Session,
    blob: &BlobObject,
    origin: &Origin,
    progress: &Progress,
    batch: &mut String,
) -> Result<()> {
    let mut decoder = open(origin, &blob.object).await?;
    let mut offset = 0u64;
    loop {
        let piece = next_chunk(&mut decoder, PIECE, &blob.object.key).await?;
        if piece.is_empty() {
            break;
        }
        batch.push_str(&format!(
            "SELECT pg_catalog.lo_put('{}'::pg_catalog.oid, {offset}, '\\x{}'::pg_catalog.bytea);\n",
            blob.oid,
            faster_hex::hex_string(&piece)
        ));
        offset += piece.len() as u64;
        progress.moved_raw(piece.len() as u64);
        if batch.len() >= BATCH {
            send(session, batch).await?;
        }
    }
    if let Some(size) = blob.size
        && offset != size
    {
        return Err(Error::new(Kind::Archive, format!("{offset} bytes instead of {size}")).on(blob.object.key.clone()));
    }
    progress.moved_stored(blob.object.bytes);
    Ok(())
}

async fn send(session: &Session, batch: &mut String) -> Result<()> {
    if !batch.is_empty() {
        session.execute(batch).await?;
        batch.clear();
    }
    Ok(())
}
