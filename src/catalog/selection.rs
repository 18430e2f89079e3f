//! What to dump: the patterns that were asked for, resolved against the relations that exist, then applied to objects.
//!
//! The rules are `pg_dump`'s (`selectDumpableObject` and its siblings, `pg_dump.c`): with `-t` only relations and what hangs
//! on them; with `-n` only what lives in the schemas; without either everything, exclusions applied.

use super::pattern::Pattern;
use super::relations::{Relation, Relations};
use crate::error::{Error, Kind, Result};
use crate::model::{Object, Oid, Payload, Section};
use std::collections::{HashMap, HashSet};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these schemas (`-n`).
    pub schemas: Vec<Pattern>,
    /// All but these schemas (`-N`).
    pub exclude_schemas: Vec<Pattern>,
    /// Only these tables, views, materialized views, sequences and foreign tables (`-t`), whatever `-n` and `-N` say.
    pub tables: Vec<Pattern>,
    /// All but these (`-T`).
    pub exclude_tables: Vec<Pattern>,
    /// The definition of these, not their rows.
    pub exclude_table_data: Vec<Pattern>,
    /// Definitions only (`-s`).
    pub schema_only: bool,
    /// Rows, large objects and sequence values only (`-a`).
    pub data_only: bool,
    /// Whether large objects come along: `None` is `pg_dump`'s rule, that they do unless schemas or tables are named.
    pub large_objects: Option<bool>,
}

impl Selection {
    /// Neither schemas nor tables are named.
    pub fn everything(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }

    /// Refuses what contradicts itself or reaches into another database. `current` is the database's name.
    pub fn check(&self, current: &str) -> Result<()> {
        if self.schema_only && self.data_only {
            return Err(Error::new(Kind::Usage, "schema only and data only exclude each other"));
        }
        for pattern in self.schemas.iter().chain(&self.exclude_schemas) {
            pattern.check(true, current)?;
        }
        for pattern in self.tables.iter().chain(&self.exclude_tables).chain(&self.exclude_table_data) {
            pattern.check(false, current)?;
        }
        Ok(())
    }
}

/// A relation's part in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    chosen: bool,
    /// Its rows were excluded.
    without_data: bool,
}

/// A selection resolved against one database.
#[derive(Debug)]
pub(super) struct Chosen {
    everything: bool,
    by_table: bool,
    schemas: HashSet<String>,
    parts: HashMap<Oid, Part>,
    schema_only: bool,
    data_only: bool,
    large_objects: bool,
    /// Patterns that fitted nothing, though others did.
    pub(super) warnings: Vec<String>,
}

impl Chosen {
    pub(super) fn resolve(selection: &Selection, relations: &Relations) -> Result<Chosen> {
        let mut warnings = Vec::new();
        let mut schemas: HashSet<String> = HashSet::new();
        for schema in &relations.schemas {
            let included = selection.schemas.is_empty() || selection.schemas.iter().any(|p| p.matches_schema(schema));
            if included && !selection.exclude_schemas.iter().any(|pattern| pattern.matches_schema(schema)) {
                schemas.insert(schema.clone());
            }
        }
        let fits_a_schema = |pattern: &Pattern| relations.schemas.iter().any(|schema| pattern.matches_schema(schema));
        expect_matches("schema", &selection.schemas, fits_a_schema, &mut warnings)?;

        let visible = Visible::of(relations);
        let fits = |pattern: &Pattern, relation: &Relation| {
            pattern.matches(Some(&relation.schema), &relation.name)
                && (pattern.has_schema() || visible.contains(relation))
        };
        let fits_any = |patterns: &[Pattern], relation: &Relation| patterns.iter().any(|p| fits(p, relation));
        let fits_a_relation = |pattern: &Pattern| relations.relations.iter().any(|relation| fits(pattern, relation));
        expect_matches("table", &selection.tables, fits_a_relation, &mut warnings)?;

        let mut parts: HashMap<Oid, Part> = HashMap::with_capacity(relations.relations.len());
        for relation in &relations.relations {
            let included = if selection.tables.is_empty() {
                schemas.contains(&relation.schema)
            } else {
                fits_any(&selection.tables, relation)
            };
            let part = Part {
                chosen: included && !fits_any(&selection.exclude_tables, relation),
                without_data: fits_any(&selection.exclude_table_data, relation),
            };
            parts.insert(relation.oid, part);
        }
        // A sequence comes along with the table that owns it; one of an identity column goes with it, too.
        for sequence in &relations.relations {
            let Some(owner) = sequence.owned_by.and_then(|owner| parts.get(&owner)).copied() else { continue };
            if let Some(part) = parts.get_mut(&sequence.oid) {
                part.chosen = owner.chosen || (part.chosen && !sequence.identity);
            }
        }
        Ok(Chosen {
            everything: selection.everything(),
            by_table: !selection.tables.is_empty(),
            schemas,
            parts,
            schema_only: selection.schema_only,
            data_only: selection.data_only,
            large_objects: selection.large_objects.unwrap_or(selection.everything()) && !selection.schema_only,
            warnings,
        })
    }

    /// Nothing was narrowed by `-n` or `-t`.
    pub(super) fn everything(&self) -> bool {
        self.everything
    }

    /// Whether this relation's definition is wanted.
    pub(super) fn relation(&self, oid: Oid) -> bool {
        self.parts.get(&oid).is_some_and(|part| part.chosen)
    }

    /// Whether rows were excluded for this relation.
    pub(super) fn without_data(&self, oid: Oid) -> bool {
        self.parts.get(&oid).is_some_and(|part| part.without_data)
    }

    /// Whether things in this schema are wanted that are not relations and hang on none; `None` for things in no schema.
    pub(super) fn thing(&self, schema: Option<&str>) -> bool {
        match schema {
            Some(schema) => !self.by_table && self.schemas.contains(schema),
            None => self.everything,
        }
    }

    /// Whether definitions are wanted at all.
    pub(super) fn definitions(&self) -> bool {
        !self.data_only
    }

    /// Whether this object is part of the dump.
    pub(super) fn keeps(&self, object: &Object) -> bool {
        let item = &object.whole;
        match item.desc {
            // They are in every archive, and restored only when a restore is asked to create the database.
            "DATABASE" | "DATABASE PROPERTIES" => return true,
            "BLOB" | "BLOBS" => return self.large_objects,
            _ => {}
        }
        let data = item.section == Section::Data || item.payload == Payload::Refresh;
        if if data { self.schema_only } else { self.data_only } {
            return false;
        }
        // Extensions are in no schema: the one they fill is a property of theirs.
        let schema = if item.desc == "EXTENSION" { None } else { object.belongs.schema.as_deref() };
        match object.belongs.relation {
            Some(relation) if self.parts.contains_key(&relation) => {
                self.relation(relation) && !(data && self.without_data(relation))
            }
            _ => self.thing(schema),
        }
    }
}

/// The relations that a name without schema finds through the default search path.
struct Visible<'a> {
    found: HashMap<&'a str, &'a str>,
}

impl<'a> Visible<'a> {
    fn of(relations: &'a Relations) -> Self {
        let place = |schema: &str| relations.search_path.iter().position(|candidate| candidate == schema);
        let mut found: HashMap<&str, &str> = HashMap::new();
        for relation in &relations.relations {
            let Some(here) = place(&relation.schema) else { continue };
            let nearer = found.get(relation.name.as_str()).is_none_or(|other| place(other).is_none_or(|p| here < p));
            if nearer {
                found.insert(&relation.name, &relation.schema);
            }
        }
        Visible { found }
    }

    fn contains(&self, relation: &Relation) -> bool {
        self.found.get(relation.name.as_str()) == Some(&relation.schema.as_str())
    }
}

/// Fails when there are patterns and none of them fits; warns about each that does not.
fn expect_matches(
    what: &str,
    patterns: &[Pattern],
    fits: impl Fn(&Pattern) -> bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let unmatched: Vec<_> = patterns.iter().filter(|pattern| !fits(pattern)).collect();
    if !patterns.is_empty() && unmatched.len() == patterns.len() {
        let error = Error::new(Kind::Usage, format!("no matching {what}s were found"));
        return Err(if what == "table" && patterns.iter().any(|pattern| !pattern.has_schema()) {
            error.hint("a name without schema is looked up in the search path only; write schema.table, or *.table")
        } else {
            error
        });
    }
    warnings.extend(unmatched.iter().map(|pattern| format!("no {what} matches {pattern}")));
    Ok(())
}
