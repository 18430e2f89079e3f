//! Examining what makes a dump slow, or needless to prepare for: distance, locks that others hold, room in the store, and the
//! client that nobody has to install.

use super::Finding;
use crate::error::{Kind, Result};
use crate::model::{Question, ServerVersion, item};
use crate::postgres::Session;
use crate::store::StoreUrl;
use indicatif::HumanBytes;
use serde::Deserialize;
use std::process::Command;
use std::time::{Duration, Instant};

/// Slower than this, and distance is what a dump spends its time on.
pub(super) const SLOW_BYTES_A_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
const SLOW_ROUND_TRIP: Duration = Duration::from_millis(50);

/// Four MiB of text in few rows, so that distance is measured, and not what a row costs.
const SAMPLE: Question = Question(
    "SELECT pg_catalog.repeat('0123456789abcdef', 65536) AS text, pg_catalog.pg_database_size(d.oid) AS size
FROM pg_catalog.generate_series(1, 4), pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
AND pg_catalog.has_database_privilege(d.oid, 'CONNECT')",
);

#[derive(Deserialize)]
struct SampleRow {
    text: String,
    size: u64,
}

/// Tables that somebody holds in a way that no reader gets past, the longest held first.
const LOCKED: Question = Question(
    "SELECT n.nspname AS schema, c.relname AS name, l.pid,
EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::double precision AS seconds
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
ORDER BY 4 DESC NULLS LAST, 1, 2",
);

#[derive(Deserialize)]
struct LockedRow {
    schema: String,
    name: String,
    pid: Option<i32>,
    seconds: Option<f64>,
}

/// What people look for first on a new machine.
pub(super) fn client() -> Finding {
    let (oldest, newest) = (ServerVersion::OLDEST, ServerVersion::NEWEST);
    Finding::ok("client", format!("none needs to be installed: pgstow itself speaks with servers {oldest} to {newest}"))
}

/// How fast rows come, and how large the database is.
pub(super) async fn speed(session: &Session) -> Result<(Finding, Option<u64>)> {
    let mut trip = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        session.execute("SELECT 1").await?;
        trip = trip.min(begun.elapsed());
    }
    let begun = Instant::now();
    let rows: Vec<SampleRow> = session.question(&SAMPLE.for_server(session.version())).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let size = rows.first().map(|row| row.size);
    let rate = rate(rows.iter().map(|row| row.text.len()).sum(), seconds);
    let of = size.map_or(String::new(), |size| format!("; the database has {}", HumanBytes(size)));
    let says =
        format!("{}/s by one connection, {:.1} ms there and back{of}", HumanBytes(rate), trip.as_secs_f64() * 1000.0);
    #[expect(clippy::cast_precision_loss, reason = "a rate, for a comparison")]
    let slow = trip > SLOW_ROUND_TRIP || (rate as f64) < SLOW_BYTES_A_SECOND;
    let finding = if slow {
        let todo = "run pgstow near the server, or read with more connections: -j 8";
        Finding::warn("source speed", says + ": a dump will be slow", todo)
    } else {
        Finding::ok("source speed", says)
    };
    Ok((finding, size))
}

/// Bytes a second, whole.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
pub(super) fn rate(bytes: usize, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(1e-6)) as u64
}

/// Whether a dump that begins now would wait.
pub(super) async fn locked(session: &Session) -> Result<Finding> {
    const SUBJECT: &str = "locked now";
    let rows: Vec<LockedRow> = session.question(&LOCKED.for_server(session.version())).await?;
    let Some(first) = rows.first() else {
        return Ok(Finding::ok(SUBJECT, "nobody holds a table that a dump would have to wait for"));
    };
    let who = first.pid.map_or("a prepared transaction".to_owned(), |pid| format!("session {pid}"));
    let since = first.seconds.map_or(String::new(), |seconds| format!(" for {seconds:.0} s"));
    let more = if rows.len() > 1 { format!(", and there are {} more", rows.len() - 1) } else { String::new() };
    let table = item::label("TABLE", Some(&first.schema), &first.name);
    let end = first.pid.map_or(String::new(), |pid| format!(", or end it: SELECT pg_terminate_backend({pid})"));
    Ok(Finding::warn(
        SUBJECT,
        format!("{who} has held {table} exclusively{since}{more}: a dump would wait for it"),
        format!("let it end{end}; `pgstow dump --lock-timeout 10s` gives up instead of waiting"),
    ))
}

/// Whether a backup finds room: only a folder can be asked.
pub(super) async fn space(store: &str, database: Option<u64>) -> Finding {
    const SUBJECT: &str = "space";
    let Ok(StoreUrl::Folder(folder)) = store.parse::<StoreUrl>() else {
        return Finding::ok(SUBJECT, "S3 tells no end to it");
    };
    let asked = tokio::task::spawn_blocking(move || {
        // The nearest folder that is there already: the store makes its own when it first writes.
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&folder);
        let told = Command::new("df").arg("-Pk").arg(there).output().ok()?;
        free(&String::from_utf8_lossy(&told.stdout))
    });
    match (asked.await.ok().flatten(), database) {
        (None, _) => Finding::warn(SUBJECT, "how much is free cannot be found out", "look for yourself"),
        (Some(free), None) => Finding::ok(SUBJECT, format!("{} free", HumanBytes(free))),
        (Some(free), Some(size)) => room(free, size),
    }
}

/// The free bytes in what `df -Pk` says, as POSIX has it: what stands before the percentage.
fn free(told: &str) -> Option<u64> {
    let words: Vec<&str> = told.lines().nth(1)?.split_whitespace().collect();
    let percentage = words.iter().position(|word| word.ends_with('%'))?;
    words.get(percentage.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn room(free: u64, size: u64) -> Finding {
    let says = format!("{} free, and the database has {}", HumanBytes(free), HumanBytes(size));
    let todo = "make room, let `pgstow prune` remove old backups, or use another store";
    if free < size / 10 {
        Finding::fail("space", Kind::Store, says + ": a backup will hardly fit", todo)
    } else if free < size {
        Finding::warn("space", says + ", so a backup fits only because it is compressed", todo)
    } else {
        Finding::ok("space", says)
    }
}

/// What could not be asked is a finding, too.
pub(super) fn or_failed(subject: &'static str, found: Result<Finding>) -> Finding {
    found.unwrap_or_else(|error| Finding::failed(subject, &error))
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::{free, room};

    #[test]
    fn free_space_is_what_posix_prints_and_is_held_against_the_database() {
        let told = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a b 100 60 40 60% /mnt/c d\n";
        assert_eq!((free(told), free("")), (Some(40 * 1024), None));
        for (free, size, grade) in [(1000, 1000, Grade::Ok), (999, 1000, Grade::Warn), (99, 1000, Grade::Fail)] {
            assert_eq!(room(free, size).grade, grade, "{free} of {size}");
        }
    }
}
