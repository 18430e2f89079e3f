//! `pgstow list`: arguments and report.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::jobs::{ConfigArgs, ready};
use super::output::{plain, print, print_json};
use super::prune::KeepArgs;
use super::store::StoreArgs;
use super::table::{Side, counted, span, table};
use super::{Context, environment};
use crate::archive::BackupId;
use crate::commands::list::{Facts, ListOptions, Listed, Listing, list};
use crate::error::Result;
use crate::jobs::Script;
use crate::keep::sources::groups;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `pgstow list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The job whose backups to list, and by which of its rules each is kept [default: all that is in the store of --from;
    /// without that, the only job of the file]
    #[arg(value_name = "JOB", conflicts_with = "from")]
    pub job: Option<String>,
    /// The file of jobs.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml [env: PGSTOW_STORE=]
    #[arg(long, value_name = "STORE")]
    pub from: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
    /// Rules by which to say why each backup would be kept.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl ListArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let mut options = self.options().await?;
        let given = self.keep.rules()?;
        if !given.is_empty() {
            options.rules = Some((given, None));
        }
        let listing = context.stop.unless(list(&options)).await?;
        if self.json {
            return print_json(&document(&listing));
        }
        print(&text(&listing, options.now))
    }

    async fn options(&self) -> Result<ListOptions> {
        let now = Timestamp::now();
        let store = environment("PGSTOW_STORE").filter(|store| !store.is_empty());
        if let (None, Some(from)) = (&self.job, self.from.as_ref().or(store.as_ref())) {
            // The environment of a backup script says by which rules its database's backups are kept.
            let script = if self.from.is_none() { Script::job(&environment).ok() } else { None };
            let rules = script.and_then(|job| Some((job.store.retention?, Some(job.connection.database().to_owned()))));
            return Ok(ListOptions { store: self.reach.open(from).await?, databases: Vec::new(), rules, now });
        }
        let ready = ready(self.config.job(self.job.as_deref())?).await?;
        let databases = vec![ready.job.connection.database().to_owned()];
        let rules = ready.job.store.retention.map(|rules| (rules, None));
        Ok(ListOptions { store: ready.store, databases, rules, now })
    }
}

fn document(listing: &Listing) -> Value {
    let name = |backup: &Listed| format!("{}/{}", backup.place.database, backup.place.id);
    let backup = |backup: &Listed, facts: &Facts| {
        json!({
            "backup": backup.place.id,
            "database": backup.place.database,
            "created_at": facts.created_at,
            "finished_at": facts.finished_at,
            "server_version": facts.server,
            "tables": facts.tables,
            "rows": facts.rows,
            "raw_bytes": facts.raw_bytes,
            "stored_bytes": facts.stored_bytes,
            "skipped": facts.skipped,
            "source": facts.source,
            "storage_classes": backup.classes,
            "verified": if backup.wrong.is_empty() { "quick" } else { "broken" },
            "wrong": backup.wrong,
            "kept_by": backup.verdict.as_ref().map(ToString::to_string),
        })
    };
    let backups: Vec<Value> =
        listing.backups.iter().filter_map(|one| one.facts.as_ref().map(|facts| backup(one, facts))).collect();
    let unreadable = listing.backups.iter().filter(|one| one.facts.is_none());
    json!({
        "backups": backups,
        "unreadable": unreadable.map(|one| json!({ "name": name(one), "wrong": one.wrong })).collect::<Vec<_>>(),
        "unfinished": listing.unfinished.iter().map(|place| format!("{}/{}", place.database, place.id)).collect::<Vec<_>>(),
    })
}

fn text(listing: &Listing, now: Timestamp) -> Vec<String> {
    let mut databases: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
    for backup in &listing.backups {
        databases.entry(&backup.place.database).or_default().push(backup);
    }
    let mut lines = Vec::new();
    for (database, backups) in databases {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(section(database, &backups, now));
    }
    if lines.is_empty() {
        lines.push("no backups".to_owned());
    }
    if !listing.unfinished.is_empty() {
        lines.push(String::new());
        lines.push("not backups, for they have no manifest (running now, or killed):".to_owned());
        let name = |place: &crate::commands::backups::Place| plain(&format!("  {}/{}", place.database, place.id));
        lines.extend(listing.unfinished.iter().map(name));
    }
    lines
}

/// One database: what is the same for all its backups stands in the heading, so that lines stay short.
fn section(database: &str, backups: &[&Listed], now: Timestamp) -> Vec<String> {
    let bytes: u64 = backups.iter().filter_map(|backup| backup.facts.as_ref()).map(|facts| facts.stored_bytes).sum();
    let class = |backup: &Listed| plain(&backup.classes.join("+"));
    let first = backups.first().map(|backup| class(backup)).unwrap_or_default();
    let one_class = backups.iter().all(|backup| class(backup) == first);
    let broken = backups.iter().filter(|backup| !backup.wrong.is_empty()).count();
    let judged = backups.iter().any(|backup| backup.verdict.is_some());
    let verified = match broken {
        0 => "all verified by size".to_owned(),
        broken => format!("{broken} BROKEN"),
    };
    let place = if one_class && !first.is_empty() { format!(" in {first}") } else { String::new() };
    let count = counted(backups.len() as u64, "backup", "backups");
    let mut head = vec![
        ("backup", Side::Left),
        ("age", Side::Right),
        ("took", Side::Right),
        ("tables", Side::Right),
        ("rows", Side::Right),
        ("stored", Side::Right),
    ];
    head.extend((!one_class).then_some(("class", Side::Left)));
    head.extend((broken > 0).then_some(("verified", Side::Left)));
    head.extend(judged.then_some(("kept by", Side::Left)));
    let row = |backup: &&Listed| {
        let mut cells = vec![backup.place.id.to_string(), span(seconds(backup.place.id.created(), now))];
        cells.extend(facts(&backup.place.id, backup.facts.as_ref()));
        cells.extend((!one_class).then(|| class(backup)));
        cells.extend((broken > 0).then(|| if backup.wrong.is_empty() { "by size" } else { "BROKEN" }.to_owned()));
        cells.extend(judged.then(|| backup.verdict.as_ref().map(ToString::to_string).unwrap_or_default()));
        cells
    };
    let rows: Vec<Vec<String>> = backups.iter().map(row).collect();
    let mut lines = vec![plain(&format!("{database}: {count}, {}{place}, {verified}", HumanBytes(bytes)))];
    lines.extend(table(&head, &rows));
    lines.extend(servers(backups));
    let wrong = backups.iter().filter(|backup| !backup.wrong.is_empty());
    lines.extend(wrong.map(|backup| plain(&format!("{}: {}", backup.place.id, backup.wrong.join(", ")))));
    lines
}

/// A line for each server, where the backups are of several.
fn servers(backups: &[&Listed]) -> Vec<String> {
    let source = |backup: &&Listed| backup.facts.as_ref().and_then(|facts| facts.source.clone());
    let sources: Vec<_> = backups.iter().map(source).collect();
    let groups = groups(&sources);
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let of_group = |group: usize| {
        let of_it: Vec<usize> = (0..backups.len()).filter(|index| groups[*index] == group).collect();
        let server =
            of_it.iter().find_map(|index| sources[*index].as_ref()).map_or("unknown".to_owned(), ToString::to_string);
        let ids: Vec<String> = of_it.iter().map(|index| backups[*index].place.id.to_string()).collect();
        plain(&format!("of server {server}: {}", ids.join(", ")))
    };
    if count > 1 { (0..count).map(of_group).collect() } else { Vec::new() }
}

/// How long it took, tables, rows, bytes.
fn facts(id: &BackupId, facts: Option<&Facts>) -> [String; 4] {
    let Some(facts) = facts else { return ["?", "?", "?", "?"].map(str::to_owned) };
    let ended: Timestamp = facts.finished_at.parse().unwrap_or(id.created());
    [
        span(seconds(id.created(), ended).max(0)),
        HumanCount(facts.tables).to_string(),
        HumanCount(facts.rows).to_string(),
        HumanBytes(facts.stored_bytes).to_string(),
    ]
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}
