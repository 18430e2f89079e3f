//! `pgstow report`: what the store holds, as one page for people: backups by database, sizes and durations over time, the
//! last success, days without a backup, and what was left out.
//!
//! The page is one text without scripts and without anything to fetch. Names come from databases and are escaped.

mod chart;
mod html;

pub use html::page;

use super::backups::{self, Place};
use crate::archive::manifest::Manifest;
use crate::error::Result;
use crate::store::Store;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What the store holds, for people.
#[derive(Debug, Clone)]
pub struct Report {
    /// The store's URL.
    pub store: String,
    /// When it was looked at.
    pub made_at: Timestamp,
    /// By database, sorted by name.
    pub databases: Vec<DatabaseReport>,
    /// Folders without a manifest: running now, or left by a dump that was killed.
    pub unfinished: Vec<String>,
}

/// The backups of one database.
#[derive(Debug, Clone)]
pub struct DatabaseReport {
    /// The database's name.
    pub name: String,
    /// Its backups, at least one, the newest first.
    pub backups: Vec<BackupLine>,
}

/// One backup.
#[derive(Debug, Clone)]
pub struct BackupLine {
    /// Its id.
    pub id: String,
    /// When its dump began.
    pub begun: Timestamp,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// Tables in it.
    pub tables: u64,
    /// Rows in it.
    pub rows: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// The server's version.
    pub server: String,
    /// Warnings, and what was left out.
    pub remarks: Vec<String>,
}

/// Reads every manifest in the store.
pub async fn report(store: &dyn Store, now: Timestamp) -> Result<Report> {
    let (found, unfinished) = backups::complete(store).await?;
    let mut databases: BTreeMap<String, Vec<BackupLine>> = BTreeMap::new();
    for (place, manifest) in &found {
        databases.entry(place.database.clone()).or_default().push(line(place, manifest));
    }
    Ok(Report {
        store: store.describe(),
        made_at: now,
        databases: databases.into_iter().map(|(name, backups)| DatabaseReport { name, backups }).collect(),
        unfinished: unfinished.iter().map(|place| format!("{}/{}", place.database, place.id)).collect(),
    })
}

fn line(place: &Place, manifest: &Manifest) -> BackupLine {
    let begun = place.id.created();
    let ended: Timestamp = manifest.finished_at.parse().unwrap_or(begun);
    let skipped = manifest.skipped.iter().map(|skipped| format!("left out: {} ({})", skipped.object, skipped.reason));
    BackupLine {
        id: place.id.to_string(),
        begun,
        seconds: ended.duration_since(begun).as_secs_f64().max(0.0),
        tables: manifest.totals.tables,
        rows: manifest.totals.rows,
        stored_bytes: manifest.totals.stored_bytes,
        server: manifest.server.version.clone(),
        remarks: manifest.warnings.iter().cloned().chain(skipped).collect(),
    }
}

impl DatabaseReport {
    /// The newest backup.
    pub fn newest(&self) -> Option<&BackupLine> {
        self.backups.first()
    }

    /// Bytes of all backups.
    pub fn stored_bytes(&self) -> u64 {
        self.backups.iter().map(|backup| backup.stored_bytes).sum()
    }
}

/// How long ago, in the two largest units.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(then).as_mins();
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        _ if minutes < 0 || days < 0 || hours < 0 => "in the future".to_owned(),
        (0, 0) => format!("{minutes} min ago"),
        (0, _) => format!("{hours} h {minutes} min ago"),
        (_, _) => format!("{days} d {hours} h ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::ago;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn ages_are_told_in_two_units() {
        let now = Timestamp::from_second(1_800_000_000).expect("a moment");
        for (minutes, text) in
            [(5, "5 min ago"), (90, "1 h 30 min ago"), (1440 * 3 + 120, "3 d 2 h ago"), (-3, "in the future")]
        {
            assert_eq!(ago(now - SignedDuration::from_mins(minutes), now), text);
        }
    }
}
