//! `pgstow prune`: arguments, options, report.

use super::Context;
use super::output::{fate_word, plain, print, print_json};
use super::subject::{Subject, SubjectArgs};
use crate::commands::Stop;
use crate::commands::leftovers::{Fate, Leftover};
use crate::commands::prune::{Line, PruneOptions, PruneReport, prune};
use crate::commands::run::RunOptions;
use crate::error::{Error, Kind, Result};
use crate::keep::{Age, Rules};
use crate::store::{Deletion, Store};
use clap::Args;
use indicatif::HumanBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::sync::Arc;

/// `pgstow prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
With the name of a job, its backups are pruned in each of its stores as its table says, and no rules are given here.")]
pub struct PruneArgs {
    /// Whose backups.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// Which backups stay.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Prune only this database's backups; may be repeated [default: all databases in the store, each by itself]
    #[arg(long, value_name = "NAME")]
    pub database: Vec<String>,
    /// What has no manifest and is older than this was left by a dump that was killed, and goes too
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub unfinished_after: Age,
    /// Print what stays and what would go, each with its reason, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// Rules of retention. A backup stays as soon as one of them wants it.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_last: u32,
    /// Keep all that are not this much older than the newest, such as 36h, 30d, 6mo
    #[arg(long, value_name = "AGE")]
    pub keep_within: Option<Age>,
    /// Keep the newest of each of the last N hours that have a backup
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_hourly: u32,
    /// Keep the newest of each of the last N days that have a backup
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_daily: u32,
    /// Keep the newest of each of the last N weeks (Monday to Sunday) that have a backup
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_weekly: u32,
    /// Keep the newest of each of the last N months that have a backup
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_monthly: u32,
    /// Keep the newest of each of the last N years that have a backup
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_yearly: u32,
    /// Never leave fewer than N good backups of a database, whatever the other rules say; the newest good one stays always
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub keep_min: u32,
    /// Time zone in which hours, days and the rest begin, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
}

impl KeepArgs {
    /// The rules as retention takes them.
    pub(super) fn rules(&self) -> Result<Rules> {
        let zone = TimeZone::get(&self.time_zone).map_err(|error| {
            Error::new(Kind::Usage, format!("{:?} is not a time zone", self.time_zone))
                .hint("zones are named like UTC, Europe/Berlin, America/New_York")
                .because(error)
        })?;
        Ok(Rules {
            last: self.keep_last,
            within: self.keep_within,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            floor: self.keep_min,
            zone,
        })
    }
}

impl PruneArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        if self.subject.job.is_none() && self.subject.from.is_none() {
            return Err(Error::new(Kind::Usage, "neither a store nor a job is named")
                .hint("say --from STORE and which backups stay, or name a job of pgstow.toml, which says it itself"));
        }
        match self.subject.open().await? {
            Subject::Job(job) => self.stores_of(&job, &context.stop).await,
            Subject::Store(store) => {
                let rules = self.keep.rules()?;
                let report = self.prune(&store, &rules, self.database.clone(), &context.stop).await?;
                if self.json {
                    return print_json(&as_json(&report, &rules.to_string(), self.dry_run));
                }
                print(&as_text(&report, &rules.to_string(), self.dry_run))
            }
        }
    }

    async fn prune(
        &self,
        store: &Arc<dyn Store>,
        rules: &Rules,
        databases: Vec<String>,
        stop: &Stop,
    ) -> Result<PruneReport> {
        let options = PruneOptions {
            store: Arc::clone(store),
            rules: rules.clone(),
            databases,
            unfinished_after: self.unfinished_after,
            dry_run: self.dry_run,
            now: Timestamp::now(),
        };
        prune(options, stop.clone()).await
    }

    /// Every store of a job, as its table says. One that fails keeps none of the others from being pruned.
    async fn stores_of(&self, ready: &RunOptions, stop: &Stop) -> Result<()> {
        let job = &ready.job;
        if !self.keep.rules()?.is_empty() || !self.database.is_empty() {
            return Err(Error::new(Kind::Usage, "a job says itself which backups stay, and of which database")
                .on(format!("job {}", job.name))
                .hint("say --from STORE instead of the job, or leave the rules out"));
        }
        let places = std::iter::once(&job.store).chain(&job.copies);
        let stores = places.zip(std::iter::once(&ready.store).chain(&ready.copies));
        let ruled: Vec<_> =
            stores.filter_map(|(place, store)| Some((place, store, place.retention.as_ref()?))).collect();
        if ruled.is_empty() {
            return Err(Error::new(Kind::Usage, "has no retention, so that every backup stays")
                .on(format!("job {}", job.name))
                .hint("say retention = { keep_within = \"30d\" } in its table, for instance"));
        }
        let (mut documents, mut failure) = (Vec::new(), None);
        for (place, store, rules) in ruled {
            let url = place.url.to_string();
            match self.prune(store, rules, vec![job.connection.database().to_owned()], stop).await {
                Ok(report) if self.json => {
                    let mut document = as_json(&report, &rules.to_string(), self.dry_run);
                    document["store"] = json!(url);
                    documents.push(document);
                }
                Ok(report) => {
                    let mut lines = vec![plain(&url)];
                    lines.extend(as_text(&report, &rules.to_string(), self.dry_run));
                    print(&lines)?;
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, store = url, "could not prune");
                    failure.get_or_insert(error);
                }
            }
        }
        if self.json {
            print_json(&json!({ "job": job.name, "stores": documents }))?;
        }
        failure.map_or(Ok(()), Err)
    }
}

fn as_json(report: &PruneReport, rules: &str, dry_run: bool) -> Value {
    let backup = |line: &Line| {
        json!({
            "backup": line.place.id,
            "database": line.place.database,
            "objects": line.objects,
            "bytes": line.bytes,
            "fate": fate_word(line.fate),
            "reason": line.verdict.to_string(),
        })
    };
    let leftover = |leftover: &Leftover| {
        json!({
            "name": leftover.name,
            "kind": if leftover.upload.is_some() { "upload" } else { "folder" },
            "bytes": leftover.bytes,
            "begun": leftover.begun.map(|begun| begun.to_string()),
            "fate": fate_word(leftover.fate),
        })
    };
    json!({
        "rules": rules,
        "dry_run": dry_run,
        "backups": report.backups.iter().map(backup).collect::<Vec<_>>(),
        "leftovers": report.leftovers.iter().map(leftover).collect::<Vec<_>>(),
        "kept": report.backups.iter().filter(|line| line.fate == Fate::Stays).count(),
        "removed_bytes": report.sum(Fate::Deleted).1,
        "deletion": deletion(&report.deletion),
    })
}

fn as_text(report: &PruneReport, rules: &str, dry_run: bool) -> Vec<String> {
    let mut lines = vec![rules.to_owned()];
    let mut database = None;
    for line in &report.backups {
        if database != Some(&line.place.database) {
            database = Some(&line.place.database);
            lines.push(plain(&line.place.database));
        }
        let bytes = HumanBytes(line.bytes).to_string();
        lines.push(format!("  {:<12}  {}  {bytes:>11}  {}", fate_word(line.fate), line.place.id, line.verdict));
    }
    if !report.leftovers.is_empty() {
        lines.push("not backups".to_owned());
    }
    for leftover in &report.leftovers {
        let what = match (leftover.upload.is_some(), leftover.fate) {
            (true, Fate::Stays) => "upload, perhaps of a dump that is running",
            (true, _) => "upload that was never completed",
            (false, Fate::Stays) => "no manifest, perhaps a dump that is running",
            (false, _) => "no manifest, left by a dump that was killed",
        };
        lines.push(format!("  {:<12}  {}  {what}", fate_word(leftover.fate), plain(&leftover.name)));
    }
    let stay = report.backups.iter().filter(|line| line.fate == Fate::Stays).count();
    let (count, bytes) = report.sum(if dry_run { Fate::WouldGo } else { Fate::Deleted });
    let verb = if dry_run { "would remove" } else { "removed" };
    lines.push(format!("{verb} {count} ({}), {stay} backups stay", HumanBytes(bytes)));
    let retained = report.sum(Fate::Retained).0;
    if retained > 0 {
        lines.push(format!("{retained} are locked and retained by the store; a later prune removes them"));
    }
    if count > 0 {
        lines.extend(deletion(&report.deletion).map(|words| format!("note: {words}")));
    }
    lines
}

/// What a deletion leaves behind, where it leaves something.
fn deletion(deletion: &Deletion) -> Option<String> {
    match deletion {
        Deletion::Final => None,
        Deletion::Untold => Some(
            "these credentials may not ask whether the bucket keeps versions (s3:GetBucketVersioning); if it does, \
             the bytes stay and cost until a lifecycle rule removes them"
                .to_owned(),
        ),
        Deletion::Hides { kept_days, locked } => {
            let rule = match kept_days {
                Some(days) => format!("a lifecycle rule removes them {days} days later"),
                None => "no lifecycle rule removes them, so they cost for ever".to_owned(),
            };
            let lock = if *locked { ", but not before their Object Lock ends" } else { "" };
            Some(format!("the bucket keeps versions, so deleting hides the bytes, and {rule}{lock}"))
        }
    }
}
