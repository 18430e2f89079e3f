//! Entries that tie two things, of which the backup or the chosen part of it may have only one: a partition without the table
//! that it is a part of, a published table without its publication. The target may have the other one.
//!
//! What the restore makes is there when its ties come, or the restore has ended. So a tie that finds something missing is one of
//! those, and no failure.

use super::choose::{Phase, Step};
use super::target::{INVALID_SCHEMA_NAME, UNDEFINED_OBJECT, UNDEFINED_TABLE};
use crate::error::Error;
use crate::postgres::Session;
use std::collections::HashSet;

/// So many names are printed.
const NAMES_SHOWN: usize = 5;

/// Whether this step failed only because what it ties something to is not there.
pub(super) fn lacks_an_end(step: &Step, error: &Error) -> bool {
    const TIES: [&str; 4] = ["TABLE ATTACH", "INDEX ATTACH", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"];
    TIES.contains(&step.entry.desc.as_str())
        && matches!(Session::sqlstate(error), Some(UNDEFINED_TABLE | UNDEFINED_OBJECT | INVALID_SCHEMA_NAME))
}

/// A name with its schema, bare of quotes, so that it does not matter who quoted it.
fn bare(schema: Option<&str>, name: &str) -> String {
    format!("{}.{name}", schema.unwrap_or_default()).replace('"', "")
}

/// Puts off the attachments of partitions to tables that are not made here: behind the partition's own indexes, for the table may
/// have all of its, and would make those of a partition without any under the same names. Attachments of the indexes come
/// behind that, and find it done.
pub(super) fn put_off(steps: &mut [Step]) {
    let is_table = |step: &&Step| matches!(step.entry.desc.as_str(), "TABLE" | "FOREIGN TABLE");
    let name = |step: &Step| bare(step.entry.schema.as_deref(), &step.entry.tag);
    let tables: HashSet<String> = steps.iter().filter(is_table).map(name).collect();
    let goes_to_what_is_made = |step: &Step| {
        let create = step.entry.create.as_deref().unwrap_or_default();
        let parent = create.strip_prefix("ALTER TABLE ONLY ").and_then(|rest| rest.split_once(" ATTACH PARTITION "));
        parent.is_none_or(|(parent, _)| tables.contains(&parent.replace('"', "")))
    };
    let is_half = |step: &&Step| step.entry.desc == "TABLE ATTACH" && !goes_to_what_is_made(step);
    let half: HashSet<String> = steps.iter().filter(is_half).map(name).collect();
    if half.is_empty() {
        return;
    }
    let is_of_half = |step: &&Step| half.contains(&name(step));
    let partitions: HashSet<i32> = steps.iter().filter(is_table).filter(is_of_half).map(|step| step.entry.id).collect();
    let hangs_on_one = |step: &&Step| step.entry.needs.iter().any(|need| partitions.contains(need));
    let index_name = |step: &Step| match step.entry.desc.as_str() {
        "INDEX" => Some(name(step)),
        // The tag of a constraint begins with its table's name, which may have spaces as the constraint's may.
        "CONSTRAINT" => {
            let schema = step.entry.schema.as_deref();
            let table = half.iter().find_map(|table| name(step).strip_prefix(&format!("{table} ")).map(str::to_owned));
            table.map(|index| bare(schema, &index))
        }
        _ => None,
    };
    let indexes: HashSet<String> = steps.iter().filter(hangs_on_one).filter_map(index_name).collect();
    for step in steps.iter_mut() {
        match step.entry.desc.as_str() {
            "TABLE ATTACH" if half.contains(&bare(step.entry.schema.as_deref(), &step.entry.tag)) => {
                step.phase = Phase::ForeignKeys;
            }
            "INDEX ATTACH" if indexes.contains(&bare(step.entry.schema.as_deref(), &step.entry.tag)) => {
                step.phase = Phase::Last;
            }
            _ => {}
        }
    }
}

/// What is said of such ties, which these are.
pub(super) fn words(labels: &[String]) -> Option<String> {
    let (shown, more) = labels.split_at(labels.len().min(NAMES_SHOWN));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let words = "left out, for neither what was restored nor the target has what it would be joined to";
    (!shown.is_empty()).then(|| format!("{words}: {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::{put_off, words};
    use crate::archive::toc::TocEntry;
    use crate::commands::restore::choose::{Phase, Step};
    use crate::model::{Address, Item};

    fn step(id: i32, desc: &'static str, tag: &str, needs: &[i32], create: &str) -> Step {
        let item = Item { create: create.to_owned(), ..Item::new(desc, Address::default(), Some("S"), tag) };
        Step { entry: TocEntry::of_item(item, id, needs.to_vec(), None).into(), phase: Phase::Definitions, data: None }
    }

    #[test]
    fn an_attachment_to_a_table_that_is_not_made_waits_for_the_partitions_indexes() {
        let mut steps = [
            step(1, "TABLE", "root", &[], ""),
            step(2, "TABLE", "a b", &[], ""),
            step(3, "TABLE", "c", &[], ""),
            step(
                4,
                "TABLE ATTACH",
                "a b",
                &[2, 1],
                "ALTER TABLE ONLY \"S\".gone ATTACH PARTITION \"S\".\"a b\" DEFAULT;\n",
            ),
            step(
                5,
                "TABLE ATTACH",
                "c",
                &[1, 3],
                "ALTER TABLE ONLY \"S\".\"root\" ATTACH PARTITION \"S\".c DEFAULT;\n",
            ),
            step(6, "INDEX", "i", &[2], ""),
            step(7, "CONSTRAINT", "a b k k", &[2], ""),
            step(8, "INDEX", "j", &[3], ""),
            step(9, "INDEX ATTACH", "i", &[6], ""),
            step(10, "INDEX ATTACH", "k k", &[7], ""),
            step(11, "INDEX ATTACH", "j", &[8, 6], ""),
        ];
        put_off(&mut steps);
        let put_off = steps.iter().filter(|step| step.phase != Phase::Definitions);
        let found: Vec<(i32, Phase)> = put_off.map(|step| (step.entry.id, step.phase)).collect();
        assert_eq!(found, [(4, Phase::ForeignKeys), (9, Phase::Last), (10, Phase::Last)]);
    }

    #[test]
    fn many_of_them_are_one_line() {
        assert_eq!(words(&[]), None);
        let labels: Vec<String> = (1..=7).map(|n| format!("table attach t{n}")).collect();
        let said = words(&labels).expect("a line");
        assert!(said.ends_with("table attach t4, table attach t5 and 2 more"), "{said}");
    }
}
