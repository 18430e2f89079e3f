//! What backups cost: what is stored, what a plan will cost when it has reached its steady state, what a restore costs.
//!
//! Always true here: amounts are in the price table's currency, a month has 30 days and a GB is 2^30 bytes, as AWS bills
//! them. A plan is not guessed by a formula: its retention is played day by day with the function that prunes.

#![expect(clippy::cast_precision_loss, reason = "amounts are shown in cents, and no count here is near 2^52")]

pub mod prices;

use super::retention::{Candidate, Condition, Rules, decide};
use crate::archive::BackupId;
use crate::error::{Error, Kind, Result};
use jiff::{SignedDuration, Timestamp};
use prices::{ClassPrice, Prices};
use std::collections::BTreeMap;

const GB: f64 = (1u64 << 30) as f64;
const DAYS_A_MONTH: f64 = 30.0;

/// A plan is played for so many days; what is counted is the last year of them. Rules that keep backups for longer than
/// the rest are still growing then, which the result says.
const PLAYED_DAYS: i64 = 4 * 365;
const COUNTED_DAYS: i64 = 365;

/// What one backup puts into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The sizes of its data objects in bytes.
    pub objects: Vec<u64>,
    /// The size of its manifest, which is always in STANDARD.
    pub manifest: u64,
}

/// How backups are made and kept.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For people, such as the text it was given as.
    pub name: String,
    /// The class that data is uploaded in.
    pub class: String,
    /// After how many days which class, in their order.
    pub transitions: Vec<(u32, String)>,
    /// Backups a day.
    pub per_day: u32,
    /// Which stay.
    pub rules: Rules,
}

/// What a plan costs a month.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Monthly {
    /// Storage, minimum sizes included.
    pub storage: f64,
    /// Uploads.
    pub requests: f64,
    /// Moves from class to class.
    pub transitions: f64,
    /// What is billed for days after a backup was deleted or moved, because its class has a minimum duration.
    pub early: f64,
    /// Backups kept, on average of the last year.
    pub backups: f64,
    /// Bytes stored, on average of the last year.
    pub bytes: f64,
    /// Whether backups are still being added to, after four years.
    pub growing: bool,
}

impl Monthly {
    /// Everything together.
    pub fn total(&self) -> f64 {
        self.storage + self.requests + self.transitions + self.early
    }
}

/// What reading backups back costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Getting it out of its class, by the cheapest way and by the fastest that is usual: the name and the amount. Classes
    /// that are read at once have one way.
    pub ways: Vec<(String, f64)>,
    /// GET requests.
    pub requests: f64,
    /// Moving the bytes out of AWS; nothing to a server in the same region.
    pub transfer: f64,
}

/// What objects in these classes cost a month, by class: sizes in bytes.
///
/// Errors: [`Kind::Usage`] for a class that has no price.
pub fn stored(by_class: &BTreeMap<String, Vec<u64>>, prices: &Prices) -> Result<BTreeMap<String, f64>> {
    let cost = |(class, sizes): (&String, &Vec<u64>)| {
        let price = price(prices, class)?;
        Ok((class.clone(), sizes.iter().map(|size| price.storage_a_month(*size)).sum()))
    };
    by_class.iter().map(cost).collect()
}

/// What reading one backup costs when its data lies in a class.
pub fn reading(shape: &Shape, class: &str, prices: &Prices) -> Result<Reading> {
    let price = price(prices, class)?;
    let (bytes, objects) = (sum(&shape.objects), count(&shape.objects));
    let amount = |way: &prices::Way| way.a_gb * bytes / GB + way.a_thousand * objects / 1000.0;
    let ways = price.ways.iter().map(|way| (way.name.clone(), amount(way)));
    Ok(Reading {
        ways: ways.collect(),
        requests: price.get_a_thousand * (objects + 1.0) / 1000.0,
        transfer: prices.transfer_out_a_gb * bytes / GB,
    })
}

/// What a plan costs a month at its steady state.
pub fn plan(plan: &Plan, shape: &Shape, prices: &Prices) -> Result<Monthly> {
    let first = price(prices, &plan.class)?;
    let standard = price(prices, "STANDARD")?;
    // The classes that a backup goes through: from which age on, and their prices.
    let mut stages: Vec<(i64, &ClassPrice)> = vec![(0, first)];
    for (days, class) in &plan.transitions {
        stages.push((i64::from(*days), price(prices, class)?));
    }
    let ages = play(plan)?;
    let mut monthly = Monthly { growing: ages.growing, ..Monthly::default() };
    let days = COUNTED_DAYS as f64;
    let mut backup_days = 0.0;
    for (age, count) in &ages.alive {
        let stage = stages.iter().rev().find(|(from, _)| from <= age).map_or(first, |(_, price)| price);
        let month: f64 = shape.objects.iter().map(|size| stage.storage_a_month(*size)).sum();
        let manifest = standard.storage_a_month(shape.manifest);
        monthly.storage += (month + manifest) * *count as f64 / days;
        backup_days += *count as f64;
    }
    monthly.backups = backup_days / days;
    monthly.bytes = monthly.backups * (sum(&shape.objects) + shape.manifest as f64);
    let made = f64::from(plan.per_day) * DAYS_A_MONTH;
    let objects = count(&shape.objects);
    monthly.requests = made * (objects * first.put_a_thousand + standard.put_a_thousand) / 1000.0;
    for pair in stages.windows(2) {
        let [(from, left), (to, entered)] = pair else { continue };
        let reach = ages.reached(*to) / days * DAYS_A_MONTH;
        monthly.transitions += reach * objects * entered.transition_a_thousand / 1000.0;
        monthly.early += reach * short(left, to - from, shape);
    }
    for (age, count) in &ages.removed {
        let (from, stage) = stages.iter().rev().find(|(from, _)| from <= age).map_or((0, first), |(f, p)| (*f, *p));
        monthly.early += *count as f64 / days * DAYS_A_MONTH * short(stage, age - from, shape);
    }
    Ok(monthly)
}

/// What the days cost that a backup leaves its class too early.
fn short(price: &ClassPrice, stayed: i64, shape: &Shape) -> f64 {
    let missing = (i64::from(price.minimum_days) - stayed).max(0) as f64;
    let month: f64 = shape.objects.iter().map(|size| price.storage_a_month(*size)).sum();
    month * missing / DAYS_A_MONTH
}

/// What happened in the last year of a plan that was played.
struct Ages {
    /// For each age in days, on how many days how many backups had it.
    alive: BTreeMap<i64, u64>,
    /// For each age, how many backups were removed at it.
    removed: BTreeMap<i64, u64>,
    /// Whether there are more backups at the end of the year than at its beginning.
    growing: bool,
}

impl Ages {
    /// How many backups reached this age within the year.
    fn reached(&self, age: i64) -> f64 {
        self.alive.get(&age).copied().unwrap_or(0) as f64
    }
}

/// Plays a plan, day after day.
fn play(plan: &Plan) -> Result<Ages> {
    if plan.rules.is_empty() {
        return Err(Error::new(Kind::Usage, "a plan without a rule keeps everything, so its cost has no end")
            .on(plan.name.clone())
            .hint("say what stays, such as keep-within=30d"));
    }
    if plan.per_day == 0 || plan.per_day > 24 {
        return Err(Error::new(Kind::Usage, "a plan makes 1 to 24 backups a day").on(plan.name.clone()));
    }
    // The first day of a leap year, so that both kinds of years are played.
    let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let every = SignedDuration::from_secs(86_400 / i64::from(plan.per_day));
    let mut ages = Ages { alive: BTreeMap::new(), removed: BTreeMap::new(), growing: false };
    let mut kept: Vec<(i64, Candidate)> = Vec::new();
    let mut before = 0;
    for day in 0..PLAYED_DAYS {
        for nth in 0..plan.per_day {
            let moment = start + SignedDuration::from_hours(24 * day) + every * i32::try_from(nth).unwrap_or(0);
            kept.push((day, Candidate { id: BackupId::new(moment), condition: Condition::Good }));
        }
        let now = start + SignedDuration::from_hours(24 * day + 24);
        let candidates: Vec<Candidate> = kept.iter().map(|(_, candidate)| candidate.clone()).collect();
        let verdicts = decide(&candidates, &plan.rules, now);
        let counted = day >= PLAYED_DAYS - COUNTED_DAYS;
        if day == PLAYED_DAYS - COUNTED_DAYS {
            before = kept.len();
        }
        let mut stays = verdicts.iter().map(super::Verdict::stays);
        kept.retain(|(made, _)| {
            let stays = stays.next().unwrap_or(true);
            if counted {
                *(if stays { &mut ages.alive } else { &mut ages.removed }).entry(day - made).or_default() += 1;
            }
            stays
        });
    }
    ages.growing = kept.len() > before + 1;
    Ok(ages)
}

fn price<'a>(prices: &'a Prices, class: &str) -> Result<&'a ClassPrice> {
    prices.class(class).ok_or_else(|| {
        Error::new(Kind::Usage, format!("the price table has no class {class}"))
            .hint("add it to a table of your own and give that by --prices")
    })
}

fn sum(sizes: &[u64]) -> f64 {
    sizes.iter().map(|size| *size as f64).sum()
}

fn count(sizes: &[u64]) -> f64 {
    sizes.len() as f64
}

#[cfg(test)]
mod tests;
