//! A session: statements, questions, copies, and a way to cancel what runs.

use super::copy::{CopyIn, CopyOut};
use super::failure::{Fate, sqlstate, statement_failed};
use super::line::Line;
use super::login;
use super::pin::{self, Purpose};
use super::settings::ConnectionSettings;
use crate::error::{Error, Kind, Result};
use crate::model::{Rows, ServerVersion, literal};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, SimpleQueryMessage};

/// How long a request to cancel may take when the settings have no `connect_timeout`.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the server to take a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// One logged-in session. Dropping it ends the session in the background; [`Session::close`] waits for that.
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
    fate: Fate,
    line: Line,
    way: login::Way,
    version: ServerVersion,
    backend_pid: i32,
    in_recovery: bool,
    settings: ConnectionSettings,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.settings.describe())
            .field("version", &self.version)
            .field("backend_pid", &self.backend_pid)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a session under this `application_name`, unless the settings name another, and pins it for its purpose.
    ///
    /// Errors are of kind Connection and name server, database and user. Servers older than
    /// [`ServerVersion::OLDEST`] are refused.
    pub async fn connect(settings: &ConnectionSettings, application_name: &str, purpose: Purpose<'_>) -> Result<Self> {
        let live = login::open(settings, application_name).await?;
        let version = live.facts.version;
        if version.major() < ServerVersion::OLDEST {
            return Err(Error::new(
                Kind::Connection,
                format!("server version {version} is too old; the oldest that works is {}", ServerVersion::OLDEST),
            )
            .on(live.settings.describe()));
        }
        let session = Session {
            client: live.client,
            driver: live.driver,
            fate: live.fate,
            line: live.line,
            way: live.way,
            version,
            backend_pid: live.facts.backend_pid,
            in_recovery: live.facts.in_recovery,
            settings: live.settings,
        };
        settings.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session.canceller());
        let statements = pin::statements(version, &live.facts.server_encoding, purpose);
        login::within(&session.settings, session.execute(&statements)).await?;
        Ok(session)
    }

    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// The settings, narrowed to the one host and address that answered. Sessions that must reach the same server, such
    /// as importers of a snapshot, are opened from these.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// The process id of the server process behind this session, as `pg_stat_activity.pid` and `pg_locks.pid` show it.
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// Whether the server was a standby when the session began.
    pub fn in_recovery(&self) -> bool {
        self.in_recovery
    }

    /// Tells in `pg_stat_activity` what the session is at, unless the settings name it otherwise.
    pub async fn name(&self, application_name: &str) -> Result<()> {
        match self.naming(application_name) {
            Some(statement) => self.execute(&statement).await,
            None => Ok(()),
        }
    }

    /// The statement that does what [`Session::name`] does, for a message with others; none where the settings name it.
    pub fn naming(&self, application_name: &str) -> Option<String> {
        let is_free = self.settings.application_name.is_none();
        is_free.then(|| format!("SET application_name = {}", literal(application_name)))
    }

    /// Runs one or more statements by the simple protocol; rows are thrown away.
    ///
    /// Several statements in one call are one implicit transaction, unless they say otherwise. A refusal is of kind
    /// Database, its message holds SQLSTATE, position, DETAIL, HINT and CONTEXT; see [`sqlstate`].
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.failed(error))
    }

    /// Asks a question and returns its rows.
    pub async fn rows(&self, sql: &str) -> Result<Rows> {
        let messages = self.client.simple_query_raw(sql).await.map_err(|error| self.failed(error))?;
        let mut messages = pin!(messages);
        let mut rows = Rows::default();
        while let Some(message) = messages.try_next().await.map_err(|error| self.failed(error))? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    rows = Rows::with_columns(columns.iter().map(|column| column.name().to_owned()));
                }
                SimpleQueryMessage::Row(row) => {
                    for place in 0..row.len() {
                        rows.push(row.try_get(place).map_err(not_unicode)?);
                    }
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    /// The fields of an answer of one column, an absent value as an empty text.
    pub(super) async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let rows = self.rows(sql).await?;
        Ok(rows.fields().map(|field| field.unwrap_or_default().to_owned()).collect())
    }

    /// Asks a question and reads each row into a type whose fields are the question's columns.
    pub async fn question<R: DeserializeOwned>(&self, sql: &str) -> Result<Vec<R>> {
        decode(&self.rows(sql).await?)
    }

    /// Runs statements of which one is a `COPY ... TO STDOUT`, and returns its rows as they come. The last ones run when the
    /// rows are read to their end.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut> {
        CopyOut::begin(self.line.lend()?, self.fate.clone(), sql).await
    }

    /// Runs statements of which one is a `COPY ... FROM STDIN`, and returns the way in for its data. The last ones run when
    /// the data is finished.
    pub async fn copy_in(&self, sql: &str) -> Result<CopyIn> {
        CopyIn::begin(self.line.lend()?, self.fate.clone(), sql).await
    }

    /// A handle that cancels whatever this session runs, from another task.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            token: self.client.cancel_token(),
            way: self.way.clone(),
            settings: self.settings.clone(),
            timeout: self.settings.connect_timeout.unwrap_or(CANCEL_TIMEOUT),
        }
    }

    /// The SQLSTATE of the refusal that an error came from: `42501`, `57014`, ...
    pub fn sqlstate(error: &Error) -> Option<&str> {
        sqlstate(error)
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Says goodbye and waits until the server has it, so that the database can be dropped right after.
    pub async fn close(self) {
        drop(self.client);
        if tokio::time::timeout(CLOSE_TIMEOUT, self.driver).await.is_err() {
            tracing::debug!("the server did not take the goodbye in time");
        }
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        statement_failed(error, &self.fate)
    }
}

fn not_unicode(error: tokio_postgres::Error) -> Error {
    Error::new(Kind::Database, "a name or a text in the catalogs is not valid UTF-8")
        .because(error)
        .hint("the database's encoding is SQL_ASCII, which takes any bytes; rename what is not UTF-8")
}

/// Reads rows into a type whose fields are the question's columns.
pub fn decode<R: DeserializeOwned>(rows: &Rows) -> Result<Vec<R>> {
    let read: std::result::Result<Vec<R>, _> = rows.read().collect();
    read.map_err(|error| {
        Error::new(Kind::Internal, "an answer does not have the shape that its question promises")
            .on(std::any::type_name::<R>())
            .because(error)
    })
}

/// Cancels what a session runs. The server does not say whether there was anything to cancel; the statement that was
/// hit ends with SQLSTATE 57014.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    way: login::Way,
    settings: ConnectionSettings,
    timeout: Duration,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("server", &self.settings.describe()).finish_non_exhaustive()
    }
}

impl Canceller {
    /// Sends the request through a connection of its own, encrypted if the session is.
    pub async fn cancel(&self) -> Result<()> {
        let failed = || Error::new(Kind::Connection, "cannot cancel a running statement").on(self.settings.describe());
        let cancelling = async {
            let line = self.way.connect(&self.settings).await.map_err(|error| failed().because(error))?;
            let start = self.way.start(&self.settings);
            let begun = Arc::clone(&start.begun);
            self.token.cancel_query_raw(line, start).await.map_err(|error| failed().because(error))?;
            // The server closes the connection when it has passed the request on. One that is late would end the next statement.
            if let Some(mut line) = begun.get().cloned() {
                let mut rest = [0; 64];
                while line.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            }
            Ok(())
        };
        match tokio::time::timeout(self.timeout, cancelling).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(failed().because(elapsed)),
        }
    }
}
