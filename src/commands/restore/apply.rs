//! Does one step to the target and notes it, both or neither.

use super::choose::{Choice, Step};
use super::failures::Failures;
use super::notes::Notes;
use super::statements::{self, Placement};
use crate::error::{Error, Result};
use crate::postgres::Session;

/// `active_sql_transaction`: a statement that runs in no transaction block.
const ACTIVE_SQL_TRANSACTION: &str = "25001";

/// The statement that failed, and how.
pub(super) type Failed = (String, Error);

/// How definitions are run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) choice: &'a Choice,
    /// Only a part of the backup comes back.
    pub(super) is_partial: bool,
    /// To who goes on after errors, what was made is worth keeping although its owner, say, could not be set.
    pub(super) keep_going: bool,
    pub(super) notes: Notes,
}

/// Runs the statements of an entry, or of its piece of this number: placement, its own, its owner. Without notes each goes alone. What tells others what the
/// session is at comes before, where it is new.
pub(super) async fn apply(
    session: &Session,
    naming: Option<String>,
    step: &Step,
    number: usize,
    manner: Manner<'_>,
    placement: &mut Placement,
) -> Result<(), Failed> {
    // Settings of the session outlive a transaction that fails, so they come before it.
    one_by_one(session, &placement.statements(&step.entry)).await?;
    let statements = statements::of_entry(step, manner.choice, manner.is_partial);
    let Some(note) = manner.notes.note((step.entry.id, number)) else {
        one_by_one(session, naming.as_slice()).await?;
        return one_by_one(session, &statements).await;
    };
    // Several statements in one message are one transaction. The line break ends a comment, the semicolon a statement.
    let named = naming.map_or_else(String::new, |naming| format!("{naming};\n"));
    let all = format!("{named}{}\n;\n{note}", statements.join("\n;\n"));
    let Err(error) = session.execute(&all).await else { return Ok(()) };
    let apart = match Session::sqlstate(&error) {
        None => return Err((statements.into_iter().next().unwrap_or_default(), error)),
        Some(code) => manner.keep_going || code == ACTIVE_SQL_TRANSACTION,
    };
    if apart {
        one_by_one(session, &statements).await?;
        return one_by_one(session, &[note]).await;
    }
    if let [only] = &statements[..] {
        return Err((only.clone(), error));
    }
    // Nothing of it has happened. Which statement it was shows when they come one by one.
    let statements: Vec<String> = std::iter::once("BEGIN".to_owned()).chain(statements).chain([note]).collect();
    let outcome = one_by_one(session, &statements).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = session.execute(end).await;
    outcome?;
    ended.map_err(|error| (end.to_owned(), error))
}

async fn one_by_one(session: &Session, statements: &[String]) -> Result<(), Failed> {
    for statement in statements {
        if let Err(error) = session.execute(statement).await {
            return Err((statement.clone(), error));
        }
    }
    Ok(())
}

/// Ends the transaction of a piece, with its note if the work went well and notes are kept.
pub(super) async fn conclude<T>(session: &Session, note: Option<String>, outcome: Result<T>) -> Result<T> {
    let commit = note.map_or_else(|| "COMMIT".to_owned(), |note| format!("{note}; COMMIT"));
    let outcome = match outcome {
        Ok(done) => session.execute(&commit).await.map(|()| done),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // The first failure is what happened; a lost connection has rolled back by itself.
        let _lost = session.execute("ROLLBACK").await;
    }
    outcome
}

/// The last steps: event triggers, which might refuse that the notes go, and so come in one transaction with that. A word
/// where the notes cannot be removed.
pub(super) async fn finish(
    session: &Session,
    steps: &[&Step],
    manner: Manner<'_>,
    failures: &mut Failures,
) -> Result<Option<String>> {
    let alone = Manner { notes: Notes::none(), ..manner };
    let together = manner.notes.are_kept() && !manner.keep_going && !steps.is_empty();
    if together {
        session.execute("BEGIN").await?;
    }
    let removed = manner.notes.remove(session).await;
    if together && removed.is_err() {
        session.execute("ROLLBACK; BEGIN").await?;
    }
    let mut placement = Placement::of(manner.choice);
    for step in steps {
        if let Err((sql, error)) = apply(session, None, step, 0, alone, &mut placement).await {
            if together {
                let _lost = session.execute("ROLLBACK").await;
            }
            failures.add(error.on(step.label()), &sql)?;
        }
    }
    if together {
        session.execute("COMMIT").await?;
    }
    match removed {
        Ok(()) => Ok(None),
        Err(error) if Session::sqlstate(&error).is_some() => Ok(Some(format!(
            "the restore is complete, but its notes could not be removed (DROP SCHEMA pgstow_restore CASCADE): {error}"
        ))),
        Err(error) => Err(error),
    }
}
