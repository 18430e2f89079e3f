//! Whether the backups of a database are healthy: rules over facts, each with a severity of its own.
//!
//! Always true here: what is found is the same on every machine that reads the same store, for nothing is compared with
//! a state of one's own.

use super::Age;
use super::retention::CLOCK_TOLERANCE;
use crate::archive::Selection;
use indicatif::HumanBytes;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt;

/// So many tables are named; the rest is counted.
const NAMED: usize = 5;

/// What is still healthy. A rule that is `None` is not applied.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// How old the newest good backup may be.
    pub max_age: Option<Age>,
    /// How many bytes it must have in the store at least.
    pub min_size: Option<u64>,
    /// By how many percent of the one before, before compression, it may be smaller.
    pub max_shrink: Option<u8>,
}

/// What is known of the backups of one database.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The newest good backup.
    pub newest: Option<BackupFacts>,
    /// The good one before it.
    pub before: Option<BackupFacts>,
    /// Backups newer than `newest` that are damaged or unreadable: the id and what is wrong.
    pub broken: Vec<(String, String)>,
    /// Backups whose time is in the future.
    pub future: Vec<String>,
    /// What killed dumps left: folders without a manifest and uploads, so old that no dump can be running there.
    pub leftovers: Vec<String>,
}

/// What is known of one good backup.
#[derive(Debug, Clone)]
pub struct BackupFacts {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// Its bytes in the store.
    pub stored_bytes: u64,
    /// Its bytes before compression.
    pub raw_bytes: u64,
    /// The rows of each table, by `schema.name`.
    pub tables: BTreeMap<String, u64>,
    /// What was selected. Backups of different selections are not compared.
    pub selection: Selection,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well.
    Fine,
    /// Somebody should look.
    Warning,
    /// There may be nothing to restore from.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Fine => "ok",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        })
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word for machines, which never changes: `no-backup`, `too-old`, `from-the-future`, `broken`, `too-small`,
    /// `shrunken`, `tables-missing`, `tables-emptied`, `leftovers`.
    pub rule: &'static str,
    /// For people, lower case, without a full stop.
    pub message: String,
}

/// Judges the backups of one database; what is worst comes first, and nothing is said where nothing is wrong.
pub fn judge(facts: &Facts, limits: &Limits, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, rule, message| findings.push(Finding { severity, rule, message });
    for (id, problem) in &facts.broken {
        find(Severity::Critical, "broken", format!("backup {id} is broken: {problem}"));
    }
    match &facts.newest {
        None => find(Severity::Critical, "no-backup", "there is no good backup".to_owned()),
        Some(newest) => judge_newest(newest, limits, now, &mut find),
    }
    if let (Some(newest), Some(before)) = (&facts.newest, &facts.before)
        && newest.selection == before.selection
    {
        compare(newest, before, limits, &mut find);
    }
    if let Some(first) = facts.future.first() {
        let message =
            format!("{} of the backups are from the future, such as {first}: a clock is off", facts.future.len());
        find(Severity::Warning, "from-the-future", message);
    }
    if let Some(first) = facts.leftovers.first() {
        let message = format!("{} left by dumps that were killed, such as {first}", facts.leftovers.len());
        find(Severity::Warning, "leftovers", message);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn judge_newest(
    newest: &BackupFacts,
    limits: &Limits,
    now: Timestamp,
    find: &mut impl FnMut(Severity, &'static str, String),
) {
    let age = now.duration_since(newest.begun);
    if let Some(max_age) = limits.max_age
        && newest.begun < max_age.before(now, &TimeZone::UTC)
    {
        let message = format!("the newest good backup, {}, is {} old, allowed are {max_age}", newest.id, words(age));
        find(Severity::Critical, "too-old", message);
    }
    if let Some(min_size) = limits.min_size
        && newest.stored_bytes < min_size
    {
        let [size, least] = sizes([newest.stored_bytes, min_size]);
        let message = format!("backup {} has {size}, expected are at least {least}", newest.id);
        find(Severity::Critical, "too-small", message);
    }
}

/// Two sizes for people, which the words have to tell apart where they differ.
fn sizes(bytes: [u64; 2]) -> [String; 2] {
    let words = bytes.map(|bytes| HumanBytes(bytes).to_string());
    if words[0] == words[1] && bytes[0] != bytes[1] { bytes.map(|bytes| format!("{bytes} bytes")) } else { words }
}

/// Holds a backup against the one before it.
fn compare(
    newest: &BackupFacts,
    before: &BackupFacts,
    limits: &Limits,
    find: &mut impl FnMut(Severity, &'static str, String),
) {
    let lost = u128::from(before.raw_bytes.saturating_sub(newest.raw_bytes));
    if let Some(max_shrink) = limits.max_shrink
        && lost * 100 > u128::from(before.raw_bytes) * u128::from(max_shrink)
    {
        let percent = lost * 100 / u128::from(before.raw_bytes.max(1));
        let [was, is] = sizes([before.raw_bytes, newest.raw_bytes]);
        let message = format!(
            "backup {} is {percent} % smaller than {} ({was} before compression, then {is}), allowed are {max_shrink} %",
            newest.id, before.id
        );
        find(Severity::Critical, "shrunken", message);
    }
    let missing: Vec<&str> =
        before.tables.keys().filter(|table| !newest.tables.contains_key(*table)).map(String::as_str).collect();
    if !missing.is_empty() {
        let message = format!("tables that {} had are missing in {}: {}", before.id, newest.id, some(&missing));
        find(Severity::Warning, "tables-missing", message);
    }
    let emptied: Vec<&str> = before
        .tables
        .iter()
        .filter(|(table, rows)| **rows > 0 && newest.tables.get(*table) == Some(&0))
        .map(|(table, _)| table.as_str())
        .collect();
    if !emptied.is_empty() {
        let message = format!("tables that had rows in {} have none in {}: {}", before.id, newest.id, some(&emptied));
        find(Severity::Warning, "tables-emptied", message);
    }
}

fn some(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// Whether a backup's time is so far ahead that a clock is off.
pub fn is_future(begun: Timestamp, now: Timestamp) -> bool {
    begun > now.saturating_add(CLOCK_TOLERANCE).unwrap_or(now)
}

/// A length of time in its two largest units: `3d 4h`, `26m`.
pub fn words(length: SignedDuration) -> String {
    let minutes = length.as_mins().max(0);
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{BackupFacts, Facts, Limits, Severity, is_future, judge, words};
    use crate::archive::Selection;
    use crate::keep::Age;
    use jiff::{SignedDuration, Timestamp};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn backup(begun: &str, raw_bytes: u64, tables: &[(&str, u64)]) -> BackupFacts {
        BackupFacts {
            id: format!("of {begun}"),
            begun: at(begun),
            stored_bytes: raw_bytes / 4,
            raw_bytes,
            tables: tables.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect(),
            selection: Selection::default(),
        }
    }

    fn rules(facts: &Facts, now: &str) -> Vec<(Severity, &'static str)> {
        let limits = Limits { max_age: Some(Age::hours(26)), min_size: Some(100), max_shrink: Some(50) };
        judge(facts, &limits, at(now)).iter().map(|finding| (finding.severity, finding.rule)).collect()
    }

    fn healthy() -> Facts {
        Facts {
            newest: Some(backup("2026-11-24T02:00:00Z", 1000, &[("public.a", 10), ("public.b", 0)])),
            before: Some(backup("2026-11-23T02:00:00Z", 1100, &[("public.a", 11)])),
            ..Facts::default()
        }
    }

    #[test]
    fn healthy_backups_are_not_spoken_of() {
        assert_eq!(rules(&healthy(), "2026-11-24T03:00:00Z"), []);
        // Exactly as old as allowed is not too old.
        assert_eq!(rules(&healthy(), "2026-11-25T04:00:00Z"), []);
    }

    #[test]
    fn each_illness_has_its_name_and_the_worst_comes_first() {
        let now = "2026-11-24T03:00:00Z";
        assert_eq!(rules(&Facts::default(), now), [(Severity::Critical, "no-backup")]);
        assert_eq!(rules(&healthy(), "2026-11-25T04:01:00Z"), [(Severity::Critical, "too-old")]);
        let small = Facts { newest: Some(backup("2026-11-24T02:00:00Z", 396, &[])), ..Facts::default() };
        assert_eq!(rules(&small, now), [(Severity::Critical, "too-small")]);
        let facts = Facts {
            newest: Some(backup("2026-11-24T02:00:00Z", 549, &[("public.b", 0)])),
            before: Some(backup("2026-11-23T02:00:00Z", 1100, &[("public.a", 11), ("public.b", 3)])),
            broken: vec![("x".to_owned(), "toc.dat is missing".to_owned())],
            future: vec!["y".to_owned()],
            leftovers: vec!["z/".to_owned()],
        };
        let expected = [
            (Severity::Critical, "broken"),
            (Severity::Critical, "shrunken"),
            (Severity::Warning, "tables-missing"),
            (Severity::Warning, "tables-emptied"),
            (Severity::Warning, "from-the-future"),
            (Severity::Warning, "leftovers"),
        ];
        assert_eq!(rules(&facts, now), expected);
    }

    #[test]
    fn sizes_are_said_as_people_read_them_and_to_the_byte_only_where_nothing_else_tells_them_apart() {
        let said = |was: u64, is: u64, min_size: u64| -> Vec<String> {
            let facts = Facts {
                newest: Some(backup("2026-11-24T02:00:00Z", is, &[])),
                before: Some(backup("2026-11-23T02:00:00Z", was, &[])),
                ..Facts::default()
            };
            let limits = Limits { max_age: None, min_size: Some(min_size), max_shrink: Some(50) };
            let found = judge(&facts, &limits, at("2026-11-24T03:00:00Z"));
            found.into_iter().map(|finding| finding.message.replace("of 2026-11-2", "")).collect()
        };
        assert_eq!(
            said(5 << 30, 6 << 20, 2 << 20),
            [
                "backup 4T02:00:00Z has 1.50 MiB, expected are at least 2.00 MiB",
                "backup 4T02:00:00Z is 99 % smaller than 3T02:00:00Z (5.00 GiB before compression, then 6.00 MiB), \
                 allowed are 50 %",
            ]
        );
        let close = said(4 << 30, 4 << 30, (1 << 30) + 1);
        assert_eq!(close, ["backup 4T02:00:00Z has 1073741824 bytes, expected are at least 1073741825 bytes"]);
    }

    #[test]
    fn backups_of_different_selections_are_not_compared() {
        let mut facts = healthy();
        let selection = Selection { schemas: vec!["sales".to_owned()], ..Selection::default() };
        facts.newest = Some(BackupFacts { selection, ..backup("2026-11-24T02:00:00Z", 400, &[]) });
        assert_eq!(rules(&facts, "2026-11-24T03:00:00Z"), []);
    }

    #[test]
    fn a_backup_is_from_the_future_when_no_tolerable_clock_explains_it() {
        let now = at("2026-11-24T03:00:00Z");
        assert!(!is_future(at("2026-11-24T03:10:00Z"), now));
        assert!(is_future(at("2026-11-24T03:10:01Z"), now));
    }

    #[test]
    fn ages_are_said_in_two_units() {
        let said = [0, 59, 61, 1439, 1440, 4600].map(|minutes| words(SignedDuration::from_mins(minutes)));
        assert_eq!(said, ["0m", "59m", "1h 1m", "23h 59m", "1d 0h", "3d 4h"]);
    }
}
