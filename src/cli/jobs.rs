//! Arguments that name the file of jobs, and finding it.

use super::environment;
use crate::commands::run::RunOptions;
use crate::error::{Error, Kind, Result};
use crate::jobs::{Config, DEFAULT_FILES, Job, Script};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where the jobs are described.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The file of jobs [default: pgstow.toml here, then /etc/pgstow/pgstow.toml]
    #[arg(long, value_name = "FILE", env = "PGSTOW_CONFIG")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// What the environment says, for verbs that take no file.
    pub(super) fn of_environment() -> Self {
        ConfigArgs { config: environment("PGSTOW_CONFIG").map(PathBuf::from) }
    }

    /// The file that is named, or one of the default places, if it is there.
    pub(super) fn find(&self) -> Result<Option<Config>> {
        if let Some(path) = &self.config {
            return Config::read(path).map(Some);
        }
        let found = DEFAULT_FILES.iter().map(Path::new).find(|path| path.exists());
        found.map(Config::read).transpose()
    }

    /// The same, where there has to be one.
    pub(super) fn need(&self) -> Result<Config> {
        self.find()?.ok_or_else(none)
    }

    /// The job of this name; without a name the only one of the file; without a file that of the script's environment.
    pub(super) fn job(&self, name: Option<&str>) -> Result<Job> {
        match (self.find()?, name) {
            (Some(config), Some(name)) => config.job(name, &environment),
            (Some(config), None) => match config.names().as_slice() {
                [only] => config.job(only, &environment),
                names => Err(Error::new(Kind::Usage, format!("the file has {} jobs", names.len()))
                    .hint(format!("say which: {}", names.join(", ")))),
            },
            (None, Some(_)) => Err(none()),
            (None, None) => Script::job(&environment),
        }
    }
}

fn none() -> Error {
    Error::new(Kind::Usage, format!("there is no file of jobs: neither {}", DEFAULT_FILES.join(" nor ")))
        .hint("`pgstow config init` writes an example; --config names another file")
}

/// The job with its stores opened.
pub(super) async fn ready(job: Job) -> Result<RunOptions> {
    let store = crate::store::open(&job.store.url, &job.store.options).await?;
    let mut copies = Vec::new();
    for copy in &job.copies {
        copies.push(crate::store::open(&copy.url, &copy.options).await?);
    }
    Ok(RunOptions { job, store, copies, host: host() })
}

/// This machine's name, as far as it can be found out.
pub(super) fn host() -> String {
    // Linux tells it in a file; elsewhere shells export it.
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| environment("HOSTNAME"));
    told.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
