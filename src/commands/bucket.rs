//! `pgstow bucket init` and `check`: a bucket set up for backups, and whether it still is.
//!
//! Look, plan (pure), and change one aspect after the other; each may be changed again. A store that lacks an aspect is
//! no failure, one that refuses is, but only after everything else was tried.

use super::Stop;
use crate::error::{Error, Kind, Result};
use crate::keep::bucket::{self, Aspect, Verdict, Wish};
use crate::store::{BucketState, BucketStep, S3Store, StoreProblem, problem};

/// What was found of a bucket, and what was done.
#[derive(Debug)]
pub struct BucketReport {
    /// Every aspect, in the order of their changes.
    pub aspects: Vec<(Aspect, Outcome)>,
    /// What is risky about the bucket as it is now.
    pub risks: Vec<String>,
}

/// What became of an aspect.
#[derive(Debug)]
pub enum Outcome {
    /// It was as it should be.
    Good,
    /// It is not as it should be, and nothing was done.
    Differs,
    /// It was changed.
    Changed,
    /// The store does not have it.
    NotOffered,
    /// The store refused.
    Refused(Error),
}

/// Sets a bucket up, or says what that would change.
///
/// Errors: [`Kind::Usage`] for what AWS would refuse, before anything is changed.
pub async fn init(store: &S3Store, wish: &Wish, dry_run: bool, stop: &Stop) -> Result<BucketReport> {
    bucket::validate(wish)?;
    let state = stop.unless(store.look_at_bucket()).await?;
    let planned = bucket::plan(state.as_ref(), wish)?;
    if dry_run {
        return Ok(report(planned, state.as_ref(), store, wish));
    }
    let mut aspects = Vec::new();
    let mut versionless = false;
    for aspect in planned {
        let outcome = match &aspect.verdict {
            Verdict::Good => Outcome::Good,
            Verdict::NotOffered => Outcome::NotOffered,
            // A store without versions takes no rule for hidden ones.
            Verdict::Change(BucketStep::Lifecycle(rule)) if versionless => {
                stop.unless(change(store, &BucketStep::Lifecycle(rule.versionless()))).await?
            }
            Verdict::Change(step) => stop.unless(change(store, step)).await?,
        };
        versionless |= aspect.name == "versioning" && matches!(outcome, Outcome::NotOffered);
        aspects.push((aspect, outcome));
    }
    let state = stop.unless(store.look_at_bucket()).await?;
    let risks = state.map_or(Vec::new(), |state| bucket::risks(&state, store.prefix(), wish));
    Ok(BucketReport { aspects, risks })
}

async fn change(store: &S3Store, step: &BucketStep) -> Result<Outcome> {
    match store.change_bucket(step).await {
        Ok(()) => Ok(Outcome::Changed),
        // Without a bucket nothing else can be done.
        Err(error) if matches!(step, BucketStep::Create { .. }) => Err(error),
        Err(error) => match problem(&error) {
            Some(StoreProblem::Unsupported) => Ok(Outcome::NotOffered),
            Some(StoreProblem::Denied) => Ok(Outcome::Refused(error)),
            _ => Err(error),
        },
    }
}

/// Compares a bucket with how it should be, and changes nothing.
///
/// Errors: [`Kind::Store`] where there is no bucket.
pub async fn check(store: &S3Store, wish: &Wish, stop: &Stop) -> Result<BucketReport> {
    bucket::validate(wish)?;
    let Some(state) = stop.unless(store.look_at_bucket()).await? else {
        return Err(Error::new(Kind::Store, "there is no such bucket")
            .on(format!("s3://{}", store.bucket()))
            .hint("`pgstow bucket init` creates it"));
    };
    Ok(report(bucket::plan(Some(&state), wish)?, Some(&state), store, wish))
}

fn report(planned: Vec<Aspect>, state: Option<&BucketState>, store: &S3Store, wish: &Wish) -> BucketReport {
    let outcome = |aspect: Aspect| {
        let outcome = match aspect.verdict {
            Verdict::Good => Outcome::Good,
            Verdict::NotOffered => Outcome::NotOffered,
            Verdict::Change(_) => Outcome::Differs,
        };
        (aspect, outcome)
    };
    let risks = state.map_or(Vec::new(), |state| bucket::risks(state, store.prefix(), wish));
    BucketReport { aspects: planned.into_iter().map(outcome).collect(), risks }
}

/// The error of a bucket whose store refused changes, for after the report was printed.
pub fn refused(report: &BucketReport) -> Option<Error> {
    let refused = report.aspects.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_))).count();
    (refused > 0).then(|| {
        Error::new(Kind::Store, format!("the store refused {refused} of the changes"))
            .hint("ask whoever owns the bucket, or use credentials that may configure it")
    })
}

/// The error of a bucket that is not as it should be, for after the report was printed.
pub fn unhealthy(report: &BucketReport) -> Option<Error> {
    let differs = report.aspects.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Differs)).count();
    let risks = report.risks.len();
    (differs + risks > 0).then(|| {
        Error::new(Kind::Unhealthy, format!("{differs} aspects of the bucket differ, {risks} risks"))
            .hint("`pgstow bucket init` with the same options shows what it would change")
    })
}
