//! What a restore begins with: a target that was looked at and made ready, or one in which an earlier restore died.

use super::drops::drop_objects;
use super::failures::Failures;
use super::notes::{self, Before, Identity, Notes};
use super::{RestoreOptions, RestoreReport, Words, connect, globals, preflight, restore_globals, target};
use crate::commands::source::Source;
use crate::commands::{Progress, Stop};
use crate::error::{Error, Result};
use crate::postgres::Session;
use std::collections::HashSet;
use std::sync::Arc;

const RESUME_HINT: &str =
    "the same command with --resume goes on where this one stopped; with --keep-going beside it, past what fails";

/// Where the steps begin.
pub(super) struct Start {
    /// A session in the target.
    pub(super) session: Session,
    pub(super) notes: Notes,
    /// What an earlier run has done, and how large tables are cut.
    pub(super) before: Before,
}

/// Connects, looks, and either goes on with what is there or makes the target ready.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and a struct would be made for this one call"
)]
pub(super) async fn start(
    source: &Source,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
    words: &Words,
    failures: &mut Failures,
    report: &mut RestoreReport,
    progress: &Progress,
    stop: &Stop,
) -> Result<Start> {
    let first = stop.unless(connect(&options.connection, words)).await?;
    report.majors.1 = first.version().major();
    progress.phase("looking at the target");
    stop.unless(look_before(&first, source, globals, options, report)).await?;
    let identity = Identity::of(&source.name(), &options.choice, &report.plan);
    let found = match stop.unless(go_on(first, options, &report.database, &identity, words)).await? {
        Found::Nothing(first) => {
            let made = make_ready(first, globals, options, words, failures, report, progress, stop).await;
            match made {
                Err(error) if options.resume && options.create => {
                    // A server makes a database to its end, whoever asked for it has died; so it may be there only now.
                    let again = stop.unless(connect(&options.connection, words)).await?;
                    match stop.unless(go_on(again, options, &report.database, &identity, words)).await? {
                        Found::Nothing(_) => return Err(error),
                        found => found,
                    }
                }
                made => Found::Ready(made?),
            }
        }
        found => found,
    };
    let first = match found {
        Found::Notes(start) => {
            report.resumed_after = Some(start.before.done.len() as u64);
            return Ok(start);
        }
        Found::Database(first, inside) => {
            report.globals = restore_globals(globals, options, words, failures, progress, stop).await?;
            stop.unless(target::describe_database(&first, options, &report.plan, failures, false)).await?;
            *inside
        }
        Found::Nothing(session) | Found::Ready(session) => session,
    };
    let jobs = options.jobs;
    let (notes, why) = stop.unless(notes::begin(&first, &identity, jobs)).await?;
    report.warnings.extend(why);
    Ok(Start { session: first, notes, before: Before { done: HashSet::new(), jobs } })
}

/// Refuses what is in the way, or removes it; makes the database.
#[expect(clippy::too_many_arguments, reason = "as above")]
async fn make_ready(
    first: Session,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
    words: &Words,
    failures: &mut Failures,
    report: &mut RestoreReport,
    progress: &Progress,
    stop: &Stop,
) -> Result<Session> {
    if options.create && !options.clean && stop.unless(target::has_database(&first, &report.database)).await? {
        // Before roles and tablespaces are made for it.
        return Err(target::database_is_there(&first, &report.database));
    }
    if !options.create && !options.clean {
        stop.unless(notes::refuse(&first)).await?;
        if !options.choice.data_only {
            let free = stop.unless(target::refuse_existing(&first, &report.plan)).await;
            free.map_err(|error| if options.resume { nothing_to_resume(&error) } else { error })?;
        }
    }
    report.globals = restore_globals(globals, options, words, failures, progress, stop).await?;
    let first = if options.create {
        stop.unless(target::create_database(first, options, &report.plan, words, failures)).await?
    } else {
        first
    };
    if options.clean && !options.create {
        stop.unless(notes::forget(&first)).await?;
        // Who goes on with a restore that died while it dropped does not mind what is gone.
        let if_exists = options.if_exists || options.resume;
        let word = stop.unless(drop_objects(&first, &report.plan, if_exists, failures)).await?;
        report.warnings.extend(word);
    } else if options.create && !options.choice.data_only {
        stop.unless(target::refuse_existing(&first, &report.plan)).await?;
    }
    Ok(first)
}

fn nothing_to_resume(error: &Error) -> Error {
    let message = format!("{}, and no unfinished restore that --resume could go on with", error.message());
    let again = Error::new(error.kind(), message).hint("a restore that was complete leaves no notes");
    again.on(error.object().unwrap_or_default())
}

/// Says that the restore can go on, where nothing better is known.
pub(super) fn or_resume(error: Error) -> Error {
    error.hint(RESUME_HINT)
}

/// What `--resume` finds.
enum Found {
    /// The notes of a restore that died.
    Notes(Start),
    /// A database that was just made, and no notes yet: the first connection, and one to it.
    Database(Box<Session>, Box<Session>),
    /// Nothing to go on with.
    Nothing(Session),
    /// A target that this run made ready.
    Ready(Session),
}

async fn go_on(
    first: Session,
    options: &RestoreOptions,
    database: &str,
    identity: &Identity,
    words: &Words,
) -> Result<Found> {
    if !options.resume {
        return Ok(Found::Nothing(first));
    }
    if !options.create {
        return if notes::exist(&first).await? { take_over(first, identity).await } else { Ok(Found::Nothing(first)) };
    }
    if !target::has_database(&first, database).await? {
        return Ok(Found::Nothing(first));
    }
    let inside = connect(&options.connection.with_database(database), words).await?;
    if notes::exist(&inside).await? {
        return take_over(inside, identity).await;
    }
    // Making a database is no transaction, so a restore may die between that and its notes.
    Ok(if target::is_untouched(&inside).await? {
        Found::Database(Box::new(first), Box::new(inside))
    } else {
        Found::Nothing(first)
    })
}

async fn take_over(session: Session, identity: &Identity) -> Result<Found> {
    let (notes, before) = notes::take_over(&session, identity).await?;
    Ok(Found::Notes(Start { session, notes, before }))
}

/// Looks for what the target lacks and what the role may not do in it; the latter leaves the plan, if the user wants that.
pub(super) async fn foresee(
    session: &Session,
    source: &Source,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<preflight::Found> {
    let (plan, refusals) = preflight::rights::look(session, &report.plan, globals, options).await?;
    if options.no_superuser {
        report.plan = Arc::new(plan);
        report.warnings.extend(refusals.warnings());
    } else if let Some(plan) = refusals.without_said(&report.plan) {
        report.plan = Arc::new(plan);
    }
    let mut found = preflight::look(session, source, &report.plan, globals, options).await?;
    if !options.no_superuser {
        found.lacks.extend(refusals.lacks());
    }
    Ok(found)
}

/// Refuses a target that lacks something, unless the restore is to go on whatever happens.
async fn look_before(
    session: &Session,
    source: &Source,
    globals: Option<&globals::Plan>,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    let found = foresee(session, source, globals, options, report).await?;
    report.warnings.extend(found.warnings);
    if !found.lacks.is_empty() && !options.keep_going {
        return Err(preflight::refusal(&found.lacks, session));
    }
    report.lacks = found.lacks;
    Ok(())
}
