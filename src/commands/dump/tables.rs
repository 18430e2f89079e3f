//! The data plane of a dump: workers take tables, or ranges of them, from one queue, longest first; each table has one writer.

use super::columns;
use super::large_objects::Shelf;
use super::pace::Pace;
use super::queue::Queue;
use super::ranges::{self, Extent};
use super::reader::{Reader, Role, Unit};
use super::watch::leader_lost;
use super::writer::{SMALLEST_RUN, Writer};
use super::{DumpOptions, QUIET, READING, follow_snapshot, has_data};
use crate::archive::manifest::{LargeObjects, Skipped, TableEntry};
use crate::commands::Stop;
use crate::commands::memory::DumpShares;
use crate::commands::transfer::Destination;
use crate::error::{Error, Kind, Result};
use crate::model::{BlobsData, Payload, TableData};
use crate::plan::Planned;
use crate::postgres::{Session, Snapshot};
use crate::stream::binary::Layout;
use crate::stream::compressors::Compressors;
use futures::future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The runs of all tables together that the size of a run is chosen for, so that the manifest stays short.
const RUNS_OF_ALL: u64 = 16_384;
/// Tables that are open at once beside those that are being read: their last parts are still on their way.
const TABLES_ENDING: usize = 4;

/// One table's rows to copy.
#[derive(Debug, Clone)]
pub(super) struct TableJob {
    pub(super) toc_id: i32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) data: TableData,
    /// How its columns lie in binary; nothing where the rows come as text.
    pub(super) layouts: Option<Arc<[Layout]>>,
}

impl TableJob {
    pub(super) fn label(&self) -> String {
        crate::model::item::label("table", Some(&self.schema), &self.name)
    }
}

/// All data to copy, in the order of the table of contents.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) tables: Vec<TableJob>,
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
                    layouts: None,
                };
                if in_recovery && data.unlogged {
                    let reason = "the rows of an unlogged table cannot be read on a standby".to_owned();
                    tracing::warn!(table = job.label(), reason);
                    jobs.skipped.push(Skipped { object: format!("rows of {}", job.label()), reason });
                    job.data.copy_out = String::new();
                }
                jobs.tables.push(job);
            }
            Payload::Blobs(data) => jobs.blobs = Some(data.clone()),
            Payload::None | Payload::Refresh => {}
        }
    }
    jobs
}

/// What a dump of rows is made with.
pub(super) struct Rows<'a> {
    pub(super) options: &'a DumpOptions,
    pub(super) shares: &'a DumpShares,
    pub(super) snapshot: &'a Snapshot,
    /// Holds the snapshot and all locks, and reads what no worker can.
    pub(super) leader: &'a Arc<Session>,
    pub(super) destination: &'a Destination,
    pub(super) stop: &'a Stop,
}

/// What the workers share.
struct Shared {
    queue: Mutex<Queue>,
    writer: Writer,
    /// How many tables may be open at once.
    open: Arc<Semaphore>,
    large: Option<Arc<Shelf>>,
    stop: Stop,
}

type Outcome = Result<Vec<TableEntry>>;

/// Copies everything with as many connections as the options say and the server gives, those given first. When one fails, the
/// others abort their uploads and end; the first failure is returned.
///
/// With one job the leader reads everything. Otherwise it reads what workers may not lock, because somebody waits for an
/// exclusive lock, and whatever is left where no worker is.
pub(super) async fn copy_all(rows: Rows<'_>, sessions: Vec<Session>, jobs: Jobs) -> Result<Copied> {
    let Rows { options, shares, snapshot, leader, destination, stop } = rows;
    let estimated = jobs.estimated_bytes();
    let Jobs { mut tables, blobs, skipped } = jobs;
    let mut layouts = stop.unless(columns::layouts(leader, &tables)).await?;
    for job in &mut tables {
        job.layouts = layouts.remove(&job.data.relation);
    }
    let extents: Vec<Extent> =
        tables.iter().map(|job| Extent { bytes: job.data.estimated_bytes, pages: job.data.pages }).collect();
    let units = ranges::units(&extents, options.jobs, options.split_above);
    let promised = tables.len();
    let compressors = Compressors::new(options.codec, shares.codecs);
    let source = Arc::new((options.clone(), snapshot.clone()));
    let pace = Arc::new(Pace::new(options.kindness.rate_limit));
    let large = blobs.map(|blobs| {
        let (source, pace) = (Arc::clone(&source), Arc::clone(&pace));
        Arc::new(Shelf::new(&blobs, source, pace, destination.clone(), compressors.clone(), shares))
    });
    // The first batch of large objects has a connection of its own.
    let batches = large.as_ref().map_or(0, |large| large.batches().saturating_sub(1));
    let workers = options.jobs.clamp(1, (units.len() + batches).max(1));
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::new(tables, units)),
        writer: Writer {
            destination: destination.clone(),
            compressors,
            frames_at_once: workers * shares.frames_per_worker,
            run_bytes: (estimated / RUNS_OF_ALL).max(SMALLEST_RUN),
        },
        open: Arc::new(Semaphore::new(workers + TABLES_ENDING)),
        large: large.clone(),
        stop: stop.clone(),
    });
    let sessions = stop.unless(worker_sessions(options, snapshot, sessions, workers)).await?;
    // From now on it reads rows at the most.
    stop.unless(leader.name("pgstow dump: holding the snapshot")).await?;
    let (outcomes, mut results) = mpsc::unbounded_channel::<Outcome>();
    let (refused, left) = mpsc::unbounded_channel::<Unit>();
    let reader = |session, role| {
        let frames = (shares.frame_bytes, shares.frames_per_worker);
        Reader::new(session, role, Arc::clone(&source), frames, Arc::clone(&pace))
    };
    let mut readers = JoinSet::new();
    let is_alone = sessions.is_empty();
    for session in sessions {
        let reader = reader(Arc::new(session), Role::Worker);
        readers.spawn(work(reader, Arc::clone(&shared), outcomes.clone(), Some(refused.clone())));
    }
    drop(refused);
    let lead = lead(reader(Arc::clone(leader), Role::Leader), Arc::clone(&shared), outcomes, left, is_alone);
    let mut collected = Collected::default();
    // On a connection of their own: if that is lost, the leader still holds the snapshot.
    let large_alone = async {
        let outcome = match &large {
            Some(large) => large.copy().await,
            None => Ok(()),
        };
        if outcome.is_err() {
            stop.now();
        }
        outcome
    };
    let all = async {
        let collecting = collected.collect(&mut results, destination, stop);
        let (alone, (), ()) = future::join3(large_alone, collecting, lead).await;
        // Where no other connection was to be had.
        match (alone, &large) {
            (Ok(()), Some(large)) => large.help(Arc::clone(leader)).await,
            (alone, _) => alone,
        }
    };
    let (alone, is_lost) = watching(leader, stop, all).await;
    // What a worker says when it is told to stop hides what made us tell it.
    let failure = match (collected.first_failure, alone.err()) {
        (Some(error), Some(cause)) if error.kind() == Kind::Interrupted => Some(cause),
        (error, cause) => error.or(cause),
    };
    if is_lost || is_behind(leader, failure.as_ref()).await {
        return Err(leader_lost(snapshot.in_recovery));
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let large_objects = match large {
        Some(large) => Some(large.finish().await?),
        None => None,
    };
    if collected.done != promised {
        return Err(Error::new(Kind::Internal, format!("{} of {promised} tables were dumped", collected.done)));
    }
    Ok(Copied { tables: collected.tables, large_objects, skipped })
}

/// The connections of the workers, those given first; none with one job. What cannot be had is done without, and said.
async fn worker_sessions(
    options: &DumpOptions,
    snapshot: &Snapshot,
    mut sessions: Vec<Session>,
    workers: usize,
) -> Result<Vec<Session>> {
    if options.jobs == 1 {
        return Ok(Vec::new());
    }
    sessions.truncate(workers);
    let more = (sessions.len()..workers).map(|_| follow_snapshot(options, snapshot, READING));
    let mut refusal = None;
    for outcome in future::join_all(more).await {
        match outcome {
            Ok(session) => sessions.push(session),
            Err(error) => refusal = Some(error),
        }
    }
    if let Some(refusal) = refusal {
        let have = sessions.len();
        let hint = refusal.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
        tracing::warn!("{have} of {workers} connections read rows beside the first one: {refusal}{hint}");
    }
    Ok(sessions)
}

/// What readers and writers have brought so far.
#[derive(Default)]
struct Collected {
    tables: Vec<TableEntry>,
    done: usize,
    first_failure: Option<Error>,
}

impl Collected {
    /// Ends when every reader and every writer has ended.
    async fn collect(
        &mut self,
        results: &mut mpsc::UnboundedReceiver<Outcome>,
        destination: &Destination,
        stop: &Stop,
    ) {
        while let Some(outcome) = results.recv().await {
            match outcome {
                Ok(entries) => {
                    self.tables.extend(entries);
                    self.done += 1;
                    destination.progress.table_done();
                }
                Err(error) => {
                    stop.now();
                    self.first_failure.get_or_insert(error);
                }
            }
        }
    }
}

/// How often to look whether the leader's session is still there.
const LEADER_WATCHED: Duration = Duration::from_millis(500);

/// So long the leader may take to answer when others have failed.
const LEADER_ASKED: Duration = Duration::from_secs(1);

/// Whether the loss of the leader lies behind a failure of others: a connection that is opened after it cannot see its snapshot
/// any more, and may find that out before the watch does.
async fn is_behind(leader: &Session, failure: Option<&Error>) -> bool {
    if !failure.is_some_and(|error| matches!(error.kind(), Kind::Connection | Kind::Database)) {
        return false;
    }
    // One that is slow to answer is there.
    let answer = tokio::time::timeout(LEADER_ASKED, leader.execute("SELECT 1")).await;
    answer.is_ok_and(|answer| answer.is_err_and(|error| error.kind() == Kind::Connection))
}

/// Does the work, and stops it when the leader's session is gone; whether it was.
async fn watching<T>(leader: &Session, stop: &Stop, work: impl Future<Output = T>) -> (T, bool) {
    let mut work = std::pin::pin!(work);
    let mut is_lost = false;
    loop {
        tokio::select! {
            done = &mut work => return (done, is_lost),
            // A stop ends what the leader reads, and its session with that.
            () = tokio::time::sleep(LEADER_WATCHED), if !is_lost => {
                is_lost = leader.is_closed() && !stop.is_asked();
                if is_lost {
                    stop.now();
                }
            }
        }
    }
}

/// One worker: takes units until there are none. Its failure goes to the writer of the table, which aborts the upload. What it
/// may not lock goes to the leader.
async fn work(
    mut reader: Reader,
    shared: Arc<Shared>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    refused: Option<mpsc::UnboundedSender<Unit>>,
) {
    loop {
        let next = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if shared.stop.is_asked() {
            return;
        }
        let Some(mut work) = next else { break };
        if let Some(receiver) = work.receiver.take() {
            let Ok(place) = Arc::clone(&shared.open).acquire_owned().await else { return };
            let (table, shared, outcomes) = (Arc::clone(&work.table), Arc::clone(&shared), outcomes.clone());
            tokio::spawn(async move {
                let outcome = shared.writer.write(&table, receiver).await;
                // Whoever waits for the outcome may have gone already.
                let _gone = outcomes.send(outcome.map_err(|error| error.on(table.job.label())));
                drop(place);
            });
        }
        let unit = Unit::new(work, reader.frame_bytes());
        let Some(unit) = read(&mut reader, unit, &shared).await else { return };
        if let (Some(unit), Some(refused)) = (unit, &refused) {
            // The leader ends after all workers only.
            let _taken = refused.send(unit);
        }
    }
    if let Some(large) = &shared.large
        && refused.is_some()
        && let Err(error) = large.help(reader.into_session()).await
    {
        let _gone = outcomes.send(Err(error));
    }
}

/// Reads one unit; gives it back where it could not be locked. Nothing when reading has failed, or was stopped.
async fn read(reader: &mut Reader, unit: Unit, shared: &Shared) -> Option<Option<Unit>> {
    let (table, sender) = (Arc::clone(&unit.work.table), unit.work.sender.clone());
    match shared.stop.unless(reader.read(unit, &shared.writer.destination.progress)).await {
        Ok(None) => {
            table.range_done();
            Some(None)
        }
        Ok(Some(unit)) => Some(Some(unit)),
        Err(error) => {
            // A writer that is gone has failed before, and has said why. This connection has ended with its COPY.
            let _gone = sender.send(Err(error));
            None
        }
    }
}

/// The leader's part: everything, if there is no worker; else what the workers could not lock, as it comes. In between it says
/// a word to the server now and then, for proxies cut connections that are silent.
async fn lead(
    mut reader: Reader,
    shared: Arc<Shared>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    mut left: mpsc::UnboundedReceiver<Unit>,
    is_alone: bool,
) {
    if is_alone {
        return work(reader, shared, outcomes, None).await;
    }
    loop {
        tokio::select! {
            next = left.recv() => match next {
                Some(unit) => {
                    tracing::info!(table = unit.work.table.job.label(), "read by the session that holds the locks");
                    if read(&mut reader, unit, &shared).await.is_none() {
                        return;
                    }
                }
                None => break,
            },
            () = shared.stop.asked() => return,
            // That it is lost shows where the leader is watched.
            () = tokio::time::sleep(QUIET) => drop(reader.say_a_word().await),
        }
    }
}
