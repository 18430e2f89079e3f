//! The file of `--note-requests`: what S3 was asked by this run, and by those before it.

use crate::error::{Error, Kind, Result};
use crate::store::{Request, noted_requests};
use std::collections::BTreeSet;
use std::path::Path;

/// Reads what runs noted.
pub(super) fn read(path: &Path) -> Result<BTreeSet<Request>> {
    let failed = |error| Error::new(Kind::Usage, "cannot be read").on(path.display().to_string()).because(error);
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let requests = text.lines().filter(|line| !line.trim().is_empty()).map(str::parse);
    requests.collect::<Result<_>>().map_err(|error| error.on(path.display().to_string()))
}

/// Adds what this run noted to what runs before it did.
pub(super) fn write(path: &Path) -> Result<()> {
    let failed = |error| Error::new(Kind::Usage, "cannot be written").on(path.display().to_string()).because(error);
    let mut requests = if path.exists() { read(path)? } else { BTreeSet::new() };
    requests.extend(noted_requests());
    let text: String = requests.iter().map(|request| format!("{request}\n")).collect();
    std::fs::write(path, text).map_err(failed)
}
