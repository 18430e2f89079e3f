//! `pgstow show`: arguments and report.

use super::Context;
use super::output::{counts, plain, print, print_json, remarks};
use super::store::FromArgs;
use crate::archive::manifest::{Manifest, Passwords};
use crate::commands::backups::Place;
use crate::commands::list::show;
use crate::error::{Error, Kind, Result};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};

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
        let (place, manifest) = context.stop.unless(show(store.as_ref(), &self.backup)).await?;
        print_report(&place, &manifest, self.json)
    }
}

fn print_report(place: &Place, manifest: &Manifest, as_json: bool) -> Result<()> {
    if as_json {
        let value = serde_json::to_value(manifest)
            .map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
        return print_json(&value);
    }
    let mut lines = vec![
        format!("backup    {}", manifest.id),
        format!("database  {} ({})", plain(&place.database), manifest.database.encoding),
        format!("server    PostgreSQL {}", manifest.server.version),
        format!("taken     {}, finished {}", manifest.created_at, manifest.finished_at),
        format!(
            "archive   {} with {}, by pgstow {}",
            manifest.archive_version, manifest.options.codec, manifest.pgstow
        ),
        format!("holds     {} entries, {}", HumanCount(manifest.items), counts(manifest)),
    ];
    if let Some(large) = &manifest.large_objects {
        lines.push(format!("          {} large objects, {}", HumanCount(large.count), HumanBytes(large.bytes)));
    }
    if let Some(globals) = &manifest.globals {
        let passwords = match globals.passwords {
            Passwords::Included => "with passwords",
            Passwords::NotReadable => "without passwords, which the server did not let us read",
            Passwords::LeftOut => "without passwords",
        };
        lines.push(format!(
            "          {} roles {passwords}, {} tablespaces of the server",
            HumanCount(globals.roles),
            HumanCount(globals.tablespaces)
        ));
    }
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
