//! Runs the chosen steps: definitions in their order, then everything else side by side on the workers' connections.

use super::apply::{self, Manner, Pace};
use super::choose::{Choice, Phase, Plan, Step};
use super::columns::{self, Layouts};
use super::early::EarlyRows;
use super::failures::{Failures, with_statement};
use super::notes::{Notes, Piece};
use super::row_order::{RowOrder, row_order};
use super::start::Start;
use super::tasks::{Circumstances, LargeObjects, Work, tasks};
use super::triggers::{Switch, Switches, switches_in};
use super::{RestoreOptions, Words, again, connect, explain, load, refreshes, statements};
use crate::archive::Charset;
use crate::commands::memory::{self, Taken};
use crate::commands::source::TableObject;
use crate::commands::transfer::Origin;
use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::plan::Ready;
use crate::postgres::{ConnectionSettings, Session};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tables: u64,
    pub(super) rows: u64,
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What is read beside the plan.
pub(super) struct Archive {
    pub(super) origin: Origin,
    /// By the entry that brings them.
    pub(super) large: LargeObjects,
    /// What is held of the archive, the plan included, in bytes.
    pub(super) held: u64,
    /// What the process took before it was opened.
    pub(super) before: Taken,
}

/// What the workers share.
struct Shared {
    plan: Arc<Plan>,
    choice: Choice,
    keep_going: bool,
    notes: Notes,
    /// What an earlier run has restored.
    done: HashSet<Piece>,
    large_objects: LargeObjects,
    origin: Origin,
    charset: Charset,
    progress: Arc<Progress>,
    stop: Stop,
    /// How many tables may be loaded at once, which is what takes memory.
    loads: Semaphore,
    /// How rows are sent.
    layouts: Layouts,
    /// What is said around rows that come without triggers.
    switches: Switches,
    /// What each task is.
    work: Vec<Work>,
    /// Entries of rows that are no further tables.
    further: HashSet<i32>,
    /// Which tasks take no time.
    is_light: Vec<bool>,
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn manner(&self) -> Manner<'_> {
        let (choice, is_partial) = (&self.choice, self.plan.is_partial);
        Manner { choice, is_partial, keep_going: self.keep_going, notes: self.notes }
    }
}

struct State {
    ready: Ready,
    failures: Failures,
    outcome: Outcome,
    running: usize,
    /// Refreshes, and what needs them, that are tried again when the others are done.
    put_off: refreshes::PutOff,
}

/// Runs the whole plan, or what is left of it, beginning on the session given.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and a struct would be made for this one call"
)]
pub(super) async fn run(
    start: Start,
    connection: &ConnectionSettings,
    words: &Words,
    options: &RestoreOptions,
    archive: Archive,
    plan: Arc<Plan>,
    mut failures: Failures,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Outcome> {
    progress.phase("definitions");
    stop.unless(start.session.name("pgstow restore: definitions")).await?;
    let Start { session: first, notes, before } = start;
    let manner = Manner { choice: &options.choice, is_partial: plan.is_partial, keep_going: options.keep_going, notes };
    let mut early = EarlyRows {
        session: &first,
        notes,
        origin: &archive.origin,
        progress,
        stop,
        further: plan.further_segments(),
        outcome: Outcome::default(),
        // What an earlier run has begun to load in another way.
        put_off: before.done.iter().filter(|(_, number)| *number > 0).map(|(id, _)| *id).collect(),
    };
    make_definitions(&plan, &before.done, manner, &mut early, &mut failures).await?;
    let plan = early.rest_of(Arc::clone(&plan));
    let so_far = early.outcome;
    progress.phase("restoring");
    // Rows have what the definitions leave.
    let layouts = stop.unless(columns::layouts(&first, &plan)).await?;
    // After errors, or by now, a table of the plan may have rows that are not this restore's.
    let may_truncate = !options.keep_going && before.done.is_empty();
    let (order, switches) = stop.unless(order_and_switches(&first, &plan, &options.choice)).await?;
    let circumstances = Circumstances { jobs: before.jobs, may_truncate, order: &order, done: &before.done };
    let (pieces, tasks) = tasks(&plan, &archive.large, circumstances);
    let at_once = Taken::look().since(archive.before);
    let loaders = memory::loaders(options.memory, options.jobs, archive.held, at_once)?;
    memory::keep_freed(options.memory);
    let workers = options.jobs.max(1).min(pieces.len().max(1));
    let work = stop.child();
    let mut outcome = so_far;
    outcome.warnings.extend(order.warning);
    let further = plan.further_segments();
    let shared = Arc::new(Shared {
        plan,
        choice: options.choice.clone(),
        keep_going: options.keep_going,
        notes,
        done: before.done,
        large_objects: archive.large,
        origin: archive.origin,
        charset: words.charset.clone(),
        progress: Arc::clone(progress),
        stop: work.clone(),
        loads: Semaphore::new(loaders),
        layouts,
        switches,
        further,
        work: pieces,
        is_light: tasks.iter().map(|task| task.is_light).collect(),
        state: Mutex::new(State {
            ready: Ready::new(tasks),
            failures,
            outcome,
            running: 0,
            put_off: refreshes::PutOff::default(),
        }),
        changed: Notify::new(),
    });
    let mut sessions = vec![first];
    while sessions.len() < workers {
        let session = stop.unless(connect(connection, words)).await?;
        stop.unless(notes.join(&session)).await?;
        sessions.push(session);
    }
    let mut running = JoinSet::new();
    for session in sessions {
        let shared = Arc::clone(&shared);
        running.spawn(async move { worker(&session, &shared).await.map(|()| session) });
    }
    let mut first_failure: Option<Error> = None;
    let mut last = None;
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|panic| {
            Err(Error::new(Kind::Internal, "a worker of the restore ended unexpectedly").because(panic))
        });
        match ended {
            Ok(session) => last = Some(session),
            Err(error) => {
                work.now();
                shared.changed.notify_waiters();
                first_failure.get_or_insert(error);
            }
        }
    }
    if stop.is_asked() {
        return Err(Stop::interrupted());
    }
    if let Some(error) = first_failure {
        return Err(error);
    }
    conclude(last.as_ref(), &shared, options, stop).await
}

/// The steps that come when nothing runs any more, on the session that is left; and what all came to.
async fn conclude(last: Option<&Session>, shared: &Shared, options: &RestoreOptions, stop: &Stop) -> Result<Outcome> {
    let (mut outcome, mut failures) = {
        let mut state = lock(&shared.state)?;
        let failures = std::mem::replace(&mut state.failures, Failures::new(options.keep_going, options.no_superuser));
        (std::mem::take(&mut state.outcome), failures)
    };
    if let Some(session) = last {
        let put_off = std::mem::take(&mut lock(&shared.state)?.put_off);
        let (steps, manner) = (&shared.plan.steps, shared.manner());
        stop.unless(refreshes::in_rounds(session, steps, put_off, manner, &mut failures)).await?;
        let steps: Vec<&Step> = shared.plan.steps.iter().filter(|step| step.phase == Phase::EventTriggers).collect();
        let word = stop.unless(apply::finish(session, &steps, shared.manner(), &mut failures)).await?;
        outcome.warnings.extend(word);
    }
    outcome.warnings.extend(failures.warnings());
    outcome.errors = failures.into_errors();
    Ok(outcome)
}

/// Which rows wait for which, and which come without triggers.
async fn order_and_switches(session: &Session, plan: &Plan, choice: &Choice) -> Result<(RowOrder, Switches)> {
    let mut order = row_order(session, plan, !choice.disable_triggers).await?;
    let switches = if choice.disable_triggers { switches_in(session, plan).await? } else { Switches::new() };
    // Two slices would wait for each other's switch.
    order.whole.extend(switches.keys());
    Ok((order, switches))
}

/// Makes the definitions that come one by one, and loads the rows that stand among them.
async fn make_definitions(
    plan: &Plan,
    done: &HashSet<Piece>,
    manner: Manner<'_>,
    early: &mut EarlyRows<'_>,
    failures: &mut Failures,
) -> Result<()> {
    let (mut placement, mut pace) = (statements::Placement::of(manner.choice), Pace::new());
    let is_open = |step: &&Step| step.phase == Phase::Definitions && !done.contains(&(step.entry.id, 0));
    let open: Vec<&Step> = plan.steps.iter().filter(is_open).collect();
    for neighbours in open.chunk_by(|one, other| one.data.is_some() == other.data.is_some()) {
        if neighbours.first().is_some_and(|step| step.data.is_some()) {
            early.load(neighbours).await?;
            continue;
        }
        let judge = |step: &Step, failed| failures.judge(step, failed);
        apply::definitions(early.session, neighbours, manner, &mut placement, &mut pace, early.stop, judge).await?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::new(Kind::Internal, "a worker ended in the middle of its bookkeeping"))
}

/// What the server is told of a connection that does this step.
fn name_of(step: &Step) -> &'static str {
    match step.phase {
        Phase::ForeignKeys => "pgstow restore: adding foreign keys",
        Phase::Privileges | Phase::Last | Phase::EventTriggers => "pgstow restore: finishing",
        _ if step.data.is_some() => "pgstow restore: loading rows",
        _ if step.entry.desc == "BLOBS" => "pgstow restore: loading large objects",
        _ => "pgstow restore: making indexes and constraints",
    }
}

/// What one connection remembers between its steps.
struct Habits {
    placement: statements::Placement,
    /// What it is named.
    name: &'static str,
    pace: Pace,
}

async fn worker(session: &Session, shared: &Shared) -> Result<()> {
    let mut habits = Habits { placement: statements::Placement::of(&shared.choice), name: "", pace: Pace::new() };
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let started = {
            let mut state = lock(&shared.state)?;
            if state.ready.open() == 0 {
                return Ok(());
            }
            let started = start(&mut state.ready, &shared.is_light, habits.pace.most);
            if !started.is_empty() {
                state.running += 1;
            } else if state.running == 0 {
                return Err(Error::new(Kind::Internal, "the remaining steps wait for one another"));
            }
            started
        };
        let Some(&task) = started.first() else {
            shared
                .stop
                .unless(async {
                    changed.await;
                    Ok(())
                })
                .await?;
            continue;
        };
        if shared.is_light[task] {
            let outcome = run_light(session, &started, shared, &mut habits).await;
            let mut state = lock(&shared.state)?;
            state.running -= 1;
            for task in started {
                state.ready.done(task);
            }
            drop(state);
            outcome?;
            shared.changed.notify_waiters();
            continue;
        }
        let work = &shared.work[task];
        let (step, slice) = (&shared.plan.steps[work.step], &work.slice);
        let is_done = shared.done.contains(&(step.entry.id, work.number));
        let outcome = if is_done || lock(&shared.state)?.put_off.takes_follower(work.step, step) {
            Ok(None)
        } else {
            shared.stop.unless(run_step(session, work, shared, &mut habits)).await
        };
        let mut state = lock(&shared.state)?;
        state.running -= 1;
        state.ready.done(task);
        match outcome {
            Ok(Some(rows)) => {
                state.outcome.rows += rows;
                let is_last = slice.as_ref().is_none_or(|slice| slice.is_last);
                if is_last && !shared.further.contains(&step.entry.id) {
                    state.outcome.tables += 1;
                    shared.progress.table_done();
                }
            }
            Ok(None) => {}
            Err(error) => {
                if state.failures.let_pass(step, &error) {
                    drop(state);
                    shared.changed.notify_waiters();
                    continue;
                }
                let statement = if step.data.is_some() { step.entry.copy.as_deref().unwrap_or_default() } else { "" };
                state.failures.add(error, statement)?;
            }
        }
        drop(state);
        shared.changed.notify_waiters();
    }
}

/// The next task, and light ones that may be done along with it.
fn start(ready: &mut Ready, is_light: &[bool], most: usize) -> Vec<usize> {
    let mut started: Vec<usize> = ready.start().into_iter().collect();
    while let Some(&last) = started.last()
        && is_light[last]
        && started.len() < most
        && let Some(more) = ready.start_more(last)
    {
        started.push(more);
    }
    started
}

/// Makes what takes no time, in few transactions.
async fn run_light(session: &Session, tasks: &[usize], shared: &Shared, habits: &mut Habits) -> Result<()> {
    let steps = tasks.iter().map(|&task| &shared.plan.steps[shared.work[task].step]);
    let open: Vec<&Step> = steps.filter(|step| !shared.done.contains(&(step.entry.id, 0))).collect();
    let open = lock(&shared.state)?.put_off.all_but_followers(&shared.plan.steps, open);
    let Some(first) = open.first() else { return Ok(()) };
    let name = name_of(first);
    if std::mem::replace(&mut habits.name, name) != name {
        shared.stop.unless(session.name(name)).await?;
    }
    let (placement, pace) = (&mut habits.placement, &mut habits.pace);
    let failed = |step: &Step, failure| lock(&shared.state)?.failures.judge(step, failure);
    apply::definitions(session, &open, shared.manner(), placement, pace, &shared.stop, failed).await
}

/// Runs one step; the rows loaded when it was a table's.
async fn run_step(session: &Session, work: &Work, shared: &Shared, habits: &mut Habits) -> Result<Option<u64>> {
    let step = &shared.plan.steps[work.step];
    let name = name_of(step);
    let naming = if std::mem::replace(&mut habits.name, name) == name { None } else { session.naming(name) };
    if let Some(data) = &step.data {
        let loaded = load_rows(session, naming, step, data, work, shared).await;
        return loaded.map(Some).map_err(|error| error.on(step.label()));
    }
    if step.entry.desc == "BLOBS" {
        let Some(large) = shared.large_objects.get(&step.entry.id) else {
            return Err(Error::new(Kind::Archive, "the contents of large objects are missing").on("BLOBS"));
        };
        session.name(name).await?;
        // They are written at their places, so doing it again does no harm, and one transaction for all would be long.
        let large = large.get(work.large.clone()).unwrap_or_default();
        let room = shared.loads.acquire().await;
        load::load_large_objects(session, large, &shared.origin, &shared.progress, &shared.stop).await?;
        drop(room);
        if let Some(note) = shared.notes.note((step.entry.id, work.number)) {
            session.execute(&note).await?;
        }
        return Ok(None);
    }
    let piece = work.statement.as_ref().map(|statement| step.with_statement(statement));
    let step = piece.as_ref().unwrap_or(step);
    match apply::apply(session, naming, step, work.number, shared.manner(), &mut habits.placement).await {
        Ok(()) => Ok(None),
        Err((_, error)) if lock(&shared.state)?.failures.let_pass(step, &error) => Ok(None),
        Err((_, error)) if lock(&shared.state)?.put_off.takes(work.step, step, &error) => Ok(None),
        Err((sql, error)) => Err(with_statement(error.on(step.label()), &sql)),
    }
}

async fn load_rows(
    session: &Session,
    naming: Option<String>,
    step: &Step,
    data: &TableObject,
    work: &Work,
    shared: &Shared,
) -> Result<u64> {
    let _room = shared.loads.acquire().await;
    if work.is_fresh && data.rows == Some(0) {
        // The server need not hear of it, and whoever goes on after this restore died may look again.
        return load::no_rows(data, &shared.origin, &shared.progress).await;
    }
    let naming = naming.map_or_else(String::new, |naming| format!("{naming}; "));
    let (mut number, mut is_fresh) = (1, work.is_fresh);
    loop {
        let loaded = match step.entry.copy {
            None => run_rows(session, &naming, step, data, work, shared).await,
            Some(_) => copy_rows(session, &naming, step, data, work, is_fresh, shared).await,
        };
        match loaded {
            Err(error) if number < again::TRIES && again::is_worth_it(&error) => {
                tracing::warn!("the rows of {} are sent again: {error}", step.label());
                // Functions in two tables' constraints may read one another's rows, and an emptied table lets nobody read it.
                is_fresh = false;
                again::pause(number).await;
                number += 1;
            }
            Err(error) => return Err(explain::explain(session, error).await),
            Ok(rows) => return Ok(rows),
        }
    }
}

/// Rows that are statements.
async fn run_rows(
    session: &Session,
    naming: &str,
    step: &Step,
    data: &TableObject,
    work: &Work,
    shared: &Shared,
) -> Result<u64> {
    let switch = shared.switches.get(&step.entry.id);
    session.execute(&format!("{naming}BEGIN; {}", off(switch))).await?;
    let loaded = load::run_statements(session, data, &shared.charset, &shared.origin, &shared.progress).await;
    apply::conclude(session, at_the_end(step, work, switch, shared), loaded).await
}

/// What switches triggers off.
fn off(switch: Option<&Switch>) -> String {
    switch.map_or_else(String::new, |switch| format!("{};\n", switch.off))
}

/// What the transaction of rows ends with.
fn at_the_end(step: &Step, work: &Work, switch: Option<&Switch>, shared: &Shared) -> Option<String> {
    let note = shared.notes.note((step.entry.id, work.number));
    let both: Vec<String> = switch.map(|switch| switch.on.clone()).into_iter().chain(note).collect();
    (!both.is_empty()).then(|| both.join(";\n"))
}

async fn copy_rows(
    session: &Session,
    naming: &str,
    step: &Step,
    data: &TableObject,
    work: &Work,
    is_fresh: bool,
    shared: &Shared,
) -> Result<u64> {
    let switch = shared.switches.get(&step.entry.id);
    let end = at_the_end(step, work, switch, shared);
    let layouts = shared.layouts.get(&step.entry.id);
    tracing::debug!(rows = step.label(), in_binary = layouts.is_some(), is_fresh);
    let copy = load::copy_statements(&step.entry, is_fresh, layouts.is_some())?;
    let begin = if end.is_some() { "BEGIN; " } else { "" };
    let statements = format!("{naming}{begin}{}{copy}", off(switch));
    let (slice, origin) = (work.slice.as_ref(), &shared.origin);
    let loaded = load::load_table(session, &statements, layouts, data, slice, origin, &shared.progress).await;
    if end.is_some() { apply::conclude(session, end, loaded).await } else { loaded }
}
