//! The stores of a job: the one that dumps go to, and those that get copies.

use super::expand::{Lookup, expand};
use super::parse::alike;
use super::schedule::time_zone;
use super::tables::{FileTable, JobTable, RetentionTable, StoreTable};
use super::tuning::patience;
use crate::error::{Error, Kind, Result};
use crate::keep::Rules;
use crate::store::{S3Options, StorageClass, StoreUrl, is_archive_class};

/// A store of a job.
#[derive(Debug, Clone)]
pub struct JobStore {
    /// Where it is.
    pub url: StoreUrl,
    /// How to reach it.
    pub options: S3Options,
    /// The storage class of data objects.
    pub class: Option<StorageClass>,
    /// Which of the job's backups stay in it; all, if this is absent.
    pub retention: Option<Rules>,
}

impl JobStore {
    /// The store of this name in the file, for no job.
    pub(super) fn named(name: &str, file: &FileTable, lookup: Lookup<'_>) -> Result<JobStore> {
        named(name, &JobTable::default(), file, lookup)
    }

    /// The store that the job's dumps go to.
    pub(super) fn first(table: &JobTable, file: &FileTable, lookup: Lookup<'_>) -> Result<JobStore> {
        let name = table.store.clone().or_else(|| lookup("PGSTOW_STORE")).filter(|store| !store.is_empty());
        let name = name.ok_or_else(|| {
            Error::new(Kind::Usage, "names no store")
                .hint("say store = \"s3://bucket/prefix\" in its table or in [defaults], or set PGSTOW_STORE")
        })?;
        named(&name, table, file, lookup)
    }

    /// The stores that get copies.
    pub(super) fn further(
        first: &JobStore,
        table: &JobTable,
        file: &FileTable,
        lookup: Lookup<'_>,
    ) -> Result<Vec<JobStore>> {
        let names = table.copies.iter().flatten();
        let copies = names.map(|name| named(name, table, file, lookup)).collect::<Result<Vec<_>>>()?;
        if let Some(class) = first.archive_class().filter(|_| !copies.is_empty()) {
            return Err(Error::new(
                Kind::Usage,
                format!("has copies made from a store in {class}, which cannot be read"),
            )
            .hint("let store be the one whose class can be read, and copies the ones in archive classes"));
        }
        Ok(copies)
    }

    /// Its class, if that is one that has to be thawed before it can be read.
    pub(super) fn archive_class(&self) -> Option<&str> {
        self.class.as_ref().map(StorageClass::as_str).filter(|class| is_archive_class(class))
    }
}

/// The store that a text means: a URL, or the name of a table of the file, with what the job says where it says nothing.
fn named(name: &str, job: &JobTable, file: &FileTable, lookup: Lookup<'_>) -> Result<JobStore> {
    let class = |text: Option<&String>| text.map(|text| text.parse::<StorageClass>()).transpose();
    let rules =
        |table: Option<&RetentionTable>| table.map(|rules| retention(rules, job.timezone.as_deref())).transpose();
    let usual = class(job.storage_class.as_ref())?;
    let text = expand(name, lookup)?;
    if text.contains("://") {
        let options = S3Options { patience: patience(job)?, ..S3Options::default() };
        return Ok(JobStore { url: text.parse()?, options, class: usual, retention: rules(job.retention.as_ref())? });
    }
    let store = file.store.get(&text).ok_or_else(|| {
        let names: Vec<&str> = file.store.keys().map(String::as_str).collect();
        let error = Error::new(Kind::Usage, format!("there is no store {text:?}"));
        match alike(&text, &names) {
            Some(meant) => error.hint(format!("did you mean {meant:?}?")),
            None => error.hint("name a table [store.NAME] of the file, or write s3://bucket/prefix"),
        }
    })?;
    let on = |error: Error| error.on(format!("store {text}"));
    Ok(JobStore {
        url: expand(&store.url, lookup)?.parse().map_err(on)?,
        options: S3Options { patience: patience(job)?, ..options(store, lookup).map_err(on)? },
        class: class(store.storage_class.as_ref())?.or(usual),
        retention: rules(store.retention.as_ref().or(job.retention.as_ref()))?,
    })
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
        profile: text(&store.profile)?,
        ..S3Options::default()
    })
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
