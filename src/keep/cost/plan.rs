//! What a plan costs a month.

use super::play::{Ages, Starts, play};
use super::prices::{ClassPrice, Prices};
use super::{DAYS_A_MONTH, STANDARD, Shape, count, price, reading, sum};
use crate::error::Result;
use crate::keep::Rules;

/// Lifecycle rules leave smaller objects where they are, unless the rule says otherwise (Amazon S3 user guide,
/// "Transitioning objects using Amazon S3 Lifecycle").
const LEAST_MOVED: u64 = 128 << 10;

/// Lifecycle rules move objects down this list, and never up.
const WATERFALL: [&str; 7] =
    [STANDARD, "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];

/// How backups are made and kept.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For people, such as the text it was given as.
    pub name: String,
    /// The class that data is uploaded in.
    pub class: String,
    /// After how many days a lifecycle rule moves objects to which class, in their order.
    pub transitions: Vec<(u32, String)>,
    /// After how many days a lifecycle rule removes backups, whatever the rules below say.
    pub expire_days: Option<u32>,
    /// What happens to backups that were deleted.
    pub hidden: Hidden,
    /// When backups are made.
    pub starts: Starts,
    /// Whether each new backup is read again to verify it.
    pub verify: bool,
    /// Which stay.
    pub rules: Rules,
}

/// What happens to backups that were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hidden {
    /// They are gone.
    #[default]
    Gone,
    /// The bucket keeps them as versions for so many days.
    Days(u32),
    /// The bucket keeps them as versions for ever.
    ForEver,
}

/// What a plan costs a month.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Monthly {
    /// Storage, minimum sizes and hidden versions included.
    pub storage: f64,
    /// Uploads, and what pruning asks.
    pub requests: f64,
    /// Reading each new backup again, if the plan does.
    pub verifying: f64,
    /// Moves from class to class.
    pub transitions: f64,
    /// What is billed for days after a backup was deleted or moved, because its class has a minimum duration.
    pub early: f64,
    /// Backups kept, on average of a year; without hidden ones.
    pub backups: f64,
    /// Bytes stored, on average of a year; with hidden ones.
    pub bytes: f64,
    /// After so many days it is still growing, and this is what it costs then; absent where a steady state is reached.
    pub growing: Option<i64>,
}

impl Monthly {
    /// Everything together.
    pub fn total(&self) -> f64 {
        self.storage + self.requests + self.verifying + self.transitions + self.early
    }
}

/// What a plan costs a month at its steady state.
///
/// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for a class that has no price.
pub fn plan(plan: &Plan, shape: &Shape, prices: &Prices) -> Result<Monthly> {
    let (first, standard) = (price(prices, &plan.class)?, price(prices, STANDARD)?);
    let (moved, left): (Vec<u64>, Vec<u64>) = shape.objects.iter().partition(|size| **size >= LEAST_MOVED);
    let piles = [
        Pile::new(&moved, &plan.class, &plan.transitions, prices)?,
        Pile::new(&left, &plan.class, &[], prices)?,
        Pile::new(&[shape.manifest], STANDARD, moves(shape.manifest, plan), prices)?,
    ];
    let ages = play(plan);
    let mut monthly = Monthly { growing: ages.growing, ..Monthly::default() };
    // What was counted in so many days is told for a month.
    let (days, month) = (ages.days as f64, DAYS_A_MONTH / ages.days as f64);
    let hidden_days = match plan.hidden {
        Hidden::Gone => 0,
        Hidden::Days(days) => i64::from(days),
        Hidden::ForEver => {
            monthly.growing.get_or_insert(365);
            365
        }
    };
    let hidden = hidden_days as f64;
    for pile in &piles {
        let alive = ages.alive.iter().map(|(age, count)| pile.at(*age).month * *count as f64);
        let gone = ages.removed.iter().map(|(age, count)| pile.at(*age).month * *count as f64 * hidden);
        monthly.storage += (alive.sum::<f64>() + gone.sum::<f64>()) / days;
        monthly.transitions += pile.transitions(&ages) * month;
        monthly.early += pile.early(&ages, hidden_days) * month;
    }
    let removed: u64 = ages.removed.values().sum();
    let whole = sum(&shape.objects) + shape.manifest as f64;
    monthly.backups = ages.alive.values().sum::<u64>() as f64 / days;
    monthly.bytes = (monthly.backups + removed as f64 * hidden / days) * whole;
    let made = ages.made as f64 * month;
    let uploads = count(&shape.objects) * first.put_a_thousand + shape.parts as f64 * first.part_a_thousand();
    // Before anything is removed, each backup is listed, and its manifest looked for and read.
    let looks = if plan.rules.is_empty() { 0.0 } else { monthly.backups };
    let pruning = looks * (standard.put_a_thousand + 2.0 * standard.get_a_thousand);
    monthly.requests = made * (uploads + standard.put_a_thousand + pruning) / 1000.0;
    if plan.verify {
        let reading = reading(shape, &plan.class, prices)?;
        let cheapest = reading.ways.iter().map(|(_, amount)| *amount).reduce(f64::min).unwrap_or(0.0);
        monthly.verifying = made * (reading.requests + cheapest);
    }
    Ok(monthly)
}

fn moves(size: u64, plan: &Plan) -> &[(u32, String)] {
    if size >= LEAST_MOVED { &plan.transitions } else { &[] }
}

/// Objects that go the same way.
struct Pile<'a> {
    objects: f64,
    stages: Vec<Stage<'a>>,
}

/// A class that objects lie in from an age on.
struct Stage<'a> {
    from: i64,
    price: &'a ClassPrice,
    /// What the objects cost there a month.
    month: f64,
}

impl<'a> Pile<'a> {
    fn new(objects: &[u64], class: &str, transitions: &[(u32, String)], prices: &'a Prices) -> Result<Self> {
        let stage = |from: i64, class: &str| -> Result<Stage<'a>> {
            let price = price(prices, class)?;
            let month = objects.iter().map(|size| price.storage_a_month(*size)).sum();
            Ok(Stage { from, price, month })
        };
        let rank = |class: &str| WATERFALL.iter().position(|known| *known == class);
        let (mut stages, mut lowest) = (vec![stage(0, class)?], rank(class));
        for (days, class) in transitions {
            if rank(class).is_none() || rank(class) > lowest {
                lowest = rank(class);
                stages.push(stage(i64::from(*days), class)?);
            }
        }
        Ok(Pile { objects: count(objects), stages })
    }

    /// Where the objects of a backup of this age lie.
    fn at(&self, age: i64) -> &Stage<'a> {
        // The first stage begins at birth.
        self.stages.iter().rev().find(|stage| stage.from <= age).unwrap_or(&self.stages[0])
    }

    fn transitions(&self, ages: &Ages) -> f64 {
        let moved = |stage: &Stage<'_>| ages.reached(stage.from) * self.objects * stage.price.transition_a_thousand;
        self.stages.iter().skip(1).map(moved).sum::<f64>() / 1000.0
    }

    fn early(&self, ages: &Ages, hidden_days: i64) -> f64 {
        let short = |stage: &Stage<'_>, stayed: i64| {
            let missing = (i64::from(stage.price.minimum_days) - stayed).max(0) as f64;
            stage.month * missing / DAYS_A_MONTH
        };
        let moved = self
            .stages
            .windows(2)
            .map(|pair| ages.reached(pair[1].from) * short(&pair[0], pair[1].from - pair[0].from));
        let removed = ages.removed.iter().map(|(age, count)| {
            let stage = self.at(*age);
            *count as f64 * short(stage, age - stage.from + hidden_days)
        });
        moved.chain(removed).sum()
    }
}

impl Ages {
    /// How many backups reached this age within the counted days.
    fn reached(&self, age: i64) -> f64 {
        self.alive.get(&age).copied().unwrap_or(0) as f64
    }
}
