//! One point in time for many sessions: a snapshot exported by the first and imported by the others.
//!
//! Source: PostgreSQL documentation, "Snapshot Synchronization Functions"; `src/backend/utils/time/snapmgr.c`. The
//! exporting transaction must stay open until every importer has imported, and a snapshot belongs to one database of
//! one server, primary or standby.

use super::failure::sqlstate;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::model::literal;
use serde::Deserialize;

/// A snapshot that other sessions can import while the exporting transaction is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What [`import_snapshot`] takes.
    pub id: String,
    /// The position in the write-ahead log at the time, such as `0/16B3748`: written on a primary, replayed on a standby.
    pub lsn: Option<String>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// When the transaction began by the server's clock: RFC 3339, UTC, with microseconds.
    pub started_at: String,
    /// When the server process that has all others began, by the server's clock: no two servers began at once.
    pub server_began: String,
    /// How many transactions old the snapshot's horizon was when it was taken: what an open dump keeps vacuum from.
    pub xmin_age: Option<i64>,
}

/// The search path is emptied again, for a pooler may give the transaction another server process than the one that was
/// pinned. Setting it takes no snapshot.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path = ''";

const POOLER_HINT: &str = "a connection pooler in transaction mode gives every transaction another server process: connect to \
                           the server itself, or to a pool in session mode";

/// Opens a REPEATABLE READ, READ ONLY transaction. It has no snapshot before its first query, and LOCK TABLE is none
/// (`PlannedStmtRequiresSnapshot`, `src/backend/tcop/pquery.c`): what is locked until then is seen as it is under the lock.
pub async fn begin_snapshot(session: &Session) -> Result<()> {
    session.execute(BEGIN).await
}

/// Ends the transaction of a snapshot, so that another one can begin on the same session.
pub async fn end_snapshot(session: &Session) -> Result<()> {
    session.execute("ROLLBACK").await
}

/// Takes the snapshot of the transaction that [`begin_snapshot`] opened, and exports it. The transaction stays open.
pub async fn export_snapshot(session: &Session) -> Result<Snapshot> {
    let rows: Vec<Exported> = session
        .question(
            "SELECT pg_catalog.pg_export_snapshot() AS id, pg_catalog.pg_backend_pid() AS backend_pid, \
                    pg_catalog.pg_is_in_recovery() AS in_recovery, \
                    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                         ELSE pg_catalog.pg_current_wal_lsn() END::pg_catalog.text AS lsn, \
                    pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.transaction_timestamp()), \
                                       'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS started_at, \
                    pg_catalog.pg_postmaster_start_time()::pg_catalog.text AS server_began, \
                    pg_catalog.age(backend_xmin) AS xmin_age \
             FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_activity ON pid = pg_catalog.pg_backend_pid()",
        )
        .await
        .map_err(explain)?;
    let Some(exported) = rows.into_iter().next() else {
        return Err(Error::new(Kind::Database, "the server exported no snapshot"));
    };
    check_process(session, exported.backend_pid)?;
    Ok(Snapshot {
        id: exported.id,
        lsn: exported.lsn,
        in_recovery: exported.in_recovery,
        started_at: exported.started_at,
        server_began: exported.server_began,
        xmin_age: exported.xmin_age,
    })
}

/// Opens a transaction of the same sort, which stays open, on another session's snapshot. It must be the first thing
/// that happens in the transaction, and the session must be on the exporter's server and database.
///
/// Errors: kind Connection when the session is on another server than the exporter.
pub async fn import_snapshot(session: &Session, snapshot: &Snapshot) -> Result<()> {
    let began = session.texts("SELECT pg_catalog.pg_postmaster_start_time()::pg_catalog.text").await?;
    if began.first() != Some(&snapshot.server_began) {
        return Err(Error::new(Kind::Connection, "another server answered than the one that holds the snapshot")
            .on(session.settings().describe())
            .hint("several servers share this name or address: connect to one of them by a name of its own"));
    }
    session.execute(BEGIN).await?;
    session.execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(&snapshot.id))).await.map_err(explain)?;
    let pids: Vec<Process> = session.question("SELECT pg_catalog.pg_backend_pid() AS backend_pid").await?;
    pids.iter().try_for_each(|process| check_process(session, process.backend_pid))
}

#[derive(Deserialize)]
struct Exported {
    id: String,
    backend_pid: i32,
    in_recovery: bool,
    lsn: Option<String>,
    started_at: String,
    server_began: String,
    xmin_age: Option<i64>,
}

#[derive(Deserialize)]
struct Process {
    backend_pid: i32,
}

/// A session that changes its server process under our hands has lost its settings too.
fn check_process(session: &Session, backend_pid: i32) -> Result<()> {
    if backend_pid == session.backend_pid() {
        return Ok(());
    }
    Err(Error::new(Kind::Connection, "the session moved from one server process to another")
        .on(session.settings().describe())
        .hint(POOLER_HINT))
}

/// Adds what usually lies behind the refusal of a snapshot.
fn explain(error: Error) -> Error {
    match sqlstate(&error) {
        // invalid_parameter_value: "invalid snapshot identifier"; undefined_object: "snapshot ... does not exist" (17).
        Some("22023" | "42704") => error.hint(format!(
            "the session that exported the snapshot may have ended, or be on another server; {POOLER_HINT}"
        )),
        _ => error,
    }
}
