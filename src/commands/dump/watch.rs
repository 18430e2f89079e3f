//! What a dump and others do to one another while it runs: who waits for its locks, whom it waits for, and how old its
//! snapshot has become.
//!
//! A dump holds ACCESS SHARE on every table until it ends. That alone stops nobody's reads and writes; but somebody who
//! wants an exclusive lock (a migration) waits for it, and from then on everybody waits behind him. And as long as the
//! snapshot is open, vacuum removes nothing that it could still see.

use super::Kindness;
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnectionSettings, Purpose, Session, sqlstate};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the server is asked who waits. Asking takes the lock manager's own locks for a moment, and only for sessions
/// that wait anyway.
const INTERVAL: Duration = Duration::from_secs(5);
/// At least, where others may wait for a short time only.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum characters of a statement in a message.
const STATEMENT: usize = 80;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    waiters: Mutex<BTreeSet<i32>>,
    /// How often the catalogs were read again, because others changed them.
    again: Mutex<u32>,
}

impl Seen {
    /// The catalogs changed while they were read, and are read again.
    pub(super) fn began_again(&self) {
        *self.again.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    /// What the manifest says of it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let waiters = match self.waiters.lock().unwrap_or_else(PoisonError::into_inner).len() {
            0 => None,
            1 => Some("one session had to wait for the locks of this dump".to_owned()),
            many => Some(format!("{many} sessions had to wait for the locks of this dump")),
        };
        let again = *self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let again = (again > 0).then(|| {
            let times = if again == 1 { "once".to_owned() } else { format!("{again} times") };
            format!("the snapshot was taken again {times}, because others changed what was being read")
        });
        waiters.into_iter().chain(again).collect()
    }
}

/// The server and the session that are watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) connection: &'a ConnectionSettings,
    /// The process of the session that holds the locks.
    pub(super) leader: i32,
}

/// Warns of everybody who waits for the leader, and of everybody whom it waits for, as long as it is polled. Ends with an
/// error when the snapshot is too old, or others have waited too long.
pub(super) async fn watch(watched: Watched<'_>, kindness: &Kindness, seen: &Seen) -> Error {
    tokio::select! {
        too_old = snapshot_too_old(kindness.max_snapshot_age) => too_old,
        too_long = blocking_too_long(watched, kindness.max_blocking, seen) => too_long,
    }
}

/// Where the server does not let it, it watches nothing, unless it has to.
async fn blocking_too_long(watched: Watched<'_>, limit: Option<Duration>, seen: &Seen) -> Error {
    let Err(error) = watch_waits(watched, limit, seen).await;
    if limit.is_some() {
        return error;
    }
    tracing::debug!("nobody watches who waits for this dump: {error}");
    std::future::pending().await
}

#[derive(Debug, Deserialize)]
struct WaitRow {
    /// The leader waits for this session, instead of the other way round.
    blocks: bool,
    pid: i32,
    role: Option<String>,
    application: Option<String>,
    query: Option<String>,
    /// How many wait for it in turn.
    behind: i64,
}

impl WaitRow {
    /// For messages: `session 4711 (alice, psql): ALTER TABLE t ...`.
    fn describe(&self) -> String {
        let known: Vec<&str> = [&self.role, &self.application].into_iter().flatten().map(String::as_str).collect();
        let query: String = self.query.as_deref().unwrap_or_default().chars().take(STATEMENT).collect();
        format!("session {} ({}): {query}", self.pid, known.join(", ")).replace(char::is_control, " ")
    }
}

async fn watch_waits(
    Watched { connection, leader }: Watched<'_>,
    limit: Option<Duration>,
    seen: &Seen,
) -> Result<Infallible> {
    let interval = limit.map_or(INTERVAL, |limit| (limit / 4).clamp(SHORTEST_INTERVAL, INTERVAL));
    // A short dump never opens this connection.
    tokio::time::sleep(interval).await;
    let side = Session::connect(connection, "pgstow dump: watching", Purpose::Reads).await?;
    let mut since: BTreeMap<i32, Instant> = BTreeMap::new();
    let mut told: BTreeSet<i32> = BTreeSet::new();
    loop {
        let rows: Vec<WaitRow> = side.question(&waits(leader)).await?;
        let (blockers, waiters): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.blocks);
        for row in blockers.iter().filter(|row| told.insert(row.pid)) {
            tracing::warn!("this dump waits for a lock of {}", row.describe());
        }
        // Whoever stands in the way once more is told of once more.
        told.retain(|pid| blockers.iter().any(|row| row.pid == *pid));
        since.retain(|pid, _| waiters.iter().any(|row| row.pid == *pid));
        for row in &waiters {
            warn(row, seen);
            let since = since.entry(row.pid).or_insert_with(Instant::now);
            if let Some(limit) = limit.filter(|limit| since.elapsed() + interval > *limit) {
                return Err(Error::new(
                    Kind::Database,
                    format!(
                        "others have waited for its locks for {} s, the longest that they may",
                        limit.as_secs_f32()
                    ),
                )
                .on("the dump")
                .hint(format!(
                    "{} had to wait; dump when nothing has to be changed, or set --max-blocking to more",
                    row.describe()
                )));
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// Who waits for a lock that the leader holds or is queued for, with the number of those who wait for him in turn; and who holds
/// a lock that the leader waits for. The costly function is called for sessions that wait. A role that may not see what
/// other sessions are at looks for those among the locks.
fn waits(leader: i32) -> String {
    format!(
        "WITH w AS MATERIALIZED (
SELECT s.pid, pg_catalog.pg_blocking_pids(s.pid) AS by FROM (
    SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.wait_event_type = 'Lock'
    UNION SELECT l.pid FROM pg_catalog.pg_locks l
    WHERE NOT l.granted AND NOT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')) s)
SELECT p.blocks, p.pid, a.usename AS role, a.application_name AS application, pg_catalog.left(a.query, 200) AS query,
    (SELECT pg_catalog.count(*) FROM w o WHERE p.pid = ANY (o.by)) AS behind
FROM (
    SELECT false AS blocks, w.pid FROM w WHERE {leader} = ANY (w.by)
    UNION ALL SELECT true, b.pid FROM w CROSS JOIN LATERAL pg_catalog.unnest(w.by) AS b (pid) WHERE w.pid = {leader}
) p LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid"
    )
}

fn warn(row: &WaitRow, seen: &Seen) {
    if seen.waiters.lock().unwrap_or_else(PoisonError::into_inner).insert(row.pid) {
        tracing::warn!(
            "{} has to wait for this dump's locks, and {} behind it; all who need that table do until the dump ends",
            row.describe(),
            row.behind
        );
    }
}

/// Ends with an error when the snapshot is as old as it may become; never, where it may become any age.
async fn snapshot_too_old(limit: Option<Duration>) -> Error {
    let Some(limit) = limit else { return std::future::pending().await };
    tokio::time::sleep(limit).await;
    Error::new(Kind::Database, format!("the snapshot has been open for {} s, the longest that it may", limit.as_secs()))
        .on("the dump")
        .hint("--max-snapshot-age sets how long; more workers (-j) or a smaller selection make a dump shorter")
}

const ON_A_STANDBY: &str = "on a standby, replay ends queries and sessions that stand in its way: set max_standby_streaming_delay (and \
     max_standby_archive_delay) to more than a dump takes, or hot_standby_feedback = on";

/// The leader's session is gone. Without its locks others may empty or rewrite a table, and an older snapshot then finds
/// nothing in it.
pub(super) fn leader_lost(in_recovery: bool) -> Error {
    let error =
        Error::new(Kind::Connection, "the session that holds the snapshot and the locks was lost").on("the dump");
    error.hint(if in_recovery { ON_A_STANDBY } else { "nothing can be read at that moment any more: dump again" })
}

/// Adds what usually lies behind a refusal that comes from others who use the server.
pub(super) fn explain(error: Error, in_recovery: bool) -> Error {
    match sqlstate(&error) {
        // lock_not_available.
        Some("55P03") => error.hint(
            "somebody holds a lock on it or waits for one (a migration?); dump again later, or wait longer with --lock-timeout",
        ),
        // serialization_failure, which a standby calls it when replay cancels a query; query_canceled; admin_shutdown.
        Some("40001" | "57014" | "57P01") if in_recovery => error.hint(ON_A_STANDBY),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn the_manifest_tells_how_many_had_to_wait_and_how_often_the_snapshot_was_taken_again() {
        let seen = Seen::default();
        assert_eq!(seen.warnings(), Vec::<String>::new());
        for pid in [1, 2, 2] {
            seen.waiters.lock().expect("a lock").insert(pid);
        }
        seen.began_again();
        assert_eq!(
            seen.warnings(),
            [
                "2 sessions had to wait for the locks of this dump",
                "the snapshot was taken again once, because others changed what was being read"
            ]
        );
    }
}
