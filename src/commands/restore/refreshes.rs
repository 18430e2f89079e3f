//! Materialized views that need one another in a way that only functions know: one that finds another unpopulated is refreshed again
//! when the others are, until a round gets nowhere.

use super::apply::{Manner, apply};
use super::choose::Step;
use super::failures::Failures;
use super::statements::Placement;
use crate::error::{Error, Result};
use crate::postgres::Session;
use std::collections::HashSet;

/// `object_not_in_prerequisite_state`: a materialized view that is read has no rows yet.
const NOT_POPULATED: &str = "55000";

/// Steps that wait for the next round, by their places in the plan.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    steps: Vec<usize>,
    /// Their entries.
    entries: HashSet<i32>,
}

impl PutOff {
    fn add(&mut self, place: usize, step: &Step) {
        self.steps.push(place);
        self.entries.insert(step.entry.id);
    }

    /// Takes a refresh that failed because another one has not happened yet.
    pub(super) fn takes(&mut self, place: usize, step: &Step, error: &Error) -> bool {
        let is_one = is_early(step, error);
        if is_one {
            self.add(place, step);
        }
        is_one
    }

    /// Takes what needs something that was put off.
    pub(super) fn takes_follower(&mut self, place: usize, step: &Step) -> bool {
        let follows = step.entry.needs.iter().any(|need| self.entries.contains(need));
        if follows {
            self.add(place, step);
        }
        follows
    }

    /// Takes what needs something that was put off, and gives back the others.
    pub(super) fn all_but_followers<'a>(&mut self, plan: &[Step], steps: Vec<&'a Step>) -> Vec<&'a Step> {
        if self.entries.is_empty() {
            return steps;
        }
        let place = |step: &Step| plan.iter().position(|other| other.entry.id == step.entry.id).unwrap_or_default();
        steps.into_iter().filter(|step| !self.takes_follower(place(step), step)).collect()
    }
}

fn is_early(step: &Step, error: &Error) -> bool {
    step.entry.desc == "MATERIALIZED VIEW DATA" && Session::sqlstate(error) == Some(NOT_POPULATED)
}

/// Does what was put off.
pub(super) async fn in_rounds(
    session: &Session,
    plan: &[Step],
    mut waiting: PutOff,
    manner: Manner<'_>,
    failures: &mut Failures,
) -> Result<()> {
    let mut placement = Placement::of(manner.choice);
    while !waiting.steps.is_empty() {
        let (mut still, mut refused) = (PutOff::default(), Vec::new());
        for &place in &waiting.steps {
            let step = &plan[place];
            if still.takes_follower(place, step) {
                continue;
            }
            let Err((sql, error)) = apply(session, None, step, 0, manner, &mut placement).await else { continue };
            if still.takes(place, step, &error) {
                refused.push((step, sql, error));
            } else {
                failures.judge(step, (sql, error))?;
            }
        }
        if still.steps.len() == waiting.steps.len() {
            for (step, sql, error) in refused {
                failures.judge(step, (sql, error))?;
            }
            return Ok(());
        }
        waiting = still;
    }
    Ok(())
}
