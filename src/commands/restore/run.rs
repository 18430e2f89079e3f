//! Runs the chosen steps: definitions one by one, then everything else side by side on the workers' connections.

use super::choose::{Choice, Phase, Plan, Step};
use super::tasks::{Work, tasks};
use super::{RestoreOptions, Words, connect, load, statements};
use crate::archive::Charset;
use crate::commands::source::{BlobObject, Source};
use crate::commands::transfer::Origin;
use crate::commands::{Progress, Stop, memory};
use crate::error::{Error, Kind, Result};
use crate::plan::Ready;
use crate::postgres::{ConnectionSettings, Session};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// So much of a failed statement is printed.
const STATEMENT_SHOWN: usize = 300;

/// Errors so far: the first one ends the restore, unless the user chose to go on.
#[derive(Debug)]
pub(super) struct Failures {
    keep_going: bool,
    errors: Vec<String>,
}

impl Failures {
    pub(super) fn new(keep_going: bool) -> Self {
        Failures { keep_going, errors: Vec::new() }
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

fn with_statement(error: Error, statement: &str) -> Error {
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

/// Runs one entry's statements: placement, its own, its owner.
pub(super) async fn execute_entry(
    session: &Session,
    step: &Step,
    choice: &Choice,
    is_partial: bool,
    placement: &mut statements::Placement,
    failures: &mut Failures,
) -> Result<()> {
    match try_entry(session, step, choice, is_partial, placement).await {
        Ok(()) => Ok(()),
        Err((sql, error)) => failures.add(error.on(step.label()), &sql),
    }
}

/// The statement that failed, and how.
type Failed = (String, Error);

async fn try_entry(
    session: &Session,
    step: &Step,
    choice: &Choice,
    is_partial: bool,
    placement: &mut statements::Placement,
) -> Result<(), Failed> {
    for statement in statements::of_step(step, choice, is_partial, placement) {
        if let Err(error) = session.execute(&statement).await {
            return Err((statement, error));
        }
    }
    Ok(())
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tables: u64,
    pub(super) rows: u64,
    pub(super) errors: Vec<String>,
}

/// What the workers share.
struct Shared {
    plan: Plan,
    choice: Choice,
    large_objects: HashMap<i32, Vec<BlobObject>>,
    origin: Origin,
    charset: Charset,
    progress: Arc<Progress>,
    stop: Stop,
    /// How many tables may be loaded at once, which is what takes memory.
    loads: Semaphore,
    /// What each task is.
    work: Vec<Work>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    ready: Ready,
    failures: Failures,
    outcome: Outcome,
    running: usize,
}

/// Runs the whole plan, beginning on the session given.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and a struct would be made for this one call"
)]
pub(super) async fn run(
    first: Session,
    connection: &ConnectionSettings,
    words: &Words,
    options: &RestoreOptions,
    source: Source,
    plan: &Plan,
    mut failures: Failures,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Outcome> {
    progress.phase("definitions");
    let plan = plan.clone();
    let mut placement = statements::Placement::of(&options.choice);
    for step in plan.steps.iter().filter(|step| step.phase == Phase::Definitions) {
        stop.unless(execute_entry(&first, step, &options.choice, plan.is_partial, &mut placement, &mut failures))
            .await?;
    }
    progress.phase("restoring");
    // After errors, a table that should have been made here may be one that was there before, with rows of its own.
    let may_truncate = !failures.keep_going && !options.choice.data_only;
    let (pieces, tasks) = tasks(&plan, options.jobs, may_truncate);
    let workers = options.jobs.max(1).min(pieces.len().max(1));
    let work = stop.child();
    let shared = Arc::new(Shared {
        plan,
        choice: options.choice.clone(),
        large_objects: source.large_objects,
        origin: source.origin,
        charset: words.charset.clone(),
        progress: Arc::clone(progress),
        stop: work.clone(),
        loads: Semaphore::new(memory::loaders(options.memory, options.jobs)?),
        work: pieces,
        state: Mutex::new(State { ready: Ready::new(tasks), failures, outcome: Outcome::default(), running: 0 }),
        changed: Notify::new(),
    });
    let mut sessions = vec![first];
    while sessions.len() < workers {
        sessions.push(stop.unless(connect(connection, words)).await?);
    }
    let mut running = JoinSet::new();
    for session in sessions {
        let shared = Arc::clone(&shared);
        running.spawn(async move { worker(&session, &shared).await });
    }
    let mut first_failure: Option<Error> = None;
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|panic| {
            Err(Error::new(Kind::Internal, "a worker of the restore ended unexpectedly").because(panic))
        });
        if let Err(error) = ended {
            work.now();
            shared.changed.notify_waiters();
            first_failure.get_or_insert(error);
        }
    }
    if stop.is_asked() {
        return Err(Stop::interrupted());
    }
    if let Some(error) = first_failure {
        return Err(error);
    }
    let mut state = lock(&shared.state)?;
    let mut outcome = std::mem::take(&mut state.outcome);
    outcome.errors = std::mem::take(&mut state.failures.errors);
    Ok(outcome)
}

fn lock<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::new(Kind::Internal, "a worker ended in the middle of its bookkeeping"))
}

async fn worker(session: &Session, shared: &Shared) -> Result<()> {
    let mut placement = statements::Placement::of(&shared.choice);
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let task = {
            let mut state = lock(&shared.state)?;
            if state.ready.open() == 0 {
                return Ok(());
            }
            let task = state.ready.start();
            if task.is_some() {
                state.running += 1;
            } else if state.running == 0 {
                return Err(Error::new(Kind::Internal, "the remaining steps wait for one another"));
            }
            task
        };
        let Some(task) = task else {
            shared
                .stop
                .unless(async {
                    changed.await;
                    Ok(())
                })
                .await?;
            continue;
        };
        let work = &shared.work[task];
        let (step, slice) = (&shared.plan.steps[work.step], &work.slice);
        let outcome = shared.stop.unless(run_step(session, work, shared, &mut placement)).await;
        let mut state = lock(&shared.state)?;
        state.running -= 1;
        state.ready.done(task);
        match outcome {
            Ok(Some(rows)) => {
                state.outcome.rows += rows;
                if slice.as_ref().is_none_or(|slice| slice.is_last) {
                    state.outcome.tables += 1;
                    shared.progress.table_done();
                }
            }
            Ok(None) => {}
            Err(error) => {
                let statement = if step.data.is_some() { step.entry.copy.as_deref().unwrap_or_default() } else { "" };
                state.failures.add(error, statement)?;
            }
        }
        drop(state);
        shared.changed.notify_waiters();
    }
}

/// Runs one step; the rows loaded when it was a table's.
async fn run_step(
    session: &Session,
    work: &Work,
    shared: &Shared,
    placement: &mut statements::Placement,
) -> Result<Option<u64>> {
    let (step, slice) = (&shared.plan.steps[work.step], work.slice.as_ref());
    if let Some(data) = &step.data {
        let (origin, progress) = (&shared.origin, &shared.progress);
        let _room = shared.loads.acquire().await;
        let rows = if step.entry.copy.is_some() {
            load::load_table(session, &step.entry, data, slice, work.is_fresh, origin, progress).await
        } else {
            load::run_statements(session, data, &shared.charset, origin, progress).await
        };
        return rows.map(Some).map_err(|error| error.on(step.label()));
    }
    if step.entry.desc == "BLOBS" {
        let Some(large) = shared.large_objects.get(&step.entry.id) else {
            return Err(Error::new(Kind::Archive, "the contents of large objects are missing").on("BLOBS"));
        };
        load::load_large_objects(session, large, &shared.origin, &shared.progress, &shared.stop).await?;
        return Ok(None);
    }
    match try_entry(session, step, &shared.choice, shared.plan.is_partial, placement).await {
        Ok(()) => Ok(None),
        Err((sql, error)) => Err(with_statement(error.on(step.label()), &sql)),
    }
}
