//! Rows that stand among definitions: those of extensions' configuration tables, which types and functions of the extension look
//! up while tables are made.
//!
//! What keeps them from coming so early (a trigger or a check that looks at something which is not there yet) is no failure:
//! they are tried again behind their neighbours, and then come with all other rows.

use super::apply;
use super::choose::{Phase, Plan, Step};
use super::load;
use super::notes::Notes;
use super::run::Outcome;
use crate::commands::transfer::Origin;
use crate::commands::{Progress, Stop};
use crate::error::Result;
use crate::postgres::Session;
use std::collections::HashSet;
use std::sync::Arc;

/// Loads rows early, and knows which of them were.
pub(super) struct EarlyRows<'a> {
    pub(super) session: &'a Session,
    pub(super) notes: Notes,
    pub(super) origin: &'a Origin,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
    /// Entries of rows that are no further tables.
    pub(super) further: HashSet<i32>,
    /// Tables and rows so far.
    pub(super) outcome: Outcome,
    /// The entries that come with all other rows.
    pub(super) put_off: HashSet<i32>,
}

impl EarlyRows<'_> {
    /// Loads the rows of these neighbours, in rounds as long as one of them gets in.
    pub(super) async fn load(&mut self, steps: &[&Step]) -> Result<()> {
        let mut waiting: Vec<&Step> =
            steps.iter().filter(|step| !self.put_off.contains(&step.entry.id)).copied().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut refused = Vec::new();
            for step in waiting {
                match self.stop.unless(self.one(step)).await {
                    Ok(()) => {}
                    Err(error) if Session::sqlstate(&error).is_some() => {
                        tracing::debug!(rows = step.label(), %error, "not yet");
                        refused.push(step);
                    }
                    Err(error) => return Err(error.on(step.label())),
                }
            }
            if refused.len() == before {
                self.put_off.extend(refused.iter().map(|step| step.entry.id));
                return Ok(());
            }
            waiting = refused;
        }
        Ok(())
    }

    async fn one(&mut self, step: &Step) -> Result<()> {
        let Some(data) = &step.data else { return Ok(()) };
        let copy = load::copy_statements(&step.entry, false, false)?;
        let statements = format!("BEGIN; {copy}");
        let loaded = load::load_table(self.session, &statements, None, data, None, self.origin, self.progress).await;
        let rows = apply::conclude(self.session, self.notes.note((step.entry.id, 0)), loaded).await?;
        self.outcome.rows += rows;
        if !self.further.contains(&step.entry.id) {
            self.outcome.tables += 1;
            self.progress.table_done();
        }
        Ok(())
    }

    /// The plan in which what was put off comes with all other rows.
    pub(super) fn rest_of(&self, plan: Arc<Plan>) -> Arc<Plan> {
        if self.put_off.is_empty() {
            return plan;
        }
        let mut changed = Plan::clone(&plan);
        for step in changed.steps.iter_mut().filter(|step| self.put_off.contains(&step.entry.id)) {
            step.phase = Phase::Parallel;
        }
        Arc::new(changed)
    }
}
