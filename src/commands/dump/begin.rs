//! How a dump begins: locks, then the snapshot, then the catalogs as they were at that moment.
//!
//! Whoever truncates, swaps or rewrites a table holds it for himself until he has committed. LOCK TABLE waits for that, and a
//! snapshot that is taken after all locks sees the table whole, as it was before or after. A snapshot that is taken before
//! them may see the old table of a transaction that has replaced it meanwhile, which is empty (PostgreSQL documentation,
//! "Caveats" of concurrency control).
//!
//! What the locks do not hold (functions, types, statistics, ...) may go between the snapshot and the question about it.
//! Then everything begins again with a new snapshot, on the same sessions.

use super::watch::Seen;
use super::{DumpOptions, READING, follow_snapshot};
use crate::catalog::{self, Catalog, Reading, Scouted, Unread};
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Session, Snapshot, begin_snapshot, end_snapshot, export_snapshot, import_snapshot, sqlstate};
use futures::future;
use std::time::Duration;

/// Maximum snapshots taken in search of one that nobody disturbs.
const TRIES: u32 = 12;
/// From this try on, tables that appeared after the locks are locked after the snapshot, as `pg_dump` does.
const LATE: u32 = 7;
/// The pause before a new try grows by this with each one, from the second on.
const PAUSE: Duration = Duration::from_millis(40);
/// Maximum connections that ask the catalogs. More would only wait for one another on the longest questions.
const CATALOG_READERS: usize = 3;
/// Maximum wait for a lock while several sessions ask: whoever has it may wait for another one of our own sessions.
const SHARED_PATIENCE: Duration = Duration::from_secs(1);

/// What a dump has when it has begun.
pub(super) struct Begun {
    pub(super) snapshot: Snapshot,
    /// Sessions beside the leader's that see the snapshot.
    pub(super) readers: Vec<Session>,
    pub(super) catalog: Catalog,
}

/// How one try goes about it.
struct Try<'a> {
    options: &'a DumpOptions,
    leader: &'a Session,
    /// The leader asks everything alone, so that no session of ours waits for another one.
    alone: bool,
    lock_late: bool,
    first: &'a [&'static str],
}

/// Why a try failed.
enum Failure {
    /// A new snapshot may do better.
    Moved(Unread),
    /// Somebody holds a lock, and may wait for us.
    LockedOut(Error),
    Final(Error),
}

/// Locks, takes the snapshot, reads the catalogs.
///
/// Errors: those of [`catalog::read`]; kind Database when others changed what was read at each of [`TRIES`] tries.
pub(super) async fn begin(
    options: &DumpOptions,
    leader: &Session,
    (progress, stop): (&Progress, &Stop),
    seen: &Seen,
) -> Result<Begun> {
    progress.phase("reading the catalogs");
    let mut readers = Vec::new();
    let mut first = Vec::new();
    let mut alone = options.jobs == 1;
    let mut number = 1;
    loop {
        let attempt = Try { options, leader, alone, lock_late: number >= LATE, first: &first };
        let failure = match stop.unless(attempt.run(&mut readers)).await? {
            Ok((snapshot, catalog)) => return Ok(Begun { snapshot, readers, catalog }),
            Err(failure) => failure,
        };
        match failure {
            Failure::Final(error) => return Err(error),
            Failure::LockedOut(error) => {
                tracing::debug!("{error}; the leader asks alone");
                alone = true;
            }
            Failure::Moved(unread) if number == TRIES => return Err(never_still(unread)),
            Failure::Moved(unread) => {
                tracing::debug!(number, "{}; begins again", unread.error);
                first.extend(unread.about.filter(|about| !first.contains(about)));
                tokio::time::sleep(PAUSE * (number - 1)).await;
            }
        }
        number += 1;
        seen.began_again();
        stop.unless(end_snapshot(leader)).await?;
        let ended = future::join_all(readers.iter().map(end_snapshot));
        let ended = stop.unless(async { Ok(ended.await) }).await?;
        let mut ended = ended.into_iter();
        readers.retain(|_| ended.next().is_some_and(|ended| ended.is_ok()));
    }
}

/// The error after the last try.
fn never_still(unread: Unread) -> Error {
    let message = format!("others changed it each of the {TRIES} times that it was read");
    let object = unread.error.object().unwrap_or("the catalogs").to_owned();
    Error::new(Kind::Database, message).on(object).because(unread.error).hint(
        "let the migration or the job that makes and drops objects come to its end, or leave its schema or tables out (-N, -T)",
    )
}

impl Try<'_> {
    async fn run(&self, readers: &mut Vec<Session>) -> Result<Result<(Snapshot, Catalog), Failure>> {
        Ok(self.begin(readers).await)
    }

    async fn begin(&self, readers: &mut Vec<Session>) -> Result<(Snapshot, Catalog), Failure> {
        let Try { options, leader, .. } = *self;
        let user = options.kindness.lock_timeout;
        self.wait_for_locks(user).await?;
        let mut scouted = self.scout().await?;
        begin_snapshot(leader).await.map_err(Failure::Final)?;
        // As long as the user allows: nobody else is in the middle of anything.
        catalog::lock(leader, &mut scouted).await.map_err(|error| moved_or_final(error.into()))?;
        catalog::read_first(leader, &mut scouted, self.first).await.map_err(moved_or_final)?;
        let snapshot = export_snapshot(leader).await.map_err(Failure::Final)?;
        if self.alone {
            readers.clear();
        } else {
            self.gather(readers, &snapshot).await;
        }
        let bound = if readers.is_empty() { user } else { Some(SHARED_PATIENCE.min(user.unwrap_or(SHARED_PATIENCE))) };
        self.wait_for_locks(bound).await?;
        let reading = Reading { allow_incomplete: options.allow_incomplete, lock_late: self.lock_late };
        let is_shared = !readers.is_empty();
        let read = catalog::read(leader, readers, &options.selection, scouted, reading).await;
        let catalog = read.map_err(|unread| match unread {
            unread if unread.is_locked_out() && is_shared => Failure::LockedOut(unread.error),
            unread => moved_or_final(unread),
        })?;
        Ok((snapshot, catalog))
    }

    async fn scout(&self) -> Result<Scouted, Failure> {
        catalog::scout(self.leader, &self.options.selection).await.map_err(|error| moved_or_final(error.into()))
    }

    /// Maximum wait of the leader for a lock; `None` is for as long as it takes.
    async fn wait_for_locks(&self, limit: Option<Duration>) -> Result<(), Failure> {
        let limit = limit.map_or(0, |limit| limit.as_millis());
        self.leader.execute(&format!("SET lock_timeout = {limit}")).await.map_err(Failure::Final)
    }

    /// Has the readers see the snapshot, and opens those that are missing. What cannot be had is done without.
    async fn gather(&self, readers: &mut Vec<Session>, snapshot: &Snapshot) {
        let imported = future::join_all(readers.iter().map(|reader| import_snapshot(reader, snapshot))).await;
        let mut imported = imported.into_iter();
        readers.retain(|_| imported.next().is_some_and(|imported| imported.is_ok()));
        let missing = readers.len() + 1..self.options.jobs.min(CATALOG_READERS);
        let more = future::join_all(missing.map(|_| follow_snapshot(self.options, snapshot, READING))).await;
        for session in more {
            match session {
                Ok(session) => readers.push(session),
                Err(error) => tracing::debug!("one connection fewer reads the catalogs: {error}"),
            }
        }
    }
}

fn moved_or_final(unread: Unread) -> Failure {
    if unread.has_moved() { Failure::Moved(unread) } else { Failure::Final(unread.error) }
}

/// Whether the server has no room for one more connection: `too_many_connections`, of the server, the database or the role.
pub(super) fn is_full(error: &Error) -> bool {
    sqlstate(error) == Some("53300")
}
