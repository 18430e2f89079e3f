//! `pgstow copy`: arguments, options, report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::Context;
use super::jobs::ConfigArgs;
use super::output::{plain, print, print_json};
use super::store::{FromArgs, StoreArgs};
use crate::commands::copy::{Copied, CopyHow, CopyOptions, CopyReport, Proofs, Which, copy, failed};
use crate::error::{Error, Kind, Result};
use crate::keep::Age;
use crate::store::{StorageClass, Store};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// `pgstow copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP", conflicts_with = "new")]
    pub backup: Option<String>,
    /// Copy all backups that the other store does not have yet, the oldest first
    #[arg(long)]
    pub new: bool,
    /// With --new, copy only this database's backups; may be repeated
    #[arg(long, value_name = "NAME", requires = "new")]
    pub database: Vec<String>,
    /// With --new, leave out backups that are older than this, such as 30d
    #[arg(long, value_name = "AGE", requires = "new")]
    pub max_age: Option<Age>,
    /// The store to copy from.
    #[command(flatten)]
    pub store: FromArgs,
    /// The store to copy to.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How many objects are copied at once
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Memory to stay within where the bytes pass here: a number with KiB, MiB or GiB; at least 64MiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = super::size::parse)]
    pub memory: u64,
    /// Size of the parts of an upload [default: 8MiB, more for large objects]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub part_size: Option<u64>,
    /// The most parts that the other store takes in one upload [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_parts: Option<u32>,
    /// Read back every object that the store copied by itself, also where it vouches for the copy
    #[arg(long)]
    pub read_back: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// Where copies go. What is not said of an S3 store is as it is for the one they come from.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The store to copy to: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml
    #[arg(long, value_name = "STORE")]
    pub to: String,
    /// Endpoint of the store to copy to [default: --endpoint]
    #[arg(long, value_name = "URL")]
    pub to_endpoint: Option<String>,
    /// Region of the bucket to copy to [default: --region]
    #[arg(long, value_name = "NAME")]
    pub to_region: Option<String>,
    /// Whether that bucket stands in the path instead of the host name [default: --path-style]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub to_path_style: Option<bool>,
    /// Profile of the AWS files with the credentials for the store to copy to [default: the same credentials]
    #[arg(long, value_name = "NAME")]
    pub to_profile: Option<String>,
    /// Storage class of the data objects in the store to copy to, such as GLACIER_IR [default: STANDARD]
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl TargetArgs {
    /// Opens the store; gives it with the class of data there.
    async fn open(&self, source: &StoreArgs) -> Result<(Arc<dyn Store>, Option<StorageClass>)> {
        // Another server or another user has a region and a style of its own, and so has a store with a name.
        let apart = self.to_endpoint.is_some() || self.to_profile.is_some() || !self.to.contains("://");
        let usual = |value: &Option<String>| value.clone().filter(|_| !apart);
        let reach = StoreArgs {
            endpoint: self.to_endpoint.clone().or(usual(&source.endpoint)),
            region: self.to_region.clone().or(usual(&source.region)),
            path_style: self.to_path_style.or(source.path_style.filter(|_| !apart)),
            retry_for: source.retry_for,
            stall_timeout: source.stall_timeout,
        };
        let (url, mut options, class) = reach.resolve(&self.to, &self.config)?;
        if let Some(profile) = &self.to_profile {
            (options.profile, options.credentials) = (Some(profile.clone()), None);
        }
        let said = self.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?;
        Ok((crate::store::open(&url, &options).await?, said.or(class)))
    }
}

impl CopyArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let (target, storage_class) = self.target.open(&self.store.reach).await?;
        let options = CopyOptions {
            source: self.store.open().await?,
            target,
            which: self.which()?,
            how: CopyHow {
                storage_class,
                jobs: usize::from(self.jobs),
                memory: self.memory,
                part_size: self.part_size,
                max_parts: self.max_parts,
                read_back: self.read_back,
            },
        };
        refuse_one_place(options.source.as_ref(), options.target.as_ref())?;
        let display = context.display("copy", self.json);
        let report = copy(options, context.progress, context.stop).await;
        display.finish();
        let report = report?;
        if self.json {
            print_json(&as_json(&report))?;
        } else {
            print(&as_text(&report))?;
        }
        failed(&report).map_or(Ok(()), Err)
    }

    fn which(&self) -> Result<Which> {
        match &self.backup {
            Some(backup) => Ok(Which::One(backup.clone())),
            None if self.new => {
                Ok(Which::New { databases: self.database.clone(), max_age: self.max_age, now: Timestamp::now() })
            }
            None => Err(Error::new(Kind::Usage, "neither a backup nor --new says what to copy")
                .hint("name one, such as latest, or say --new for all that the other store does not have")),
        }
    }
}

fn refuse_one_place(source: &dyn Store, target: &dyn Store) -> Result<()> {
    let one_server = match (source.address(), target.address()) {
        (Some(source), Some(target)) => source.shares_a_server_with(&target),
        (source, target) => source.is_none() && target.is_none(),
    };
    if one_server && source.describe() == target.describe() {
        return Err(Error::new(Kind::Usage, "a store cannot be copied into itself").on(target.describe()));
    }
    Ok(())
}

fn as_json(report: &CopyReport) -> Value {
    let copied = |copied: &Copied| {
        json!({
            "backup": copied.place.id,
            "database": copied.place.database,
            "already_there": copied.proofs.is_none(),
            "objects": copied.objects,
            "bytes": copied.bytes,
            "checked": copied.proofs.map(|proofs| json!({
                "on_the_way": proofs.on_the_way,
                "digest_of_the_store": proofs.digest_of_the_store,
                "size_and_etag": proofs.size_and_etag,
                "read_back": proofs.read_back,
            })),
            "seconds": copied.seconds,
        })
    };
    let failed = |(place, error): &(crate::commands::backups::Place, Error)| {
        json!({
            "backup": place.id,
            "database": place.database,
            "error": error.to_string(),
            "hint": error.hint_text(),
            "exit_code": error.kind().exit_code(),
        })
    };
    json!({
        "copied": report.copied.iter().map(copied).collect::<Vec<_>>(),
        "failed": report.failed.iter().map(failed).collect::<Vec<_>>(),
        "seconds": report.seconds,
    })
}

fn as_text(report: &CopyReport) -> Vec<String> {
    let mut lines: Vec<String> = report.copied.iter().map(in_words).collect();
    for (place, error) in &report.failed {
        let what = format!("{} of database {}", place.id, plain(&place.database));
        lines.push(format!("NOT copied: {what}: {}", plain(&error.to_string())));
        lines.extend(error.hint_text().map(|hint| format!("  hint: {}", plain(hint))));
    }
    if lines.is_empty() {
        lines.push("nothing to copy: the other store has every backup".to_owned());
    }
    lines
}

fn in_words(copied: &Copied) -> String {
    let what = format!("backup {} of database {}", copied.place.id, plain(&copied.place.database));
    match copied.proofs {
        None => format!("{what}: already there"),
        Some(proofs) => format!(
            "{what}: {} objects, {} copied, {}, {:.1} s",
            HumanCount(copied.objects),
            HumanBytes(copied.bytes),
            proved(proofs),
            copied.seconds
        ),
    }
}

/// `checked: 3 on the way, 2 by the store's digest`
fn proved(proofs: Proofs) -> String {
    let ways = [
        (proofs.on_the_way, "on the way"),
        (proofs.digest_of_the_store, "by the store's own digest"),
        (proofs.size_and_etag, "by size and ETag"),
        (proofs.read_back, "read back"),
    ];
    let words = ways.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = words.map(|(count, way)| format!("{} {way}", HumanCount(*count))).collect();
    format!("checked: {}", words.join(", "))
}
