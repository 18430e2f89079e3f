//! `pgstow report`: what the store holds, as one page for people: backups by database, sizes and durations over time, the
//! last success, runs that left no backup, what a check finds, what was left out, and what it costs.
//!
//! A run that fails removes what it wrote, so it is told by its absence: exactly where a job's schedule is known, by long
//! pauses otherwise. The page is one text without scripts and without anything to fetch. Names come from databases and are
//! escaped.

mod chart;
mod html;

pub use html::page;

use super::backups::Place;
use super::check::{CheckOptions, Depth, check};
use super::cost::{Stored, stored};
use super::examine::{self, Examined, State};
use super::{Progress, Stop};
use crate::archive::keys;
use crate::archive::manifest::Manifest;
use crate::error::Result;
use crate::jobs::Job;
use crate::keep::cost::prices::Prices;
use crate::keep::health::{Finding, Limits};
use crate::keep::missed::{Missed, long_pauses, missed_slots};
use crate::keep::{Age, Candidate};
use crate::store::Store;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs are looked for so far back, as far as the calendar goes.
const LOOKED_BACK_DAYS: i64 = 182;

/// What to tell of.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The job whose database is meant, for its schedule, retention and limits; all databases, if this is absent.
    pub job: Option<Job>,
    /// The moment.
    pub now: Timestamp,
}

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
    /// What is stored and costs a month, by class; empty where a class has no price.
    pub stored: Vec<Stored>,
    /// The prices' currency, date and source.
    pub prices: String,
}

/// The backups of one database.
#[derive(Debug, Clone)]
pub struct DatabaseReport {
    /// The database's name.
    pub name: String,
    /// Its good backups, the newest first.
    pub backups: Vec<BackupLine>,
    /// Backups that are damaged, or whose manifest cannot be read: the id, and what is wrong.
    pub broken: Vec<(String, String)>,
    /// Runs that left no backup, or pauses that are too long; the newest first.
    pub missed: Vec<Missed>,
    /// What a quick check finds.
    pub findings: Vec<Finding>,
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

/// What one folder is, for the page.
enum Seen {
    Good(BackupLine),
    Broken(String),
    Unfinished,
}

/// Looks at every backup in the store, or at those of the job.
pub async fn report(options: &ReportOptions, stop: &Stop) -> Result<Report> {
    let store = options.store.as_ref();
    let only = options.job.as_ref().map(|job| vec![job.connection.database().to_owned()]).unwrap_or_default();
    let places = stop.unless(examine::places(store, &only)).await?;
    let looked = stop.unless(examine::each(store, places, |examined| look(&examined))).await?;
    let mut databases: BTreeMap<String, (DatabaseReport, Vec<Candidate>)> = BTreeMap::new();
    let mut unfinished = Vec::new();
    for (place, candidate, seen) in looked {
        let empty = || (DatabaseReport::empty(&place.database), Vec::new());
        let (database, candidates) = match &seen {
            Seen::Unfinished => {
                unfinished.push(format!("{}/{}", place.database, place.id));
                continue;
            }
            _ => databases.entry(place.database.clone()).or_insert_with(empty),
        };
        candidates.extend(candidate);
        match seen {
            Seen::Good(line) => database.backups.push(line),
            Seen::Broken(what) => database.broken.push((place.id.to_string(), what)),
            Seen::Unfinished => {}
        }
    }
    let mut findings = findings(options, &databases.keys().cloned().collect::<Vec<_>>(), stop).await?;
    for (name, (database, candidates)) in &mut databases {
        database.missed = missed(options, candidates);
        database.findings = findings.remove(name).unwrap_or_default();
    }
    let below = only.first().map_or(String::new(), |database| format!("{}/", keys::database_folder(database)));
    let entries = stop.unless(store.list(&below)).await?;
    let prices = Prices::built_in();
    Ok(Report {
        store: store.describe(),
        made_at: options.now,
        databases: databases.into_values().map(|(database, _)| database).collect(),
        unfinished,
        stored: stored(&entries, &prices).unwrap_or_default(),
        prices: format!("{}, prices of {} from {}", prices.currency, prices.date, prices.source),
    })
}

fn look(examined: &Examined) -> (Place, Option<Candidate>, Seen) {
    let place = examined.place.clone();
    let candidate = examined.condition().map(|condition| Candidate { id: place.id.clone(), condition });
    let seen = match &examined.state {
        State::Unfinished => Seen::Unfinished,
        State::Unreadable(error) => Seen::Broken(error.to_string()),
        State::Complete { broken, .. } if !broken.is_empty() => Seen::Broken(broken.join(", ")),
        State::Complete { manifest, .. } => Seen::Good(line(&place, manifest)),
    };
    (place, candidate, seen)
}

/// What a quick check finds, by database. How old the newest may be is known of a job alone.
async fn findings(
    options: &ReportOptions,
    databases: &[String],
    stop: &Stop,
) -> Result<BTreeMap<String, Vec<Finding>>> {
    if databases.is_empty() {
        return Ok(BTreeMap::new());
    }
    let usual = || Limits { max_age: None, min_size: None, max_shrink: Some(crate::jobs::JobCheck::MAX_SHRINK) };
    let options = CheckOptions {
        store: Arc::clone(&options.store),
        copies: Vec::new(),
        databases: databases.to_vec(),
        limits: options.job.as_ref().map_or_else(usual, |job| job.check.limits.clone()),
        depth: Depth::Quick,
        jobs: 1,
        unfinished_after: Age::days(1),
        now: options.now,
    };
    let checked = check(options, Arc::new(Progress::default()), stop.clone()).await?;
    Ok(checked.databases.into_iter().map(|checked| (checked.database, checked.findings)).collect())
}

/// Runs that left no backup; the newest first.
fn missed(options: &ReportOptions, candidates: &[Candidate]) -> Vec<Missed> {
    let now = options.now;
    let Some(job) = &options.job else { return long_pauses(candidates, now) };
    let Some(schedule) = &job.schedule else { return long_pauses(candidates, now) };
    // What was before the first backup was before the job.
    let Some(first) = candidates.iter().map(|candidate| candidate.id.created()).min() else { return Vec::new() };
    let back = now.saturating_sub(SignedDuration::from_hours(24 * LOOKED_BACK_DAYS)).unwrap_or(first);
    let mut slots = Vec::new();
    let mut slot = schedule.next_after(first.max(back));
    while let Some(at) = slot.filter(|at| *at + schedule.jitter() < now) {
        slots.push(at);
        slot = schedule.next_after(at);
    }
    let mut missed = missed_slots(candidates, &slots, job.store.retention.as_ref(), now);
    missed.reverse();
    missed
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
    fn empty(name: &str) -> DatabaseReport {
        DatabaseReport {
            name: name.to_owned(),
            backups: Vec::new(),
            broken: Vec::new(),
            missed: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The newest good backup.
    pub fn newest(&self) -> Option<&BackupLine> {
        self.backups.first()
    }

    /// Bytes of all good backups.
    pub fn stored_bytes(&self) -> u64 {
        self.backups.iter().map(|backup| backup.stored_bytes).sum()
    }

    /// What did not go well, in sentences; the newest first, and at most so many of one sort.
    pub fn failures(&self, most: usize) -> Vec<String> {
        // What is broken is told of all backups, and not only of those that a check looks at.
        let findings = self.findings.iter().filter(|finding| finding.rule != "broken");
        let mut lines: Vec<String> =
            findings.map(|finding| format!("{}: {}", finding.severity, finding.message)).collect();
        let broken = self.broken.iter().map(|(id, what)| format!("backup {id} is broken: {what}"));
        let missed = self.missed.iter().map(missed_in_words);
        for mut sort in [broken.collect::<Vec<_>>(), missed.collect()] {
            let more = sort.len().saturating_sub(most);
            sort.truncate(most);
            lines.extend(sort);
            lines.extend((more > 0).then(|| format!("and {more} more like these")));
        }
        lines
    }
}

fn missed_in_words(missed: &Missed) -> String {
    let show = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    match missed.to {
        None => format!("the run of {} left no backup", show(missed.from)),
        Some(to) => {
            let hours = to.duration_since(missed.from).as_hours();
            let length = if hours < 48 { format!("{hours} h") } else { format!("{} d {} h", hours / 24, hours % 24) };
            format!("no backup between {} and {} ({length})", show(missed.from), show(to))
        }
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
