//! How far a restore is, kept in the target itself: each step is noted in the transaction that does it.
//!
//! Always true here: a step that is noted is done, and one that is not has left nothing, whatever killed the restore. The
//! notes lie in a schema of ours, which goes when the restore is complete and which no dump takes along. Every session of a
//! restore holds one advisory lock in common, so that whoever goes on waits until the last session of the one that died
//! has ended.

use super::choose::{Choice, Plan};
use crate::error::{Error, Kind, Result};
use crate::model::literal;
use crate::postgres::Session;
use crate::stream::digest::Digest;
use serde::Deserialize;
use std::collections::HashSet;

/// The advisory lock of all sessions of a restore: "pgstow" in ASCII.
const LOCK: i64 = 0x7067_7374_6f77;

/// How steps are numbered, and tables and keys are cut; another version of pgstow may do it otherwise.
const LAYOUT: u32 = 4;

const MAKE: &str = "CREATE SCHEMA pgstow_restore; \
     CREATE TABLE pgstow_restore.run \
         (archive text NOT NULL, contents text NOT NULL, choice text NOT NULL, jobs integer NOT NULL); \
     CREATE TABLE pgstow_restore.done (entry integer, slice integer, PRIMARY KEY (entry, slice))";

const DROP: &str = "DROP SCHEMA pgstow_restore CASCADE";

/// One step, one slice of a table's rows, or one piece of a key: the entry's id, and the number of the slice
/// (from 1) or piece, or 0.
pub(super) type Piece = (i32, usize);

/// The notes of one restore.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notes {
    kept: bool,
}

/// What tells one restore from another.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The archive, for people.
    archive: String,
    /// What is in the chosen part of it.
    contents: String,
    /// What was chosen.
    choice: String,
}

impl Identity {
    pub(super) fn of(archive: &str, choice: &Choice, plan: &Plan) -> Self {
        let mut contents = Digest::new();
        contents.update(format!("{LAYOUT}\n").as_bytes());
        for step in &plan.steps {
            contents.update(format!("{} {:?} {:?}\n", step.entry.id, step.phase, step.entry.create).as_bytes());
            if let Some(data) = &step.data {
                contents.update(format!("{:?} {:?} {}\n", data.object, data.rows, data.raw_bytes).as_bytes());
            }
        }
        let mut choices = Digest::new();
        choices.update(format!("{choice:?}").as_bytes());
        Identity { archive: archive.to_owned(), contents: contents.finish(), choice: choices.finish() }
    }
}

impl Notes {
    /// None are kept.
    pub(super) fn none() -> Self {
        Notes { kept: false }
    }

    /// Notes the piece; nothing where no notes are kept.
    pub(super) fn note(self, (entry, slice): Piece) -> Option<String> {
        self.kept.then(|| format!("INSERT INTO pgstow_restore.done VALUES ({entry}, {slice})"))
    }

    /// Whether the restore can go on where it stops.
    pub(super) fn are_kept(self) -> bool {
        self.kept
    }

    /// Makes one more session part of the restore.
    pub(super) async fn join(self, session: &Session) -> Result<()> {
        if self.kept {
            session.execute(&format!("SELECT pg_catalog.pg_advisory_lock_shared({LOCK})")).await
        } else {
            Ok(())
        }
    }

    /// Removes the notes: the restore is complete, or will be when the transaction is.
    pub(super) async fn remove(self, session: &Session) -> Result<()> {
        if self.kept { session.execute(DROP).await } else { Ok(()) }
    }
}

#[derive(Debug, Deserialize)]
struct Flag {
    is_true: bool,
}

#[derive(Debug, Deserialize)]
struct RunRow {
    archive: String,
    contents: String,
    choice: String,
    jobs: usize,
}

#[derive(Debug, Deserialize)]
struct DoneRow {
    entry: i32,
    slice: usize,
}

#[derive(Debug, Deserialize)]
struct HolderRow {
    pid: i32,
}

/// Whether the target has notes of a restore.
///
/// Errors: [`Kind::Target`] when something of that name is not what a restore of this role, or of a superuser, has made: it
/// would run what somebody else put there as this role.
pub(super) async fn exist(session: &Session) -> Result<bool> {
    let there = "pg_catalog.to_regclass('pgstow_restore.done') IS NOT NULL \
                 OR pg_catalog.to_regclass('pgstow_restore.run') IS NOT NULL";
    if !is_true(session, there).await? {
        return Ok(false);
    }
    if is_true(session, OURS).await? {
        return Ok(true);
    }
    Err(Error::new(Kind::Target, "the schema pgstow_restore is not what a restore of this role has made")
        .on(session.settings().describe())
        .hint("see whose it is (\\dn+ and \\d+ pgstow_restore.* in psql), and drop or rename it"))
}

/// Whether the schema and all in it belong to this role or a superuser, and are two plain tables with one index, without
/// anything that would run when they are read or written. What belongs to them nobody else can change afterwards.
const OURS: &str = "(SELECT pg_catalog.count(*) = 1 AND pg_catalog.bool_and(o.rolsuper OR o.rolname = current_user)
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner WHERE n.nspname = 'pgstow_restore')
AND (SELECT pg_catalog.count(*) FILTER (WHERE c.relname = 'run' AND c.relkind = 'r') = 1
        AND pg_catalog.count(*) FILTER (WHERE c.relname = 'done' AND c.relkind = 'r') = 1
        AND pg_catalog.count(*) FILTER (WHERE c.relkind = 'i') = 1 AND pg_catalog.count(*) = 3
        AND pg_catalog.bool_and((o.rolsuper OR o.rolname = current_user) AND NOT c.relhasrules AND NOT c.relhastriggers
            AND NOT c.relrowsecurity AND NOT c.relhassubclass AND NOT c.relispartition AND c.relchecks = 0)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles o ON o.oid = c.relowner WHERE n.nspname = 'pgstow_restore')
AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'pgstow_restore' AND a.attnum > 0 AND (a.atthasdef OR a.atttypid >= 16384))
AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'pgstow_restore' AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
        OR EXISTS (SELECT FROM pg_catalog.unnest(i.indclass) AS u (class) WHERE u.class >= 16384)))";

async fn is_true(session: &Session, condition: &str) -> Result<bool> {
    let rows: Vec<Flag> = session.question(&format!("SELECT {condition} AS is_true")).await?;
    Ok(rows.first().is_some_and(|row| row.is_true))
}

async fn read_run(session: &Session) -> Result<Option<RunRow>> {
    let mut runs = session.question("SELECT archive, contents, choice, jobs FROM pgstow_restore.run").await?;
    Ok(runs.pop())
}

/// What an earlier run has done, and how it cut its tables.
pub(super) struct Before {
    pub(super) done: HashSet<Piece>,
    /// What [`super::tasks`] cut the tables for.
    pub(super) jobs: usize,
}

/// Takes over the notes of the restore that died, after its last session has ended.
///
/// Errors: [`Kind::Target`] when they are of another restore.
pub(super) async fn take_over(session: &Session, identity: &Identity) -> Result<(Notes, Before)> {
    lock_alone(session).await?;
    let other = |message: String| {
        Error::new(Kind::Target, message).on(session.settings().describe()).hint(
            "--resume wants the same backup and the same choice of it as the restore that it goes on with; \
             -c --if-exists begins anew",
        )
    };
    let Some(run) = read_run(session).await? else {
        return Err(other("the notes of the unfinished restore in the target cannot be understood".to_owned()));
    };
    if run.archive != identity.archive {
        return Err(other(format!("the unfinished restore in the target is of {}", run.archive)));
    }
    if run.choice != identity.choice {
        let message = format!("the unfinished restore in the target chose something else of {}", run.archive);
        return Err(other(message));
    }
    if run.contents != identity.contents {
        let message = "is not what it was when the unfinished restore in the target began".to_owned();
        return Err(other(format!("{} {message}", run.archive)));
    }
    let done: Vec<DoneRow> = session.question("SELECT entry, slice FROM pgstow_restore.done").await?;
    let done = done.into_iter().map(|row| (row.entry, row.slice)).collect();
    let notes = Notes { kept: true };
    notes.join(session).await?;
    unlock(session).await?;
    Ok((notes, Before { done, jobs: run.jobs }))
}

/// Refuses a target in which a restore died, for one that would not go on with it. One that still runs is none of our
/// business.
pub(super) async fn refuse(session: &Session) -> Result<()> {
    if !exist(session).await? || !try_lock(session).await? {
        return Ok(());
    }
    let run = read_run(session).await;
    unlock(session).await?;
    let archive = run?.map_or_else(|| "an archive".to_owned(), |run| run.archive);
    Err(Error::new(Kind::Target, format!("the target holds an unfinished restore of {archive}"))
        .on(session.settings().describe())
        .hint("--resume goes on with it; -c --if-exists begins anew; DROP SCHEMA pgstow_restore CASCADE forgets it"))
}

/// Forgets the notes of a restore that died, before what it made is dropped.
pub(super) async fn forget(session: &Session) -> Result<()> {
    if !exist(session).await? {
        return Ok(());
    }
    lock_alone(session).await?;
    session.execute(DROP).await?;
    unlock(session).await
}

/// Begins notes. Where another restore into this database is running, or no schema may be made, there are none, and a word
/// why.
pub(super) async fn begin(session: &Session, identity: &Identity, jobs: usize) -> Result<(Notes, Option<String>)> {
    let none = Notes::none();
    if !try_lock(session).await? {
        let why = "another restore into this database is running, so this one could not be resumed".to_owned();
        return Ok((none, Some(why)));
    }
    let Identity { archive, contents, choice } = identity;
    let (archive, contents, choice) = (literal(archive), literal(contents), literal(choice));
    let run = format!("INSERT INTO pgstow_restore.run VALUES ({archive}, {contents}, {choice}, {jobs})");
    let (notes, why) = match session.execute(&format!("{MAKE}; {run}")).await {
        Ok(()) => (Notes { kept: true }, None),
        Err(error) if error.kind() == Kind::Database => {
            (none, Some(format!("this restore could not be resumed, for its notes cannot be kept: {error}")))
        }
        Err(error) => return Err(error),
    };
    notes.join(session).await?;
    unlock(session).await?;
    Ok((notes, why))
}

/// Waits until no session of any restore into this database is left.
async fn lock_alone(session: &Session) -> Result<()> {
    if try_lock(session).await? {
        return Ok(());
    }
    let holders: Vec<HolderRow> = session.question(&holders()).await?;
    let pids: Vec<String> = holders.iter().map(|row| row.pid.to_string()).collect();
    tracing::warn!(
        "waiting for the sessions of the earlier restore to end (if nobody runs it any more, pg_terminate_backend ends \
         them): {}",
        pids.join(", ")
    );
    session.execute(&format!("SELECT pg_catalog.pg_advisory_lock({LOCK})")).await
}

/// Who holds the lock. The key of 64 bits is shown in two halves (PostgreSQL documentation, `pg_locks`).
fn holders() -> String {
    format!(
        "SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
         AND l.classid::pg_catalog.int8 = {} AND l.objid::pg_catalog.int8 = {}",
        LOCK >> 32,
        LOCK & 0xffff_ffff
    )
}

async fn unlock(session: &Session) -> Result<()> {
    session.execute(&format!("SELECT pg_catalog.pg_advisory_unlock({LOCK})")).await
}

async fn try_lock(session: &Session) -> Result<bool> {
    is_true(session, &format!("pg_catalog.pg_try_advisory_lock({LOCK})")).await
}
