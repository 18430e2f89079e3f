//! Arguments of verbs that look at a job's backups, or at a whole store.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::jobs::{ConfigArgs, ready};
use super::store::StoreArgs;
use crate::commands::run::RunOptions;
use crate::error::Result;
use crate::store::Store;
use clap::Args;
use std::sync::Arc;

/// A job or a store.
#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// The job whose backups are meant, with all that its table says [default: all that is in the store of --from; without
    /// that, the only job of the file]
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// The file of jobs.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store, where no job names one: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub from: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// What is meant, opened.
pub(super) enum Subject {
    /// A job with its stores.
    Job(Box<RunOptions>),
    /// A store.
    Store(Arc<dyn Store>),
}

impl SubjectArgs {
    /// Looks the job up, or the store, and opens it.
    pub(super) async fn open(&self) -> Result<Subject> {
        if let (None, Some(from)) = (&self.job, &self.from) {
            let (url, options, _) = self.reach.resolve(from, &self.config)?;
            return Ok(Subject::Store(crate::store::open(&url, &options).await?));
        }
        Ok(Subject::Job(Box::new(ready(self.config.job(self.job.as_deref())?).await?)))
    }
}
