//! Does steps to the target and notes them, both or neither: definitions many at once, everything else one by one.

use super::again;
use super::choose::{Choice, Step};
use super::explain::explain;
use super::failures::Failures;
use super::notes::Notes;
use super::statements::{self, Placement};
use crate::commands::Stop;
use crate::error::{Error, Result};
use crate::postgres::Session;

/// `active_sql_transaction`: a statement that runs in no transaction block.
const ACTIVE_SQL_TRANSACTION: &str = "25001";

/// So many definitions are one transaction at most: as many as their locks have room anywhere (an entry of a few objects takes a few
/// locks, and a server as it is installed has room for 6,400; PostgreSQL documentation, `max_locks_per_transaction`).
const TOGETHER: usize = 64;
/// Their statements come to about so many bytes at most.
const TOGETHER_BYTES: usize = 256 << 10;
/// What is not made together with others: scripts of extensions do as they like, and a group of large objects takes a thousand
/// locks by itself.
const ALONE: [&str; 4] = ["EXTENSION", "BLOB", "BLOB METADATA", "BLOBS"];

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

/// Makes definitions, many in one transaction as long as all goes well: to wait for a message's answer and for the disk after each
/// takes as long as to make them. `pace` remembers from one call to the next how well it goes.
///
/// `failed` hears what failed, and says whether that is the end.
pub(super) async fn definitions(
    session: &Session,
    steps: &[&Step],
    manner: Manner<'_>,
    placement: &mut Placement,
    pace: &mut Pace,
    stop: &Stop,
    mut failed: impl FnMut(&Step, Failed) -> Result<()> + Send,
) -> Result<()> {
    let mut rest = steps;
    while !rest.is_empty() {
        let (now, after) = rest.split_at(how_many_together(rest, placement, pace.most));
        rest = after;
        if now.len() > 1 && stop.unless(together(session, now, manner, placement)).await? {
            pace.faster();
            continue;
        }
        // Which one it is shows when they come one by one, and the others are made.
        for step in now {
            let applied = stop.unless(async { Ok(apply(session, None, step, 0, manner, placement).await) }).await?;
            match applied {
                Ok(()) => pace.faster(),
                Err(failure) => {
                    pace.most = 1;
                    failed(step, failure)?;
                }
            }
        }
    }
    Ok(())
}

/// How many definitions are made in one transaction: one after a failure, for the next one may fail for the same reason.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) most: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace { most: TOGETHER }
    }

    fn faster(&mut self) {
        self.most = (2 * self.most).min(TOGETHER);
    }
}

/// How many of the steps, at least the first, may be made in one transaction: those that want the same settings of the session.
fn how_many_together(steps: &[&Step], placement: &Placement, most: usize) -> usize {
    let (mut placement, mut bytes) = (placement.clone(), 0);
    let fits = |(place, step): &(usize, &&Step)| {
        let settings = placement.statements(&step.entry);
        bytes += step.entry.create.as_deref().map_or(0, str::len);
        *place < most && (*place == 0 || (settings.is_empty() && bytes <= TOGETHER_BYTES))
    };
    if steps.first().is_some_and(|step| ALONE.contains(&step.entry.desc.as_str())) {
        return 1;
    }
    let shared = steps.iter().take_while(|step| !ALONE.contains(&step.entry.desc.as_str()));
    shared.enumerate().take_while(fits).count().max(1)
}

/// Makes and notes all of them in one transaction; `false` where the server refused that, and nothing of it has happened.
async fn together(session: &Session, steps: &[&Step], manner: Manner<'_>, placement: &mut Placement) -> Result<bool> {
    let Some(first) = steps.first() else { return Ok(true) };
    let refused = |error: Error| {
        if Session::sqlstate(&error).is_none() {
            return Err(error);
        }
        tracing::debug!(%error, "refused together, so they come one by one");
        Ok(false)
    };
    // Settings of the session outlive a transaction that fails, so they come before it.
    if let Err((_, error)) = one_by_one(session, &placement.statements(&first.entry)).await {
        // Whoever comes for this step alone runs them again.
        *placement = Placement::of(manner.choice);
        return refused(error.on(first.label()));
    }
    let mut all = String::new();
    for step in steps {
        for statement in statements::of_entry(step, manner.choice, manner.is_partial) {
            all += &statement;
            all += END_OF_STATEMENT;
        }
        if let Some(note) = manner.notes.note((step.entry.id, 0)) {
            all += &note;
            all += END_OF_STATEMENT;
        }
    }
    match session.execute(&all).await {
        Ok(()) => Ok(true),
        Err(error) => refused(error.on(format!("{} and {} more", first.label(), steps.len() - 1))),
    }
}

/// The line break ends a comment, the semicolon a statement.
const END_OF_STATEMENT: &str = "\n;\n";

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
    match attempt(session, naming, step, number, manner, placement).await {
        Err((sql, error)) => Err((sql, explain(session, error).await)),
        Ok(()) => Ok(()),
    }
}

async fn attempt(
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
    // Several statements in one message are one transaction.
    let named = naming.map_or_else(String::new, |naming| format!("{naming};\n"));
    let all = format!("{named}{}{END_OF_STATEMENT}{note}", statements.join(END_OF_STATEMENT));
    let Err(error) = again::execute(session, &all).await else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use super::{Placement, TOGETHER, TOGETHER_BYTES, how_many_together};
    use crate::archive::toc::TocEntry;
    use crate::commands::restore::choose::{Choice, Phase, Step};
    use crate::model::{Address, Item};

    fn step(desc: &'static str, tablespace: &str, bytes: usize) -> Step {
        let create = "x".repeat(bytes);
        let mut entry = TocEntry::of_item(
            Item { create, ..Item::new(desc, Address::default(), Some("s"), "t") },
            1,
            Vec::new(),
            None,
        );
        entry.tablespace = Some(tablespace.to_owned());
        Step { entry: entry.into(), phase: Phase::Definitions, data: None }
    }

    #[test]
    fn definitions_go_together_that_want_the_same_settings_and_take_few_locks() {
        let table = || step("TABLE", "", 9);
        let many = |steps: &[Step], most| {
            let steps: Vec<&Step> = steps.iter().collect();
            how_many_together(&steps, &Placement::of(&Choice::default()), most)
        };
        assert_eq!(many(&vec![table(); 100], TOGETHER), TOGETHER);
        assert_eq!(many(&vec![table(); 100], 1), 1);
        assert_eq!(many(&[table(), table(), step("TABLE", "other", 9), table()], TOGETHER), 2);
        assert_eq!(many(&[step("TABLE", "other", 9), step("TABLE", "other", 9), table()], TOGETHER), 2);
        assert_eq!(many(&[table(), step("EXTENSION", "", 9), table()], TOGETHER), 1);
        assert_eq!(many(&[step("BLOB METADATA", "", 9), table()], TOGETHER), 1);
        assert_eq!(many(&[step("TABLE", "", 2 * TOGETHER_BYTES), table()], TOGETHER), 1);
        assert_eq!(many(&[table(), table(), step("TABLE", "", 2 * TOGETHER_BYTES)], TOGETHER), 2);
    }
}
