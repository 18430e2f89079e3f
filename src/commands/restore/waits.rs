//! Whom a restore waits for: sessions of others that hold locks in the target. A restore waits for them as long as it takes, but not
//! without a word.

use crate::error::Result;
use crate::postgres::{ConnectionSettings, Purpose, Session};
use serde::Deserialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// How often the server is asked. Asking takes the lock manager's own locks for a moment, and only for sessions that wait anyway.
const INTERVAL: Duration = Duration::from_millis(2500);
/// Who waits for longer than this is told.
const LONG: Duration = Duration::from_secs(5);
/// And again after this.
const REMINDER: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
struct WaitingRow {
    waiting: i32,
    step: String,
    /// What the lock is on, as far as a name says.
    on: Option<String>,
    pid: i32,
    role: Option<String>,
    application: Option<String>,
    state: Option<String>,
    seconds: Option<i64>,
    query: Option<String>,
}

/// Sessions of restores that wait for locks, with whoever holds those or is queued before them. The CASE keeps the costly function to
/// sessions that wait. Those of a restore among themselves are its own affair.
const WAITING: &str = "
WITH w AS MATERIALIZED (
  SELECT a.pid, a.application_name,
    CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(a.pid) END AS by
  FROM pg_catalog.pg_stat_activity a
  WHERE a.wait_event_type = 'Lock' AND a.application_name LIKE 'pgstow restore%'
)
SELECT w.pid AS waiting, w.application_name AS step,
  (SELECT CASE WHEN l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      THEN l.relation::pg_catalog.regclass::pg_catalog.text END
    FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted AND l.relation IS NOT NULL LIMIT 1) AS on,
  b.pid, h.usename AS role, coalesce(nullif(h.application_name, ''), h.backend_type) AS application, h.state,
  pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - coalesce(h.xact_start, h.state_change))::pg_catalog.int8 AS seconds,
  pg_catalog.left(h.query, 80) AS query
FROM w CROSS JOIN LATERAL (SELECT DISTINCT pid FROM pg_catalog.unnest(w.by) AS u(pid)) b
LEFT JOIN pg_catalog.pg_stat_activity h ON h.pid = b.pid
WHERE coalesce(h.application_name, '') NOT LIKE 'pgstow restore%'
ORDER BY w.pid, b.pid";

/// Tells as long as it is polled. Where the server does not let it, it tells nothing.
pub(super) async fn tell(connection: &ConnectionSettings) -> Infallible {
    let Err(error) = watch(connection).await;
    tracing::debug!("nobody watches whom this restore waits for: {error}");
    std::future::pending().await
}

async fn watch(connection: &ConnectionSettings) -> Result<Infallible> {
    // A short restore never opens this connection.
    tokio::time::sleep(INTERVAL).await;
    let side = Session::connect(connection, "pgstow restore: watching for locks", Purpose::Reads).await?;
    let mut seen = Seen::default();
    loop {
        let rows: Vec<WaitingRow> = side.question(WAITING).await?;
        for row in seen.due(&rows, Instant::now()) {
            tracing::warn!("{}", words(row));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Who waits for whom, since when, and when that was told.
#[derive(Debug, Default)]
struct Seen(HashMap<(i32, i32), (Instant, Option<Instant>)>);

impl Seen {
    /// What is to be told now.
    fn due<'a>(&mut self, rows: &'a [WaitingRow], now: Instant) -> Vec<&'a WaitingRow> {
        let is_there = |pair: &(i32, i32)| rows.iter().any(|row| (row.waiting, row.pid) == *pair);
        self.0.retain(|pair, _| is_there(pair));
        let mut due = Vec::new();
        for row in rows {
            let (since, told) = self.0.entry((row.waiting, row.pid)).or_insert((now, None));
            if now - *since >= LONG && told.is_none_or(|told| now - told >= REMINDER) {
                *told = Some(now);
                due.push(row);
            }
        }
        due
    }
}

fn words(row: &WaitingRow) -> String {
    let plain = |text: &Option<String>| text.as_deref().unwrap_or_default().replace(char::is_control, " ");
    let on = row.on.as_ref().map_or_else(String::new, |on| format!(" on {}", on.replace(char::is_control, " ")));
    let state = match (row.state.as_deref(), row.seconds) {
        (Some(state), Some(seconds)) => format!(", {state}, its transaction is {seconds} s old"),
        (Some(state), None) => format!(", {state}"),
        (None, _) => String::new(),
    };
    format!(
        "session {} ({}) waits for a lock{on} of session {} (role {}, application {}{state}): {}",
        row.waiting,
        row.step.replace(char::is_control, " "),
        row.pid,
        plain(&row.role),
        plain(&row.application),
        plain(&row.query)
    )
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, REMINDER, Seen, WaitingRow, words};
    use std::time::Instant;

    fn row() -> WaitingRow {
        WaitingRow {
            waiting: 7,
            step: "pgstow restore: definitions".to_owned(),
            on: Some("s.t".to_owned()),
            pid: 8,
            role: Some("bob".to_owned()),
            application: Some("psql".to_owned()),
            state: Some("idle in transaction".to_owned()),
            seconds: Some(9),
            query: Some("SELECT\n1".to_owned()),
        }
    }

    #[test]
    fn who_waits_for_long_is_told_once_and_again_after_a_while() {
        let (mut seen, begin) = (Seen::default(), Instant::now());
        let due = |seen: &mut Seen, rows: &[WaitingRow], at| seen.due(rows, begin + at).len();
        assert_eq!(due(&mut seen, &[row()], INTERVAL), 0);
        assert_eq!(due(&mut seen, &[row()], 2 * INTERVAL), 0);
        assert_eq!(due(&mut seen, &[row()], 3 * INTERVAL), 1);
        assert_eq!(due(&mut seen, &[row()], 4 * INTERVAL), 0);
        assert_eq!(due(&mut seen, &[row()], 3 * INTERVAL + REMINDER), 1);
        assert_eq!(due(&mut seen, &[], 4 * INTERVAL + REMINDER), 0);
        assert_eq!(due(&mut seen, &[row()], 5 * INTERVAL + REMINDER), 0);
        let said = "session 7 (pgstow restore: definitions) waits for a lock on s.t of session 8 (role bob, application psql, idle in \
                    transaction, its transaction is 9 s old): SELECT 1";
        assert_eq!(words(&row()), said);
    }
}
