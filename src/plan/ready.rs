//! What may run now: tasks whose needs are done and whose locks nobody holds against them.

use std::collections::{BTreeSet, HashMap};

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
    /// Tables that it holds, by any number that means the same table in every task.
    pub locks: Vec<(i64, Lock)>,
    /// Later stages start only when no earlier one waits or runs: 0 for most, higher for what comes last.
    pub stage: u8,
    /// Among what is ready, the heaviest goes first.
    pub weight: u64,
    /// It goes slower beside others that hold its tables, so it starts only when nothing else can.
    pub crowds: bool,
}

/// The ready set over a list of tasks, named by their position in it.
///
/// Architecture invariant: two tasks that run at once never hold one table in conflicting ways, so the server never has
/// to detect a deadlock of our making (`pg_backup_archiver.c`, "lock contention", is the precedent).
#[derive(Debug)]
pub struct Ready {
    tasks: Vec<Task>,
    waiting: Vec<usize>,
    needed_by: Vec<Vec<usize>>,
    ready: BTreeSet<(u8, std::cmp::Reverse<u64>, usize)>,
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
        let mut ready = BTreeSet::new();
        for (index, open) in waiting.iter().enumerate() {
            if *open == 0 {
                ready.insert(Self::key(&tasks, index));
            }
        }
        Ready { tasks, waiting, needed_by, ready, held: HashMap::new(), open_by_stage, open: count }
    }

    fn key(tasks: &[Task], index: usize) -> (u8, std::cmp::Reverse<u64>, usize) {
        (tasks[index].stage, std::cmp::Reverse(tasks[index].weight), index)
    }

    /// The next task to start, with its locks taken; `None` when none can start before another is done.
    pub fn start(&mut self) -> Option<usize> {
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
        let found = *found.or(second_best)?;
        self.ready.remove(&found);
        for (table, lock) in &self.tasks[found.2].locks {
            let held = self.held.entry(*table).or_default();
            match lock {
                Lock::Shared => held.0 += 1,
                Lock::Exclusive => held.1 += 1,
            }
        }
        Some(found.2)
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
            if self.waiting[next] == 0 {
                self.ready.insert(Self::key(&self.tasks, next));
            }
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
