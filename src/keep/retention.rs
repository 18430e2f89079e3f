//! Which backups stay. Rules are joined by "or": a backup stays as soon as one of them wants it.
//!
//! Always true here, whatever the rules and the clock say:
//!
//! - The newest good backup stays, and of good backups never fewer than the floor.
//! - Only good backups take places in rules. One that is damaged takes none, and goes when all that stays is newer.
//! - One whose manifest cannot be read, and one from the future, is left for a person to judge.
//! - Ages count from the newest good backup (or from now, if that is earlier): when backups stop, nothing ages away.
//! - Deciding again over what stays changes nothing.

use super::Age;
use crate::archive::BackupId;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use std::fmt;

/// Clocks of machines may be so far apart before a backup counts as one from the future.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

const DAY: i64 = 86_400;

/// What says which backups stay.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The newest so many.
    pub last: u32,
    /// All of this age.
    pub within: Option<Age>,
    /// The newest of each of so many hours that have a backup.
    pub hourly: u32,
    /// The same by days.
    pub daily: u32,
    /// The same by ISO weeks, which begin on Monday.
    pub weekly: u32,
    /// The same by months.
    pub monthly: u32,
    /// The same by years.
    pub yearly: u32,
    /// However the other rules turn out, the newest so many stay; taken as at least 1.
    pub floor: u32,
    /// Where hours, days and the rest begin.
    pub zone: TimeZone,
}

impl Default for Rules {
    /// No rule but the floor of one, in UTC.
    fn default() -> Self {
        let zone = TimeZone::UTC;
        Rules { last: 0, within: None, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, floor: 1, zone }
    }
}

impl Rules {
    /// Whether no rule beside the floor is set. Pruning by these would leave next to nothing, which nobody can mean.
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        self.within.is_none() && counts.iter().all(|count| *count == 0)
    }

    /// After how many seconds none of these rules keeps a backup any more, when one is made every so many seconds.
    pub fn longest(&self, every: i64, now: Timestamp) -> i64 {
        let span = |count: u32, seconds: i64| i64::from(count).saturating_mul(seconds.max(every));
        let within = self.within.map_or(0, |age| now.as_second() - age.before(now, &self.zone).as_second());
        let longest = [
            span(self.last.max(self.floor), 0),
            within,
            span(self.hourly, 3600),
            span(self.daily, DAY),
            span(self.weekly, 7 * DAY),
            span(self.monthly, 31 * DAY),
            span(self.yearly, 366 * DAY),
        ];
        longest.into_iter().max().unwrap_or(0).saturating_add(every)
    }

    fn periods(&self) -> [(Period, u32); 5] {
        [
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ]
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.last > 0 {
            words.push(format!("the last {}", self.last));
        }
        if let Some(age) = &self.within {
            words.push(format!("within {age}"));
        }
        words.extend(self.periods().into_iter().filter(|(_, count)| *count > 0).map(|(p, n)| format!("{n} {p}")));
        if words.is_empty() {
            words.push("nothing".to_owned());
        }
        write!(f, "keep {}; at least {}", words.join(", "), self.floor.max(1))
    }
}

/// A stretch of the calendar of which one backup stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour; the one that daylight saving repeats counts twice.
    Hour,
    /// A day.
    Day,
    /// An ISO week.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// The name of the period that a moment lies in, such as `2026-11-24`.
    fn of(self, moment: &ZonedDateTime) -> String {
        match self {
            Period::Hour => moment.strftime("%Y-%m-%d %H:00%:z").to_string(),
            Period::Day => moment.strftime("%Y-%m-%d").to_string(),
            Period::Week => {
                let week = moment.date().iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Period::Month => moment.strftime("%Y-%m").to_string(),
            Period::Year => moment.strftime("%Y").to_string(),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Period::Hour => "hourly",
            Period::Day => "daily",
            Period::Week => "weekly",
            Period::Month => "monthly",
            Period::Year => "yearly",
        })
    }
}

/// What is known of a backup that has a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All its objects are there, each of its size.
    Good,
    /// An object is missing or of another size.
    Damaged,
    /// The manifest cannot be read: it is damaged, or of a newer format.
    Unreadable,
}

/// One backup of one database, as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, which says when it was begun.
    pub id: BackupId,
    /// What is known of it.
    pub condition: Condition,
}

/// Whether a backup stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons; there is at least one.
    Keep(Vec<Reason>),
    /// It goes: no rule wants it.
    Remove,
    /// It goes: it is damaged, and all that stays is newer.
    RemoveDamaged,
}

impl Verdict {
    /// Whether it stays.
    pub fn stays(&self) -> bool {
        matches!(self, Verdict::Keep(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Keep(reasons) => {
                let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(", "))
            }
            Verdict::Remove => f.write_str("no rule keeps it"),
            Verdict::RemoveDamaged => f.write_str("damaged, and every backup that stays is newer"),
        }
    }
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is the newest good one, which no rule can remove.
    Newest,
    /// It is the nth of the last so many.
    Last(u32, u32),
    /// It is young enough.
    Within(Age),
    /// It is the newest of this period.
    Period(Period, String),
    /// Without it there would be fewer than the floor.
    Floor(u32),
    /// Its time is in the future, so a clock is off.
    Future,
    /// It is damaged, but an older one stays too.
    Damaged,
    /// Nobody can say what it is worth.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Newest => f.write_str("newest good one"),
            Reason::Last(nth, of) => write!(f, "last {nth} of {of}"),
            Reason::Within(age) => write!(f, "within {age}"),
            Reason::Period(period, name) => write!(f, "{period} {name}"),
            Reason::Floor(floor) => write!(f, "floor of {floor}"),
            Reason::Future => f.write_str("from the future, so a clock is off: please look"),
            Reason::Damaged => f.write_str("damaged, counts for no rule; goes when all that stays is newer"),
            Reason::Unreadable => f.write_str("its manifest cannot be read: please look"),
        }
    }
}

/// Decides over the backups of one database, in any order; the verdicts are in the order of the backups.
pub fn decide(backups: &[Candidate], rules: &Rules, now: Timestamp) -> Vec<Verdict> {
    let is_future = |candidate: &Candidate| candidate.id.created() > now.saturating_add(CLOCK_TOLERANCE).unwrap_or(now);
    let mut reasons: Vec<Vec<Reason>> = vec![Vec::new(); backups.len()];
    let mut good: Vec<usize> = Vec::new();
    for (index, candidate) in backups.iter().enumerate() {
        match candidate.condition {
            Condition::Unreadable => reasons[index].push(Reason::Unreadable),
            _ if is_future(candidate) => reasons[index].push(Reason::Future),
            Condition::Good => good.push(index),
            Condition::Damaged => {}
        }
    }
    // Ids sort by time; the tail settles ties of a second.
    good.sort_by(|a, b| backups[*b].id.cmp(&backups[*a].id));
    for (nth, index) in (1..).zip(&good) {
        if nth == 1 {
            reasons[*index].push(Reason::Newest);
        }
        if nth <= rules.last {
            reasons[*index].push(Reason::Last(nth, rules.last));
        }
    }
    keep_within(backups, &good, rules, now, &mut reasons);
    keep_periods(backups, &good, rules, &mut reasons);
    let floor = rules.floor.max(1);
    for index in good.iter().take(usize::try_from(floor).unwrap_or(usize::MAX)) {
        if reasons[*index].is_empty() {
            reasons[*index].push(Reason::Floor(floor));
        }
    }
    let oldest_kept = good.iter().rev().find(|index| !reasons[**index].is_empty());
    let verdict = |(candidate, mut reasons): (&Candidate, Vec<Reason>)| {
        if candidate.condition == Condition::Damaged && reasons.is_empty() {
            if oldest_kept.is_some_and(|kept| candidate.id < backups[*kept].id) {
                return Verdict::RemoveDamaged;
            }
            reasons.push(Reason::Damaged);
        }
        if reasons.is_empty() { Verdict::Remove } else { Verdict::Keep(reasons) }
    };
    backups.iter().zip(reasons).map(verdict).collect()
}

fn keep_within(backups: &[Candidate], good: &[usize], rules: &Rules, now: Timestamp, reasons: &mut [Vec<Reason>]) {
    let (Some(age), Some(newest)) = (&rules.within, good.first()) else { return };
    let cutoff = age.before(backups[*newest].id.created().min(now), &rules.zone);
    for index in good.iter().filter(|index| backups[**index].id.created() >= cutoff) {
        reasons[*index].push(Reason::Within(*age));
    }
}

fn keep_periods(backups: &[Candidate], good: &[usize], rules: &Rules, reasons: &mut [Vec<Reason>]) {
    for (period, count) in rules.periods() {
        let (mut seen, mut last) = (0, None);
        for index in good {
            let name = period.of(&backups[*index].id.created().to_zoned_datetime(rules.zone.clone()));
            if last.as_ref() == Some(&name) {
                continue;
            }
            if seen == count {
                break;
            }
            seen += 1;
            last = Some(name.clone());
            reasons[*index].push(Reason::Period(period, name));
        }
    }
}

#[cfg(test)]
mod tests;
