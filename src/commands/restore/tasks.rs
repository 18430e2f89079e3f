//! What runs side by side in a restore: pieces of work, what each waits for, what it locks. Pure.

use super::choose::{Phase, Plan, Step};
use super::slices::{self, Slice, slices};
use crate::commands::source::{BlobObject, TableObject};
use crate::plan::{Lock, Task};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The large objects by the entry that brings them.
pub(super) type LargeObjects = HashMap<i32, Vec<BlobObject>>;

/// One thing for one connection: a step, a slice of a table's rows, or some of the large objects.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The step's place in the plan.
    pub(super) step: usize,
    /// Which slice of the step's rows it is, from 0.
    pub(super) number: usize,
    /// Which rows; `None` for all of them, and for a step without any.
    pub(super) slice: Option<Slice>,
    /// Which of the step's large objects, by their places.
    pub(super) large: Range<usize>,
    /// Whether these are all the rows of a table that this restore made, and that nobody else has.
    pub(super) is_fresh: bool,
}

/// Everything that runs side by side, in the order of the table of contents; what is cut depends on the plan and the number of
/// connections alone.
fn pieces_of_work(plan: &Plan, large: &LargeObjects, jobs: usize, may_truncate: bool) -> Vec<Work> {
    let made = heaps_made_and_loaded_at_once(plan);
    let side_by_side = Phase::Parallel..=Phase::Last;
    let mut work = Vec::new();
    for (step, of) in plan.steps.iter().enumerate().filter(|(_, step)| side_by_side.contains(&step.phase)) {
        if let Some(objects) = large.get(&of.entry.id) {
            let parts = slices::of_large_objects(objects, jobs).into_iter().enumerate();
            work.extend(parts.map(|(number, large)| Work { step, number, slice: None, large, is_fresh: false }));
            continue;
        }
        let needs_any = |tables: &HashSet<i32>| of.entry.needs.iter().any(|need| tables.contains(need));
        // What is loaded through a partitioned table says so here, and shares that table with others.
        let is_made = of.entry.create.is_none() && needs_any(&made);
        // Rows that come in slices cannot be frozen, for which every index pays; a table that is more than its share of
        // the work gains more by several connections.
        let gains = |data: &&TableObject| data.raw_bytes > plan.raw_bytes() / (2 * jobs.max(1) as u64);
        // INSERT statements cannot be cut.
        let data = of.data.as_ref().filter(|_| of.entry.copy.is_some());
        let cut = data.filter(gains).zip(slices::size(plan.raw_bytes(), jobs));
        let parts = cut.map_or_else(Vec::new, |(data, size)| slices(data, size));
        if parts.is_empty() {
            work.push(Work {
                step,
                number: 0,
                slice: None,
                large: 0..0,
                is_fresh: data.is_some() && is_made && may_truncate,
            });
        }
        let sliced = |(number, slice)| Work { step, number, slice: Some(slice), large: 0..0, is_fresh: false };
        work.extend(parts.into_iter().enumerate().map(sliced));
    }
    work
}

/// The heaps that the plan makes and whose rows are one object: the rows of others come one object after the other.
fn heaps_made_and_loaded_at_once(plan: &Plan) -> HashSet<i32> {
    // What another access method makes of frozen rows is its own affair.
    let is_heap =
        |step: &&Step| step.entry.access_method.as_deref().is_none_or(|method| ["", "heap"].contains(&method));
    let tables = plan.steps.iter().filter(|step| step.entry.desc == "TABLE").filter(is_heap);
    let mut loads: HashMap<i32, usize> = tables.map(|step| (step.entry.id, 0)).collect();
    for need in plan.steps.iter().filter(|step| step.data.is_some()).flat_map(|step| &step.entry.needs) {
        loads.entry(*need).and_modify(|loads| *loads += 1);
    }
    loads.into_iter().filter(|(_, loads)| *loads == 1).map(|(table, _)| table).collect()
}

/// How many bytes of rows these tasks load, each table counted once.
fn bytes(plan: &Plan, work: &[Work], tasks: &[usize]) -> u64 {
    let whole = |task: &&usize| work[**task].slice.as_ref().is_none_or(|slice| slice.is_last);
    let steps = tasks.iter().filter(whole).map(|&task| &plan.steps[work[task].step]);
    steps.filter_map(|step| step.data.as_ref()).map(|data| data.raw_bytes).sum()
}

/// The tasks that load rows through the same partitioned table, by the comment that names it in archives (`-- load via
/// partition root`, `dumpTableData` in `pg_dump.c`): the rows of one partition may end up in another, so what comes
/// after a partition has to wait for them all.
fn loaded_through_one_root<'a>(plan: &'a Plan, work: &[Work]) -> HashMap<&'a str, Vec<usize>> {
    let mut siblings: HashMap<&str, Vec<usize>> = HashMap::new();
    for (task, work) in work.iter().enumerate() {
        let step = &plan.steps[work.step];
        if let Some(root) = step.entry.create.as_deref().filter(|_| step.data.is_some()) {
            siblings.entry(root).or_default().push(task);
        }
    }
    siblings
}

/// The steps that run side by side, as tasks: what they wait for, what they lock, when.
///
/// `may_truncate` says that the tables of the plan have no rows but this restore's. The rows of a large table are several
/// tasks, whose order counts by the whole table, so that its indexes can begin early.
pub(super) fn tasks(plan: &Plan, large: &LargeObjects, jobs: usize, may_truncate: bool) -> (Vec<Work>, Vec<Task>) {
    let work = pieces_of_work(plan, large, jobs, may_truncate);
    let mut task_of: HashMap<i32, Vec<usize>> = HashMap::new();
    for (task, work) in work.iter().enumerate() {
        task_of.entry(plan.steps[work.step].entry.id).or_default().push(task);
    }
    let tables: HashMap<i32, &Step> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.entry.desc.as_str(), "TABLE" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "VIEW"))
        .map(|step| (step.entry.id, step))
        .collect();
    let siblings = loaded_through_one_root(plan, &work);
    // What comes after a table must come after its rows.
    let mut rows_of: HashMap<i32, Vec<usize>> = HashMap::new();
    for (task, work) in work.iter().enumerate() {
        let step = &plan.steps[work.step];
        if step.data.is_some() {
            for need in step.entry.needs.iter().filter(|need| tables.contains_key(need)) {
                match step.entry.create.as_deref().and_then(|root| siblings.get(root)) {
                    Some(all) => rows_of.entry(*need).or_default().extend(all),
                    None => rows_of.entry(*need).or_default().push(task),
                }
            }
        }
    }
    let bytes_of: HashMap<i32, u64> =
        rows_of.iter().map(|(&table, tasks)| (table, bytes(plan, &work, tasks))).collect();
    let mut tasks: Vec<Task> = Vec::with_capacity(work.len());
    let mut previous_serial: HashMap<u8, usize> = HashMap::new();
    for (task, work) in work.iter().enumerate() {
        let step = &plan.steps[work.step];
        let is_data = step.data.is_some();
        let mut needs: Vec<usize> =
            step.entry.needs.iter().filter_map(|id| task_of.get(id)).flatten().copied().collect();
        if !is_data {
            needs.extend(step.entry.needs.iter().filter_map(|id| rows_of.get(id)).flatten());
        }
        let shared_lock = (is_data && !work.is_fresh) || step.entry.desc == "INDEX" || step.entry.desc == "COMMENT";
        let locks = step
            .entry
            .needs
            .iter()
            .filter(|need| tables.contains_key(need))
            .map(|&need| (i64::from(need), if shared_lock { Lock::Shared } else { Lock::Exclusive }))
            .collect();
        let mut stage = match step.phase {
            Phase::Database | Phase::Definitions | Phase::Parallel => 0,
            Phase::ForeignKeys => 1,
            Phase::Privileges => 2,
            Phase::Last | Phase::EventTriggers => 3,
        };
        // Tasks are in the order of the table of contents, so what this one needs has its stage already.
        stage = needs.iter().filter_map(|&need| tasks.get(need)).map(|need| need.stage).fold(stage, u8::max);
        if stage >= 2 {
            // Privileges and refreshes go one by one, in order: two grants on one object at once would collide.
            needs.extend(previous_serial.insert(stage, task));
        }
        let objects = large.get(&step.entry.id);
        let weight = match &step.data {
            Some(data) => data.raw_bytes + 1,
            // The weight of a part is that of all, as with a table's slices.
            None if objects.is_some() => objects.into_iter().flatten().map(slices::weight).sum(),
            // An index or a key takes the longer the more rows there are, and keeps one connection busy.
            None if stage == 0 => step.entry.needs.iter().filter_map(|need| bytes_of.get(need)).sum(),
            None => 0,
        };
        tasks.push(Task { needs, locks, stage, weight, crowds: work.slice.is_some() });
    }
    (work, tasks)
}
