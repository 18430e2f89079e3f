//! The price table: what comes with pgstow, with its date and source, and what a user puts in its place.

use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The table that comes with pgstow, as JSON. Prices differ by region, contract and day, so it is a starting point.
pub const BUILT_IN: &str = include_str!("prices.json");

/// What everything costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When these were the prices.
    pub date: String,
    /// Where they stood.
    pub source: String,
    /// The currency.
    pub currency: String,
    /// For each GB that leaves to the internet.
    pub transfer_out_a_gb: f64,
    /// By class.
    pub classes: BTreeMap<String, ClassPrice>,
}

/// What a storage class costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassPrice {
    /// For a GB a month.
    pub storage_a_gb: f64,
    /// For a thousand uploads.
    pub put_a_thousand: f64,
    /// For a thousand parts of uploads, and beginnings of such; as for uploads, if this is absent.
    #[serde(default)]
    pub put_part_a_thousand: Option<f64>,
    /// For a thousand downloads.
    pub get_a_thousand: f64,
    /// For a thousand objects that a lifecycle rule moves here.
    pub transition_a_thousand: f64,
    /// For watching a thousand objects for a month.
    #[serde(default)]
    pub watching_a_thousand: f64,
    /// Smaller objects are not watched.
    #[serde(default)]
    pub watching_from_bytes: u64,
    /// Objects are billed for so many days at least.
    pub minimum_days: u32,
    /// Objects are billed as if they had so many bytes at least.
    pub minimum_bytes: u64,
    /// So many bytes are billed on top of each object.
    pub overhead_bytes: u64,
    /// So many bytes of each object are billed as STANDARD, whatever its class.
    #[serde(default)]
    pub standard_bytes: u64,
    /// What a GB costs in STANDARD, from the same table.
    #[serde(skip)]
    standard_a_gb: f64,
    /// Objects have to be thawed before they can be read, and the copy is billed as STANDARD meanwhile.
    #[serde(default)]
    pub freezes: bool,
    /// How objects are got out of the class; none where reading is all there is to it.
    pub ways: Vec<Way>,
}

/// One way of getting objects out of a class.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Its name, with the time it takes.
    pub name: String,
    /// For a GB.
    pub a_gb: f64,
    /// For a thousand objects.
    pub a_thousand: f64,
}

impl Prices {
    /// Reads a table; it has the form of [`BUILT_IN`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut prices: Prices = serde_json::from_str(text).map_err(|error| {
            Error::new(Kind::Usage, "the price table cannot be read")
                .hint("`pgstow cost --print-prices` prints one to begin with")
                .because(error)
        })?;
        let numbers = prices.classes.values().flat_map(|class| {
            let ways = class.ways.iter().flat_map(|way| [way.a_gb, way.a_thousand]);
            [class.storage_a_gb, class.put_a_thousand, class.get_a_thousand, class.transition_a_thousand]
                .into_iter()
                .chain([class.watching_a_thousand, class.part_a_thousand()])
                .chain(ways)
        });
        if numbers.chain([prices.transfer_out_a_gb]).any(|number| !number.is_finite() || number < 0.0) {
            return Err(Error::new(Kind::Usage, "the price table holds a price below nothing"));
        }
        let Some(standard_a_gb) = prices.class(super::STANDARD).map(|class| class.storage_a_gb) else {
            return Err(Error::new(Kind::Usage, "the price table has no class STANDARD, where manifests lie"));
        };
        prices.classes.values_mut().for_each(|class| class.standard_a_gb = standard_a_gb);
        Ok(prices)
    }

    /// The table that comes with pgstow.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the table that comes with pgstow is read by its tests")
    }

    /// The prices of a class.
    pub fn class(&self, name: &str) -> Option<&ClassPrice> {
        self.classes.get(name)
    }
}

impl ClassPrice {
    /// What an object of so many bytes costs a month.
    #[expect(clippy::cast_precision_loss, reason = "amounts are shown in cents")]
    pub fn storage_a_month(&self, bytes: u64) -> f64 {
        let billed = bytes.max(self.minimum_bytes).saturating_add(self.overhead_bytes) as f64;
        let watching = if bytes >= self.watching_from_bytes { self.watching_a_thousand / 1000.0 } else { 0.0 };
        let standard = self.standard_a_gb * self.standard_bytes as f64;
        (self.storage_a_gb * billed + standard) / super::GB + watching
    }

    /// For a thousand parts of uploads.
    pub fn part_a_thousand(&self) -> f64 {
        self.put_part_a_thousand.unwrap_or(self.put_a_thousand)
    }
}
