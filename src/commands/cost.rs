//! `pgstow cost`: what the backups in a store cost, and what plans for them would.

use super::Stop;
use super::backups::{self, Place};
use crate::archive::keys;
use crate::error::{Error, Kind, Result};
use crate::jobs::{Job, Verification};
use crate::keep::cost::prices::Prices;
use crate::keep::cost::{self, Hidden, Monthly, Plan, Reading, STANDARD, Shape, Starts};
use crate::store::{Answer, Deletion, Entry, LifecycleRule, Limits, Store};
use crate::stream::parts::part_size;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where nothing is known of a backup, it is thought of as so many objects.
const USUAL_OBJECTS: u32 = 100;

/// What to calculate.
#[derive(Debug, Clone)]
pub struct CostOptions {
    /// Where the backups lie.
    pub store: Arc<dyn Store>,
    /// The job whose backups and plan are looked at; all that is in the store, if this is absent.
    pub job: Option<Job>,
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
    /// What the plans cost; the job's first.
    pub plans: Vec<(Plan, Monthly)>,
    /// The bytes and objects of one backup that the plans were calculated for; absent without plans.
    pub planned_for: Option<(u64, usize)>,
    /// What deleting leaves behind: hidden versions cost too, and are not counted in what is stored.
    pub deletion: Deletion,
    /// What the reader should know about the job's plan.
    pub notes: Vec<String>,
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
/// Errors: [`Kind::Usage`] for a class without a price, and for plans where neither a backup nor a size says what they
/// are for.
pub async fn cost(options: CostOptions, stop: Stop) -> Result<CostReport> {
    let store = options.store.as_ref();
    let below = options.job.as_ref().map_or(String::new(), folder);
    let entries = stop.unless(store.list(&below)).await?;
    let deletion = stop.unless(store.deletion()).await?;
    let (mut plans, mut notes) = (Vec::new(), Vec::new());
    if let Some(job) = &options.job {
        let rules = stop.unless(store.lifecycle()).await?;
        plans.push(plan_of(job, &rules, &deletion, &mut notes));
    }
    plans.extend(options.plans);
    let (readings, together) = shapes(stop.unless(newest(store, &below)).await?, &entries, &options.prices)?;
    let together = options.size.map_or(together.clone(), |size| scaled(&together, size));
    if together.objects.is_empty() && !plans.is_empty() {
        if options.job.is_none() || plans.len() > 1 {
            return Err(Error::new(Kind::Usage, "the store holds no backup to plan for")
                .on(store.describe())
                .hint("say how large one will be: --size 20G"));
        }
        plans.clear();
        notes.push("the job has no backup yet to calculate its plan for; say how large one will be: --size 20G".into());
    }
    let calculated = plans.into_iter().map(|plan| {
        let monthly = cost::plan(&plan, &together, &options.prices)?;
        Ok((plan, monthly))
    });
    let plans = calculated.collect::<Result<Vec<_>>>()?;
    let planned_for = (!plans.is_empty()).then(|| (together.objects.iter().sum(), together.objects.len()));
    Ok(CostReport { stored: stored(&entries, &options.prices)?, readings, plans, planned_for, deletion, notes })
}

/// The folder of a job's database in its store.
fn folder(job: &Job) -> String {
    format!("{}/", keys::database_folder(job.connection.database()))
}

/// What the job does, and what the bucket does to its backups.
fn plan_of(job: &Job, rules: &Answer<Vec<LifecycleRule>>, deletion: &Deletion, notes: &mut Vec<String>) -> Plan {
    let mut note = |words: &str| notes.push(format!("job {}: {words}", job.name));
    let folder = folder(job);
    let rules: Vec<&LifecycleRule> = match rules {
        Answer::Set(rules) => rules.iter().filter(|rule| rule.touches(&folder)).collect(),
        Answer::Unset | Answer::Unsupported => Vec::new(),
        Answer::Denied => {
            note("the bucket's lifecycle rules may not be read, and are not in its plan");
            Vec::new()
        }
    };
    let (whole, partly): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.covers(&folder));
    for rule in partly {
        note(&format!("the lifecycle rule {:?} is for some of its objects only, and is not in its plan", rule.id));
    }
    let mut transitions: Vec<(u32, String)> = whole.iter().flat_map(|rule| rule.transitions.iter().cloned()).collect();
    transitions.sort();
    let starts = match job.schedule.clone() {
        Some(schedule) => Starts::at(move |after| schedule.next_after(after)),
        None => {
            note("it has no schedule; its plan is for one backup a day");
            Starts::per_day(1)
        }
    };
    if *deletion == Deletion::Untold {
        note("the bucket does not tell whether it keeps versions; its plan is for one that does not");
    }
    let hidden = match deletion {
        Deletion::Hides { kept_days: Some(days), .. } => Hidden::Days(*days),
        Deletion::Hides { kept_days: None, .. } => Hidden::ForEver,
        Deletion::Final | Deletion::Untold => Hidden::Gone,
    };
    Plan {
        name: format!("job {}", job.name),
        class: job.store.class.as_ref().map_or(STANDARD.to_owned(), ToString::to_string),
        transitions,
        expire_days: whole.iter().filter_map(|rule| rule.expire_days).min(),
        hidden,
        starts,
        verify: job.verify == Some(Verification::Full),
        rules: job.store.retention.clone().unwrap_or_default(),
    }
}

/// What reading each of these backups costs, and what they are together.
fn shapes(newest: Vec<Place>, entries: &[Entry], prices: &Prices) -> Result<(Vec<(Place, Reading)>, Shape)> {
    let mut readings = Vec::new();
    let mut together = Shape { objects: Vec::new(), parts: 0, manifest: 0 };
    for place in newest {
        let (shape, class) = shape(entries, &place);
        readings.push((place, cost::reading(&shape, &class, prices)?));
        together.objects.extend(shape.objects);
        together.parts += shape.parts;
        together.manifest += shape.manifest;
    }
    Ok((readings, together))
}

/// What an upload takes beside the request that makes the object visible.
fn parts(size: u64) -> u64 {
    let part = part_size(size, 0, Limits::S3.max_parts);
    // An object of one part is sent by one request.
    if size < part { 0 } else { size.div_ceil(part) + 1 }
}

/// What is stored costs, by class.
pub(crate) fn stored(entries: &[Entry], prices: &Prices) -> Result<Vec<Stored>> {
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
async fn newest(store: &dyn Store, below: &str) -> Result<Vec<Place>> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for place in backups::places(store).await? {
        if seen.contains(&place.database) || !place.folder.starts_with(below) {
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
    let (mut shape, mut classes) = (Shape { objects: Vec::new(), parts: 0, manifest: 0 }, BTreeMap::<&str, u64>::new());
    for entry in entries.iter().filter(|entry| entry.key.starts_with(&place.folder)) {
        if entry.key == manifest {
            shape.manifest = entry.size;
            continue;
        }
        shape.objects.push(entry.size);
        shape.parts += parts(entry.size);
        // What tells about a backup is in STANDARD whatever its class.
        if keys::is_data(&entry.key[place.folder.len()..]) {
            *classes.entry(entry.class.as_deref().unwrap_or(STANDARD)).or_default() += entry.size;
        }
    }
    let class = classes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(STANDARD, |(class, _)| class);
    (shape, class.to_owned())
}

/// A backup of another size, cut into objects as this one is.
fn scaled(shape: &Shape, size: u64) -> Shape {
    let all: u128 = shape.objects.iter().map(|size| u128::from(*size)).sum();
    let scale = |object: &u64| u64::try_from(u128::from(*object) * u128::from(size) / all).unwrap_or(u64::MAX);
    let objects: Vec<u64> = match all {
        0 => (0..USUAL_OBJECTS).map(|_| size / u64::from(USUAL_OBJECTS)).collect(),
        _ => shape.objects.iter().map(scale).collect(),
    };
    Shape { parts: objects.iter().map(|size| parts(*size)).sum(), objects, manifest: shape.manifest }
}

#[cfg(test)]
mod tests {
    use super::{Shape, parts, scaled};

    #[test]
    fn a_backup_of_another_size_is_cut_as_the_known_one() {
        let shape = Shape { objects: vec![10, 30], parts: 0, manifest: 7 };
        assert_eq!(scaled(&shape, 400), Shape { objects: vec![100, 300], parts: 0, manifest: 7 });
        let nothing = Shape { objects: Vec::new(), parts: 0, manifest: 0 };
        assert_eq!(scaled(&nothing, 1000).objects, vec![10; 100]);
    }

    #[test]
    fn an_object_of_many_parts_takes_a_beginning_and_its_parts_beside_its_end() {
        assert_eq!([0, (8 << 20) - 1, 8 << 20, 80 << 20].map(parts), [0, 0, 2, 6]);
    }
}
