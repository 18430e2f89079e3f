//! The environment of the usual backup script: `pg_dump | gzip | aws s3 cp` with its variables.
//!
//! Such a script knows where the database is by `DB_HOST`, `DB_PORT`, `DB_DATABASE`, `DB_USERNAME`, `DB_PASSWORD`, and the
//! bucket by `BACKUP_S3_BUCKET`. libpq's variables come before those, and `PGSTOW_STORE` before the bucket.

use super::check::JobCheck;
use super::expand::Lookup;
use super::job::Job;
use super::stores::JobStore;
use super::tuning::Tuning;
use crate::catalog::{GlobalsWanted, Selection};
use crate::error::{Error, Kind, Result};
use crate::keep::{Age, Rules};
use crate::postgres::ConnectionSettings;
use crate::store::{S3Options, StorageClass, StoreUrl};
use crate::stream::codec::Codec;

/// Where the script puts its backups in its bucket.
const FOLDER: &str = "database-backups";
/// The storage class that suits files which are written once, kept for a month and hardly read.
const CLASS: &str = "STANDARD_IA";
/// How long it keeps them, in days.
const DAYS: i32 = 30;
/// The name of the script's job, for locks and notifications.
const NAME: &str = "script";

const VARIABLES: [(&str, &str); 5] = [
    ("PGHOST", "DB_HOST"),
    ("PGPORT", "DB_PORT"),
    ("PGDATABASE", "DB_DATABASE"),
    ("PGUSER", "DB_USERNAME"),
    ("PGPASSWORD", "DB_PASSWORD"),
];

/// The script's variable that means the same as one of libpq's.
fn script_variable(libpq: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(ours, _)| *ours == libpq).map(|(_, script)| *script)
}

/// The script's job.
#[derive(Debug)]
pub struct Script;

impl Script {
    /// The job that the environment describes.
    ///
    /// Errors: [`Kind::Usage`] when it names no database or no bucket.
    pub fn job(lookup: Lookup<'_>) -> Result<Job> {
        let either = |name: &str| {
            let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
            given(name).or_else(|| script_variable(name).and_then(given))
        };
        if either("PGDATABASE").is_none() && either("PGSERVICE").is_none() {
            return Err(Error::new(Kind::Usage, "the environment names no database").hint(
                "set DB_DATABASE (or PGDATABASE), also by --env-file FILE; or describe the job in pgstow.toml: \
                 `pgstow config init` writes an example",
            ));
        }
        Ok(Job {
            name: NAME.to_owned(),
            connection: ConnectionSettings::resolve(None, &either)?,
            store: store(lookup)?,
            copies: Vec::new(),
            selection: Selection::default(),
            connections: Job::CONNECTIONS,
            codec: Job::COMPRESS.parse::<Codec>()?,
            allow_incomplete: false,
            globals: Some(GlobalsWanted::beside(&Selection::default(), true)),
            verify: None,
            tuning: Tuning::default(),
            check: JobCheck::usual(Vec::new()),
            schedule: None,
            notifiers: Vec::new(),
        })
    }
}

/// The store that the script's bucket means: `BACKUP_S3_BUCKET` is a bucket's name or URL.
pub fn script_store(bucket: &str) -> String {
    let bucket = bucket.strip_prefix("s3://").unwrap_or(bucket).trim_end_matches('/');
    format!("s3://{bucket}/{FOLDER}")
}

fn store(lookup: Lookup<'_>) -> Result<JobStore> {
    let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let url: StoreUrl = match (given("PGSTOW_STORE"), given("BACKUP_S3_BUCKET")) {
        (Some(url), _) => url.parse().map_err(|error: Error| error.on("PGSTOW_STORE"))?,
        (None, Some(bucket)) => script_store(&bucket).parse().map_err(|error: Error| error.on("BACKUP_S3_BUCKET"))?,
        (None, None) => {
            return Err(Error::new(Kind::Usage, "the environment names no bucket")
                .hint("set BACKUP_S3_BUCKET to the bucket's name, or PGSTOW_STORE to s3://bucket/prefix"));
        }
    };
    let class = given("PGSTOW_STORAGE_CLASS").unwrap_or_else(|| CLASS.to_owned());
    let class = class.parse::<StorageClass>().map_err(|error| error.on("PGSTOW_STORAGE_CLASS"))?;
    let retention = Some(retention(lookup)?);
    Ok(JobStore { url, options: S3Options::default(), class: Some(class), retention })
}

fn retention(lookup: Lookup<'_>) -> Result<Rules> {
    let within = match lookup("PGSTOW_KEEP_WITHIN").filter(|value| !value.is_empty()) {
        None => Age::days(DAYS),
        Some(text) => text.parse().map_err(|error: Error| error.on("PGSTOW_KEEP_WITHIN"))?,
    };
    Ok(Rules { within: Some(within), ..Rules::default() })
}

#[cfg(test)]
mod tests {
    use super::Script;
    use crate::error::Result;
    use crate::jobs::Job;

    fn job(variables: &[(&str, &str)]) -> Result<Job> {
        let lookup = |name: &str| {
            // The tests' own home must not lend a password file.
            let found = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
        };
        Script::job(&lookup)
    }

    const USUAL: [(&str, &str); 6] = [
        ("DB_HOST", "db.example.com"),
        ("DB_PORT", "6432"),
        ("DB_DATABASE", "shop"),
        ("DB_USERNAME", "backup"),
        ("DB_PASSWORD", "geheim"),
        ("BACKUP_S3_BUCKET", "acme-backups"),
    ];

    #[test]
    fn the_variables_of_the_usual_script_are_a_job() {
        let job = job(&USUAL).expect("a job");
        assert_eq!(job.connection.describe(), "database shop on db.example.com:6432 as backup");
        assert_eq!(job.store.url.to_string(), "s3://acme-backups/database-backups");
        assert_eq!(job.store.class.as_ref().map(ToString::to_string).as_deref(), Some("STANDARD_IA"));
        let keeps = job.store.retention.as_ref().map(ToString::to_string);
        assert_eq!(keeps.as_deref(), Some("keep within 30d; at least 1"));
        assert!(!format!("{job:?}").contains("geheim"));
    }

    #[test]
    fn libpqs_and_pgstows_own_variables_come_first() {
        let mut variables = USUAL.to_vec();
        variables.extend([
            ("PGHOST", "other"),
            ("PGDATABASE", "crm"),
            ("PGSTOW_STORE", "file:///backups"),
            ("PGUSER", ""),
        ]);
        let job = job(&variables).expect("a job");
        assert_eq!(job.connection.describe(), "database crm on other:6432 as backup");
        assert_eq!(job.store.url.to_string(), "file:///backups");
    }

    #[test]
    fn a_bucket_may_be_written_as_a_url_and_nothing_is_guessed() {
        for bucket in ["s3://acme/a/", "acme/a"] {
            let mut variables = USUAL.to_vec();
            variables[5].1 = bucket;
            assert_eq!(job(&variables).expect(bucket).store.url.to_string(), "s3://acme/a/database-backups");
        }
        for missing in [2, 5] {
            let mut variables = USUAL.to_vec();
            variables.remove(missing);
            assert!(job(&variables).expect_err("something is missing").hint_text().is_some());
        }
    }
}
