//! What a dump does to others while it runs: who has to wait for its locks, and how old its snapshot has become.
//!
//! A dump holds ACCESS SHARE on every table until it ends. That alone stops nobody's reads and writes; but somebody who
//! wants an exclusive lock (a migration) waits for it, and from then on everybody waits behind him. And as long as the
//! snapshot is open, vacuum removes nothing that it could still see.

use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnectionSettings, Session, sqlstate};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often the server is asked who waits. Asking takes the lock manager's own locks for a moment, and only for sessions
/// that wait anyway.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeSet<i32>>);

impl Seen {
    /// What the manifest says of it.
    pub(super) fn warning(&self) -> Option<String> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).len() {
            0 => None,
            1 => Some("one session had to wait for the locks of this dump".to_owned()),
            many => Some(format!("{many} sessions had to wait for the locks of this dump")),
        }
    }
}

#[derive(Debug, Deserialize)]
struct WaitingRow {
    pid: i32,
    query: String,
    behind: i64,
}

/// Warns of everybody who waits for the leader's locks, as long as it is polled. Where the server does not let it, it
/// watches nothing.
pub(super) async fn warn_of_waiters(connection: &ConnectionSettings, leader: i32, seen: &Seen) -> Infallible {
    let Err(error) = watch(connection, leader, seen).await;
    tracing::debug!("nobody watches who waits for this dump: {error}");
    std::future::pending().await
}

async fn watch(connection: &ConnectionSettings, leader: i32, seen: &Seen) -> Result<Infallible> {
    // A short dump never opens this connection.
    tokio::time::sleep(INTERVAL).await;
    let side = Session::connect(connection, "pgstow dump: watching").await?;
    loop {
        let rows: Vec<WaitingRow> = side.question(&waiting(leader)).await?;
        for row in &rows {
            warn(row, seen);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Who waits for a lock that the leader holds or is queued for, with the number of those who wait for him in turn. The
/// CASE keeps the costly function to sessions that wait.
fn waiting(leader: i32) -> String {
    format!(
        "WITH w AS MATERIALIZED ( \
           SELECT a.pid, a.query, CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(a.pid) END AS by \
           FROM pg_catalog.pg_stat_activity a WHERE a.wait_event_type = 'Lock') \
         SELECT w.pid, pg_catalog.left(COALESCE(w.query, ''), 80) AS query, \
                (SELECT pg_catalog.count(*) FROM w o WHERE w.pid = ANY (o.by)) AS behind \
         FROM w WHERE {leader} = ANY (w.by)"
    )
}

fn warn(row: &WaitingRow, seen: &Seen) {
    if seen.0.lock().unwrap_or_else(PoisonError::into_inner).insert(row.pid) {
        tracing::warn!(
            "session {} has to wait for this dump's locks, and {} behind it; all who need that table do until the dump ends: {}",
            row.pid,
            row.behind,
            row.query.replace(char::is_control, " ")
        );
    }
}

/// Ends with an error when the snapshot is as old as it may become; never, where it may become any age.
pub(super) async fn snapshot_too_old(limit: Option<Duration>) -> Error {
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
    fn the_manifest_tells_how_many_had_to_wait() {
        let seen = Seen::default();
        assert_eq!(seen.warning(), None);
        for pid in [1, 2, 2] {
            seen.0.lock().expect("a lock").insert(pid);
        }
        assert_eq!(seen.warning().as_deref(), Some("2 sessions had to wait for the locks of this dump"));
    }
}
