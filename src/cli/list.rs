//! `pgstow list`: arguments and report.

use super::Context;
use super::output::{plain, print, print_json};
use super::store::FromArgs;
use crate::archive::manifest::Manifest;
use crate::commands::backups::Place;
use crate::commands::list::{Listing, list};
use crate::error::Result;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

/// `pgstow list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The store to look into.
    #[command(flatten)]
    pub store: FromArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl ListArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let store = self.store.open().await?;
        let listing = context.stop.unless(list(store.as_ref())).await?;
        print_report(&listing, self.json)
    }
}

fn summary(place: &Place, manifest: &Manifest) -> Value {
    json!({
        "backup": manifest.id,
        "database": place.database,
        "created_at": manifest.created_at,
        "finished_at": manifest.finished_at,
        "server_version": manifest.server.version,
        "tables": manifest.totals.tables,
        "rows": manifest.totals.rows,
        "raw_bytes": manifest.totals.raw_bytes,
        "stored_bytes": manifest.totals.stored_bytes,
        "skipped": manifest.skipped.len(),
    })
}

fn print_report(listing: &Listing, as_json: bool) -> Result<()> {
    let unfinished: Vec<String> =
        listing.unfinished.iter().map(|place| format!("{}/{}", place.database, place.id)).collect();
    if as_json {
        let backups: Vec<Value> = listing.backups.iter().map(|(place, manifest)| summary(place, manifest)).collect();
        return print_json(&json!({ "backups": backups, "unfinished": unfinished }));
    }
    let mut lines = Vec::new();
    if listing.backups.is_empty() {
        lines.push("no backups".to_owned());
    } else {
        let width = listing.backups.iter().map(|(place, _)| plain(&place.database).chars().count()).max().unwrap_or(0);
        let width = width.max("database".len());
        lines.push(format!(
            "{:<23}  {:<width$}  {:>8}  {:>14}  {:>11}",
            "backup", "database", "tables", "rows", "stored"
        ));
        for (place, manifest) in &listing.backups {
            lines.push(format!(
                "{:<23}  {:<width$}  {:>8}  {:>14}  {:>11}",
                manifest.id,
                plain(&place.database),
                HumanCount(manifest.totals.tables).to_string(),
                HumanCount(manifest.totals.rows).to_string(),
                HumanBytes(manifest.totals.stored_bytes).to_string()
            ));
        }
    }
    if !unfinished.is_empty() {
        lines.push(format!(
            "not backups, for they have no manifest (running now, or killed): {}",
            unfinished.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
        ));
    }
    print(&lines)
}
