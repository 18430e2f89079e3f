//! What failed in a restore: the first failure ends it, unless the user chose to go on.

use super::apply::Failed;
use super::choose::Step;
use super::preflight::rights;
use super::ties;
use crate::error::{Error, Kind, Result};

/// So much of a failed statement is printed.
const STATEMENT_SHOWN: usize = 300;

/// Errors so far: the first one ends the restore, unless the user chose to go on.
#[derive(Debug)]
pub(super) struct Failures {
    keep_going: bool,
    /// What the role may not do is left out.
    no_superuser: bool,
    errors: Vec<String>,
    untied: Vec<String>,
    /// What the server refused to the role.
    refused: Vec<String>,
}

impl Failures {
    pub(super) fn new(keep_going: bool, no_superuser: bool) -> Self {
        Failures { keep_going, no_superuser, errors: Vec::new(), untied: Vec::new(), refused: Vec::new() }
    }

    /// Whether a step failed only because it ties something to what is not there, or because the role may
    /// not do it and the user wants to go past that; then it is noted, and is no failure.
    pub(super) fn let_pass(&mut self, step: &Step, error: &Error) -> bool {
        let passes = ties::lacks_an_end(step, error);
        if passes {
            self.untied.push(step.label());
        }
        let refused = self.no_superuser && rights::is_refused(error);
        if refused {
            self.refused.push(step.label());
        }
        passes || refused
    }

    /// Notes a step's failure, unless it may pass, or returns it when it is the last straw.
    pub(super) fn judge(&mut self, step: &Step, (sql, error): Failed) -> Result<()> {
        if self.let_pass(step, &error) { Ok(()) } else { self.add(error.on(step.label()), &sql) }
    }

    /// Warnings about all that was let pass.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        ties::words(&self.untied).into_iter().chain(rights::words(&self.refused))
    }

    /// What failed, for the report.
    pub(super) fn into_errors(self) -> Vec<String> {
        self.errors
    }

    /// Notes an error with the statement it came from, or returns it when it is the last straw. A lost connection and
    /// a stop are always that.
    pub(super) fn add(&mut self, error: Error, statement: &str) -> Result<()> {
        let error = with_statement(error, statement);
        if !self.keep_going || matches!(error.kind(), Kind::Connection | Kind::Interrupted) {
            return Err(error);
        }
        tracing::error!("{error}");
        self.errors.push(error.to_string());
        Ok(())
    }
}

pub(super) fn with_statement(error: Error, statement: &str) -> Error {
    let statement = statement.trim();
    if statement.is_empty() {
        return error;
    }
    let mut short: String = statement.chars().take(STATEMENT_SHOWN).collect();
    if short.len() < statement.len() {
        short.push_str(" ...");
    }
    let (kind, object) = (error.kind(), error.object().unwrap_or("a statement").to_owned());
    let mut wrapped = Error::new(kind, format!("{}\n  statement: {}", message(&error), short.replace('\n', "\n    ")));
    if let Some(hint) = error.hint_text() {
        wrapped = wrapped.hint(hint);
    }
    wrapped.on(object)
}

fn message(error: &Error) -> String {
    let text = error.to_string();
    match error.object() {
        Some(object) => text.strip_prefix(&format!("{object}: ")).unwrap_or(&text).to_owned(),
        None => text,
    }
}
