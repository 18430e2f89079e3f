//! A job, settled: everything looked up and checked, ready to run.

use super::check::JobCheck;
use super::config::on_job;
use super::expand::{Lookup, expand};
use super::parse::alike;
use super::schedule::{Schedule, time_zone};
use super::tables::{FileTable, JobTable, RetentionTable, SelectionTable, StoreTable, VerifyWord};
use crate::catalog::{GlobalsWanted, Pattern, Selection};
use crate::error::{Error, Kind, Result};
use crate::keep::Rules;
use crate::notify::Notifier;
use crate::postgres::ConnectionSettings;
use crate::store::{S3Options, StorageClass, StoreUrl};
use crate::stream::codec::Codec;
use std::collections::BTreeMap;

/// One backup job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The source database.
    pub connection: ConnectionSettings,
    /// Where backups go.
    pub store: JobStore,
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
    /// Which backups stay; all, if this is absent.
    pub retention: Option<Rules>,
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

/// A store of a job.
#[derive(Debug, Clone)]
pub struct JobStore {
    /// Where it is.
    pub url: StoreUrl,
    /// How to reach it.
    pub options: S3Options,
    /// The storage class of data objects.
    pub class: Option<StorageClass>,
}

impl Job {
    /// How many connections read when nothing else is said.
    pub(super) const CONNECTIONS: usize = 4;
    /// How data is compressed when nothing else is said.
    pub(super) const COMPRESS: &str = "zstd:3";

    /// Looks up and checks what the table says.
    pub(super) fn settle(name: &str, table: &JobTable, file: &FileTable, lookup: Lookup<'_>) -> Result<Job> {
        let settled = || -> Result<Job> {
            Ok(Job {
                name: name.to_owned(),
                connection: connection(table, lookup)?,
                store: job_store(table, &file.store, lookup)?,
                selection: selection(table.selection.as_ref())?,
                connections: connections(table.connections)?,
                codec: table.compress.as_deref().unwrap_or(Self::COMPRESS).parse()?,
                allow_incomplete: table.allow_incomplete.unwrap_or(false),
                globals: globals(table.globals.unwrap_or(true), table.role_passwords.unwrap_or(true)),
                verify: table.verify.map(|word| match word {
                    VerifyWord::Quick => Verification::Quick,
                    VerifyWord::Full => Verification::Full,
                }),
                retention: table
                    .retention
                    .as_ref()
                    .map(|rules| retention(rules, table.timezone.as_deref()))
                    .transpose()?,
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

/// The store that a text means: a URL, or the name of a table of the file. `usual` is the class where it has none of its own.
fn named_store(
    named: &str,
    usual: Option<&String>,
    known: &BTreeMap<String, StoreTable>,
    lookup: Lookup<'_>,
) -> Result<JobStore> {
    let class = |text: Option<&String>| text.map(|text| text.parse::<StorageClass>()).transpose();
    let text = expand(named, lookup)?;
    if text.contains("://") {
        return Ok(JobStore { url: text.parse()?, options: S3Options::default(), class: class(usual)? });
    }
    let store = known.get(&text).ok_or_else(|| {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let error = Error::new(Kind::Usage, format!("there is no store {text:?}"));
        match alike(&text, &names) {
            Some(meant) => error.hint(format!("did you mean {meant:?}?")),
            None => error.hint("name a table [store.NAME] of the file, or write s3://bucket/prefix"),
        }
    })?;
    let on = |error: Error| error.on(format!("store {text}"));
    Ok(JobStore {
        url: expand(&store.url, lookup)?.parse().map_err(on)?,
        options: options(store, lookup).map_err(on)?,
        class: class(store.storage_class.as_ref())?.or(class(usual)?),
    })
}

impl JobStore {
    /// The store of this name in the file.
    pub(super) fn named(name: &str, file: &FileTable, lookup: Lookup<'_>) -> Result<JobStore> {
        named_store(name, None, &file.store, lookup)
    }
}

fn job_store(table: &JobTable, known: &BTreeMap<String, StoreTable>, lookup: Lookup<'_>) -> Result<JobStore> {
    let named = table.store.clone().or_else(|| lookup("PGSTOW_STORE")).filter(|store| !store.is_empty());
    let named = named.ok_or_else(|| {
        Error::new(Kind::Usage, "names no store")
            .hint("say store = \"s3://bucket/prefix\" in its table or in [defaults], or set PGSTOW_STORE")
    })?;
    named_store(&named, table.storage_class.as_ref(), known, lookup)
}

/// The same that `pgstow dump` takes along.
pub(super) fn globals(wanted: bool, passwords: bool) -> Option<GlobalsWanted> {
    wanted.then_some(GlobalsWanted { passwords, tablespaces: true, comments: true, labels: true, privileges: true })
}

fn retention(table: &RetentionTable, zone: Option<&str>) -> Result<Rules> {
    let rules = Rules {
        last: table.keep_last,
        within: table.keep_within.as_deref().map(str::parse).transpose()?,
        hourly: table.keep_hourly,
        daily: table.keep_daily,
        weekly: table.keep_weekly,
        monthly: table.keep_monthly,
        yearly: table.keep_yearly,
        floor: table.keep_min.unwrap_or(1),
        zone: time_zone(zone)?,
    };
    if rules.is_empty() {
        return Err(Error::new(Kind::Usage, "has a retention without a rule, which would keep next to nothing")
            .hint("say keep_within = \"30d\", for instance, or leave the table out to keep everything"));
    }
    Ok(rules)
}

fn options(store: &StoreTable, lookup: Lookup<'_>) -> Result<S3Options> {
    let text = |text: &Option<String>| text.as_deref().map(|text| expand(text, lookup)).transpose();
    let credentials = match (&store.access_key_id, &store.secret_access_key) {
        (Some(id), Some(secret)) => Some((id.settle(lookup)?.expose().to_owned(), secret.settle(lookup)?)),
        (None, None) => None,
        _ => return Err(Error::new(Kind::Usage, "access_key_id and secret_access_key belong together")),
    };
    Ok(S3Options {
        endpoint: text(&store.endpoint)?,
        region: text(&store.region)?,
        path_style: store.path_style,
        credentials,
        ..S3Options::default()
    })
}

fn selection(table: Option<&SelectionTable>) -> Result<Selection> {
    let Some(table) = table else { return Ok(Selection::default()) };
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>>>();
    if table.schema_only && table.data_only {
        return Err(Error::new(Kind::Usage, "schema_only and data_only exclude each other"));
    }
    Ok(Selection {
        schemas: patterns(&table.schemas)?,
        exclude_schemas: patterns(&table.exclude_schemas)?,
        tables: patterns(&table.tables)?,
        exclude_tables: patterns(&table.exclude_tables)?,
        exclude_table_data: patterns(&table.exclude_table_data)?,
        schema_only: table.schema_only,
        data_only: table.data_only,
        ..Selection::default()
    })
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
