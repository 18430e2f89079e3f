//! What the reports of all verbs share. Only what goes through here reaches standard output.

use super::table::counted;
use crate::archive::manifest::Manifest;
use crate::commands::leftovers::Fate;
use crate::error::{Error, Kind, Result};
use crate::model::turns;
use indicatif::HumanBytes;
use serde_json::Value;
use std::io::Write;
use std::pin::Pin;
use tokio::io::AsyncWrite;

/// Names from a database go to a terminal: control characters, and those that turn the text behind them, become spaces.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// For what is too large to be lines: a script.
pub(super) fn stdout() -> Pin<Box<dyn AsyncWrite + Send>> {
    Box::pin(tokio::io::stdout())
}

/// Writes lines.
pub(super) fn print(lines: &[String]) -> Result<()> {
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

/// Writes one document.
pub(super) fn print_json(value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
    print(&[text])
}

/// `10 tables, 1,234 rows, 1.2 MiB as text, 300 KiB stored`
pub(super) fn counts(manifest: &Manifest) -> String {
    let totals = &manifest.totals;
    format!(
        "{}, {}, {} as text, {} stored",
        counted(totals.tables, "table", "tables"),
        counted(totals.rows, "row", "rows"),
        HumanBytes(totals.raw_bytes),
        HumanBytes(totals.stored_bytes)
    )
}

/// The warnings of a backup and what is not in it, a line each.
pub(super) fn remarks(manifest: &Manifest) -> Vec<String> {
    let warnings = manifest.warnings.iter().map(|warning| format!("warning: {}", plain(warning)));
    let skipped = manifest
        .skipped
        .iter()
        .map(|skipped| format!("left out: {} ({})", plain(&skipped.object), plain(&skipped.reason)));
    warnings.chain(skipped).collect()
}

/// What became of something that retention or a sweep looked at, as it stands at the beginning of a line.
pub(super) fn fate_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Stays => "keep",
        Fate::WouldGo => "would remove",
        Fate::Deleted => "removed",
        Fate::Retained => "retained",
    }
}
