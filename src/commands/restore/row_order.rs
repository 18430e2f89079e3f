//! Whose rows have to wait for other rows: those of tables whose definitions call functions, which may read whatever they like,
//! and those of tables whose foreign keys are there already.
//!
//! What a function reads stands in no catalog. A restore by stock `pg_restore` loads one table after the other in the archive's
//! order, and what it takes is taken here: tables with such functions come after all others, one after the other, in that
//! order. What a definition calls is asked of the target, in which the tables are by now, so it is known for every archive.

use super::choose::Plan;
use crate::archive::toc::TocEntry;
use crate::error::Result;
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A schema's name and a table's.
type Name = (String, String);

fn name_of(entry: &TocEntry) -> Name {
    (entry.schema.clone().unwrap_or_default(), entry.tag.clone())
}

/// The order of rows, by the ids of their entries.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct RowOrder {
    /// Rows that wait for others, and for which.
    pub(super) behind: HashMap<i32, Vec<i32>>,
    /// Rows that one COPY has to load, for they may be looked at together.
    pub(super) whole: HashSet<i32>,
    /// Rows of tables that extensions brought.
    pub(super) of_extensions: Vec<i32>,
    /// A word about foreign keys that lead in circles.
    pub(super) warning: Option<String>,
}

/// What is asked of each table.
#[derive(Debug, Clone, Deserialize)]
struct CallsRow {
    schema: String,
    name: String,
    /// It calls a function that no extension brought.
    calls: bool,
    /// It calls functions of extensions.
    calls_extensions: bool,
    /// It is an extension's.
    is_of_extension: bool,
}

/// Tables that call functions when a row comes: in generated columns, checks, partition keys, constraints and indexes that are
/// there already, triggers, and in what the types of their columns check; and the tables of extensions.
///
/// From each function backwards: what depends on it, and on what does. `pg_depend` has most of the edges; that a domain's checks
/// are its own, that a row's type has the types of its columns, and that an operator family has its functions, is said here.
/// What hangs below a partitioned table is judged by its key, too.
const CALLS: &str = "
WITH RECURSIVE edge AS (
  SELECT d.classid AS class, d.objid AS object, d.refclassid AS on_class, d.refobjid AS on_object
  FROM pg_catalog.pg_depend d
  WHERE d.classid IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
      'pg_catalog.pg_opclass'::pg_catalog.regclass, 'pg_catalog.pg_opfamily'::pg_catalog.regclass,
      'pg_catalog.pg_amop'::pg_catalog.regclass, 'pg_catalog.pg_amproc'::pg_catalog.regclass,
      'pg_catalog.pg_attrdef'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass,
      'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_trigger'::pg_catalog.regclass)
    AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass,
      'pg_catalog.pg_operator'::pg_catalog.regclass, 'pg_catalog.pg_opclass'::pg_catalog.regclass,
      'pg_catalog.pg_opfamily'::pg_catalog.regclass, 'pg_catalog.pg_amop'::pg_catalog.regclass,
      'pg_catalog.pg_amproc'::pg_catalog.regclass)
    AND d.deptype <> 'e' AND d.refobjid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, c.contypid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid
  FROM pg_catalog.pg_constraint c WHERE c.contypid <> 0
  UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, c.reltype, d.refclassid, d.refobjid
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid > 0
    AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid >= 16384 AND c.reltype <> 0
  UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, p.amprocfamily, 'pg_catalog.pg_amproc'::pg_catalog.regclass, p.oid
  FROM pg_catalog.pg_amproc p WHERE p.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.amopfamily, 'pg_catalog.pg_amop'::pg_catalog.regclass, o.oid
  FROM pg_catalog.pg_amop o WHERE o.oid >= 16384
), calling(class, object, of_extension) AS (
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid, EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
  FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
  UNION
  SELECT e.class::pg_catalog.oid, e.object, c.of_extension
  FROM calling c JOIN edge e ON e.on_class = c.class AND e.on_object = c.object
), found(relation, of_extension) AS (
  SELECT c.oid, f.of_extension FROM calling f JOIN pg_catalog.pg_class c ON c.oid = f.object
  WHERE f.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind IN ('r', 'p', 'f')
  UNION
  SELECT i.indrelid, f.of_extension FROM calling f JOIN pg_catalog.pg_index i ON i.indexrelid = f.object
  WHERE f.class = 'pg_catalog.pg_class'::pg_catalog.regclass
  UNION
  SELECT d.adrelid, f.of_extension FROM calling f JOIN pg_catalog.pg_attrdef d ON d.oid = f.object
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
  WHERE f.class = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.attgenerated <> ''
  UNION
  SELECT c.conrelid, f.of_extension FROM calling f JOIN pg_catalog.pg_constraint c ON c.oid = f.object
  WHERE f.class = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.conrelid <> 0
  UNION
  SELECT t.tgrelid, f.of_extension FROM calling f JOIN pg_catalog.pg_trigger t ON t.oid = f.object
  WHERE f.class = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.tgenabled IN ('O', 'A')
), below(relation, of_extension) AS (
  SELECT f.relation, f.of_extension FROM found f
  UNION
  SELECT i.inhrelid, b.of_extension FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.relation AND c.relkind = 'p'
  JOIN pg_catalog.pg_inherits i ON i.inhparent = b.relation
), told AS (
  SELECT relation, NOT of_extension AS calls, of_extension AS calls_extensions, false AS is_of_extension FROM below
  UNION ALL
  SELECT d.objid, false, false, true FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
)
SELECT n.nspname AS schema, c.relname AS name, pg_catalog.bool_or(t.calls) AS calls,
  pg_catalog.bool_or(t.calls_extensions) AS calls_extensions, pg_catalog.bool_or(t.is_of_extension) AS is_of_extension
FROM told t JOIN pg_catalog.pg_class c ON c.oid = t.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')
GROUP BY n.nspname, c.relname";

/// A table on either side of a foreign key, a partition by the table at the top.
#[derive(Debug, Clone, Deserialize)]
struct KeyRow {
    schema: String,
    name: String,
    top: u32,
    /// What its keys point to, by the tables at the top.
    parents: Vec<u32>,
}

/// Foreign keys that are there already. Where a key is of a partition or points to one, so does the whole table.
const KEYS: &str = "
WITH RECURSIVE line(relation, upper) AS (
  SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE c.relispartition
  UNION ALL
  SELECT l.relation, i.inhparent FROM line l JOIN pg_catalog.pg_class c ON c.oid = l.upper AND c.relispartition
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = l.upper
), top AS (
  SELECT c.oid AS relation, coalesce((SELECT l.upper FROM line l JOIN pg_catalog.pg_class u ON u.oid = l.upper
      WHERE l.relation = c.oid AND NOT u.relispartition), c.oid) AS top
  FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p')
), key AS (
  SELECT DISTINCT child.top AS child, parent.top AS parent FROM pg_catalog.pg_constraint k
  JOIN top child ON child.relation = k.conrelid JOIN top parent ON parent.relation = k.confrelid WHERE k.contype = 'f'
)
SELECT n.nspname AS schema, c.relname AS name, t.top,
  coalesce((SELECT pg_catalog.array_agg(k.parent) FROM key k WHERE k.child = t.top), '{}') AS parents
FROM top t JOIN pg_catalog.pg_class c ON c.oid = t.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.top IN (SELECT child FROM key UNION SELECT parent FROM key)";

/// Whether there are any; most often a restore makes them itself, and later.
const ANY_KEY: &str = "SELECT k.oid::pg_catalog.text FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' LIMIT 1";

/// Asks the target, in which the tables are by now. With `triggers` off nobody looks after foreign keys.
pub(super) async fn row_order(session: &Session, plan: &Plan, triggers: bool) -> Result<RowOrder> {
    let loads: Vec<Load> = plan
        .steps
        .iter()
        .filter(|step| step.data.is_some())
        .map(|step| Load { id: step.entry.id, table: name_of(&step.entry), root: step.entry.create.clone() })
        .collect();
    if loads.is_empty() {
        return Ok(RowOrder::default());
    }
    let calls = session.question(CALLS).await?;
    let keys =
        if triggers && !session.rows(ANY_KEY).await?.is_empty() { session.question(KEYS).await? } else { Vec::new() };
    Ok(line_up(&loads, calls, keys))
}

/// Rows to load.
struct Load {
    id: i32,
    table: Name,
    /// The words about the partitioned table that they are loaded through.
    root: Option<String>,
}

/// When rows come, as far as their foreign keys let them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    OfExtension,
    AsTheyStand,
    Last,
}

/// What is known of each of the rows to load, all lists in their order.
struct Known {
    /// Those of extensions come first, what calls functions last.
    turn: Vec<Turn>,
    /// The foreign keys' group of each, for rows of partitions are their table's.
    group: Vec<Option<u32>>,
    /// What each group's keys point to.
    parents: HashMap<u32, Vec<u32>>,
}

fn line_up(loads: &[Load], calls: Vec<CallsRow>, keys: Vec<KeyRow>) -> RowOrder {
    let calls: HashMap<Name, CallsRow> =
        calls.into_iter().map(|row| ((row.schema.clone(), row.name.clone()), row)).collect();
    let is = |load: &Load, what: fn(&CallsRow) -> bool| calls.get(&load.table).is_some_and(what);
    // Rows that are loaded through one table may end up in any of its partitions.
    let late_roots: HashSet<&str> =
        loads.iter().filter(|load| is(load, |row| row.calls)).filter_map(|load| load.root.as_deref()).collect();
    let turn = |load: &Load| {
        if is(load, |row| row.calls) || load.root.as_deref().is_some_and(|root| late_roots.contains(root)) {
            Turn::Last
        } else if is(load, |row| row.is_of_extension) {
            Turn::OfExtension
        } else {
            Turn::AsTheyStand
        }
    };
    let mut known = Known {
        turn: loads.iter().map(turn).collect(),
        group: Vec::new(),
        parents: keys.iter().map(|row| (row.top, row.parents.clone())).collect(),
    };
    let groups: HashMap<Name, u32> = keys.into_iter().map(|row| ((row.schema, row.name), row.top)).collect();
    known.group = loads.iter().map(|load| groups.get(&load.table).copied()).collect();
    let of_extensions: Vec<usize> =
        (0..loads.len()).filter(|&place| is(&loads[place], |row| row.is_of_extension)).collect();
    let mut order = RowOrder { of_extensions: ids(loads, &of_extensions), ..RowOrder::default() };
    let (line, in_circles) = line(&known);
    order.warning = circles(loads, &in_circles);
    let place_in_line: HashMap<usize, usize> = line.iter().enumerate().map(|(at, &place)| (place, at)).collect();
    let mut members: HashMap<u32, Vec<usize>> = HashMap::new();
    for &place in &line {
        if let Some(group) = known.group[place] {
            members.entry(group).or_default().push(place);
        }
    }
    let mut since_last_late: Vec<usize> = Vec::new();
    for (at, &place) in line.iter().enumerate() {
        let mut behind: BTreeSet<usize> = BTreeSet::new();
        for group in known.group[place].iter().flat_map(|group| &known.parents[group]) {
            if Some(*group) == known.group[place] {
                order.whole.insert(loads[place].id);
                continue;
            }
            behind.extend(members.get(group).into_iter().flatten().filter(|&other| place_in_line[other] < at));
        }
        if is(&loads[place], |row| row.calls_extensions) && !of_extensions.contains(&place) {
            behind.extend(of_extensions.iter().filter(|other| place_in_line[other] < at));
        }
        if known.turn[place] == Turn::Last {
            order.whole.insert(loads[place].id);
            behind.extend(since_last_late.drain(..));
        }
        since_last_late.push(place);
        if !behind.is_empty() {
            order.behind.insert(loads[place].id, ids(loads, &behind.into_iter().collect::<Vec<_>>()));
        }
    }
    order
}

fn ids(loads: &[Load], places: &[usize]) -> Vec<i32> {
    places.iter().map(|&place| loads[place].id).collect()
}

/// All places, each after what its foreign keys point to, late ones last, and otherwise as they stand; and those whose keys
/// lead in circles, where that cannot be.
fn line(known: &Known) -> (Vec<usize>, Vec<usize>) {
    let count = known.turn.len();
    // How many rows of each group are still to come.
    let mut open: HashMap<u32, usize> = HashMap::new();
    for group in known.group.iter().flatten() {
        *open.entry(*group).or_default() += 1;
    }
    let parents = |place: usize| known.group[place].map(|group| (group, known.parents[&group].as_slice()));
    let mut children: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut waiting = vec![0usize; count];
    for (place, waiting) in waiting.iter_mut().enumerate() {
        let Some((group, parents)) = parents(place) else { continue };
        for parent in parents.iter().filter(|&&parent| parent != group && open.contains_key(&parent)) {
            *waiting += 1;
            children.entry(*parent).or_default().push(place);
        }
    }
    let mut ready: BTreeSet<(Turn, usize)> =
        (0..count).filter(|&place| waiting[place] == 0).map(|place| (known.turn[place], place)).collect();
    let mut rest: BTreeSet<(Turn, usize)> = (0..count).map(|place| (known.turn[place], place)).collect();
    let (mut line, mut in_circles) = (Vec::with_capacity(count), Vec::new());
    while let Some(&first) = rest.first() {
        let next = ready.pop_first().unwrap_or_else(|| {
            in_circles.push(first.1);
            first
        });
        rest.remove(&next);
        line.push(next.1);
        waiting[next.1] = usize::MAX;
        let Some(group) = known.group[next.1] else { continue };
        let left = open.entry(group).or_default();
        *left -= 1;
        if *left == 0 {
            for &child in
                children.get(&group).into_iter().flatten().filter(|&&child| rest.contains(&(known.turn[child], child)))
            {
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.insert((known.turn[child], child));
                }
            }
        }
    }
    (line, in_circles)
}

/// So many names are printed.
const NAMES_SHOWN: usize = 5;

fn circles(loads: &[Load], places: &[usize]) -> Option<String> {
    let names: BTreeSet<String> =
        places.iter().map(|&place| format!("{}.{}", loads[place].table.0, loads[place].table.1)).collect();
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    let more =
        if names.len() > NAMES_SHOWN { format!(" and {} more", names.len() - NAMES_SHOWN) } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "foreign keys that the target has already lead in a circle, so no order of tables fits all of them \
             (--disable-triggers loads without them): {}{more}",
            shown.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{CallsRow, KeyRow, Load, RowOrder, line_up};
    use std::collections::{HashMap, HashSet};

    fn load(id: i32, name: &str) -> Load {
        Load { id, table: ("s".to_owned(), name.to_owned()), root: None }
    }

    fn calls(name: &str) -> CallsRow {
        CallsRow {
            schema: "s".to_owned(),
            name: name.to_owned(),
            calls: true,
            calls_extensions: false,
            is_of_extension: false,
        }
    }

    fn key(name: &str, top: u32, parents: &[u32]) -> KeyRow {
        KeyRow { schema: "s".to_owned(), name: name.to_owned(), top, parents: parents.to_vec() }
    }

    fn behind(order: &RowOrder) -> Vec<(i32, Vec<i32>)> {
        let mut behind: Vec<_> = order.behind.clone().into_iter().collect();
        behind.sort();
        behind
    }

    #[test]
    fn tables_that_call_functions_come_last_one_after_the_other() {
        let loads = [load(1, "a"), load(2, "b"), load(3, "c"), load(4, "d")];
        let order = line_up(&loads, vec![calls("a"), calls("c")], vec![]);
        assert_eq!(behind(&order), [(1, vec![2, 4]), (3, vec![1])]);
        assert_eq!(order.whole, HashSet::from([1, 3]));
    }

    #[test]
    fn what_only_calls_an_extension_waits_for_the_rows_of_extensions_alone() {
        let loads = [load(1, "a"), load(2, "b"), load(3, "systems")];
        let of_extension = CallsRow { calls: false, is_of_extension: true, ..calls("systems") };
        let order = line_up(
            &loads,
            vec![CallsRow { calls: false, calls_extensions: true, ..calls("a") }, of_extension],
            vec![],
        );
        assert_eq!(behind(&order), [(1, vec![3])]);
        assert!(order.whole.is_empty());
    }

    #[test]
    fn rows_come_behind_those_that_their_foreign_keys_point_to() {
        let loads = [load(1, "child"), load(2, "part_1"), load(3, "part_2"), load(4, "grandchild")];
        let keys = vec![
            key("child", 10, &[20]),
            key("part_1", 20, &[]),
            key("part_2", 20, &[]),
            key("grandchild", 40, &[10, 40]),
        ];
        let order = line_up(&loads, vec![calls("part_2")], keys);
        assert_eq!(behind(&order), [(1, vec![2, 3]), (3, vec![2]), (4, vec![1])]);
        assert_eq!((order.whole, order.warning), (HashSet::from([3, 4]), None));
    }

    #[test]
    fn foreign_keys_in_a_circle_are_followed_as_far_as_they_can_be_and_told() {
        let loads = [load(1, "a"), load(2, "b"), load(3, "c")];
        let order = line_up(&loads, vec![], vec![key("a", 1, &[2]), key("b", 2, &[1]), key("c", 3, &[1])]);
        assert_eq!(order.behind, HashMap::from([(2, vec![1]), (3, vec![1])]));
        assert!(
            order.warning.is_some_and(
                |warning| warning.ends_with("fits all of them (--disable-triggers loads without them): s.a")
            )
        );
    }
}
