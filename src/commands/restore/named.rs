//! The entries that names choose: schemas, tables, indexes, functions, triggers. Pure.

use super::choose::Choice;
use crate::archive::toc::{Toc, TocEntry};
use crate::error::{Error, Kind, Result};
use crate::model::Section;
use std::collections::{HashMap, HashSet};

/// Relations that `-t` can name.
const RELATIONS: &[&str] = &["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];
/// What `-P` can name.
const FUNCTIONS: &[&str] = &["FUNCTION", "PROCEDURE", "AGGREGATE"];

/// The ids that names choose; `None` when everything is.
///
/// A table takes along its rows, the sequences it needs and those it owns, and everything that hangs on it and on
/// chosen tables only: indexes, constraints, triggers, policies, comments, privileges. A foreign key to a table that is
/// not chosen stays out.
///
/// Errors: [`Kind::Usage`] when something named is not in the archive.
pub(super) fn selected(toc: &Toc, choice: &Choice) -> Result<Option<HashSet<i32>>> {
    let by_sort = [
        (&choice.tables, RELATIONS, "table, view or sequence"),
        (&choice.indexes, &["INDEX"], "index"),
        (&choice.functions, FUNCTIONS, "function"),
        (&choice.triggers, &["TRIGGER"], "trigger"),
    ];
    let no_sort = by_sort.iter().all(|(names, ..)| names.is_empty());
    if no_sort && choice.schemas.is_empty() && choice.exclude_schemas.is_empty() {
        return Ok(None);
    }
    for schema in &choice.schemas {
        let known =
            toc.entries.iter().any(|e| e.schema.as_ref() == Some(schema) || (e.desc == "SCHEMA" && e.tag == *schema));
        if !known {
            return Err(Error::new(Kind::Usage, "the backup has no such schema").on(schema.clone()));
        }
    }
    let mut selected: HashSet<i32> = HashSet::new();
    if no_sort {
        for entry in &toc.entries {
            // What stands beside something follows it.
            let wanted = match entry.section {
                Section::None => entry.needs.iter().any(|id| selected.contains(id)),
                _ => in_schema(entry, choice),
            };
            if wanted {
                selected.insert(entry.id);
            }
        }
        return Ok(Some(selected));
    }
    for (names, sorts, word) in by_sort {
        for wanted in names {
            let before = selected.len();
            for entry in toc.entries.iter().filter(|entry| sorts.contains(&entry.desc.as_str())) {
                let full = entry.schema.as_ref().map(|schema| format!("{schema}.{}", entry.tag));
                if in_schema(entry, choice) && (entry.tag == *wanted || full.as_ref() == Some(wanted)) {
                    selected.insert(entry.id);
                }
            }
            if selected.len() == before {
                return Err(Error::new(Kind::Usage, format!("the backup has no such {word}"))
                    .on(wanted.clone())
                    .hint("`pgstow restore --list` shows the names; they are exact, without patterns"));
            }
        }
    }
    add_what_hangs_on(toc, &mut selected);
    Ok(Some(selected))
}

/// Whether the schemas that were named and excluded let an entry in. A schema counts as being in itself; what is in no
/// schema comes along where only exclusions were named.
fn in_schema(entry: &TocEntry, choice: &Choice) -> bool {
    let schema = if entry.desc == "SCHEMA" { Some(&entry.tag) } else { entry.schema.as_ref() };
    match schema {
        Some(schema) => {
            (choice.schemas.is_empty() || choice.schemas.contains(schema)) && !choice.exclude_schemas.contains(schema)
        }
        None => choice.schemas.is_empty(),
    }
}

fn add_what_hangs_on(toc: &Toc, selected: &mut HashSet<i32>) {
    let by_id: HashMap<i32, &TocEntry> = toc.entries.iter().map(|entry| (entry.id, entry.as_ref())).collect();
    let is_relation = |id: &i32| by_id.get(id).is_some_and(|entry| RELATIONS.contains(&entry.desc.as_str()));
    let ties = |entry: &TocEntry| matches!(entry.desc.as_str(), "SEQUENCE OWNED BY" | "DEFAULT");
    let sequences: Vec<i32> = toc
        .entries
        .iter()
        .filter(|entry| {
            selected.contains(&entry.id) || (ties(entry) && entry.needs.iter().any(|id| selected.contains(id)))
        })
        .flat_map(|entry| entry.needs.iter().copied())
        .filter(|id| by_id.get(id).is_some_and(|entry| entry.desc == "SEQUENCE"))
        .collect();
    selected.extend(sequences);
    // The table of contents is in order, so one pass sees every parent before its children.
    for entry in &toc.entries {
        let relations: Vec<&i32> = entry.needs.iter().filter(|id| is_relation(id)).collect();
        let hangs = match entry.desc.as_str() {
            "SEQUENCE" => entry.needs.iter().any(|id| selected.contains(id) && is_relation(id)),
            desc if RELATIONS.contains(&desc) => false,
            "TABLE DATA"
            | "SEQUENCE SET"
            | "SEQUENCE OWNED BY"
            | "TABLE ATTACH"
            | "DEFAULT"
            | "MATERIALIZED VIEW DATA" => !relations.is_empty() && relations.iter().all(|id| selected.contains(id)),
            "STATISTICS DATA" => entry.needs.iter().any(|id| selected.contains(id)),
            _ if entry.section == Section::None => entry.needs.iter().any(|id| selected.contains(id)),
            _ if entry.section == Section::PostData => {
                !relations.is_empty() && relations.iter().all(|id| selected.contains(id))
            }
            _ => false,
        };
        if hangs {
            selected.insert(entry.id);
        }
    }
}
