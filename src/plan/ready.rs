//! What may run now: tasks whose needs are done and whose locks nobody holds against them.

use std::collections::{BTreeSet, HashMap, HashSet};

/// How a task holds a table while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Others may hold it in the same way: loading rows, building an index.
    Shared,
    /// Nobody else may: adding a constraint or a trigger.
    Exclusive,
}

/// Something to run.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Positions of tasks that must be done before.
    pub needs: Vec<usize>,
    /// Tables that it holds, and indexes and the like, by any number that means the same one in every task.
    pub locks: Vec<(i64, Lock)>,
    /// Later stages start only when no earlier one waits or runs: 0 for most, higher for what comes last.
    pub stage: u8,
    /// Among what is ready, the heaviest goes first.
    pub weight: u64,
    /// It goes slower beside others that hold its tables, so it starts only when nothing else can.
    pub crowds: bool,
    /// It is over in no time, so one who has begun such a one may as well do some more.
    pub is_light: bool,
    /// It brings rows.
    pub is_rows: bool,
    /// It starts when all tasks that bring rows are done, whichever those are.
    pub after_rows: bool,
}

/// Stage, weight and place of a task, in the order in which they start.
type Key = (u8, std::cmp::Reverse<u64>, usize);

/// The ready set over a list of tasks, named by their position in it.
///
/// Architecture invariant: two tasks that run at once never hold one table in conflicting ways, so the server never has
/// to detect a deadlock of our making (`pg_backup_archiver.c`, "lock contention", is the precedent).
#[derive(Debug)]
pub struct Ready {
    tasks: Vec<Task>,
    waiting: Vec<usize>,
    needed_by: Vec<Vec<usize>>,
    ready: BTreeSet<Key>,
    /// What would be ready, but waits for all rows.
    parked: Vec<usize>,
    open_rows: usize,
    /// Which ones have been started before what they need was done.
    early: HashSet<usize>,
    held: HashMap<i64, (usize, usize)>,
    open_by_stage: Vec<usize>,
    open: usize,
}

impl Ready {
    /// Takes all tasks; needs that point nowhere are ignored.
    pub fn new(tasks: Vec<Task>) -> Self {
        let count = tasks.len();
        let mut waiting = vec![0; count];
        let mut needed_by = vec![Vec::new(); count];
        let mut open_by_stage = vec![0; 256];
        for (index, task) in tasks.iter().enumerate() {
            open_by_stage[usize::from(task.stage)] += 1;
            let needs: BTreeSet<usize> = task.needs.iter().copied().filter(|&n| n < count && n != index).collect();
            waiting[index] = needs.len();
            for need in needs {
                needed_by[need].push(index);
            }
        }
        let open_rows = tasks.iter().filter(|task| task.is_rows).count();
        let (early, held) = (HashSet::new(), HashMap::new());
        let (ready, parked) = (BTreeSet::new(), Vec::new());
        let mut made =
            Ready { tasks, waiting, needed_by, ready, parked, open_rows, early, held, open_by_stage, open: count };
        for index in (0..count).filter(|&index| made.waiting[index] == 0).collect::<Vec<_>>() {
            made.is_ready(index);
        }
        made
    }

    /// What waits for no task any more.
    fn is_ready(&mut self, index: usize) {
        if self.tasks[index].after_rows && self.open_rows > 0 {
            self.parked.push(index);
        } else {
            self.ready.insert(Self::key(&self.tasks, index));
        }
    }

    fn key(tasks: &[Task], index: usize) -> Key {
        (tasks[index].stage, std::cmp::Reverse(tasks[index].weight), index)
    }

    /// The next task to start, with its locks taken; `None` when none can start before another is done.
    pub fn start(&mut self) -> Option<usize> {
        let found = self.next()?;
        self.ready.remove(&found);
        self.hold(found.2);
        Some(found.2)
    }

    /// One more light task for whoever does one task after the other and has started this one last, to be done after it:
    /// another one that may start, or one that waits for nothing else. It must be reported as done after this one.
    pub fn start_more(&mut self, last: usize) -> Option<usize> {
        let follows = |next: &usize| {
            let is_alike = self.tasks[*next].is_light && self.tasks[*next].stage == self.tasks[last].stage;
            let may = !self.tasks[*next].after_rows || self.open_rows == 0;
            is_alike && may && self.waiting[*next] == 1 && !self.early.contains(next) && self.can_lock(*next)
        };
        if let Some(next) = self.needed_by[last].iter().copied().find(|next| follows(next)) {
            self.early.insert(next);
            self.hold(next);
            return Some(next);
        }
        let found = self.next().filter(|found| self.tasks[found.2].is_light)?;
        self.ready.remove(&found);
        self.hold(found.2);
        Some(found.2)
    }

    /// The best of what may start.
    fn next(&self) -> Option<Key> {
        let stage = self.open_by_stage.iter().position(|&open| open > 0)?;
        let mut second_best = None;
        let mut startable = self
            .ready
            .iter()
            .take_while(|(task_stage, _, _)| usize::from(*task_stage) <= stage)
            .filter(|(_, _, index)| self.can_lock(*index));
        let found = startable.find(|found| {
            let crowds = self.crowds(found.2);
            second_best = second_best.or(crowds.then_some(*found));
            !crowds
        });
        found.or(second_best).copied()
    }

    fn hold(&mut self, index: usize) {
        for (table, lock) in &self.tasks[index].locks {
            let held = self.held.entry(*table).or_default();
            match lock {
                Lock::Shared => held.0 += 1,
                Lock::Exclusive => held.1 += 1,
            }
        }
    }

    fn can_lock(&self, index: usize) -> bool {
        self.tasks[index].locks.iter().all(|(table, lock)| match (self.held.get(table), lock) {
            (None | Some((0, 0)), _) => true,
            (Some((_, exclusive)), Lock::Shared) => *exclusive == 0,
            (Some(_), Lock::Exclusive) => false,
        })
    }

    fn crowds(&self, index: usize) -> bool {
        let is_held = |table: &i64| self.held.get(table).is_some_and(|held| *held != (0, 0));
        self.tasks[index].crowds && self.tasks[index].locks.iter().any(|(table, _)| is_held(table))
    }

    /// Releases a task's locks and whatever waited for it.
    pub fn done(&mut self, index: usize) {
        for (table, lock) in &self.tasks[index].locks {
            let held = self.held.entry(*table).or_default();
            match lock {
                Lock::Shared => held.0 -= 1,
                Lock::Exclusive => held.1 -= 1,
            }
        }
        self.open -= 1;
        self.open_by_stage[usize::from(self.tasks[index].stage)] -= 1;
        for next in std::mem::take(&mut self.needed_by[index]) {
            self.waiting[next] -= 1;
            if self.waiting[next] == 0 && !self.early.remove(&next) {
                self.is_ready(next);
            }
        }
        self.open_rows -= usize::from(self.tasks[index].is_rows);
        if self.open_rows == 0 {
            let parked = std::mem::take(&mut self.parked);
            self.ready.extend(parked.into_iter().map(|index| Self::key(&self.tasks, index)));
        }
    }

    /// How many tasks are not done.
    pub fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::{Lock, Ready, Task};

    #[test]
    fn an_exclusive_task_waits_for_shared_holders_and_the_other_way_round() {
        let task = |lock, weight| Task { locks: vec![(7, lock)], weight, ..Task::default() };
        let mut ready = Ready::new(vec![task(Lock::Shared, 3), task(Lock::Shared, 2), task(Lock::Exclusive, 1)]);
        assert_eq!(ready.start(), Some(0));
        assert_eq!(ready.start(), Some(1));
        assert_eq!(ready.start(), None);
        ready.done(0);
        assert_eq!(ready.start(), None);
        ready.done(1);
        assert_eq!(ready.start(), Some(2));
    }

    #[test]
    fn a_second_slice_of_a_table_starts_only_when_there_is_nothing_else() {
        let slice =
            |table, weight| Task { locks: vec![(table, Lock::Shared)], weight, crowds: true, ..Task::default() };
        let mut ready = Ready::new(vec![slice(7, 9), slice(7, 9), slice(8, 1), Task::default()]);
        assert_eq!([ready.start(), ready.start(), ready.start()], [Some(0), Some(2), Some(3)]);
        assert_eq!(ready.start(), Some(1));
    }

    #[test]
    fn light_tasks_start_together_where_nothing_else_stands_between_them() {
        let light = |needs, table| {
            let locks = vec![(table, Lock::Exclusive)];
            Task { needs, locks, is_light: true, ..Task::default() }
        };
        let mut ready = Ready::new(vec![
            light(vec![], 1),
            light(vec![0], 2),
            light(vec![0, 4], 3),
            light(vec![], 2),
            Task::default(),
            light(vec![], 5),
        ]);
        assert_eq!(ready.start(), Some(0));
        // What follows it alone, although it is not done; not what waits for more, nor what wants a table that is held.
        assert_eq!(ready.start_more(0), Some(1));
        // What is not light is next, and stays for others.
        assert_eq!(ready.start_more(1), None);
        assert_eq!([ready.start(), ready.start_more(4), ready.start()], [Some(4), Some(5), None]);
        ready.done(0);
        assert_eq!(ready.start(), None, "what was begun early is not begun again");
        ready.done(1);
        assert_eq!(ready.start(), Some(3));
        ready.done(4);
        assert_eq!([ready.start(), ready.start()], [Some(2), None]);
        for task in [5, 3, 2] {
            ready.done(task);
        }
        assert_eq!(ready.open(), 0);
    }

    #[test]
    fn what_comes_after_rows_waits_for_those_of_all_tables() {
        let rows = |needs| Task { needs, is_rows: true, ..Task::default() };
        let after = |needs| Task { needs, after_rows: true, is_light: true, weight: 9, ..Task::default() };
        let light = Task { is_light: true, ..Task::default() };
        let mut ready =
            Ready::new(vec![rows(vec![]), after(vec![]), rows(vec![0]), after(vec![0]), light, after(vec![4])]);
        assert_eq!([ready.start(), ready.start()], [Some(0), Some(4)]);
        assert_eq!(ready.start_more(4), None);
        ready.done(0);
        ready.done(4);
        assert_eq!([ready.start(), ready.start()], [Some(2), None]);
        ready.done(2);
        assert_eq!([ready.start(), ready.start(), ready.start(), ready.start()], [Some(1), Some(3), Some(5), None]);
    }

    #[test]
    fn needs_come_first_and_stages_do_not_overlap() {
        let mut ready = Ready::new(vec![
            Task { needs: vec![1], ..Task::default() },
            Task::default(),
            Task { stage: 1, weight: 99, ..Task::default() },
        ]);
        assert_eq!(ready.start(), Some(1));
        assert_eq!(ready.start(), None);
        ready.done(1);
        assert_eq!(ready.start(), Some(0));
        ready.done(0);
        assert_eq!(ready.start(), Some(2));
        ready.done(2);
        assert_eq!(ready.open(), 0);
    }
}
