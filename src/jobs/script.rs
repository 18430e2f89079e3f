//! The environment of the usual backup script: `pg_dump | gzip | aws s3 cp` with its variables.
//!
//! Such a script knows where the database is by `DB_HOST`, `DB_PORT`, `DB_DATABASE`, `DB_USERNAME`, `DB_PASSWORD`, and the
//! bucket by `BACKUP_S3_BUCKET`. libpq's variables come before those, and `PGSTOW_STORE` before the bucket. What a verb is
//! told by its arguments comes before all of them.

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

/// The script's database.
const SOURCE: &str = "DB_DATABASE";

const VARIABLES: [(&str, &str); 5] = [
    ("PGHOST", "DB_HOST"),
    ("PGPORT", "DB_PORT"),
    ("PGDATABASE", SOURCE),
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
        let either = |name: &str| either(lookup, name);
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

    /// The database that a verb reads: what its argument names, then libpq's variables, then the script's. An argument that
    /// names a server has nothing to do with the script's, whose user and password are not for it.
    ///
    /// Errors: [`Kind::Usage`] for what cannot be used.
    pub fn source(argument: Option<&str>, lookup: Lookup<'_>) -> Result<ConnectionSettings> {
        let (names_server, _) = ConnectionSettings::names_itself(argument.unwrap_or_default())?;
        let lookup = |name: &str| if names_server { lookup(name) } else { either(lookup, name) };
        ConnectionSettings::resolve(argument, &lookup)
    }

    /// The database that a verb writes to: as [`Script::source`], but `DB_DATABASE` is what the script saves, and never a
    /// target that nobody named.
    ///
    /// Errors: [`Kind::Usage`] for what cannot be used, and where the script's is the only database that is named.
    pub fn target(argument: Option<&str>, lookup: Lookup<'_>) -> Result<ConnectionSettings> {
        let (names_server, names_database) = ConnectionSettings::names_itself(argument.unwrap_or_default())?;
        let set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
        let named = names_server || names_database || set("PGDATABASE") || set("PGSERVICE");
        if let Some(source) = lookup(SOURCE).filter(|source| !source.is_empty() && !named) {
            return Err(Error::new(Kind::Usage, "no target is named").hint(format!(
                "{SOURCE} is what is backed up; name the database to restore into with -d NAME, be it {source:?} itself"
            )));
        }
        Script::source(argument, &|name| if name == SOURCE { None } else { lookup(name) })
    }
}

/// A variable of libpq's, or else the script's that means the same.
fn either(lookup: Lookup<'_>, name: &str) -> Option<String> {
    let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
    given(name).or_else(|| script_variable(name).and_then(given))
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
    use crate::jobs::{Job, Lookup};
    use crate::postgres::ConnectionSettings;

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
    fn a_verb_asks_its_argument_then_libpqs_variables_then_the_scripts() {
        let ask = |argument: Option<&str>, more: &[(&str, &str)], what: fn(Option<&str>, Lookup<'_>) -> _| {
            let lookup = |name: &str| {
                let found = more.iter().chain(&USUAL).find(|(known, _)| *known == name);
                found
                    .map(|(_, value)| (*value).to_owned())
                    .or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
            };
            let settings: Result<ConnectionSettings> = what(argument, &lookup);
            settings.map(|settings| settings.describe())
        };
        let service = [("PGUSER", "ann"), ("PGDATABASE", "crm")];
        for (argument, more, expected) in [
            (None, &[][..], "database shop on db.example.com:6432 as backup"),
            (None, &service[..], "database crm on db.example.com:6432 as ann"),
            (Some("other"), &service[..], "database other on db.example.com:6432 as ann"),
            (Some("dbname=other user=bob"), &[], "database other on db.example.com:6432 as bob"),
            (Some("postgres://bob@elsewhere/other"), &[], "database other on elsewhere:5432 as bob"),
            (Some("postgres://elsewhere/other"), &service[..], "database other on elsewhere:5432 as ann"),
        ] {
            assert_eq!(ask(argument, more, Script::source).expect(expected), expected);
            if argument.is_some() || !more.is_empty() {
                assert_eq!(ask(argument, more, Script::target).expect(expected), expected);
            }
        }
        for argument in [None, Some("user=bob"), Some("")] {
            let error = ask(argument, &[], Script::target).expect_err("nobody named a target");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("-d NAME")), "{error}");
        }
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
