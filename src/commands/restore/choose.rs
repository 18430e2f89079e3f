//! Which entries of a table of contents are restored, in which phase, and why the others are not. Pure.

use super::{named, ties};
use crate::archive::toc::{Toc, TocEntry};
use crate::commands::source::{Source, TableObject, further_segments};
use crate::error::{Error, Kind, Result};
use crate::model::Section;
use crate::model::item::label;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the user chose of the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only these schemas (exact names), with everything in them.
    pub schemas: Vec<String>,
    /// All but these schemas (exact names).
    pub exclude_schemas: Vec<String>,
    /// Only these tables, views, sequences (exact names, with or without `schema.`), with what hangs on them.
    pub tables: Vec<String>,
    /// Only these indexes (exact names).
    pub indexes: Vec<String>,
    /// Only these functions, procedures and aggregates, each as the table of contents has it: `f(integer, text)`.
    pub functions: Vec<String>,
    /// Only these triggers, each as the table of contents has it: its table's name, a space, its own.
    pub triggers: Vec<String>,
    /// Only these sections; empty means all.
    pub sections: Vec<Section>,
    /// Only these entries, definitions in this order (`-L`).
    pub list: Option<Vec<i32>>,
    /// Definitions only.
    pub schema_only: bool,
    /// Rows only.
    pub data_only: bool,
    /// Leave ownership to the connected user.
    pub no_owner: bool,
    /// Leave out privileges.
    pub no_privileges: bool,
    /// No definitions.
    pub no_schema: bool,
    /// No rows.
    pub no_data: bool,
    /// Only what the planner knows.
    pub statistics_only: bool,
    /// Leave out what the planner knows.
    pub no_statistics: bool,
    /// Leave out comments.
    pub no_comments: bool,
    /// Leave out policies, and that row security is on.
    pub no_policies: bool,
    /// Leave out publications.
    pub no_publications: bool,
    /// Leave out security labels.
    pub no_security_labels: bool,
    /// Leave out subscriptions.
    pub no_subscriptions: bool,
    /// Let everything be in the default tablespace.
    pub no_tablespaces: bool,
    /// Let tables have the default access method.
    pub no_table_access_method: bool,
    /// Load rows of tables that are there already without their triggers.
    pub disable_triggers: bool,
}

impl Choice {
    /// Names, or a list, choose a part.
    pub fn by_name(&self) -> bool {
        let names =
            [&self.schemas, &self.exclude_schemas, &self.tables, &self.indexes, &self.functions, &self.triggers];
        self.list.is_some() || names.iter().any(|names| !names.is_empty())
    }
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
    /// One by one: refreshes.
    Last,
    /// One by one: they would fire on everything before.
    EventTriggers,
}

/// One entry to restore.
#[derive(Debug, Clone)]
pub struct Step {
    /// The entry of the table of contents.
    pub entry: Arc<TocEntry>,
    /// When it runs.
    pub phase: Phase,
    /// The object with its rows, for table data.
    pub data: Option<Arc<TableObject>>,
}

impl Step {
    /// For messages: `table public.customer`.
    pub fn label(&self) -> String {
        label(&self.entry.desc, self.entry.schema.as_deref(), &self.entry.tag)
    }

    /// The step with another statement in place of its own.
    pub(super) fn with_statement(&self, statement: &str) -> Step {
        let entry = TocEntry { create: Some(statement.to_owned()), ..TocEntry::clone(&self.entry) };
        Step { entry: Arc::new(entry), phase: self.phase, data: None }
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
    /// Indexes and constraints that call functions while they are made.
    pub(crate) calls: Calls,
}

/// Indexes and constraints that call functions, which may read any table, by their entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    /// Functions of the archive.
    pub(crate) functions: HashSet<i32>,
    /// What extensions bring.
    pub(crate) extensions: HashSet<i32>,
}

impl Calls {
    /// By what the entries of the whole table of contents need, for what was not chosen may be in the target.
    fn of(toc: &Toc) -> Self {
        const CARRIERS: [&str; 7] =
            ["TYPE", "DOMAIN", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "FUNCTION", "AGGREGATE"];
        let mut carries = Calls::default();
        let mut calls = Calls::default();
        for entry in &toc.entries {
            let id = entry.id;
            let needs = |set: &HashSet<i32>| entry.needs.iter().any(|need| set.contains(need));
            let (of_functions, of_extensions) = (needs(&carries.functions), needs(&carries.extensions));
            let desc = entry.desc.as_str();
            let carrier = CARRIERS.contains(&desc);
            let into = match desc {
                "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" => &mut calls,
                _ => &mut carries,
            };
            let is_asked = carrier || desc.ends_with("CONSTRAINT") || desc == "INDEX";
            if matches!(desc, "FUNCTION" | "PROCEDURE" | "AGGREGATE") || (is_asked && of_functions) {
                into.functions.insert(id);
            }
            if desc == "EXTENSION" || (is_asked && of_extensions) {
                into.extensions.insert(id);
            }
        }
        calls
    }
}

impl Plan {
    /// How many tables are loaded.
    pub fn table_count(&self) -> u64 {
        let loads = self.steps.iter().filter(|step| step.data.is_some()).count();
        (loads - self.further_segments().len()) as u64
    }

    /// The entries of rows that [`further_segments`] means.
    pub(crate) fn further_segments(&self) -> HashSet<i32> {
        further_segments(self.steps.iter().filter(|step| step.data.is_some()).map(|step| &*step.entry))
    }

    /// The memory that it takes beside its archive, with which it shares all that is large, in bytes.
    pub(crate) fn held(&self) -> u64 {
        (self.steps.capacity() * size_of::<Step>()) as u64
    }

    /// The size of all rows as COPY text in bytes.
    pub fn raw_bytes(&self) -> u64 {
        self.steps.iter().filter_map(|step| step.data.as_ref()).map(|data| data.raw_bytes).sum()
    }
}

/// Chooses.
///
/// Errors: [`Kind::Usage`] when a named schema or table is not in the backup; [`Kind::Archive`] when the table of
/// contents and the manifest do not fit one another.
pub(crate) fn plan(source: &Source, choice: &Choice, create: bool) -> Result<Plan> {
    let toc = &source.toc;
    let mut data: HashMap<i32, &Arc<TableObject>> = source.tables.iter().map(|(&id, table)| (id, table)).collect();
    let selected = named::selected(toc, choice)?;
    let listed = listed(toc, choice)?;
    let is_partial = selected.is_some() || listed.is_some();
    let mut plan = Plan { is_partial, calls: Calls::of(toc), ..Plan::default() };
    let mut left_out: HashMap<&'static str, usize> = HashMap::new();
    let mut pre_data = true;
    let mut early = EarlyRows::of(toc);
    let mut section = Section::PreData;
    for entry in &toc.entries {
        let has_rows = data.remove(&entry.id);
        if entry.desc == "TABLE DATA" && has_rows.is_none() {
            return Err(Error::new(Kind::Archive, "the manifest has no rows for this table of the table of contents")
                .on(label(&entry.desc, entry.schema.as_deref(), &entry.tag)));
        }
        section = section_of(entry, section);
        let is_early = early.holds(entry);
        pre_data &= is_early || !matches!(entry.section, Section::Data | Section::PostData);
        let is_small = has_rows.is_some_and(|data| data.raw_bytes <= EARLY_AT_MOST);
        let phase = if is_early && !is_small { Phase::Parallel } else { phase(entry, pre_data) };
        let reason = left_out_because(entry, choice, create)
            .or_else(|| {
                let wanted =
                    choice.sections.is_empty() || choice.sections.contains(&section) || phase == Phase::Database;
                (!wanted).then_some("of other sections")
            })
            .or_else(|| {
                let left_out = selected.as_ref().is_some_and(|ids| !ids.contains(&entry.id));
                left_out.then_some("not chosen by name")
            })
            .or_else(|| {
                let left_out = listed.as_ref().is_some_and(|places| !places.contains_key(&entry.id));
                left_out.then_some("not in the list of -L")
            });
        match reason {
            Some("") => {}
            Some(reason) => *left_out.entry(reason).or_default() += 1,
            None => plan.steps.push(Step { entry: Arc::clone(entry), phase, data: has_rows.cloned() }),
        }
    }
    if let Some(id) = data.keys().next() {
        return Err(Error::new(Kind::Archive, format!("the table of contents lacks entry {id} of the manifest")));
    }
    if let Some(places) = &listed {
        // What runs side by side is put in order by what it needs.
        let (mut one_by_one, rest): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(|step| step.phase <= Phase::Definitions);
        one_by_one.sort_by_key(|step| (step.phase, places.get(&step.entry.id).copied()));
        plan.steps = one_by_one.into_iter().chain(rest).collect();
    }
    plan.left_out = left_out.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    plan.left_out.sort();
    ties::put_off(&mut plan.steps);
    Ok(plan)
}

/// More rows than this in bytes, as COPY text, are nothing that definitions look up, and are loaded beside others.
const EARLY_AT_MOST: u64 = 16 << 20;

/// Rows that stand among definitions, right behind the extension that makes their table.
struct EarlyRows {
    /// The last entry of a definition before all rows of tables that the archive makes.
    last_definition: usize,
    /// How many entries were looked at.
    place: usize,
    /// Extensions so far, and such rows.
    known: HashSet<i32>,
}

impl EarlyRows {
    fn of(toc: &Toc) -> Self {
        let last = toc.entries.iter().rposition(|entry| entry.section == Section::PreData);
        EarlyRows { last_definition: last.unwrap_or(0), place: 0, known: HashSet::new() }
    }

    /// Takes the entries one after the other.
    fn holds(&mut self, entry: &TocEntry) -> bool {
        let is_before = self.place < self.last_definition;
        self.place += 1;
        let is_rows = entry.desc == "TABLE DATA" && entry.copy.is_some();
        let is_early = is_before && is_rows && entry.needs.iter().all(|need| self.known.contains(need));
        if is_early || entry.desc == "EXTENSION" {
            self.known.insert(entry.id);
        }
        is_early
    }
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
    if entry.desc == "STATISTICS DATA" {
        let left_out = choice.no_statistics || choice.schema_only || choice.data_only;
        return left_out.then_some("statistics");
    }
    if choice.statistics_only && !matches!(entry.desc.as_str(), "DATABASE" | "DATABASE PROPERTIES") {
        return Some("no statistics");
    }
    if sort_left_out(entry, choice) {
        return Some("of a sort that was left out");
    }
    if is_data(entry) {
        return (choice.schema_only || choice.no_data).then_some("rows, because of -s");
    }
    // A refresh is a definition that takes rows: it needs both.
    if entry.desc == "MATERIALIZED VIEW DATA" && (choice.schema_only || choice.no_data) {
        return Some("rows, because of -s");
    }
    (choice.data_only || choice.no_schema).then_some("definitions, because of -a")
}

/// Whether it is data: rows, values of sequences, large objects and what stands beside those.
fn is_data(entry: &TocEntry) -> bool {
    match entry.desc.as_str() {
        "BLOB" => true,
        "ACL" | "COMMENT" | "SECURITY LABEL" => entry.tag.starts_with("LARGE OBJECT"),
        _ => entry.section == Section::Data,
    }
}

/// The section that an entry belongs to, `before` being that of the entry before: what stands beside something belongs to
/// that one's.
fn section_of(entry: &TocEntry, before: Section) -> Section {
    match entry.section {
        _ if is_data(entry) => Section::Data,
        Section::None => before,
        section => section,
    }
}

/// `--no-comments` and its like (`_tocEntryRequired`, `pg_backup_archiver.c`).
fn sort_left_out(entry: &TocEntry, choice: &Choice) -> bool {
    let of = |sort: &str| match entry.desc.as_str() {
        "COMMENT" | "SECURITY LABEL" => entry.tag.starts_with(&format!("{sort} ")),
        desc => desc == sort,
    };
    let publishes = matches!(entry.desc.as_str(), "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA");
    (choice.no_comments && entry.desc == "COMMENT")
        || (choice.no_security_labels && entry.desc == "SECURITY LABEL")
        || (choice.no_policies && (of("POLICY") || entry.desc == "ROW SECURITY"))
        || (choice.no_publications && (of("PUBLICATION") || publishes))
        || (choice.no_subscriptions && of("SUBSCRIPTION"))
}

/// Where each entry stands in the list of `-L`.
fn listed(toc: &Toc, choice: &Choice) -> Result<Option<HashMap<i32, usize>>> {
    let Some(list) = &choice.list else { return Ok(None) };
    let known: HashSet<i32> = toc.entries.iter().map(|entry| entry.id).collect();
    if let Some(unknown) = list.iter().find(|id| !known.contains(id)) {
        return Err(Error::new(
            Kind::Usage,
            format!("the list names entry {unknown}, which the archive does not have"),
        )
        .hint("make the list with `pgstow restore --list` of the same backup"));
    }
    Ok(Some(list.iter().enumerate().map(|(place, id)| (*id, place)).collect()))
}

fn phase(entry: &TocEntry, pre_data: bool) -> Phase {
    match entry.desc.as_str() {
        "DATABASE" | "DATABASE PROPERTIES" => Phase::Database,
        "ACL" | "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("DATABASE ") => Phase::Database,
        "ACL" | "DEFAULT ACL" => Phase::Privileges,
        // Statistics after everything that makes the server count by itself.
        "MATERIALIZED VIEW DATA" | "STATISTICS DATA" => Phase::Last,
        "EVENT TRIGGER" => Phase::EventTriggers,
        "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("EVENT TRIGGER ") => Phase::EventTriggers,
        "FK CONSTRAINT" => Phase::ForeignKeys,
        // The state of a partition's trigger, which came with the parent's. Stock names no dependency between the two.
        "TRIGGER" if entry.create.as_deref().is_some_and(|sql| sql.trim_start().starts_with("ALTER ")) => {
            Phase::ForeignKeys
        }
        _ if pre_data => Phase::Definitions,
        _ => Phase::Parallel,
    }
}
