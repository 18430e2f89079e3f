//! `pgstow list` and `pgstow show`: what the store holds.

use super::backups::{self, Place};
use super::examine::{self, Examined, State};
use crate::archive::manifest::{Manifest, SourceFacts};
use crate::error::Result;
use crate::keep::{Candidate, Condition, Rules, Verdict, decide_by_server};
use crate::store::Store;
use jiff::Timestamp;
use std::sync::Arc;

/// What to list.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The databases; all of them, if there are none here.
    pub databases: Vec<String>,
    /// The rules by which backups stay, and the database that they are for, if that is not every one.
    pub rules: Option<(Rules, Option<String>)>,
    /// The moment.
    pub now: Timestamp,
}

/// What `list` found.
#[derive(Debug)]
pub struct Listing {
    /// Complete backups, newest first.
    pub backups: Vec<Listed>,
    /// Folders without a manifest: running now, or left by a dump that was killed. They are not backups.
    pub unfinished: Vec<Place>,
}

/// One backup, as it lies in the store.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Where it lies.
    pub place: Place,
    /// What its manifest says; `None` where that cannot be read.
    pub facts: Option<Facts>,
    /// What is wrong with it; empty when all its objects are there, each of its size.
    pub wrong: Vec<String>,
    /// The storage classes of its data, sorted; empty where the store does not say.
    pub classes: Vec<String>,
    /// Whether the rules keep it, and why; `None` without rules.
    pub verdict: Option<Verdict>,
}

/// What a manifest says in sum.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When the dump began, RFC 3339 in UTC.
    pub created_at: String,
    /// When the dump ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// The server's version.
    pub server: String,
    /// Tables in it.
    pub tables: u64,
    /// Rows in it.
    pub rows: u64,
    /// Their bytes as text.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// How much was left out.
    pub skipped: usize,
    /// What tells the server from others, where the manifest says.
    pub source: Option<SourceFacts>,
}

impl Facts {
    fn of(manifest: &Manifest) -> Facts {
        Facts {
            created_at: manifest.created_at.clone(),
            finished_at: manifest.finished_at.clone(),
            server: manifest.server.version.clone(),
            tables: manifest.totals.tables,
            rows: manifest.totals.rows,
            raw_bytes: manifest.totals.raw_bytes,
            stored_bytes: manifest.totals.stored_bytes,
            skipped: manifest.skipped.len(),
            source: manifest.server.source.clone(),
        }
    }
}

/// Lists the backups in the store, and holds their objects against their manifests by size.
pub async fn list(options: &ListOptions) -> Result<Listing> {
    let store = options.store.as_ref();
    let places = examine::places(store, &options.databases).await?;
    let looked = examine::each(store, places, listed).await?;
    let (mut backups, mut unfinished) = (Vec::new(), Vec::new());
    for (place, backup) in looked {
        match backup {
            Some(backup) => backups.push(backup),
            None => unfinished.push(place),
        }
    }
    if let Some((rules, only)) = &options.rules {
        judge(&mut backups, rules, only.as_deref(), options.now);
    }
    Ok(Listing { backups, unfinished })
}

fn listed(examined: Examined) -> (Place, Option<Listed>) {
    let (facts, wrong) = match &examined.state {
        State::Unfinished => return (examined.place, None),
        State::Unreadable(error) => (None, vec![error.to_string()]),
        State::Complete { manifest, broken } => (Some(Facts::of(manifest)), broken.clone()),
    };
    let classes = examined.classes.into_iter().collect();
    let backup = Listed { place: examined.place.clone(), facts, wrong, classes, verdict: None };
    (examined.place, Some(backup))
}

/// The backups of each database of each server are judged by themselves.
fn judge(backups: &mut [Listed], rules: &Rules, only: Option<&str>, now: Timestamp) {
    let mut databases: Vec<String> = backups.iter().map(|backup| backup.place.database.clone()).collect();
    databases.sort_unstable();
    databases.dedup();
    for database in databases.iter().filter(|database| only.is_none_or(|only| only == *database)) {
        let mut of_it: Vec<&mut Listed> =
            backups.iter_mut().filter(|backup| backup.place.database == *database).collect();
        let candidate = |backup: &&mut Listed| {
            let source = backup.facts.as_ref().and_then(|facts| facts.source.clone());
            let candidate = Candidate {
                id: backup.place.id.clone(),
                condition: match (&backup.facts, backup.wrong.is_empty()) {
                    (None, _) => Condition::Unreadable,
                    (Some(_), true) => Condition::Good,
                    (Some(_), false) => Condition::Damaged,
                },
            };
            (candidate, source)
        };
        let candidates: Vec<_> = of_it.iter().map(candidate).collect();
        for (backup, verdict) in of_it.iter_mut().zip(decide_by_server(&candidates, rules, now)) {
            backup.verdict = Some(verdict);
        }
    }
}

/// What is known of one backup.
#[derive(Debug)]
pub struct Shown {
    /// Where it lies.
    pub place: Place,
    /// Its manifest.
    pub manifest: Manifest,
    /// The storage classes of its data, sorted; empty where the store does not say.
    pub classes: Vec<String>,
    /// What is wrong with it; empty when all its objects are there, each of its size.
    pub wrong: Vec<String>,
}

/// Finds one backup and gives its manifest.
pub async fn show(store: &dyn Store, wanted: &str) -> Result<Shown> {
    let (place, manifest) = backups::find(store, wanted).await?;
    let examined = examine::objects(store, &place, &manifest).await?;
    Ok(Shown { place, manifest, classes: examined.classes, wrong: examined.wrong })
}
