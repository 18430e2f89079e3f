//! `pgstow doctor`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::output::{plain, print, print_json};
use super::store::StoreArgs;
use super::{Context, environment};
use crate::commands::doctor::{DoctorOptions, Finding, doctor, verdict};
use crate::error::Result;
use crate::postgres::ConnectionSettings;
use crate::store::StorageClass;
use clap::Args;
use serde_json::json;

/// `pgstow doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The database: its name, a libpq URI or keyword string [default: the PG* variables]
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
    /// The store: s3://bucket/prefix or file:///folder; without one, the source alone is examined
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub to: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
    /// How many connections a dump would use
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
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
        let store = match &self.to {
            Some(url) => Some(self.reach.open(url).await?),
            None => None,
        };
        let options = DoctorOptions {
            connection: Some(ConnectionSettings::resolve(self.database.as_deref(), &environment)?),
            store,
            class: self.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?,
            jobs: usize::from(self.jobs),
        };
        let findings = doctor(&options, &context.stop).await?;
        if self.json {
            print_json(&json!(findings.iter().map(document).collect::<Vec<_>>()))?;
        } else {
            print(&findings.iter().flat_map(lines).collect::<Vec<_>>())?;
        }
        verdict(&findings)
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
