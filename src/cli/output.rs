//! Reports on standard output: short for people, one JSON document for machines.

use crate::archive::manifest::Manifest;
use crate::commands::backups::Place;
use crate::commands::dump::DumpReport;
use crate::commands::list::Listing;
use crate::commands::restore::RestoreReport;
use crate::error::{Error, Kind, Result};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use std::io::Write;

/// Names from a database go to a terminal: control characters become spaces.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn print(lines: &[String]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    for line in lines {
        if let Err(error) = writeln!(stdout, "{line}") {
            // The reader of a pipe may have seen enough.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Ok(());
            }
            return Err(Error::new(Kind::Internal, "cannot write to standard output").because(error));
        }
    }
    Ok(())
}

fn print_json(value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
    print(&[text])
}

fn counts(manifest: &Manifest) -> String {
    let totals = &manifest.totals;
    format!(
        "{} tables, {} rows, {} as text, {} stored",
        HumanCount(totals.tables),
        HumanCount(totals.rows),
        HumanBytes(totals.raw_bytes),
        HumanBytes(totals.stored_bytes)
    )
}

pub(super) fn dump(report: &DumpReport, as_json: bool) -> Result<()> {
    let manifest = &report.manifest;
    if as_json {
        return print_json(&json!({
            "backup": manifest.id,
            "database": manifest.database.name,
            "folder": report.folder,
            "tables": manifest.totals.tables,
            "rows": manifest.totals.rows,
            "raw_bytes": manifest.totals.raw_bytes,
            "stored_bytes": manifest.totals.stored_bytes,
            "seconds": report.seconds,
            "warnings": manifest.warnings,
            "skipped": manifest.skipped,
        }));
    }
    let mut lines = vec![format!(
        "backup {} of database {}: {}, {:.1} s",
        manifest.id,
        plain(&manifest.database.name),
        counts(manifest),
        report.seconds
    )];
    lines.extend(remarks(manifest));
    print(&lines)
}

fn remarks(manifest: &Manifest) -> Vec<String> {
    let warnings = manifest.warnings.iter().map(|warning| format!("warning: {}", plain(warning)));
    let skipped = manifest
        .skipped
        .iter()
        .map(|skipped| format!("left out: {} ({})", plain(&skipped.object), plain(&skipped.reason)));
    warnings.chain(skipped).collect()
}

pub(super) fn restore(report: &RestoreReport, dry_run: bool, as_json: bool) -> Result<()> {
    if as_json {
        let steps: Vec<String> = report.plan.steps.iter().map(super::super::commands::restore::Step::label).collect();
        return print_json(&json!({
            "archive": report.archive,
            "backup": report.backup,
            "database": report.database,
            "dry_run": dry_run,
            "tables": report.tables,
            "rows": report.rows,
            "seconds": report.seconds,
            "errors": report.errors,
            "warnings": report.warnings,
            "left_out": report.plan.left_out.iter()
                .map(|(reason, count)| json!({"reason": reason, "entries": count})).collect::<Vec<_>>(),
            "steps": if dry_run { json!(steps) } else { json!(steps.len()) },
        }));
    }
    let mut lines = Vec::new();
    if dry_run {
        let mut phase = None;
        for step in &report.plan.steps {
            if phase != Some(step.phase) {
                phase = Some(step.phase);
                lines.push(format!("{:?}", step.phase).to_lowercase());
            }
            let rows = step.data.as_ref().and_then(|data| data.rows);
            let rows = rows.map_or(String::new(), |rows| format!(", {} rows", HumanCount(rows)));
            lines.push(format!("  {}{rows}", plain(&step.label())));
        }
        lines.push(format!(
            "would restore {} entries of {} into {}; nothing was done",
            report.plan.steps.len(),
            plain(&report.archive),
            plain(&report.database)
        ));
    } else {
        lines.push(format!(
            "restored {} into database {}: {} tables, {} rows, {:.1} s",
            plain(&report.archive),
            plain(&report.database),
            HumanCount(report.tables),
            HumanCount(report.rows),
            report.seconds
        ));
    }
    lines.extend(report.plan.left_out.iter().map(|(reason, count)| format!("left out: {count} entries ({reason})")));
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {}", plain(warning))));
    lines.extend(report.errors.iter().map(|error| format!("failed: {error}")));
    print(&lines)
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

pub(super) fn list(listing: &Listing, as_json: bool) -> Result<()> {
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

pub(super) fn show(place: &Place, manifest: &Manifest, as_json: bool) -> Result<()> {
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
