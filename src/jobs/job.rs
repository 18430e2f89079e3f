//! A job, settled: everything looked up and checked, ready to run.

use super::check::JobCheck;
use super::choice::selection;
use super::config::on_job;
use super::expand::Lookup;
use super::schedule::Schedule;
use super::stores::JobStore;
use super::tables::{FileTable, JobTable, VerifyWord};
use super::tuning::Tuning;
use crate::catalog::{GlobalsWanted, Selection};
use crate::error::{Error, Kind, Result};
use crate::notify::Notifier;
use crate::postgres::ConnectionSettings;
use crate::stream::codec::Codec;

/// One backup job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The source database.
    pub connection: ConnectionSettings,
    /// Where backups go, and which of them stay there.
    pub store: JobStore,
    /// Where each is copied to after it was made.
    pub copies: Vec<JobStore>,
    /// What is dumped.
    pub selection: Selection,
    /// How many connections read at once, 1 to 256.
    pub connections: usize,
    /// How data is compressed.
    pub codec: Codec,
    /// Kinds that cannot be dumped become warnings.
    pub allow_incomplete: bool,
    /// Which of the server's roles and other globals come along; none, if this is absent.
    pub globals: Option<GlobalsWanted>,
    /// How a new backup is verified before old ones are removed.
    pub verify: Option<Verification>,
    /// How it is dumped beside that.
    pub tuning: Tuning,
    /// When its backups are healthy, and who is told.
    pub check: JobCheck,
    /// When it runs.
    pub schedule: Option<Schedule>,
    /// Who is told how it went.
    pub notifiers: Vec<Notifier>,
}

/// How a new backup is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The sizes of its objects.
    Quick,
    /// Every byte of them.
    Full,
}

impl Job {
    /// How many connections read when nothing else is said.
    pub(super) const CONNECTIONS: usize = 4;
    /// How data is compressed when nothing else is said.
    pub(super) const COMPRESS: &str = "zstd:3";

    /// Looks up and checks what the table says.
    pub(super) fn settle(name: &str, table: &JobTable, file: &FileTable, lookup: Lookup<'_>) -> Result<Job> {
        let settled = || -> Result<Job> {
            let store = JobStore::first(table, file, lookup)?;
            let verify = table.verify.map(|word| match word {
                VerifyWord::Quick => Verification::Quick,
                VerifyWord::Full => Verification::Full,
            });
            if let Some(class) = store.archive_class().filter(|_| verify == Some(Verification::Full)) {
                return Err(Error::new(
                    Kind::Usage,
                    format!("verifies what it wrote to {class}, which cannot be read"),
                )
                .hint("say verify = \"quick\", which looks at sizes"));
            }
            let connection = connection(table, lookup)?;
            let selection = selection(table.selection.as_ref())?;
            selection.check(connection.database())?;
            let globals = GlobalsWanted::beside(&selection, table.role_passwords.unwrap_or(true));
            Ok(Job {
                name: name.to_owned(),
                connection,
                copies: JobStore::further(&store, table, file, lookup)?,
                store,
                selection,
                connections: connections(table.connections)?,
                codec: table.compress.as_deref().unwrap_or(Self::COMPRESS).parse()?,
                allow_incomplete: table.allow_incomplete.unwrap_or(false),
                globals: table.globals.unwrap_or(true).then_some(globals),
                verify,
                tuning: Tuning::settle(table)?,
                check: JobCheck::settle(table, file, lookup)?,
                schedule: schedule(table)?,
                notifiers: file.notify.settle(table.notify.as_deref(), lookup)?,
            })
        };
        settled().map_err(|error| on_job(error, name))
    }
}

fn connection(table: &JobTable, lookup: Lookup<'_>) -> Result<ConnectionSettings> {
    let source = table.source.as_ref().map(|source| source.settle(lookup)).transpose()?;
    let password = table.password.as_ref().map(|password| password.settle(lookup)).transpose()?;
    let environment = |variable: &str| match (&password, variable) {
        (Some(password), "PGPASSWORD") => Some(password.expose().to_owned()),
        _ => lookup(variable),
    };
    if source.is_none() && lookup("PGDATABASE").is_none() && lookup("PGSERVICE").is_none() {
        return Err(Error::new(Kind::Usage, "names no source")
            .hint("say source = \"postgres://user@host/database\" in its table or in [defaults]"));
    }
    ConnectionSettings::resolve(source.as_ref().map(crate::model::Secret::expose), &environment)
}

fn connections(given: Option<u16>) -> Result<usize> {
    match given {
        None => Ok(Job::CONNECTIONS),
        Some(count @ 1..=256) => Ok(usize::from(count)),
        Some(_) => Err(Error::new(Kind::Usage, "connections must be 1 to 256")),
    }
}

pub(super) fn schedule(table: &JobTable) -> Result<Option<Schedule>> {
    let Some(text) = &table.schedule else { return Ok(None) };
    let (zone, jitter) = (table.timezone.as_deref(), table.jitter.as_deref());
    Schedule::parse(text, zone, jitter, table.catch_up.unwrap_or(true)).map(Some)
}
