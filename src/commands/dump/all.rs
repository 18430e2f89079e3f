//! Every database of a server, one after the other, one backup each.
//!
//! A snapshot belongs to one database, so the backups have no common point in time; the report says so. One database that
//! fails does not keep the others from being dumped.

use super::{DumpOptions, DumpReport, dump};
use crate::catalog::Pattern;
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::model::{Question, ident};
use crate::postgres::{ConnectionSettings, Purpose, Session};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

/// What a server without the database that was asked for is asked instead (`main`, `src/bin/pg_dump/pg_dumpall.c`).
const USUAL_DATABASES: [&str; 2] = ["postgres", "template1"];
/// SQLSTATE of a login to a database that does not exist (PostgreSQL documentation, appendix A).
const NO_SUCH_DATABASE: &str = "3D000";

/// Those that somebody may connect to; -2 marks one whose DROP was interrupted. Servers before that mark have none.
const DATABASES: Question = Question(
    "SELECT d.datname AS name FROM pg_catalog.pg_database d
WHERE d.datallowconn AND NOT d.datistemplate AND d.datconnlimit <> -2
ORDER BY d.datname",
);

#[derive(Deserialize)]
struct Row {
    name: String,
}

/// What was dumped, and what was not.
#[derive(Debug)]
pub struct AllReport {
    /// Each database with its backup or its failure, by name.
    pub databases: Vec<(String, Result<DumpReport>)>,
    /// Databases that a pattern excluded.
    pub excluded: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Dumps every database that is no template and may be connected to. `options` names the server and any database of it.
///
/// Errors: what keeps the databases from being listed; a stop. A database's own failure stands in the report.
pub async fn dump_all(
    options: DumpOptions,
    exclude: &[Pattern],
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<AllReport> {
    for pattern in exclude {
        pattern.check_plain()?;
    }
    let session = stop.unless(connect_anywhere(&options.connection)).await?;
    let rows: Vec<Row> = stop.unless(session.question(&DATABASES.for_server(session.version()))).await?;
    let server = session.settings().clone();
    session.close().await;
    let mut report = AllReport { databases: Vec::new(), excluded: Vec::new(), seconds: 0.0 };
    for Row { name } in rows {
        if exclude.iter().any(|pattern| pattern.matches(None, &name)) {
            report.excluded.push(name);
            continue;
        }
        tracing::info!(database = name, "dumping");
        let begun = Instant::now();
        let options = DumpOptions { connection: server.with_database(&name), ..options.clone() };
        let outcome = dump(options, Arc::clone(&progress), stop.clone()).await;
        if stop.is_asked() {
            return Err(interrupted(&name, &report));
        }
        if let Err(error) = &outcome {
            tracing::error!(database = name, "{error}");
        }
        let seconds = begun.elapsed().as_secs_f64();
        report.databases.push((name, outcome.map(|report| DumpReport { seconds, ..report })));
    }
    report.seconds = progress.seconds();
    if report.databases.is_empty() {
        return Err(Error::new(Kind::Usage, "no database is left to dump").on(server.describe()));
    }
    Ok(report)
}

/// The error of a run in which databases failed, for after the report was printed.
pub fn failed(report: &AllReport) -> Option<Error> {
    let failed = report.databases.iter().filter(|(_, outcome)| outcome.is_err());
    let names: Vec<String> = failed.map(|(name, _)| ident(name)).collect();
    (!names.is_empty()).then(|| {
        let count = report.databases.len();
        Error::new(Kind::Partial, format!("{} of {count} databases were not dumped; see above", names.len()))
            .on(format!("database {}", names.join(", ")))
    })
}

async fn connect_anywhere(connection: &ConnectionSettings) -> Result<Session> {
    const NAME: &str = "pgstow dump";
    let first = match Session::connect(connection, NAME, Purpose::Reads).await {
        Err(error) if Session::sqlstate(&error) == Some(NO_SUCH_DATABASE) => error,
        outcome => return outcome,
    };
    for database in USUAL_DATABASES {
        if let Ok(session) = Session::connect(&connection.with_database(database), NAME, Purpose::Reads).await {
            return Ok(session);
        }
    }
    Err(first.hint("name any database of the server with -d"))
}

/// What is in the store already stays there, so the message names it.
fn interrupted(database: &str, report: &AllReport) -> Error {
    let done = report.databases.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(name, _)| ident(name));
    let done: Vec<String> = done.collect();
    let done = if done.is_empty() { "nothing".to_owned() } else { done.join(", ") };
    Error::new(Kind::Interrupted, format!("stopped before it was done; dumped before that: {done}"))
        .on(format!("database {}", ident(database)))
}
