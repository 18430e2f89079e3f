//! `pgstow cost`: what the backups in a store cost, and what plans for them would.

use super::Stop;
use super::backups::{self, Place};
use crate::archive::keys;
use crate::error::{Error, Kind, Result};
use crate::keep::cost::prices::Prices;
use crate::keep::cost::{self, Monthly, Plan, Reading, Shape};
use crate::store::{Deletion, Entry, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The class of an object that names none.
const STANDARD: &str = "STANDARD";

/// Where nothing is known of a backup, it is thought of as so many objects.
const USUAL_OBJECTS: u32 = 100;

/// What to calculate.
#[derive(Debug, Clone)]
pub struct CostOptions {
    /// Where the backups lie.
    pub store: Arc<dyn Store>,
    /// What everything costs.
    pub prices: Prices,
    /// Plans to calculate and compare.
    pub plans: Vec<Plan>,
    /// The size of a backup that plans are for, in bytes; by default that of the newest backups in the store, one of each
    /// database.
    pub size: Option<u64>,
}

/// What was calculated.
#[derive(Debug)]
pub struct CostReport {
    /// What is stored, by class.
    pub stored: Vec<Stored>,
    /// What reading the newest backup of each database would cost.
    pub readings: Vec<(Place, Reading)>,
    /// What the plans cost.
    pub plans: Vec<(Plan, Monthly)>,
    /// The bytes and objects of one backup that the plans were calculated for; absent without plans.
    pub planned_for: Option<(u64, usize)>,
    /// What deleting leaves behind: hidden versions cost too, and are not counted here.
    pub deletion: Deletion,
}

/// What is stored in one class.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The class.
    pub class: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What they cost a month.
    pub monthly: f64,
}

/// Calculates.
///
/// Errors: [`Kind::Usage`] for a plan without an end, for a class without a price, and for plans where neither a backup
/// nor a size says what they are for.
pub async fn cost(options: CostOptions, stop: Stop) -> Result<CostReport> {
    let store = options.store.as_ref();
    let entries = stop.unless(store.list("")).await?;
    let stored = stored(&entries, &options.prices)?;
    let newest = stop.unless(newest(store)).await?;
    let mut readings = Vec::new();
    let mut together = Shape { objects: Vec::new(), manifest: 0 };
    for place in newest {
        let (shape, class) = shape(&entries, &place);
        readings.push((place, cost::reading(&shape, &class, &options.prices)?));
        together.objects.extend(shape.objects);
        together.manifest += shape.manifest;
    }
    if let Some(size) = options.size {
        together = scaled(&together, size);
    }
    let mut plans = Vec::new();
    if !options.plans.is_empty() && together.objects.is_empty() {
        return Err(Error::new(Kind::Usage, "the store holds no backup to plan for")
            .on(store.describe())
            .hint("say how large one will be: --size 20G"));
    }
    for plan in options.plans {
        let monthly = cost::plan(&plan, &together, &options.prices)?;
        plans.push((plan, monthly));
    }
    let planned_for = (!plans.is_empty()).then(|| (together.objects.iter().sum(), together.objects.len()));
    Ok(CostReport { stored, readings, plans, planned_for, deletion: stop.unless(store.deletion()).await? })
}

fn stored(entries: &[Entry], prices: &Prices) -> Result<Vec<Stored>> {
    let mut sizes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in entries {
        sizes.entry(entry.class.clone().unwrap_or(STANDARD.to_owned())).or_default().push(entry.size);
    }
    let costs = cost::stored(&sizes, prices)?;
    let line = |(class, monthly): (String, f64)| {
        let sizes = &sizes[&class];
        Stored { objects: sizes.len() as u64, bytes: sizes.iter().sum(), class, monthly }
    };
    Ok(costs.into_iter().map(line).collect())
}

/// The newest backup of each database that has a manifest.
async fn newest(store: &dyn Store) -> Result<Vec<Place>> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for place in backups::places(store).await? {
        if seen.contains(&place.database) {
            continue;
        }
        if store.head(&format!("{}{}", place.folder, keys::manifest_key())).await?.is_some() {
            seen.insert(place.database.clone());
            found.push(place);
        }
    }
    Ok(found)
}

/// The sizes of a backup, and the class that most of its bytes are in.
fn shape(entries: &[Entry], place: &Place) -> (Shape, String) {
    let manifest = format!("{}{}", place.folder, keys::manifest_key());
    let (mut shape, mut classes) = (Shape { objects: Vec::new(), manifest: 0 }, BTreeMap::<&str, u64>::new());
    for entry in entries.iter().filter(|entry| entry.key.starts_with(&place.folder)) {
        if entry.key == manifest {
            shape.manifest = entry.size;
            continue;
        }
        shape.objects.push(entry.size);
        *classes.entry(entry.class.as_deref().unwrap_or(STANDARD)).or_default() += entry.size;
    }
    let class = classes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(STANDARD, |(class, _)| class);
    (shape, class.to_owned())
}

/// A backup of another size, cut into objects as this one is.
fn scaled(shape: &Shape, size: u64) -> Shape {
    let all: u128 = shape.objects.iter().map(|size| u128::from(*size)).sum();
    if all == 0 {
        return Shape {
            objects: (0..USUAL_OBJECTS).map(|_| size / u64::from(USUAL_OBJECTS)).collect(),
            manifest: shape.manifest,
        };
    }
    let scale = |object: &u64| u64::try_from(u128::from(*object) * u128::from(size) / all).unwrap_or(u64::MAX);
    Shape { objects: shape.objects.iter().map(scale).collect(), manifest: shape.manifest }
}

#[cfg(test)]
mod tests {
    use super::{Shape, scaled};

    #[test]
    fn a_backup_of_another_size_is_cut_as_the_known_one() {
        let shape = Shape { objects: vec![10, 30], manifest: 7 };
        assert_eq!(scaled(&shape, 400), Shape { objects: vec![100, 300], manifest: 7 });
        let nothing = Shape { objects: Vec::new(), manifest: 0 };
        assert_eq!(scaled(&nothing, 1000).objects, vec![10; 100]);
    }
}
