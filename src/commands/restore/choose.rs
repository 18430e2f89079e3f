//! Which entries of a table of contents are restored, in which phase, and why the others are not. Pure.

use crate::archive::toc::{Toc, TocEntry};
use crate::commands::source::{Source, TableObject};
use crate::error::{Error, Kind, Result};
use crate::model::Section;
use crate::model::item::label;
use std::collections::{HashMap, HashSet};

/// What the user chose of the backup.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these schemas (exact names), with everything in them.
    pub schemas: Vec<String>,
    /// Only these tables, views, sequences (exact names, with or without `schema.`), with what hangs on them.
    pub tables: Vec<String>,
    /// Definitions only.
    pub schema_only: bool,
    /// Rows only.
    pub data_only: bool,
    /// Leave ownership to the connected user.
    pub no_owner: bool,
    /// Leave out privileges.
    pub no_privileges: bool,
}

/// When a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Makes the database; only with `-C`.
    Database,
    /// One by one, in order.
    Definitions,
    /// Side by side: rows, indexes, constraints, triggers and what hangs on them.
    Parallel,
    /// Side by side, after all of those: they lock two tables, or change what a parent's definition made.
    ForeignKeys,
    /// One by one: for an owner may have revoked privileges that loading needs.
    Privileges,
    /// One by one: refreshes, and event triggers, which would fire on everything before.
    Last,
}

/// One entry to restore.
#[derive(Debug, Clone)]
pub struct Step {
    /// The entry of the table of contents.
    pub entry: TocEntry,
    /// When it runs.
    pub phase: Phase,
    /// The object with its rows, for table data.
    pub data: Option<TableObject>,
}

impl Step {
    /// For messages: `table public.customer`.
    pub fn label(&self) -> String {
        label(&self.entry.desc, self.entry.schema.as_deref(), &self.entry.tag)
    }
}

/// The chosen steps in the order of the table of contents, and what was left out.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What to run.
    pub steps: Vec<Step>,
    /// How many entries were left out, by reason.
    pub left_out: Vec<(String, usize)>,
    /// Only a part of the backup was chosen, so a schema that is there already is no conflict.
    pub is_partial: bool,
}

impl Plan {
    /// How many tables are loaded.
    pub fn table_count(&self) -> u64 {
        self.steps.iter().filter(|step| step.data.is_some()).count() as u64
    }

    /// The size of all rows as COPY text in bytes.
    pub fn raw_bytes(&self) -> u64 {
        self.steps.iter().filter_map(|step| step.data.as_ref()).map(|data| data.raw_bytes).sum()
    }
}

/// Relations that `-t` can name.
const RELATIONS: &[&str] = &["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];

/// Chooses.
///
/// Errors: [`Kind::Usage`] when a named schema or table is not in the backup; [`Kind::Archive`] when the table of
/// contents and the manifest do not fit one another.
pub(crate) fn plan(source: &Source, choice: &Choice, create: bool) -> Result<Plan> {
    let toc = &source.toc;
    let mut data = source.tables.clone();
    let selected = selected_by_name(toc, choice)?;
    let mut plan = Plan { is_partial: selected.is_some(), ..Plan::default() };
    let mut left_out: HashMap<&'static str, usize> = HashMap::new();
    let mut pre_data = true;
    for entry in &toc.entries {
        let has_rows = data.remove(&entry.id);
        if entry.desc == "TABLE DATA" && has_rows.is_none() {
            return Err(Error::new(Kind::Archive, "the manifest has no rows for this table of the table of contents")
                .on(label(&entry.desc, entry.schema.as_deref(), &entry.tag)));
        }
        pre_data &= !matches!(entry.section, Section::Data | Section::PostData);
        let reason = left_out_because(entry, choice, create).or_else(|| {
            selected.as_ref().is_some_and(|ids| !ids.contains(&entry.id)).then_some("not chosen by -n or -t")
        });
        match reason {
            Some("") => {}
            Some(reason) => *left_out.entry(reason).or_default() += 1,
            None => plan.steps.push(Step { entry: entry.clone(), phase: phase(entry, pre_data), data: has_rows }),
        }
    }
    if let Some(id) = data.keys().next() {
        return Err(Error::new(Kind::Archive, format!("the table of contents lacks entry {id} of the manifest")));
    }
    plan.left_out = left_out.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    plan.left_out.sort();
    Ok(plan)
}

/// Why an entry is left out whatever its name; an empty reason is not worth a line.
fn left_out_because(entry: &TocEntry, choice: &Choice, create: bool) -> Option<&'static str> {
    match entry.desc.as_str() {
        "ENCODING" | "STDSTRINGS" | "SEARCHPATH" => return Some(""),
        "DATABASE" | "DATABASE PROPERTIES" if !create => return Some(""),
        "ACL" | "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("DATABASE ") && !create => return Some(""),
        "ACL" | "DEFAULT ACL" if choice.no_privileges => return Some("privileges, because of -x"),
        _ => {}
    }
    let is_data = entry.section == Section::Data;
    if choice.schema_only && (is_data || entry.desc == "MATERIALIZED VIEW DATA") {
        return Some("rows, because of -s");
    }
    if choice.data_only && !is_data && entry.desc != "MATERIALIZED VIEW DATA" {
        return Some("definitions, because of -a");
    }
    None
}

fn phase(entry: &TocEntry, pre_data: bool) -> Phase {
    match entry.desc.as_str() {
        "DATABASE" | "DATABASE PROPERTIES" => Phase::Database,
        "ACL" | "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("DATABASE ") => Phase::Database,
        "ACL" | "DEFAULT ACL" => Phase::Privileges,
        "MATERIALIZED VIEW DATA" | "EVENT TRIGGER" => Phase::Last,
        "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("EVENT TRIGGER ") => Phase::Last,
        "FK CONSTRAINT" => Phase::ForeignKeys,
        // The state of a partition's trigger, which came with the parent's. Stock names no dependency between the two.
        "TRIGGER" if entry.create.as_deref().is_some_and(|sql| sql.trim_start().starts_with("ALTER ")) => {
            Phase::ForeignKeys
        }
        _ if pre_data => Phase::Definitions,
        _ => Phase::Parallel,
    }
}

/// The ids that -n and -t choose; `None` when everything is.
///
/// A table takes along its rows, the sequences it needs and those it owns, and everything that hangs on it and on
/// chosen tables only: indexes, constraints, triggers, policies, comments, privileges. A foreign key to a table that is
/// not chosen stays out.
fn selected_by_name(toc: &Toc, choice: &Choice) -> Result<Option<HashSet<i32>>> {
    if choice.schemas.is_empty() && choice.tables.is_empty() {
        return Ok(None);
    }
    let in_schema = |entry: &TocEntry| {
        choice.schemas.is_empty() || entry.schema.as_ref().is_some_and(|schema| choice.schemas.contains(schema))
    };
    for schema in &choice.schemas {
        let known =
            toc.entries.iter().any(|e| e.schema.as_ref() == Some(schema) || (e.desc == "SCHEMA" && e.tag == *schema));
        if !known {
            return Err(Error::new(Kind::Usage, "the backup has no such schema").on(schema.clone()));
        }
    }
    let mut selected: HashSet<i32> = HashSet::new();
    if choice.tables.is_empty() {
        for entry in &toc.entries {
            let is_schema = entry.desc == "SCHEMA" && choice.schemas.contains(&entry.tag);
            let follows = entry.section == Section::None && entry.needs.iter().any(|id| selected.contains(id));
            if is_schema || in_schema(entry) || follows {
                selected.insert(entry.id);
            }
        }
        return Ok(Some(selected));
    }
    for wanted in &choice.tables {
        let before = selected.len();
        for entry in toc.entries.iter().filter(|entry| RELATIONS.contains(&entry.desc.as_str()) && in_schema(entry)) {
            let full = entry.schema.as_ref().map(|schema| format!("{schema}.{}", entry.tag));
            if entry.tag == *wanted || full.as_ref() == Some(wanted) {
                selected.insert(entry.id);
            }
        }
        if selected.len() == before {
            return Err(Error::new(Kind::Usage, "the backup has no such table, view or sequence")
                .on(wanted.clone())
                .hint("`pgstow show` lists its tables; names are exact, without patterns"));
        }
    }
    add_what_hangs_on(toc, &mut selected);
    Ok(Some(selected))
}

fn add_what_hangs_on(toc: &Toc, selected: &mut HashSet<i32>) {
    let by_id: HashMap<i32, &TocEntry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    let is_relation = |id: &i32| by_id.get(id).is_some_and(|entry| RELATIONS.contains(&entry.desc.as_str()));
    let sequences: Vec<i32> = toc
        .entries
        .iter()
        .filter(|entry| selected.contains(&entry.id))
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
