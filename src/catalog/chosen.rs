//! A selection resolved against the relations, schemas and extensions that exist, then applied to objects.
//!
//! The rules are `pg_dump`'s (`selectDumpableObject` and its siblings, `pg_dump.c`): with `-t` only relations and what hangs
//! on them; with `-n` only what lives in the schemas; without either everything, exclusions applied; extensions apart.

use super::pattern::Pattern;
use super::relations::{Relation, Relations};
use super::selection::{Selection, Without};
use crate::error::{Error, Kind, Result};
use crate::model::{Address, Item, Object, Oid, Payload, Section, class};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Oids below this are initdb's (`FirstNormalObjectId`, `access/transam.h`).
const FIRST_NORMAL: Oid = Oid(16_384);

/// A relation's part in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// Its definition, were it not an extension's.
    chosen: bool,
    /// Its rows.
    rows: bool,
    /// It is made by an extension that is not dumped.
    comes_with_another: bool,
}

/// A selection resolved against one database.
#[derive(Debug)]
pub(super) struct Chosen {
    everything: bool,
    whole_schemas: bool,
    by_table: bool,
    /// Schemas were named, and they come with the schemas themselves.
    by_schema: bool,
    schemas: HashSet<String>,
    extensions: HashSet<Oid>,
    parts: HashMap<Oid, Part>,
    definitions: bool,
    rows: bool,
    large_objects: bool,
    without: BTreeSet<Without>,
    /// Patterns that fitted nothing, though others did.
    pub(super) warnings: Vec<String>,
}

impl Chosen {
    pub(super) fn resolve(selection: &Selection, relations: &Relations) -> Result<Chosen> {
        let mut warnings = Vec::new();
        if relations.unfinished_restore {
            warnings.push("the database holds an unfinished restore, so much of it may be missing".to_owned());
        }
        let schemas = schemas(selection, relations, &mut warnings)?;
        let extensions = extensions(selection, relations, &mut warnings)?;
        let fits = |pattern: &Pattern| relations.foreign_servers.iter().any(|name| pattern.matches(None, name));
        expect_matches("foreign server", &selection.foreign_data, true, fits, &mut warnings)?;
        let parts = parts(selection, relations, &schemas, &extensions, &mut warnings)?;
        Ok(Chosen {
            everything: selection.everything(),
            whole_schemas: selection.schemas.is_empty() && !selection.by_table(),
            by_table: selection.by_table(),
            by_schema: !selection.schemas.is_empty() && !selection.by_table(),
            schemas,
            extensions: extensions.chosen,
            parts,
            definitions: selection.definitions(),
            rows: selection.rows(),
            large_objects: selection.rows() && selection.large_objects.unwrap_or(selection.everything()),
            without: selection.without.clone(),
            warnings,
        })
    }

    /// Nothing was narrowed by `-n`, `-t` or `-e`.
    pub(super) fn everything(&self) -> bool {
        self.everything
    }

    /// Nothing was narrowed by `-n` or `-t`, so that privileges in `pg_catalog` count, too.
    pub(super) fn whole_schemas(&self) -> bool {
        self.whole_schemas
    }

    /// Whether schemas were named, so that a target may lack even those that every database is born with.
    pub(super) fn by_schema(&self) -> bool {
        self.by_schema
    }

    /// Whether changed privileges of this extension's members are wanted. Those of built-in ones always are.
    pub(super) fn extension(&self, oid: Oid) -> bool {
        oid < FIRST_NORMAL || self.extensions.contains(&oid)
    }

    /// Whether this relation's definition is wanted.
    pub(super) fn relation(&self, oid: Oid) -> bool {
        self.parts.get(&oid).is_some_and(|part| part.chosen)
    }

    /// Whether this relation's rows are wanted.
    pub(super) fn rows_of(&self, oid: Oid) -> bool {
        self.rows && self.parts.get(&oid).is_some_and(|part| part.rows)
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
        self.definitions
    }

    /// Whether this property or sort of objects is left out.
    pub(super) fn without(&self, what: Without) -> bool {
        self.without.contains(&what)
    }

    /// Whether this object is part of the dump.
    pub(super) fn keeps(&self, object: &Object) -> bool {
        let item = &object.whole;
        match item.desc {
            // They are in every archive, and restored only when a restore is asked to create the database.
            "DATABASE" | "DATABASE PROPERTIES" => return true,
            "BLOB" | "BLOBS" => return self.large_objects,
            // It was asked for only where it is wanted.
            "STATISTICS DATA" => {
                return object.belongs.relation.is_some_and(|relation| self.relation(relation));
            }
            "EXTENSION" => return self.definitions && self.extensions.contains(&item.address.object),
            _ => {}
        }
        let refresh = item.payload == Payload::Refresh;
        let rows = item.section == Section::Data || refresh;
        // A refresh is a statement that takes rows: it needs both.
        let wanted = (self.rows || !rows) && (self.definitions || (rows && !refresh));
        if !wanted || self.leaves_out(item) {
            return false;
        }
        let schema = object.belongs.schema.as_deref();
        let part = object.belongs.relation.and_then(|relation| self.parts.get(&relation));
        match part {
            Some(part) if rows => part.rows,
            // A user's, on an extension's table.
            Some(part) if item.desc == "POLICY" => part.chosen && !part.comes_with_another,
            // Statistics live in a schema as much as on a table.
            Some(part) if item.desc == "STATISTICS" => part.chosen && self.thing(item.schema.as_deref()),
            Some(part) => part.chosen,
            None => self.thing(schema),
        }
    }

    /// Sorts of objects that are left out. What stands beside them goes with them.
    fn leaves_out(&self, item: &Item) -> bool {
        match item.desc {
            "POLICY" | "ROW SECURITY" => self.without(Without::Policies),
            "PUBLICATION" | "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" => self.without(Without::Publications),
            "SUBSCRIPTION" => self.without(Without::Subscriptions),
            "DEFAULT ACL" => self.without(Without::Privileges),
            _ => false,
        }
    }

    /// The extension that a member belongs to, if that one is wanted.
    pub(super) fn extension_of(&self, member: Option<&Address>) -> Option<Address> {
        member.copied().filter(|extension| extension.class == class::EXTENSION && self.extension(extension.object))
    }
}

fn schemas(selection: &Selection, relations: &Relations, warnings: &mut Vec<String>) -> Result<HashSet<String>> {
    let fits = |pattern: &Pattern| relations.schemas.iter().any(|schema| pattern.matches_schema(schema));
    expect_matches("schema", &selection.schemas, selection.strict_names, fits, warnings)?;
    let wanted = |schema: &&String| {
        let included = selection.schemas.is_empty() || selection.schemas.iter().any(|p| p.matches_schema(schema));
        included && !selection.exclude_schemas.iter().any(|pattern| pattern.matches_schema(schema))
    };
    Ok(relations.schemas.iter().filter(wanted).cloned().collect())
}

/// The extensions that are dumped, and those that are refused by name.
struct Extensions {
    chosen: HashSet<Oid>,
    /// Excluded, or not in the list of those that are wanted: not even the rows of their tables are.
    refused: HashSet<Oid>,
}

/// `selectDumpableExtension`: a list of extensions decides alone; without one they come with everything.
fn extensions(selection: &Selection, relations: &Relations, warnings: &mut Vec<String>) -> Result<Extensions> {
    let fits = |pattern: &Pattern| relations.extensions.iter().any(|extension| pattern.matches(None, &extension.name));
    expect_matches("extension", &selection.extensions, selection.strict_names, fits, warnings)?;
    let is_refused = |name: &str| {
        let unlisted = !selection.extensions.is_empty() && !any(&selection.extensions, name);
        unlisted || any(&selection.exclude_extensions, name)
    };
    let (refused, rest): (Vec<_>, Vec<_>) =
        relations.extensions.iter().partition(|extension| is_refused(&extension.name));
    let come_along = selection.everything() || !selection.extensions.is_empty();
    let chosen = rest.into_iter().filter(|_| come_along);
    Ok(Extensions {
        chosen: chosen.map(|extension| extension.oid).collect(),
        refused: refused.into_iter().map(|extension| extension.oid).collect(),
    })
}

/// Whether a name that needs no schema fits one of the patterns.
fn any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(None, name))
}

fn parts(
    selection: &Selection,
    relations: &Relations,
    schemas: &HashSet<String>,
    extensions: &Extensions,
    warnings: &mut Vec<String>,
) -> Result<HashMap<Oid, Part>> {
    let finder = Finder::of(relations);
    let fits = |pattern: &Pattern| relations.relations.iter().any(|relation| finder.fits(pattern, relation));
    let both: Vec<Pattern> = selection.tables.iter().chain(&selection.tables_and_children).cloned().collect();
    expect_matches("table", &both, selection.strict_names, fits, warnings)?;
    let included = finder.all(&selection.tables, &selection.tables_and_children);
    let excluded = finder.all(&selection.exclude_tables, &selection.exclude_tables_and_children);
    let without_rows = finder.all(&selection.exclude_table_data, &selection.exclude_table_data_and_children);

    let may_have_rows = |relation: &Relation| {
        let unlogged = relation.unlogged && selection.without.contains(&Without::UnloggedTableData);
        // The rows of a foreign table are another server's, and come along where that one is named.
        let elsewhere = relation.server.as_ref().is_some_and(|name| !any(&selection.foreign_data, name));
        !unlogged && !elsewhere && !without_rows.contains(&relation.oid)
    };

    let mut parts: HashMap<Oid, Part> = HashMap::with_capacity(relations.relations.len());
    for relation in &relations.relations {
        let in_schema = schemas.contains(&relation.schema);
        let named = included.contains(&relation.oid);
        let chosen = (if selection.by_table() { named } else { in_schema }) && !excluded.contains(&relation.oid);
        let rows = match relation.extension {
            None => chosen,
            // A configuration table's rows come with its extension, or with its schema or by its name all the same, unless
            // the extension is refused or makes that schema, too (`processExtensionTables`).
            Some(extension) => {
                let by_schema = !selection.schemas.is_empty()
                    && !selection.by_table()
                    && !relations.schemas_of_extensions.contains(&relation.schema);
                let asked_for = named || (in_schema && by_schema);
                let wanted =
                    extensions.chosen.contains(&extension) || (asked_for && !extensions.refused.contains(&extension));
                let schema_excluded = selection.exclude_schemas.iter().any(|p| p.matches_schema(&relation.schema));
                wanted && !excluded.contains(&relation.oid) && !schema_excluded
            }
        };
        let comes_with_another = relation.extension.is_some_and(|extension| !extensions.chosen.contains(&extension));
        parts.insert(relation.oid, Part { chosen, rows: rows && may_have_rows(relation), comes_with_another });
    }
    // A sequence comes along with the table that owns it; one of an identity column goes with it, too.
    for sequence in relations.relations.iter().filter(|relation| relation.extension.is_none()) {
        let Some(owner) = sequence.owned_by.and_then(|owner| parts.get(&owner)).copied() else { continue };
        if let Some(part) = parts.get_mut(&sequence.oid) {
            part.chosen = owner.chosen || (part.chosen && !sequence.identity);
            part.rows = part.chosen && may_have_rows(sequence);
        }
    }
    Ok(parts)
}

/// Finds relations by pattern: a name without schema is looked up through the default search path.
struct Finder<'a> {
    relations: &'a [Relation],
    visible: Visible<'a>,
}

impl<'a> Finder<'a> {
    fn of(relations: &'a Relations) -> Self {
        Finder { relations: &relations.relations, visible: Visible::of(relations) }
    }

    fn fits(&self, pattern: &Pattern, relation: &Relation) -> bool {
        pattern.matches(Some(&relation.schema), &relation.name)
            && (pattern.has_schema() || self.visible.contains(relation))
    }

    /// What fits one of the patterns, or descends from what fits one of those `with_children`.
    fn all(&self, alone: &[Pattern], with_children: &[Pattern]) -> HashSet<Oid> {
        let find = |patterns: &[Pattern]| -> HashSet<Oid> {
            let fitting = self.relations.iter().filter(|relation| patterns.iter().any(|p| self.fits(p, relation)));
            fitting.map(|relation| relation.oid).collect()
        };
        let mut found = find(alone);
        let mut waiting: Vec<Oid> = find(with_children).into_iter().collect();
        if waiting.is_empty() {
            return found;
        }
        let mut children: HashMap<Oid, Vec<Oid>> = HashMap::new();
        for relation in self.relations {
            for parent in relation.parents.iter().flatten() {
                children.entry(*parent).or_default().push(relation.oid);
            }
        }
        let mut seen: HashSet<Oid> = HashSet::new();
        while let Some(oid) = waiting.pop() {
            if seen.insert(oid) {
                waiting.extend(children.get(&oid).into_iter().flatten());
            }
        }
        found.extend(seen);
        found
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

/// Fails when there are patterns and none of them fits, or when each has to and one does not; warns about each that does
/// not.
fn expect_matches(
    what: &str,
    patterns: &[Pattern],
    strict: bool,
    fits: impl Fn(&Pattern) -> bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let unmatched: Vec<_> = patterns.iter().filter(|pattern| !fits(pattern)).collect();
    if let (Some(first), true) = (unmatched.first(), strict || unmatched.len() == patterns.len()) {
        let error = Error::new(Kind::Usage, format!("no matching {what}s were found")).on(format!("pattern {first}"));
        return Err(if first.fits_the_system(what) {
            error.hint("what is the server's own (pg_catalog, information_schema) is never dumped")
        } else if what == "table" && !first.has_schema() {
            error.hint("a name without schema is looked up in the search path only; write schema.table, or *.table")
        } else {
            error
        });
    }
    warnings.extend(unmatched.iter().map(|pattern| format!("no {what} matches {pattern}")));
    Ok(())
}
