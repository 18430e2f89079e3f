//! What runs side by side in a restore: pieces of work, what each waits for, what it locks. Pure.

use super::choose::{Phase, Plan, Step};
use super::keys;
use super::notes::Piece;
use super::row_order::RowOrder;
use super::slices::{self, Slice, slices};
use crate::commands::source::{BlobObject, TableObject};
use crate::plan::{Lock, Task};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// A table with more than so many quarters of one connection's share of all rows is loaded by several connections: the others
/// would be done before the one that loads it.
const MOST_QUARTERS: u128 = 2;
/// The same where the rows can be frozen if one connection loads them all, for which indexes are built faster. Nine tenths of all
/// rows, three indexes, two connections: in slices the server took 0.3 s of 8.6 s longer, and the restore 0.6 s of 5.5 s less.
const MOST_QUARTERS_WITH_INDEXES: u128 = 5;
/// A row costs as much as so many bytes of it (measured: narrow rows take three times as long as wide ones of as many bytes).
const ROW: u64 = 64;
/// Of a table with fewer bytes of rows than this, as COPY text, an index is built in no time.
const WORTH_TWO_PIECES: u64 = 16 << 20;

/// Of tables with no more rows than this in bytes, as COPY text, all that is made on them is made in no time.
const LIGHT: u64 = 1 << 20;
/// What takes as long as there are rows.
const BY_ROWS: [&str; 3] = ["INDEX", "CONSTRAINT", "FK CONSTRAINT"];
/// What takes no time whatever it is made on.
const BY_ITSELF: [&str; 13] = [
    "ACL",
    "COMMENT",
    "DEFAULT",
    "DEFAULT ACL",
    "INDEX ATTACH",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE SET",
    "STATISTICS",
    STATISTICS_DATA,
    "TRIGGER",
];

/// What is about something that was made on a table, and mostly does not say which table that is.
const ABOUT_OTHERS: [&str; 4] = ["COMMENT", "SECURITY LABEL", "INDEX ATTACH", STATISTICS_DATA];
/// Of an index they hold its table, against each other (`stats_lock_check_privileges` in `stat_utils.c`).
const STATISTICS_DATA: &str = "STATISTICS DATA";

/// The large objects by the entry that brings them.
pub(super) type LargeObjects = HashMap<i32, Vec<BlobObject>>;

/// One thing for one connection: a step, a slice of a table's rows, a piece of a key, or some of the large objects.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The step's place in the plan.
    pub(super) step: usize,
    /// Which of the step's pieces it is, from 0; slices are counted from 1.
    pub(super) number: usize,
    /// What runs in place of the step's own statement, where it is a piece of it.
    pub(super) statement: Option<String>,
    /// Which rows; `None` for all of them, and for a step without any.
    pub(super) slice: Option<Slice>,
    /// Which of the step's large objects, by their places.
    pub(super) large: Range<usize>,
    /// Whether these are all the rows of a table that this restore made, and that nobody else has.
    pub(super) is_fresh: bool,
}

impl Work {
    /// The whole of a step.
    fn whole(step: usize) -> Self {
        Work { step, number: 0, statement: None, slice: None, large: 0..0, is_fresh: false }
    }
}

/// What decides how rows are cut and put in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// How many connections there are.
    pub(super) jobs: usize,
    /// The tables of the plan have no rows but this restore's.
    pub(super) may_truncate: bool,
    /// Which rows wait for which.
    pub(super) order: &'a RowOrder,
    /// What an earlier run has done. The pieces that it made are made again.
    pub(super) done: &'a HashSet<Piece>,
}

impl Circumstances<'_> {
    /// Whether these rows come in one piece; nothing where anything goes.
    fn must_be_whole(&self, entry: i32, begun: &HashSet<i32>) -> bool {
        let was_whole = self.done.contains(&(entry, 0));
        was_whole || (self.order.whole.contains(&entry) && !begun.contains(&entry))
    }

    /// The entries whose rows an earlier run has begun to load in slices.
    fn begun(&self) -> HashSet<i32> {
        self.done.iter().filter(|(_, number)| *number > 0).map(|(entry, _)| *entry).collect()
    }
}

/// Everything that runs side by side, in the order of the table of contents.
fn pieces_of_work(plan: &Plan, large: &LargeObjects, circumstances: Circumstances<'_>) -> Vec<Work> {
    let (Circumstances { jobs, may_truncate, .. }, begun) = (circumstances, circumstances.begun());
    let made = heaps_made_and_loaded_at_once(plan);
    let (indexed, rows) = (indexes_of_tables(plan), rows_of_tables(plan));
    // A sum over all steps, so it is made once.
    let all_bytes = plan.raw_bytes();
    let side_by_side = Phase::Parallel..=Phase::Last;
    let mut work = Vec::new();
    for (step, of) in plan.steps.iter().enumerate().filter(|(_, step)| side_by_side.contains(&step.phase)) {
        if let Some(objects) = large.get(&of.entry.id) {
            let parts = slices::of_large_objects(objects, jobs).into_iter().enumerate();
            work.extend(parts.map(|(number, large)| Work { number, large, ..Work::whole(step) }));
            continue;
        }
        let needs_any = |tables: &HashSet<i32>| of.entry.needs.iter().any(|need| tables.contains(need));
        // What is loaded through a partitioned table says so here, and shares that table with others.
        let is_made = of.entry.create.is_none() && needs_any(&made);
        if let Some(pieces) = key_in_pieces(of, &indexed, &rows, jobs) {
            work.push(Work { number: 1, statement: Some(pieces.index), ..Work::whole(step) });
            work.push(Work { statement: Some(pieces.constraint), ..Work::whole(step) });
            continue;
        }
        // INSERT statements cannot be cut.
        let data = of.data.as_ref().filter(|_| of.entry.copy.is_some());
        let is_fresh = data.is_some() && is_made && may_truncate;
        // Rows that come in slices cannot be frozen, for which every index pays; without an index slices are for balance alone.
        let pays = is_made && of.entry.needs.iter().any(|need| indexed.contains_key(need));
        let most = if pays { MOST_QUARTERS_WITH_INDEXES } else { MOST_QUARTERS } * u128::from(all_bytes);
        let must_be_whole = circumstances.must_be_whole(of.entry.id, &begun);
        let gains = |data: &&Arc<TableObject>| 4 * u128::from(data.raw_bytes) * jobs as u128 > most;
        let cut = data.filter(|_| !must_be_whole).filter(gains).zip(slices::size(all_bytes, jobs));
        let parts = cut.map_or_else(Vec::new, |(data, size)| slices(data, size));
        if parts.is_empty() {
            work.push(Work { is_fresh, ..Work::whole(step) });
        }
        let sliced = |(number, slice)| Work { number: number + 1, slice: Some(slice), ..Work::whole(step) };
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

/// The tables on which the plan makes indexes and keys, and how many.
fn indexes_of_tables(plan: &Plan) -> HashMap<i32, usize> {
    let mut found = HashMap::new();
    for step in plan.steps.iter().filter(|step| matches!(step.entry.desc.as_str(), "INDEX" | "CONSTRAINT")) {
        for need in &step.entry.needs {
            *found.entry(*need).or_default() += 1;
        }
    }
    found
}

/// How many bytes of rows the plan loads into each table.
fn rows_of_tables(plan: &Plan) -> HashMap<i32, u64> {
    let mut found = HashMap::new();
    for step in &plan.steps {
        let bytes = step.data.as_ref().map_or(0, |data| data.raw_bytes);
        for need in step.entry.needs.iter().filter(|_| bytes > 0) {
            *found.entry(*need).or_default() += bytes;
        }
    }
    found
}

/// The pieces of a key of a large table, beside which others of the table's indexes can be built.
fn key_in_pieces(
    step: &Step,
    indexed: &HashMap<i32, usize>,
    rows: &HashMap<i32, u64>,
    jobs: usize,
) -> Option<keys::Pieces> {
    let is_large = |need: &i32| rows.get(need).is_some_and(|&bytes| bytes > WORTH_TWO_PIECES);
    let has_others = |need: &i32| indexed.get(need).is_some_and(|&indexes| indexes > 1);
    if jobs < 2 || !step.entry.needs.iter().any(|need| is_large(need) && has_others(need)) {
        return None;
    }
    keys::pieces(&step.entry.desc, step.entry.create.as_deref()?)
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
/// The rows of a large table are several tasks, whose order counts by the whole table, so that its indexes can begin early.
pub(super) fn tasks(plan: &Plan, large: &LargeObjects, circumstances: Circumstances<'_>) -> (Vec<Work>, Vec<Task>) {
    let (work, order) = (pieces_of_work(plan, large, circumstances), circumstances.order);
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
    let attaching = plan.steps.iter().filter(|step| step.entry.desc == "TABLE ATTACH");
    let attached: HashSet<i32> = attaching.flat_map(|step| step.entry.needs.iter().copied()).collect();
    let mut tasks: Vec<Task> = Vec::with_capacity(work.len());
    let mut previous_serial: HashMap<u8, usize> = HashMap::new();
    for (task, work) in work.iter().enumerate() {
        let step = &plan.steps[work.step];
        let is_data = step.data.is_some();
        let mut needs: Vec<usize> =
            step.entry.needs.iter().filter_map(|id| task_of.get(id)).flatten().copied().collect();
        let rows_before =
            |ids: &[i32]| ids.iter().filter_map(|id| task_of.get(id)).flatten().copied().collect::<Vec<_>>();
        if is_data {
            needs.extend(order.behind.get(&step.entry.id).into_iter().flat_map(|ids| rows_before(ids)));
        } else {
            needs.extend(step.entry.needs.iter().filter_map(|id| rows_of.get(id)).flatten());
        }
        if plan.calls.extensions.contains(&step.entry.id) {
            needs.extend(rows_before(&order.of_extensions));
        }
        let is_piece = work.statement.is_some();
        if is_piece && work.number == 0 {
            // The index before the constraint over it.
            needs.push(task - 1);
        }
        let builds_index = step.entry.desc == "INDEX" || (is_piece && work.number == 1);
        let shared_lock = (is_data && !work.is_fresh) || builds_index || step.entry.desc == "COMMENT";
        let mut locks: Vec<(i64, Lock)> = step
            .entry
            .needs
            .iter()
            .filter(|need| tables.contains_key(need))
            .map(|&need| (i64::from(need), if shared_lock { Lock::Shared } else { Lock::Exclusive }))
            .collect();
        if locks.is_empty() && ABOUT_OTHERS.contains(&step.entry.desc.as_str()) {
            // What they are about is theirs alone, and its table is looked into (`get_object_address_relobject` in
            // `objectaddress.c`, `ATExecAttachPartitionIdx` in `tablecmds.c`).
            let look = if step.entry.desc == STATISTICS_DATA { Lock::Exclusive } else { Lock::Shared };
            let about = step.entry.needs.iter().filter_map(|need| task_of.get(need).map(|tasks| (need, tasks)));
            for (&need, made_by) in about {
                let of_table = made_by.iter().filter_map(|&made_by| tasks.get(made_by)).flat_map(|task| &task.locks);
                locks.extend(of_table.map(|&(table, _)| (table, look)));
                locks.push((i64::from(need), Lock::Exclusive));
            }
            locks.sort_by_key(|&(table, lock)| (table, lock == Lock::Shared));
            locks.dedup_by_key(|&mut (table, _)| table);
        }
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
        let desc = step.entry.desc.as_str();
        // How many rows a table has is known if it is made here.
        let mut on = step.entry.needs.iter().filter_map(|need| tables.get(need)).peekable();
        let rows = |on: &Step| bytes_of.get(&on.entry.id).copied().unwrap_or(0);
        // The rows of a partitioned table are in others.
        let is_whole = |on: &Step| on.entry.desc == "TABLE" && !attached.contains(&on.entry.id);
        let is_small = on.peek().is_some() && on.all(|on| is_whole(on) && rows(on) <= LIGHT);
        let is_light = !is_piece && (BY_ITSELF.contains(&desc) || (BY_ROWS.contains(&desc) && is_small));
        let objects = large.get(&step.entry.id);
        let weight = match &step.data {
            Some(data) => data.rows.unwrap_or(0).saturating_mul(ROW).saturating_add(data.raw_bytes).max(1),
            // The weight of a part is that of all, as with a table's slices.
            None if objects.is_some() => objects.into_iter().flatten().map(slices::weight).sum(),
            // An index or a key takes the longer the more rows there are, and keeps one connection busy.
            None if stage == 0 => step.entry.needs.iter().filter_map(|need| bytes_of.get(need)).sum(),
            None => 0,
        };
        let is_rows = is_data || objects.is_some() || desc == "SEQUENCE SET";
        let after_rows = plan.calls.functions.contains(&step.entry.id);
        tasks.push(Task { needs, locks, stage, weight, crowds: work.slice.is_some(), is_light, is_rows, after_rows });
    }
    (work, tasks)
}

#[cfg(test)]
mod tests {
    use super::{Circumstances, LIGHT, LargeObjects, Piece, Plan, RowOrder, Step, WORTH_TWO_PIECES, Work, tasks};
    use crate::archive::toc::TocEntry;
    use crate::commands::restore::choose::Phase;
    use crate::commands::source::{RunOfRows, TableObject};
    use crate::commands::transfer::ArchiveObject;
    use crate::model::{Address, Item};
    use crate::plan::{Lock, Task};
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    fn step(desc: &'static str, id: i32, create: &str) -> Step {
        let needs = if id == 1 { Vec::new() } else { vec![1] };
        let item = Item { create: create.to_owned(), ..Item::new(desc, Address::default(), Some("s"), "t") };
        let phase = if id == 1 { Phase::Definitions } else { Phase::Parallel };
        Step { entry: TocEntry::of_item(item, id, needs, None).into(), phase, data: None }
    }

    /// A table with rows in four runs, and what is built on it.
    fn plan(raw_bytes: u64, built: &[Step]) -> Plan {
        let mut rows = step("TABLE DATA", 2, "");
        Arc::make_mut(&mut rows.entry).copy = Some("COPY s.t (id) FROM stdin;\n".to_owned());
        let run = RunOfRows { bytes: 9, raw_bytes: raw_bytes / 4, rows: 1, checksum: 1 };
        let object = ArchiveObject { key: "data_2.dat".to_owned(), bytes: 36, sha256: None };
        rows.data = Some(TableObject { object, rows: Some(4), raw_bytes, runs: vec![run; 4] }.into());
        let steps = [&[step("TABLE", 1, "CREATE TABLE s.t ();"), rows][..], built].concat();
        Plan { steps, ..Plan::default() }
    }

    fn tasks_of(plan: &Plan, jobs: usize, may_truncate: bool) -> (Vec<Work>, Vec<Task>) {
        tasks_in(plan, jobs, may_truncate, &RowOrder::default(), &HashSet::new())
    }

    fn tasks_in(
        plan: &Plan,
        jobs: usize,
        may_truncate: bool,
        order: &RowOrder,
        done: &HashSet<Piece>,
    ) -> (Vec<Work>, Vec<Task>) {
        tasks(plan, &LargeObjects::new(), Circumstances { jobs, may_truncate, order, done })
    }

    fn built() -> [Step; 2] {
        let key = "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k PRIMARY KEY (id);";
        [step("CONSTRAINT", 3, key), step("INDEX", 4, "CREATE INDEX i ON s.t USING btree (id);")]
    }

    #[test]
    fn a_table_with_indexes_comes_frozen_unless_it_is_much_more_than_the_share_of_one_connection() {
        let pieces = |other_bytes: u64, built: &[Step], jobs, may_truncate| {
            let mut plan = plan(1 << 30, built);
            let mut other = plan.steps[1].clone();
            Arc::make_mut(other.data.as_mut().expect("rows")).raw_bytes = other_bytes;
            Arc::make_mut(&mut other.entry).id = 20;
            Arc::make_mut(&mut other.entry).needs = Vec::new();
            plan.steps.push(other);
            let (work, _) = tasks_of(&plan, jobs, may_truncate);
            let rows: Vec<_> = work.iter().filter(|work| work.step == 1).collect();
            (rows.len() > 1, rows.iter().all(|work| work.is_fresh))
        };
        let (frozen, sliced) = ((false, true), (true, false));
        assert_eq!(pieces(1 << 30, &built(), 2, true), frozen);
        assert_eq!(pieces(1 << 30, &built(), 3, true), sliced);
        assert_eq!(pieces(0, &built(), 2, true), sliced);
        assert_eq!(pieces(0, &built(), 1, true), frozen);
        assert_eq!(pieces(1 << 30, &[], 2, true), sliced);
        assert_eq!(pieces(5 << 30, &built(), 3, true), frozen);
        // A restore that goes on must find the same pieces, although by now it may not empty a table.
        assert_eq!(pieces(1 << 30, &built(), 2, false), (false, false));
    }

    #[test]
    fn what_is_made_on_a_table_of_the_plan_with_few_rows_is_light() {
        let light = |plan: &Plan| -> Vec<bool> { tasks_of(plan, 1, true).1.iter().map(|task| task.is_light).collect() };
        assert_eq!(light(&plan(LIGHT, &built())), [false, true, true]);
        assert_eq!(light(&plan(2 * LIGHT, &built())), [false, false, false]);
        let comment = step("COMMENT", 5, "COMMENT ON INDEX s.i IS 'it is light';");
        assert_eq!(light(&plan(2 * LIGHT, &[comment])), [false, true]);
        // A table that was there before may have any number of rows, and a partitioned one has those of others.
        let mut there = plan(LIGHT, &built());
        there.steps.remove(0);
        assert_eq!(light(&there), [false, false, false]);
        let mut partitioned = plan(LIGHT, &built());
        let attach =
            Step { phase: Phase::Definitions, ..step("TABLE ATTACH", 6, "ALTER TABLE s.t ATTACH PARTITION s.u;") };
        partitioned.steps.push(attach);
        assert_eq!(light(&partitioned), [false, false, false]);
    }

    #[test]
    fn what_is_about_an_index_holds_the_index_and_looks_into_its_table() {
        let comment = |id| {
            let mut step = step("COMMENT", id, "COMMENT ON INDEX s.i IS 'it is light';");
            Arc::make_mut(&mut step.entry).needs = vec![4];
            step
        };
        let mut statistics = step("STATISTICS DATA", 6, "SELECT * FROM pg_catalog.pg_restore_relation_stats();");
        Arc::make_mut(&mut statistics.entry).needs = vec![4];
        let (_, found) = tasks_of(&plan(9, &[&built()[..], &[comment(5), statistics]].concat()), 2, true);
        assert_eq!(found[3].locks, [(1, Lock::Shared), (4, Lock::Exclusive)]);
        assert_eq!(found[4].locks, [(1, Lock::Exclusive), (4, Lock::Exclusive)]);
    }

    #[test]
    fn a_key_of_a_large_table_lets_others_build_their_indexes_while_its_own_is_built() {
        let (work, found) = tasks_of(&plan(2 * WORTH_TWO_PIECES, &built()), 2, true);
        let places: Vec<_> = work.iter().map(|work| (work.step, work.number, work.statement.is_some())).collect();
        assert_eq!(places, [(1, 1, false), (1, 2, false), (2, 1, true), (2, 0, true), (3, 0, false)]);
        assert_eq!(found[2].locks, [(1, Lock::Shared)]);
        assert_eq!(found[3].locks, [(1, Lock::Exclusive)]);
        assert!(found[3].needs.contains(&2) && found[2].needs.contains(&0) && found[2].needs.contains(&1));
        for (bytes, built, jobs) in
            [(WORTH_TWO_PIECES, &built()[..], 2), (1 << 30, &built()[..1], 2), (1 << 30, &built()[..], 1)]
        {
            let (work, _) = tasks_of(&plan(bytes, built), jobs, true);
            assert!(work.iter().all(|work| work.statement.is_none()), "{bytes} {jobs}");
        }
    }

    #[test]
    fn rows_that_must_be_whole_are_cut_only_where_an_earlier_run_has_begun_so() {
        let plan = plan(1 << 30, &[]);
        let whole = RowOrder { whole: HashSet::from([2]), ..RowOrder::default() };
        let numbers = |order: &RowOrder, done: &[Piece]| -> Vec<usize> {
            let (work, _) = tasks_in(&plan, 2, true, order, &done.iter().copied().collect());
            work.iter().map(|work| work.number).collect()
        };
        let free = RowOrder::default();
        let (sliced, at_once) = (numbers(&free, &[]), vec![0]);
        assert!(sliced.len() > 1 && !sliced.contains(&0));
        assert_eq!(numbers(&whole, &[]), at_once);
        assert_eq!(numbers(&whole, &[(2, 1)]), sliced);
        assert_eq!(numbers(&free, &[(2, 0)]), at_once);
    }

    #[test]
    fn an_index_that_calls_functions_is_made_when_all_rows_are_there() {
        let mut plan = plan(9, &built());
        plan.calls.functions = HashSet::from([4]);
        plan.calls.extensions = HashSet::from([3]);
        let (_, found) = tasks_of(&plan, 2, true);
        let kinds: Vec<_> = found.iter().map(|task| (task.is_rows, task.after_rows)).collect();
        assert_eq!(kinds, [(true, false), (false, false), (false, true)]);
        let order = RowOrder { behind: HashMap::from([(2, vec![3])]), of_extensions: vec![2], ..RowOrder::default() };
        let (_, found) = tasks_in(&plan, 2, true, &order, &HashSet::new());
        assert_eq!(found[0].needs, [1]);
        assert!(found[1].needs.contains(&0));
    }
}
