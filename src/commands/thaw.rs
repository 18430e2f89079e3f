//! `pgstow thaw`: asks the store for the objects of a backup that lie in archive classes, and waits for them.
//!
//! Asking again is harmless: what is under way stays so, what can be read long enough is left alone, and what cannot is
//! asked for anew.

use super::backups::{self, Place};
use super::frozen::{Cold, cold, stands};
use super::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::store::{Store, Thawing, Tier, thaws_for_days};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// So many requests are made at once.
const AT_ONCE: usize = 16;
/// The first pause between two looks, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// What is readable for this much less than it should be is readable long enough.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// What to thaw, and how.
#[derive(Debug, Clone)]
pub struct ThawOptions {
    /// Where the backup lies.
    pub store: Arc<dyn Store>,
    /// `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
    pub backup: String,
    /// For how many days it can be read then, at least 1.
    pub days: u32,
    /// How quickly.
    pub tier: Tier,
    /// Wait until all of it can be read.
    pub wait: bool,
    /// The moment.
    pub now: Timestamp,
}

/// How a backup's objects stand.
#[derive(Debug)]
pub struct ThawReport {
    /// Where it lies.
    pub place: Place,
    /// Its objects, without the manifest.
    pub objects: u64,
    /// Those in archive classes.
    pub archived: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their class; of several the one that takes longest.
    pub class: Option<String>,
    /// Those that were asked for now.
    pub asked: u64,
    /// Those that could be read, and that the store was asked to keep readable for longer.
    pub extended: u64,
    /// Those that somebody had asked for before.
    pub under_way: u64,
    /// Those that can be read now.
    pub readable: u64,
    /// When the first of them cannot be read any more, as far as the store says.
    pub until: Option<Timestamp>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Thaws a backup.
///
/// Errors: [`Kind::Archive`] for a backup that is not there; [`Kind::Usage`] for a tier that its class does not have;
/// [`Kind::Store`] where the store knows no archive classes or refuses.
pub async fn thaw(options: ThawOptions, progress: Arc<Progress>, stop: Stop) -> Result<ThawReport> {
    progress.phase("looking at the backup");
    let store = options.store.as_ref();
    let (place, manifest) = stop.unless(backups::find(store, &options.backup)).await?;
    let keys: HashSet<&str> = manifest.stored_objects().map(|object| object.key.as_str()).collect();
    let cold = stop.unless(cold(store, &place.folder, &keys)).await?;
    if let Some(refused) = cold.iter().find(|cold| !options.tier.serves(&cold.class)) {
        return Err(Error::new(Kind::Usage, format!("objects in {} cannot be had {}", refused.class, options.tier))
            .on(format!("{}/{}", place.database, place.id))
            .hint("use --tier standard (up to 12 hours) or --tier bulk (up to 48)"));
    }
    let mut report = ThawReport {
        objects: keys.len() as u64,
        archived: cold.len() as u64,
        bytes: cold.iter().map(|cold| cold.bytes).sum(),
        class: cold.iter().map(|cold| cold.class.clone()).min(),
        asked: 0,
        extended: 0,
        under_way: 0,
        readable: 0,
        until: None,
        seconds: 0.0,
        place,
    };
    progress.expect_objects(report.archived, 0);
    progress.phase("asking for objects");
    let mut waiting = stop.unless(ask_for_all(&options, &cold, &mut report, &progress)).await?;
    if options.wait {
        progress.phase("waiting");
        let mut pause = PAUSES.0;
        // One object is asked about at a time: they come at about the same time, and each question costs.
        while let Some(next) = waiting.last() {
            match stop.unless(stands(store, next)).await? {
                Thawing::Until(until) => {
                    waiting.pop();
                    report.arrived(until.and_then(|until| Timestamp::try_from(until).ok()), &progress);
                }
                Thawing::UnderWay | Thawing::Frozen => {
                    stop.unless(after(pause)).await?;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }
    progress.phase("done");
    report.seconds = progress.seconds();
    Ok(report)
}

async fn after(pause: Duration) -> Result<()> {
    tokio::time::sleep(pause).await;
    Ok(())
}

impl ThawReport {
    fn arrived(&mut self, until: Option<Timestamp>, progress: &Progress) {
        self.readable += 1;
        self.until = self.until.into_iter().chain(until).min();
        progress.object_done();
    }
}

/// What became of one object.
enum Asked {
    /// It can be read until then.
    Readable(Option<Timestamp>),
    /// The same, and now for longer.
    Extended(Option<Timestamp>),
    Before,
    Now,
}

/// Asks for every object that is not readable long enough; gives those that are still to come.
async fn ask_for_all(
    options: &ThawOptions,
    cold: &[Cold],
    report: &mut ThawReport,
    progress: &Progress,
) -> Result<Vec<Cold>> {
    let mut waiting = Vec::new();
    let asking = cold.iter().map(|cold| async move { Ok::<_, Error>((cold, ask_for(options, cold).await?)) });
    let mut asking = stream::iter(asking.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((cold, asked)) = asking.try_next().await? {
        match asked {
            Asked::Readable(until) => report.arrived(until, progress),
            Asked::Extended(until) => {
                report.extended += 1;
                report.arrived(until, progress);
            }
            Asked::Before => report.under_way += 1,
            Asked::Now => report.asked += 1,
        }
        if matches!(asked, Asked::Before | Asked::Now) {
            waiting.push(cold.clone());
        }
    }
    Ok(waiting)
}

async fn ask_for(options: &ThawOptions, cold: &Cold) -> Result<Asked> {
    let store = options.store.as_ref();
    let wanted = options.now.saturating_add(SignedDuration::from_hours(24 * i64::from(options.days)));
    let wanted = wanted.unwrap_or(Timestamp::MAX);
    let days = thaws_for_days(&cold.class).then_some(options.days);
    match stands(store, cold).await? {
        Thawing::UnderWay => Ok(Asked::Before),
        Thawing::Frozen => {
            store.thaw(&cold.key, days, options.tier).await?;
            Ok(Asked::Now)
        }
        Thawing::Until(until) => {
            let until = until.and_then(|until| Timestamp::try_from(until).ok());
            // What the store does not tell is long enough, and asking again an hour later is no wish for more.
            if until.is_none_or(|until| until.saturating_add(TOLERANCE).is_ok_and(|until| until >= wanted)) {
                return Ok(Asked::Readable(until));
            }
            store.thaw(&cold.key, days, options.tier).await?;
            Ok(Asked::Extended(Some(wanted)))
        }
    }
}
