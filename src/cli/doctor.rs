//! `pgstow doctor`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::jobs::{ConfigArgs, ready};
use super::output::{plain, print, print_json};
use super::store::StoreArgs;
use super::{Context, environment};
use crate::archive::keys::database_folder;
use crate::commands::doctor::{DoctorOptions, Finding, doctor, verdict};
use crate::commands::run::RunOptions;
use crate::error::Result;
use crate::jobs::{Job, Schedule, Script};
use crate::keep::cost::STANDARD;
use crate::keep::lifecycle::Keeping;
use crate::store::StorageClass;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// `pgstow doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The job to examine: its source, its store, and whether its retention and class go together with the rules of its
    /// bucket
    #[arg(value_name = "JOB", conflicts_with_all = ["database", "storage_class"])]
    pub job: Option<String>,
    /// The file of jobs.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The database: its name, a libpq URI or keyword string [default: the PG* variables, then the DB_* variables of a
    /// backup script; with a bucket too, the whole job that they describe]
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
    /// The store: s3://bucket/prefix or file:///folder; without one, the source alone is examined
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub to: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
    /// How many connections a dump would use [default: the job's, or 4]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// The storage class that backups would get
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl DoctorArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = match &self.job {
            Some(name) => self.of_job(ready(self.config.job(Some(name))?).await?),
            // As `pgstow run` would: the environment of a script describes a job.
            None if self.database.is_none() && self.scripted() => {
                let mut options = self.of_job(ready(Script::job(&environment)?).await?);
                if let Some(class) = &self.storage_class {
                    options.class = Some(class.parse::<StorageClass>()?);
                }
                options
            }
            None => self.of_arguments().await?,
        };
        let findings = doctor(&options, &context.stop).await?;
        if self.json {
            print_json(&json!(findings.iter().map(document).collect::<Vec<_>>()))?;
        } else {
            print(&findings.iter().flat_map(lines).collect::<Vec<_>>())?;
        }
        verdict(&findings)
    }

    async fn of_arguments(&self) -> Result<DoctorOptions> {
        let store = match &self.to {
            Some(url) => Some(self.reach.open(url).await?),
            None => None,
        };
        Ok(DoctorOptions {
            connection: Some(Script::source(self.database.as_deref(), &environment)?),
            store,
            class: self.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?,
            keeping: None,
            jobs: self.jobs.map_or(4, usize::from),
        })
    }

    /// Whether the environment is that of a backup script, whole, and nothing names another database or store.
    fn scripted(&self) -> bool {
        let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let other = set("PGDATABASE") || set("PGSERVICE") || self.to != environment("PGSTOW_STORE");
        set("DB_DATABASE") && (set("BACKUP_S3_BUCKET") || set("PGSTOW_STORE")) && !other
    }

    fn of_job(&self, ready: RunOptions) -> DoctorOptions {
        let (job, store) = (ready.job, ready.store);
        DoctorOptions {
            store: Some(store),
            keeping: Some((format!("{}/", database_folder(job.connection.database())), keeping(&job))),
            class: job.store.class,
            jobs: self.jobs.map_or(job.connections, usize::from),
            connection: Some(job.connection),
        }
    }
}

/// How the job's backups are made and kept.
fn keeping(job: &Job) -> Keeping {
    let pause = |schedule: &Schedule| {
        let next = schedule.next_after(Timestamp::now())?;
        Some(schedule.next_after(next)?.duration_since(next))
    };
    Keeping {
        class: job.store.class.as_ref().map_or(STANDARD.to_owned(), ToString::to_string),
        every: job.schedule.as_ref().and_then(pause).unwrap_or(SignedDuration::from_hours(24)),
        rules: job.store.retention.clone(),
    }
}

fn document(finding: &Finding) -> serde_json::Value {
    json!({
        "grade": finding.grade.as_str().to_lowercase(),
        "subject": finding.subject,
        "says": finding.says,
        "todo": finding.todo,
    })
}

fn lines(finding: &Finding) -> Vec<String> {
    let mut lines = vec![plain(&format!("{:<6}{:<18}{}", finding.grade.as_str(), finding.subject, finding.says))];
    lines.extend(finding.todo.iter().map(|todo| plain(&format!("{:<24}-> {todo}", ""))));
    lines
}
