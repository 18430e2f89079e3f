//! The one writer of a table: compresses the frames of all its readers, keeps the list of runs, and cuts objects.

use super::queue::{Message, OpenTable};
use crate::archive::keys;
use crate::archive::manifest::{Frame, TableEntry};
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::stream::compressors::Compressors;
use crate::stream::frames::TERMINATOR;
use crate::stream::rows::RowsDigest;
use bytes::Bytes;
use futures::stream::Peekable;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use xxhash_rust::xxh3::Xxh3;

/// A run of frames is closed when it has this many bytes of COPY text ...
pub(super) const SMALLEST_RUN: u64 = 1 << 20;
/// ... and after so many of them in one object, at twice as many as before, so that the list stays short.
const RUNS: usize = 4096;

/// A compressed frame, with the permit that bounds how many there are.
struct Packed {
    bytes: Bytes,
    raw_bytes: u64,
    rows: RowsDigest,
    /// Bytes of COPY text of its last row that are still to come.
    left: u64,
    _ticket: OwnedSemaphorePermit,
}

/// What all writers share.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) destination: Destination,
    pub(super) compressors: Compressors,
    /// Frames that are looked at at once, so that the compressors are never idle.
    pub(super) frames_at_once: usize,
    /// The least size of a run, in bytes of COPY text.
    pub(super) run_bytes: u64,
}

impl Writer {
    /// Writes the table: one object, and further segments where one cannot hold it. Whatever fails, the upload is aborted.
    /// The entries of further segments have no id yet.
    pub(super) async fn write(
        &self,
        table: &OpenTable,
        receiver: mpsc::UnboundedReceiver<Message>,
    ) -> Result<Vec<TableEntry>> {
        let mut source = std::pin::pin!(self.packed(table, receiver).peekable());
        let terminator = self.compressors.compress(Bytes::from_static(TERMINATOR)).await?;
        let mut segments = Vec::new();
        loop {
            let (segment, is_last) = self.write_segment(table, segments.len(), source.as_mut(), &terminator).await?;
            segments.push(segment);
            if is_last {
                return Ok(segments);
            }
        }
    }

    fn packed(
        &self,
        table: &OpenTable,
        mut receiver: mpsc::UnboundedReceiver<Message>,
    ) -> impl Stream<Item = Result<Packed>> {
        let frames = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        // A channel that closes before all ranges are done has lost one, and the table is not whole.
        let whole = futures::stream::once(async {
            let message = "a worker of the dump ended before it had read all its rows";
            if table.all_done() { None } else { Some(Err(Error::new(Kind::Internal, message))) }
        });
        frames
            .map(async |message| {
                let (frame, ticket) = message?;
                let (raw_bytes, rows, left) = (frame.bytes.len() as u64, frame.rows, frame.left as u64);
                let bytes = self.compressors.compress(frame.bytes).await?;
                Ok(Packed { bytes, raw_bytes, rows, left, _ticket: ticket })
            })
            .buffered(self.frames_at_once)
            .chain(whole.filter_map(std::future::ready))
    }

    async fn write_segment<S: Stream<Item = Result<Packed>> + Send>(
        &self,
        table: &OpenTable,
        number: usize,
        mut source: Pin<&mut Peekable<S>>,
        terminator: &Bytes,
    ) -> Result<(TableEntry, bool)> {
        let job = &table.job;
        let part_size = self.destination.part_size(job.data.estimated_bytes);
        let capacity = self.destination.parts.capacity(part_size).saturating_sub(terminator.len() as u64);
        let run_bytes = self.run_bytes.max(job.data.estimated_bytes / (RUNS as u64 / 2)).max(SMALLEST_RUN);
        let (mut runs, mut is_last, mut closed) = (Runs::new(run_bytes), false, false);
        let frames = futures::stream::poll_fn(|context| {
            if closed {
                return Poll::Ready(None);
            }
            let (fits, is_too_wide) = match ready!(source.as_mut().poll_peek(context)) {
                Some(Ok(next)) => {
                    let passes = runs.offset + next.bytes.len() as u64 > capacity;
                    (runs.within_row || runs.offset + room(next) <= capacity, passes)
                }
                Some(Err(_)) => (true, false),
                None => {
                    is_last = true;
                    (false, false)
                }
            };
            // Every segment begins with a row, whether or not it will fit: compressed, it may.
            if fits || (!is_last && runs.offset == 0) {
                if is_too_wide {
                    return Poll::Ready(Some(Err(too_wide(capacity))));
                }
                let next = ready!(source.as_mut().poll_next(context));
                return Poll::Ready(next.map(|packed| packed.map(|packed| runs.add(packed))));
            }
            closed = true;
            runs.close(terminator);
            Poll::Ready(Some(Ok(terminator.clone())))
        });
        let suffix = self.compressors.codec().suffix();
        let key = keys::data_key(u64::from(job.toc_id.unsigned_abs()), number, suffix);
        let object = self.destination.write(&key, part_size, frames).await?;
        let entry = TableEntry {
            toc_id: if number == 0 { job.toc_id } else { 0 },
            schema: job.schema.clone(),
            name: job.name.clone(),
            object,
            rows: runs.rows.rows(),
            raw_bytes: runs.raw_bytes,
            rows_digest: Some(runs.rows.to_string()),
            frames: runs.list,
        };
        Ok((entry, is_last))
    }
}

/// What must be free in an object before a frame that begins with a row: its size, and what the rest of its last row may
/// need if nothing of it can be compressed, which costs a little.
fn room(next: &Packed) -> u64 {
    let rest = if next.left == 0 { 0 } else { next.left + next.left / 128 + 1024 };
    next.bytes.len() as u64 + rest
}

/// A row ends in the object in which it began, for others read an object alone.
fn too_wide(capacity: u64) -> Error {
    Error::new(Kind::Usage, format!("a row is wider than one object may be here, which is {capacity} bytes"))
        .hint("give larger parts with --part-size, or more of them with --max-parts, as far as the store takes them")
}

/// The list of an object's runs as it grows. A run is one frame or several that follow one another, and holds whole rows.
struct Runs {
    target: u64,
    list: Vec<Frame>,
    open: Frame,
    checksum: Xxh3,
    offset: u64,
    rows: RowsDigest,
    raw_bytes: u64,
    within_row: bool,
}

impl Runs {
    fn new(target: u64) -> Self {
        let open = Frame { offset: 0, bytes: 0, raw_bytes: 0, rows: 0, checksum: None };
        Runs {
            target,
            list: Vec::new(),
            open,
            checksum: Xxh3::new(),
            offset: 0,
            rows: RowsDigest::default(),
            raw_bytes: 0,
            within_row: false,
        }
    }

    fn add(&mut self, packed: Packed) -> Bytes {
        self.take(&packed.bytes, packed.raw_bytes, packed.rows);
        self.raw_bytes += packed.raw_bytes;
        self.within_row = packed.left > 0;
        if packed.left == 0 && self.open.raw_bytes >= self.target {
            self.end_run();
        }
        packed.bytes
    }

    /// The terminator is a run of its own.
    fn close(&mut self, terminator: &Bytes) {
        self.end_run();
        self.take(terminator, TERMINATOR.len() as u64, RowsDigest::default());
        self.end_run();
    }

    fn take(&mut self, stored: &[u8], raw_bytes: u64, rows: RowsDigest) {
        self.checksum.update(stored);
        self.offset += stored.len() as u64;
        self.open.bytes += stored.len() as u64;
        self.open.raw_bytes += raw_bytes;
        self.open.rows += rows.rows();
        self.rows.add(rows);
    }

    fn end_run(&mut self) {
        if self.open.bytes == 0 {
            return;
        }
        self.open.checksum = Some(self.checksum.digest());
        self.list.push(self.open);
        self.open = Frame { offset: self.offset, bytes: 0, raw_bytes: 0, rows: 0, checksum: None };
        self.checksum.reset();
        if self.list.len().is_multiple_of(RUNS) {
            self.target = self.target.saturating_mul(2);
        }
    }
}
