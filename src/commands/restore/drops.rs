//! `-c`: drops what the backup makes, all of it or nothing.
//!
//! What cannot be dropped shows only when the server is asked to, so everything goes in one transaction, as long as the locks of it
//! have room on the server: whoever is refused has lost nothing.

use super::again;
use super::choose::Plan;
use super::explain::explain;
use super::failures::Failures;
use super::statements;
use super::target::{INVALID_SCHEMA_NAME, UNDEFINED_OBJECT, UNDEFINED_TABLE};
use crate::error::{Error, Result};
use crate::postgres::Session;
use serde::Deserialize;

/// SQLSTATEs (PostgreSQL documentation, appendix A).
const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
const INVALID_TABLE_DEFINITION: &str = "42P16";
const OUT_OF_MEMORY: &str = "53200";
/// A statement that runs in no transaction block: DROP SUBSCRIPTION, where there is a slot.
const ACTIVE_SQL_TRANSACTION: &str = "25001";

/// One drop takes about so many locks: a table with its indexes, its row type and what hangs on them.
const LOCKS_OF_ONE: u64 = 4;

/// So many times everything is tried, where others stand in the way of the whole.
const TRIES: u32 = 5;

/// A statement with the label of what it drops.
type Drop = (String, String);

#[derive(Debug, Deserialize)]
struct RoomRow {
    room: u64,
}

/// Most of the server's lock table, for others need locks, too.
const ROOM: &str = "SELECT pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8
     * (pg_catalog.current_setting('max_connections')::pg_catalog.int8
        + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8) * 3 / 4 AS room";

/// Drops what the plan makes, last first; a word, where that is more than one transaction can hold.
pub(super) async fn drop_objects(
    session: &Session,
    plan: &Plan,
    if_exists: bool,
    failures: &mut Failures,
) -> Result<Option<String>> {
    let drops = statements::drops(plan, if_exists);
    let room = session.question::<RoomRow>(ROOM).await?.first().map_or(0, |row| row.room);
    let mut outcome = Err(None);
    if drops.len() as u64 * LOCKS_OF_ONE <= room {
        for number in 1..=TRIES {
            outcome = at_once(session, &drops, if_exists, failures).await;
            match &outcome {
                Err(Some(error)) if number < TRIES && again::is_worth_it(error) => again::pause(number).await,
                _ => break,
            }
        }
    }
    match outcome {
        Ok(alone) => {
            for (label, sql) in alone {
                if let Err(error) = session.execute(&sql).await
                    && !is_gone(&error, if_exists)
                {
                    failures.add(error.on(format!("drop of {label}")), &sql)?;
                }
            }
            Ok(None)
        }
        Err(Some(error)) if Session::sqlstate(&error) != Some(OUT_OF_MEMORY) => {
            let words = match Session::sqlstate(&error) {
                Some(DEPENDENT_OBJECTS_STILL_EXIST | INVALID_TABLE_DEFINITION) => {
                    "nothing was dropped: remove what depends on it first, or restore into an empty database"
                }
                _ => "nothing was dropped",
            };
            Err(error.also(words))
        }
        Err(_) => {
            let mut one_by_one = Rounds { session, if_exists, in_transaction: false, alone: Vec::new() };
            one_by_one.run(drops, failures).await?;
            Ok(Some(
                "what was there was dropped piece by piece, for the server has no room for the locks of all at once \
                 (max_locks_per_transaction)"
                    .to_owned(),
            ))
        }
    }
}

/// Everything in one transaction; what runs in none is given back.
async fn at_once(
    session: &Session,
    drops: &[Drop],
    if_exists: bool,
    failures: &mut Failures,
) -> std::result::Result<Vec<Drop>, Option<Error>> {
    session.execute("BEGIN").await.map_err(Some)?;
    let mut rounds = Rounds { session, if_exists, in_transaction: true, alone: Vec::new() };
    let outcome = match rounds.run(drops.to_vec(), failures).await {
        Ok(()) => session.execute("COMMIT").await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        // A lost connection has rolled back by itself.
        let _lost = session.execute("ROLLBACK").await;
        return Err(Some(error));
    }
    Ok(rounds.alone)
}

struct Rounds<'a> {
    session: &'a Session,
    if_exists: bool,
    in_transaction: bool,
    /// What runs in no transaction.
    alone: Vec<Drop>,
}

impl Rounds<'_> {
    /// What something else still depends on (a key that a view groups by, where the view was made early and filled late) is tried
    /// again when the rest is gone, until a round gets nowhere.
    async fn run(&mut self, mut waiting: Vec<Drop>, failures: &mut Failures) -> Result<()> {
        let mut first_round = true;
        loop {
            let mut held_back = Vec::new();
            for (label, sql) in &waiting {
                let Err(error) = self.drop(sql).await else { continue };
                match Session::sqlstate(&error) {
                    // A partition's constraint goes with its parent's, but is only ever in the way of the first round.
                    Some(DEPENDENT_OBJECTS_STILL_EXIST | INVALID_TABLE_DEFINITION) => {
                        held_back.push((label.clone(), sql.clone(), error));
                    }
                    Some(ACTIVE_SQL_TRANSACTION) if self.in_transaction => {
                        self.alone.push((label.clone(), sql.clone()));
                    }
                    // Whoever calls knows better.
                    Some(OUT_OF_MEMORY) if self.in_transaction => return Err(error),
                    _ if self.in_transaction && again::is_worth_it(&error) => return Err(error),
                    // It was there in the first round, so it has gone with its table since; or nobody said that it is there.
                    _ if is_gone(&error, self.if_exists || !first_round) => {}
                    _ => failures.add(explain(self.session, error).await.on(format!("drop of {label}")), sql)?,
                }
            }
            if held_back.is_empty() {
                return Ok(());
            }
            if !first_round && held_back.len() == waiting.len() {
                for (label, sql, error) in held_back {
                    failures.add(error.on(format!("drop of {label}")), &sql)?;
                }
                return Ok(());
            }
            waiting = held_back.into_iter().map(|(label, sql, _)| (label, sql)).collect();
            first_round = false;
        }
    }

    /// A refusal ends no more than this drop.
    async fn drop(&self, sql: &str) -> Result<()> {
        if !self.in_transaction {
            return again::execute(self.session, sql).await;
        }
        let dropped = self.session.execute(&format!("SAVEPOINT pgstow;\n{sql}\n;\nRELEASE pgstow")).await;
        if let Err(error) = &dropped
            && Session::sqlstate(error).is_some()
        {
            self.session.execute("ROLLBACK TO pgstow; RELEASE pgstow").await?;
        }
        dropped
    }
}

/// ALTER DOMAIN ... DROP CONSTRAINT IF EXISTS still wants the domain and its schema.
fn is_gone(error: &Error, may_be: bool) -> bool {
    may_be && matches!(Session::sqlstate(error), Some(UNDEFINED_TABLE | UNDEFINED_OBJECT | INVALID_SCHEMA_NAME))
}
