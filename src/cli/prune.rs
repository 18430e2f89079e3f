//! `pgstow prune`: arguments, options, report.

use super::Context;
use super::output::{fate_word, plain, print, print_json};
use super::store::FromArgs;
use crate::commands::leftovers::{Fate, Leftover};
use crate::commands::prune::{Line, PruneOptions, PruneReport, prune};
use crate::error::{Error, Kind, Result};
use crate::keep::{Age, Rules};
use crate::store::Deletion;
use clap::Args;
use indicatif::HumanBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// `pgstow prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The store to prune.
    #[command(flatten)]
    pub store: FromArgs,
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
        let options = PruneOptions {
            store: self.store.open().await?,
            rules: self.keep.rules()?,
            databases: self.database.clone(),
            unfinished_after: self.unfinished_after,
            dry_run: self.dry_run,
            now: Timestamp::now(),
        };
        let rules = options.rules.to_string();
        let report = prune(options, context.stop).await?;
        if self.json {
            return print_json(&as_json(&report, &rules, self.dry_run));
        }
        print(&as_text(&report, &rules, self.dry_run))
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
    let stay = report.backups.iter().filter(|line| line.fate == Fate::Stays).count() as u64;
    let stay = if stay == 1 { "1 backup stays".to_owned() } else { format!("{stay} backups stay") };
    let (count, bytes) = report.sum(if dry_run { Fate::WouldGo } else { Fate::Deleted });
    let verb = if dry_run { "would remove" } else { "removed" };
    lines.push(format!("{verb} {count} ({}), {stay}", HumanBytes(bytes)));
    let retained = report.sum(Fate::Retained).0;
    if retained > 0 {
        let are = if retained == 1 { "1 is".to_owned() } else { format!("{retained} are") };
        lines.push(format!("{are} locked and retained by the store; a later prune removes what then can go"));
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
