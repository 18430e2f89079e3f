//! `pgstow show`: arguments and report.

use super::Context;
use super::output::{counts, plain, print, print_json, remarks};
use super::store::FromArgs;
use super::table::{counted, span};
use crate::archive::manifest::Passwords;
use crate::commands::list::{Shown, show};
use crate::error::{Error, Kind, Result};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;

/// `pgstow show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The store to look into.
    #[command(flatten)]
    pub store: FromArgs,
    /// Print the manifest as one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl ShowArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let store = self.store.open().await?;
        let shown = context.stop.unless(show(store.as_ref(), &self.backup)).await?;
        print_report(&shown, self.json)
    }
}

fn print_report(shown: &Shown, as_json: bool) -> Result<()> {
    let Shown { place, manifest, classes, wrong } = shown;
    if as_json {
        let value = serde_json::to_value(manifest)
            .map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
        return print_json(&value);
    }
    let class = if classes.is_empty() { String::new() } else { format!(", data in {}", classes.join(" and ")) };
    let verified = if wrong.is_empty() {
        "all objects are there, each of its size (`pgstow verify` reads them)".to_owned()
    } else {
        format!("BROKEN: {}", wrong.join(", "))
    };
    let mut lines = vec![
        format!("backup    {}", manifest.id),
        format!("database  {} ({})", plain(&place.database), manifest.database.encoding),
        format!("server    PostgreSQL {}", manifest.server.version),
        format!("taken     {}", taken(shown)),
        format!(
            "archive   {} with {}, by pgstow {}",
            manifest.archive_version, manifest.options.codec, manifest.pgstow
        ),
        plain(&format!("holds     {} entries, {}{class}", HumanCount(manifest.items), counts(manifest))),
    ];
    if let Some(large) = &manifest.large_objects {
        lines.push(format!(
            "          {}, {}",
            counted(large.count, "large object", "large objects"),
            HumanBytes(large.bytes)
        ));
    }
    if let Some(globals) = &manifest.globals {
        let passwords = match globals.passwords {
            Passwords::Included => "with passwords",
            Passwords::NotReadable => "without passwords, which the server did not let us read",
            Passwords::LeftOut => "without passwords",
        };
        lines.push(format!(
            "          {} {passwords}, {} of the server",
            counted(globals.roles, "role", "roles"),
            counted(globals.tablespaces, "tablespace", "tablespaces")
        ));
    }
    lines.push(plain(&format!("verified  {verified}")));
    lines.extend(remarks(manifest));
    for table in &manifest.tables {
        lines.push(format!(
            "  {:>14} rows  {:>11}  {}.{}",
            HumanCount(table.rows).to_string(),
            HumanBytes(table.object.bytes).to_string(),
            plain(&table.schema),
            plain(&table.name)
        ));
    }
    print(&lines)
}

/// When it was begun, how long ago that is, and how long it took.
fn taken(shown: &Shown) -> String {
    let begun = shown.place.id.created();
    let ended: Timestamp = shown.manifest.finished_at.parse().unwrap_or(begun);
    let age = Timestamp::now().duration_since(begun).as_secs();
    let ago = if age < 0 { span(age) } else { format!("{} ago", span(age)) };
    format!("{}, {ago}, took {}", shown.manifest.created_at, span(ended.duration_since(begun).as_secs().max(0)))
}
