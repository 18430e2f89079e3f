//! What backups cost: what is stored, what a plan will cost when it has reached its steady state, what a restore costs.
//!
//! Always true here: amounts are in the price table's currency, a month has 30 days and a GB is 2^30 bytes, as AWS bills
//! them. A plan is not guessed by a formula: its retention is played day by day with the function that prunes.

#![expect(clippy::cast_precision_loss, reason = "amounts are shown in cents, and no count here is near 2^52")]

mod plan;
mod play;
pub mod prices;

pub use plan::{Hidden, Monthly, Plan, plan};
pub use play::Starts;

use crate::error::{Error, Kind, Result};
use prices::{ClassPrice, Prices, Way};
use std::collections::BTreeMap;

const GB: f64 = (1u64 << 30) as f64;
const DAYS_A_MONTH: f64 = 30.0;

/// The class of objects that name none, and of manifests.
pub const STANDARD: &str = "STANDARD";

/// What one backup puts into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The sizes of its data objects in bytes.
    pub objects: Vec<u64>,
    /// Requests beside the one that each object takes: what uploads in parts begin with, and their parts.
    pub parts: u64,
    /// The size of its manifest, which is always uploaded to STANDARD.
    pub manifest: u64,
}

/// What reading backups back costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Getting it out of its class, by the cheapest way and by the fastest that is usual: the name and the amount. Classes
    /// that are read at once have one way.
    pub ways: Vec<(String, f64)>,
    /// GET requests.
    pub requests: f64,
    /// For each day that the copies stay which are made of frozen objects.
    pub copies_a_day: f64,
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
    let amount = |way: &Way| way.a_gb * bytes / GB + way.a_thousand * objects / 1000.0;
    let ways = price.ways.iter().map(|way| (way.name.clone(), amount(way)));
    let standard = self::price(prices, STANDARD)?;
    Ok(Reading {
        ways: ways.collect(),
        requests: price.get_a_thousand * (objects + 1.0) / 1000.0,
        copies_a_day: if price.freezes { standard.storage_a_gb * bytes / GB / DAYS_A_MONTH } else { 0.0 },
        transfer: prices.transfer_out_a_gb * bytes / GB,
    })
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
