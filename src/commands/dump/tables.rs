//! The data plane of a dump: workers take tables from one queue, longest first, and stream each into one object.

use super::{DumpOptions, follow_snapshot, has_data, large_objects};
use crate::archive::keys;
use crate::archive::manifest::{Frame, LargeObjects, Skipped, TableEntry};
use crate::commands::Stop;
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::model::{BlobsData, Payload, TableData, qualified};
use crate::plan::Planned;
use crate::postgres::{Session, Snapshot};
use crate::stream::codec::Codec;
use crate::stream::digest::frame_checksum;
use crate::stream::frames::{FrameBuilder, RawFrame, TERMINATOR};
use crate::stream::rows::RowsDigest;
use bytes::Bytes;
use futures::{StreamExt, future};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Frames that wait between the server's socket and the codec, and frames in the codec, per worker.
const FRAMES_IN_FLIGHT: usize = 2;

/// A frame is closed at the first row beyond this many bytes of a small table ...
pub(super) const SMALLEST_FRAME: u64 = 1 << 20;
/// ... and this many of a huge one, so that the list of frames in the manifest stays short.
const LARGEST_FRAME: u64 = 16 << 20;
/// The number of frames that the size of a frame is chosen for.
const FRAMES_PER_TABLE: u64 = 8192;

/// One table's rows to copy.
#[derive(Debug, Clone)]
pub(super) struct TableJob {
    toc_id: i32,
    schema: String,
    name: String,
    data: TableData,
}

impl TableJob {
    fn label(&self) -> String {
        crate::model::item::label("table", Some(&self.schema), &self.name)
    }

    fn frame_bytes(&self) -> usize {
        let bytes = (self.data.estimated_bytes / FRAMES_PER_TABLE).clamp(SMALLEST_FRAME, LARGEST_FRAME);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// All data to copy, longest first.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) tables: VecDeque<TableJob>,
    blobs: Option<BlobsData>,
    skipped: Vec<Skipped>,
}

impl Jobs {
    pub(super) fn estimated_bytes(&self) -> u64 {
        self.tables.iter().map(|job| job.data.estimated_bytes).sum()
    }
}

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) tables: Vec<TableEntry>,
    pub(super) large_objects: Option<LargeObjects>,
    pub(super) skipped: Vec<Skipped>,
}

/// Collects the data Items of a plan. On a standby, unlogged tables cannot be read: their (empty) rows are skipped and
/// the manifest says so.
pub(super) fn jobs(planned: &[Planned], in_recovery: bool) -> Jobs {
    let mut jobs = Jobs::default();
    for entry in planned.iter().filter(|entry| has_data(entry)) {
        match &entry.item.payload {
            Payload::Table(data) => {
                let mut job = TableJob {
                    toc_id: entry.id,
                    schema: entry.item.schema.clone().unwrap_or_default(),
                    name: entry.item.tag.clone(),
                    data: data.clone(),
                };
                if in_recovery && data.unlogged {
                    let reason = "the rows of an unlogged table cannot be read on a standby".to_owned();
                    tracing::warn!(table = job.label(), reason);
                    jobs.skipped.push(Skipped { object: format!("rows of {}", job.label()), reason });
                    job.data.copy_out = String::new();
                }
                jobs.tables.push_back(job);
            }
            Payload::Blobs(data) => jobs.blobs = Some(data.clone()),
            Payload::None | Payload::Refresh => {}
        }
    }
    jobs.tables
        .make_contiguous()
        .sort_by(|a, b| b.data.estimated_bytes.cmp(&a.data.estimated_bytes).then_with(|| a.toc_id.cmp(&b.toc_id)));
    jobs
}

/// Copies everything with as many connections as the options say. When one worker fails, the others abort their uploads
/// and end; the first failure is returned.
pub(super) async fn copy_all(
    options: &DumpOptions,
    snapshot: &Snapshot,
    leader: &Session,
    jobs: Jobs,
    destination: &Destination,
    stop: &Stop,
) -> Result<Copied> {
    let Jobs { tables, blobs, skipped } = jobs;
    let workers = options.jobs.max(1).min(tables.len().max(1));
    let queue = Arc::new(Mutex::new(tables));
    let mut tasks: JoinSet<Result<Vec<TableEntry>>> = JoinSet::new();
    for _ in 0..workers {
        let session = stop.unless(follow_snapshot(options, snapshot)).await?;
        let (queue, destination, codec) = (Arc::clone(&queue), destination.clone(), options.codec);
        tasks.spawn(async move { work(&session, &queue, &destination, codec).await });
    }
    let mut copied = Copied { skipped, ..Copied::default() };
    let mut first_failure = None;
    // The leader's connection is free meanwhile: it reads the large objects.
    let large = async {
        match blobs {
            Some(blobs) => large_objects::copy(leader, &blobs, destination, options.codec).await.map(Some),
            None => Ok(None),
        }
    };
    let drain = async {
        while let Some(outcome) = tasks.join_next().await {
            let outcome = outcome.unwrap_or_else(|panic| {
                Err(Error::new(Kind::Internal, "a worker of the dump ended unexpectedly").because(panic))
            });
            match outcome {
                Ok(entries) => copied.tables.extend(entries),
                Err(error) => {
                    stop.now();
                    first_failure.get_or_insert(error);
                }
            }
        }
    };
    let (large, ()) = future::join(
        async {
            let outcome = large.await;
            if outcome.is_err() {
                stop.now();
            }
            outcome
        },
        drain,
    )
    .await;
    if let Some(error) = first_failure {
        // What a worker says when it is told to stop hides what made us tell it.
        return Err(match large {
            Err(cause) if error.kind() == Kind::Interrupted => cause,
            _ => error,
        });
    }
    copied.large_objects = large?;
    copied.tables.sort_by_key(|entry| entry.toc_id);
    Ok(copied)
}

async fn work(
    session: &Session,
    queue: &Mutex<VecDeque<TableJob>>,
    destination: &Destination,
    codec: Codec,
) -> Result<Vec<TableEntry>> {
    let mut done = Vec::new();
    loop {
        let job = queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some(job) = job else { return Ok(done) };
        let label = job.label();
        done.push(copy_table(session, job, destination, codec).await.map_err(|error| error.on(label))?);
        destination.progress.table_done();
    }
}

async fn copy_table(session: &Session, job: TableJob, destination: &Destination, codec: Codec) -> Result<TableEntry> {
    let (sender, receiver) = mpsc::channel::<Result<RawFrame>>(FRAMES_IN_FLIGHT);
    let read = async {
        if let Err(error) = read_frames(session, &job, destination, &sender).await {
            // The writer must see the failure, so that it aborts its upload; if it is gone, it failed first.
            let _gone = sender.send(Err(error)).await;
        }
        drop(sender);
    };
    let mut frames: Vec<Frame> = Vec::new();
    let (mut offset, mut rows, mut raw_bytes) = (0u64, RowsDigest::default(), 0u64);
    let compressed = tokio_stream(receiver)
        .map(|frame| async move {
            let frame = frame?;
            let (raw, rows) = (frame.bytes.len() as u64, frame.rows);
            Ok::<_, Error>((codec.compress(frame.bytes).await?, raw, rows))
        })
        .buffered(FRAMES_IN_FLIGHT)
        .map(|frame| {
            let (bytes, frame_raw, frame_rows) = frame?;
            let length = bytes.len() as u64;
            frames.push(Frame {
                offset,
                bytes: length,
                raw_bytes: frame_raw,
                rows: frame_rows.rows(),
                checksum: Some(frame_checksum(&bytes)),
            });
            offset += length;
            rows.add(frame_rows);
            if frame_rows.rows() > 0 {
                raw_bytes += frame_raw;
            }
            Ok::<Bytes, Error>(bytes)
        });
    let key = keys::data_key(u64::from(job.toc_id.unsigned_abs()), codec.suffix());
    let write = destination.write(&key, job.data.estimated_bytes, compressed);
    // Both run in this one task: when the writer fails it drops the channel, which ends the reader.
    let (outcome, ()) = future::join(write, read).await;
    let object = outcome?;
    Ok(TableEntry {
        toc_id: job.toc_id,
        schema: job.schema,
        name: job.name,
        object,
        rows: rows.rows(),
        raw_bytes,
        rows_digest: Some(rows.to_string()),
        frames,
    })
}

fn tokio_stream<T>(mut receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Reads the table's rows into frames, the terminator's frame last.
async fn read_frames(
    session: &Session,
    job: &TableJob,
    destination: &Destination,
    sender: &mpsc::Sender<Result<RawFrame>>,
) -> Result<()> {
    if !job.data.copy_out.is_empty() {
        lock_without_waiting(session, job).await?;
        let mut rows = session.copy_out(&job.data.copy_out).await?;
        let mut builder = FrameBuilder::new(job.frame_bytes());
        let (mut counted_rows, mut counted_bytes) = (0u64, 0u64);
        while let Some(row) = rows.next().await {
            let row = row?;
            counted_rows += 1;
            counted_bytes += row.len() as u64;
            if let Some(frame) = builder.push(&row) {
                destination.progress.moved_rows(std::mem::take(&mut counted_rows));
                destination.progress.moved_raw(std::mem::take(&mut counted_bytes));
                if sender.send(Ok(frame)).await.is_err() {
                    return Ok(());
                }
            }
        }
        destination.progress.moved_rows(counted_rows);
        destination.progress.moved_raw(counted_bytes);
        if let Some(frame) = builder.finish() {
            let _gone = sender.send(Ok(frame)).await;
        }
    }
    let _gone = sender.send(Ok(RawFrame { bytes: Bytes::from_static(TERMINATOR), rows: RowsDigest::default() })).await;
    Ok(())
}

/// The leader holds ACCESS SHARE already. If somebody queued for an exclusive lock in between, waiting here would be a
/// deadlock that the server cannot see (`src/bin/pg_dump/parallel.c`, `lockTableForWorker`): so fail at once instead.
async fn lock_without_waiting(session: &Session, job: &TableJob) -> Result<()> {
    let table = qualified(&job.schema, &job.name);
    session.execute(&format!("LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT")).await.map_err(|error| {
        error.hint("somebody waits for an exclusive lock on the table (a migration?); let it finish and dump again")
    })
}
