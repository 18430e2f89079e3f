//! Playing a plan, day after day, until as many backups go as come.

use super::plan::Plan;
use crate::archive::BackupId;
use crate::keep::{Candidate, Condition, Verdict, decide};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is counted, once the plan is steady, is one year.
const COUNTED_DAYS: i64 = 365;

/// No plan is played for longer, whatever its rules.
const MOST_DAYS: i64 = 20 * 365;

/// A plan that removes nothing is looked at after so long.
const ENDLESS_DAYS: i64 = 365;

const DAY: i64 = 86_400;

type Next = dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync;

/// When backups begin: the first time after a moment.
#[derive(Clone)]
pub struct Starts(Arc<Next>);

impl Starts {
    /// So many a day, evenly.
    pub fn per_day(count: u32) -> Self {
        let every = DAY / i64::from(count.clamp(1, 1440));
        Starts::at(move |after| Timestamp::from_second((after.as_second().div_euclid(every) + 1) * every).ok())
    }

    /// As a schedule says.
    pub fn at(next: impl Fn(Timestamp) -> Option<Timestamp> + Send + Sync + 'static) -> Self {
        Starts(Arc::new(next))
    }

    fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        (self.0)(moment)
    }
}

impl fmt::Debug for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starts").finish_non_exhaustive()
    }
}

/// What happened in the days of a plan that were counted.
pub(super) struct Ages {
    /// How many days were counted.
    pub(super) days: i64,
    /// Backups that were made in them.
    pub(super) made: u64,
    /// For each age in days, on how many days how many backups had it.
    pub(super) alive: BTreeMap<i64, u64>,
    /// For each age, how many backups were removed at it.
    pub(super) removed: BTreeMap<i64, u64>,
    /// How many days the plan was played when it does not come to its steady state by then.
    pub(super) growing: Option<i64>,
}

/// Plays a plan.
pub(super) fn play(plan: &Plan) -> Ages {
    // The first day of a leap year, so that all kinds of years are played.
    let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let (days, growing) = match steady_after(plan, start) {
        None => (ENDLESS_DAYS, Some(ENDLESS_DAYS)),
        Some(days) if days + COUNTED_DAYS > MOST_DAYS => (MOST_DAYS, Some(MOST_DAYS)),
        Some(days) => (days + COUNTED_DAYS, None),
    };
    // What still grows is told as it is in the end, and not on average.
    let counted = if growing.is_some() { 30 } else { COUNTED_DAYS };
    let mut ages = Ages { days: counted, made: 0, alive: BTreeMap::new(), removed: BTreeMap::new(), growing };
    let mut kept: Vec<(i64, Candidate)> = Vec::new();
    let mut next = plan.starts.after(start - SignedDuration::from_secs(1));
    for day in 0..days {
        let counts = day >= days - counted;
        let now = start + SignedDuration::from_hours(24 * (day + 1));
        while let Some(moment) = next.filter(|moment| *moment < now) {
            kept.push((day, Candidate { id: BackupId::new(moment), condition: Condition::Good }));
            ages.made += u64::from(counts);
            next = plan.starts.after(moment);
        }
        let stays = stays(plan, &kept, now);
        let mut stays = stays.into_iter();
        kept.retain(|(made, _)| {
            let age = day - made;
            let stays = stays.next().unwrap_or(true) && plan.expire_days.is_none_or(|days| age < i64::from(days));
            if counts {
                *(if stays { &mut ages.alive } else { &mut ages.removed }).entry(age).or_default() += 1;
            }
            stays
        });
    }
    ages
}

/// Which of these the rules keep; all, where there is no rule.
fn stays(plan: &Plan, kept: &[(i64, Candidate)], now: Timestamp) -> Vec<bool> {
    if plan.rules.is_empty() {
        return vec![true; kept.len()];
    }
    let candidates: Vec<Candidate> = kept.iter().map(|(_, candidate)| candidate.clone()).collect();
    decide(&candidates, &plan.rules, now).iter().map(Verdict::stays).collect()
}

/// After how many days as many backups go as come; never, where nothing removes any.
fn steady_after(plan: &Plan, start: Timestamp) -> Option<i64> {
    let expire = plan.expire_days.map(i64::from);
    if plan.rules.is_empty() {
        return expire;
    }
    let days = plan.rules.longest(interval(plan, start), start) / DAY + 2;
    Some(expire.map_or(days, |expire| days.min(expire)))
}

/// Seconds between backups, on average.
fn interval(plan: &Plan, start: Timestamp) -> i64 {
    const LOOKED_AT: i64 = 100;
    let (mut moment, mut seen) = (start, 0);
    while seen < LOOKED_AT {
        let Some(next) = plan.starts.after(moment) else { break };
        (moment, seen) = (next, seen + 1);
    }
    if seen == 0 { DAY } else { (moment.as_second() - start.as_second()) / seen }
}
