//! `pgstow thaw`: arguments, options, report.

use super::Context;
use super::output::{plain, print, print_json};
use super::store::FromArgs;
use crate::commands::thaw::{ThawOptions, ThawReport, thaw};
use crate::error::Result;
use crate::store::Tier;
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use serde_json::json;

/// `pgstow thaw`.
#[derive(Debug, Args)]
pub struct ThawArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The store it lies in.
    #[command(flatten)]
    pub store: FromArgs,
    /// For how many days it can be read then, counted from when it is there
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// How quickly, and for how much
    #[arg(long, value_enum, default_value_t = TierName::Standard)]
    pub tier: TierName,
    /// Wait until all of it can be read
    #[arg(long)]
    pub wait: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// How quickly, by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TierName {
    /// 5 to 12 hours; up to 48 from `DEEP_ARCHIVE`. The cheapest.
    Bulk,
    /// 3 to 5 hours; up to 12 from `DEEP_ARCHIVE`.
    Standard,
    /// Minutes, for much more; not from `DEEP_ARCHIVE`.
    Expedited,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Bulk => Tier::Bulk,
            TierName::Standard => Tier::Standard,
            TierName::Expedited => Tier::Expedited,
        }
    }
}

impl ThawArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = ThawOptions {
            store: self.store.open().await?,
            backup: self.backup.clone(),
            days: self.days,
            tier: self.tier.into(),
            wait: self.wait,
            now: Timestamp::now(),
        };
        let display = context.display("thaw", self.json);
        let report = thaw(options, context.progress, context.stop).await;
        display.finish();
        let report = report?;
        if self.json {
            return print_json(&json!({
                "backup": report.place.id,
                "database": report.place.database,
                "objects": report.objects,
                "archived": report.archived,
                "archived_bytes": report.bytes,
                "class": report.class,
                "asked": report.asked,
                "extended": report.extended,
                "under_way": report.under_way,
                "readable": report.readable,
                "readable_until": report.until.map(|until| until.to_string()),
                "seconds": report.seconds,
            }));
        }
        print(&self.in_words(&report))
    }

    fn in_words(&self, report: &ThawReport) -> Vec<String> {
        let name = format!("{}/{}", plain(&report.place.database), report.place.id);
        let Some(class) = &report.class else {
            return vec![format!("backup {name}: nothing is frozen, it can be restored as it is")];
        };
        let mut words = vec![];
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                words.push(format!("{} {what}", HumanCount(count)));
            }
        };
        say(report.asked, "asked for now");
        say(report.under_way, "asked for before");
        say(report.readable, "can be read");
        say(report.extended, "of them for longer than before");
        let mut lines = vec![format!(
            "backup {name}: {} of {} objects ({}) in {class}: {}",
            HumanCount(report.archived),
            HumanCount(report.objects),
            HumanBytes(report.bytes),
            words.join(", ")
        )];
        if report.readable == report.archived {
            let until =
                report.until.map_or(String::new(), |until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M UTC")));
            lines.push(format!("all of it can be read{until}: pgstow restore {name}"));
        } else {
            let (tier, time) = (Tier::from(self.tier), Tier::from(self.tier).takes(class));
            lines.push(format!("{tier} takes {time}; `pgstow thaw {name} --wait` waits for it"));
        }
        lines
    }
}
