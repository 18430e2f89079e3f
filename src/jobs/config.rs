//! `pgstow.toml`: found, read, checked, and settled into jobs.

use super::env_file::refuse_readable_by_others;
use super::expand::{Lookup, SecretText};
use super::job::Job;
use super::parse::{alike, parse};
use super::stores::JobStore;
use super::tables::FileTable;
use crate::error::{Error, Kind, Result};
use crate::notify::Notifier;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the file is looked for when nothing names one: in the current folder, then where packages put it.
pub const DEFAULT_FILES: [&str; 2] = ["pgstow.toml", "/etc/pgstow/pgstow.toml"];

/// The jobs of a file, not yet settled.
#[derive(Debug, Clone)]
pub struct Config {
    file: FileTable,
    /// What errors name.
    origin: String,
}

impl Config {
    /// Reads the file.
    ///
    /// Errors: [`Kind::Usage`] for a file that cannot be read or understood, or that holds a secret itself and can be read
    /// by others.
    pub fn read(path: &Path) -> Result<Config> {
        let on = || path.display().to_string();
        let failed = |error: std::io::Error| Error::new(Kind::Usage, "cannot be read").on(on()).because(error);
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let config = Config::parse(&text, &on())?;
        if config.holds_secrets() {
            let facts = std::fs::metadata(path).map_err(failed)?;
            refuse_readable_by_others(facts.mode(), facts.is_file()).map_err(|error| {
                error.on(on()).hint(format!(
                    "chmod 600 {}, or put the secrets elsewhere: \"${{NAME}}\" or \"file:/path\"",
                    path.display()
                ))
            })?;
        }
        Ok(config)
    }

    /// Reads the text of such a file; errors name `origin`.
    pub fn parse(text: &str, origin: &str) -> Result<Config> {
        let file = parse(text).map_err(|error| error.on(origin))?;
        for name in file.job.keys() {
            check_name(name).map_err(|error| error.on(origin))?;
        }
        file.notify.check_names().map_err(|error| error.on(origin))?;
        Ok(Config { file, origin: origin.to_owned() })
    }

    /// The store of this name.
    pub fn store(&self, name: &str, lookup: Lookup<'_>) -> Result<JobStore> {
        JobStore::named(name, &self.file, lookup).map_err(|error| error.on(&self.origin))
    }

    /// The names of the jobs, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.file.job.keys().map(String::as_str).collect()
    }

    fn settle(&self, name: &str, lookup: Lookup<'_>) -> Result<Job> {
        let Some(table) = self.file.job.get(name) else {
            let names = self.names();
            let hint = match alike(name, &names) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None if names.is_empty() => "the file has no [job.NAME] at all".to_owned(),
                None => format!("its jobs are {}", names.join(", ")),
            };
            return Err(Error::new(Kind::Usage, format!("there is no job {name:?}")).on(&self.origin).hint(hint));
        };
        Job::settle(name, &table.clone().over(&self.file.defaults), &self.file, lookup)
    }

    /// One job, looked up and checked.
    ///
    /// Errors: besides those of the job, [`Kind::Usage`] when another would write to the same place.
    pub fn job(&self, name: &str, lookup: Lookup<'_>) -> Result<Job> {
        let job = self.settle(name, lookup)?;
        // Another job may lack what only its own run has (variables, files), and then nobody knows its place.
        let others = self.names().into_iter().filter(|other| *other != name);
        let others = others.filter_map(|other| self.settle(other, lookup).ok());
        refuse_one_place(&others.chain([job.clone()]).collect::<Vec<_>>(), Some(name))?;
        Ok(job)
    }

    /// All jobs, sorted by name.
    ///
    /// Errors: besides those of each job, [`Kind::Usage`] when two jobs would write to one place: their backups could not
    /// be told apart, and each would remove the other's.
    pub fn jobs(&self, lookup: Lookup<'_>) -> Result<Vec<Job>> {
        let settle = |name| self.settle(name, lookup);
        let jobs = self.names().into_iter().map(settle).collect::<Result<Vec<_>>>()?;
        if jobs.is_empty() {
            return Err(Error::new(Kind::Usage, "has no job").on(&self.origin).hint("add a table [job.NAME]"));
        }
        refuse_one_place(&jobs, None)?;
        Ok(jobs)
    }

    /// Whether a secret stands in the file itself.
    fn holds_secrets(&self) -> bool {
        let tables = self.file.job.values().chain(std::iter::once(&self.file.defaults));
        let mut of_jobs = tables.filter_map(|job| job.password.as_ref());
        let mut of_stores = self.file.store.values().filter_map(|store| store.secret_access_key.as_ref());
        of_jobs.any(SecretText::is_literal)
            || of_stores.any(SecretText::is_literal)
            || self.file.notify.secrets().any(SecretText::is_literal)
    }

    /// The notifiers of these names, or all of the file.
    pub fn notifiers(&self, names: Option<&[String]>, lookup: Lookup<'_>) -> Result<Vec<Notifier>> {
        self.file.notify.settle(names, lookup).map_err(|error| error.on(&self.origin))
    }
}

/// Refuses jobs that would write to one place; with `about` only where that job is one of them.
fn refuse_one_place(jobs: &[Job], about: Option<&str>) -> Result<()> {
    let mut places = BTreeMap::new();
    for job in jobs {
        for store in std::iter::once(&job.store).chain(&job.copies) {
            let place = (store.url.to_string(), job.connection.database());
            let words = format!("database {} in {}", place.1, place.0);
            let Some(other) = places.insert(place, &job.name) else { continue };
            if about.is_some_and(|name| name != job.name && name != other) {
                continue;
            }
            let message = if other == &job.name {
                format!("names one place twice: {words}")
            } else {
                format!("writes to the same place as job {other}: {words}")
            };
            let same = Error::new(Kind::Usage, message)
                .hint("give each a prefix of its own, so that retention can tell their backups apart");
            return Err(on_job(same, &job.name));
        }
    }
    Ok(())
}

/// The error, about this job.
pub(super) fn on_job(error: Error, name: &str) -> Error {
    let about = Error::new(error.kind(), format!("job {name}"));
    let about = match error.hint_text() {
        Some(hint) => about.hint(hint.to_owned()),
        None => about,
    };
    about.because(error)
}

/// A job's name stands in logs, labels of metrics and names of units.
fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(Error::new(Kind::Usage, format!("{name:?} cannot be the name of a job"))
            .hint("names have letters, digits, - _ and ., at most 64"));
    }
    Ok(())
}
