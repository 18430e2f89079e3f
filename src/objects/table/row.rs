//! The shape of a table's row, the same on every server, and what follows from it without writing SQL.

use super::relation;
use crate::model::{Address, Oid, class, list_or_null, qualified};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// One table with everything that belongs into its statement.
#[derive(Debug, Deserialize)]
pub(super) struct TableRow {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) owner: Option<String>,
    /// `relkind`: `r` ordinary, `p` partitioned, `f` foreign.
    pub(super) kind: char,
    pub(super) row_type: Oid,
    array_type: Oid,
    /// The composite type of `CREATE TABLE ... OF`, qualified and quoted.
    pub(super) of_type: Option<String>,
    pub(super) unlogged: bool,
    pub(super) is_partition: bool,
    /// Whether anybody wants rows.
    pub(super) with_rows: bool,
    pub(super) tablespace: String,
    pub(super) access_method: Option<String>,
    /// `relreplident`: `d` default, `n` nothing, `f` full, `i` an index.
    pub(super) replica_identity: char,
    pub(super) row_security: bool,
    pub(super) force_row_security: bool,
    /// `name=value` each.
    #[serde(deserialize_with = "list_or_null")]
    pub(super) options: Vec<String>,
    #[serde(deserialize_with = "list_or_null")]
    pub(super) toast_options: Vec<String>,
    pub(super) partition_key: Option<String>,
    pub(super) partition_bound: Option<String>,
    pub(super) server: Option<String>,
    #[serde(deserialize_with = "list_or_null")]
    pub(super) server_options: Vec<(String, Option<String>)>,
    /// In the order of INHERITS; exactly one for a partition.
    #[serde(deserialize_with = "list_or_null")]
    pub(super) parents: Vec<Relation>,
    /// Whether it is made alone and inherits afterwards, which keeps the order of its columns; set by `inheritance.rs`.
    #[serde(skip)]
    pub(super) inherits_later: bool,
    /// In the order that they will have in the copy, which is the physical one unless `inheritance.rs` says otherwise;
    /// without dropped ones. They are asked for by questions of their own ([`Parts`]), and so are the checks.
    #[serde(skip)]
    pub(super) columns: Vec<Column>,
    /// The validated ones by name, inherited ones included.
    #[serde(skip)]
    pub(super) checks: Vec<Check>,
    pub(super) estimated_bytes: u64,
    pub(super) estimated_rows: u64,
    pub(super) pages: u64,
    /// The partition root, where rows can land in another partition after a restore and must be routed anew.
    pub(super) load_through: Option<Relation>,
    /// The extension it is a member of.
    pub(super) extension: Option<Oid>,
    /// Set for a configuration table of an extension: a WHERE clause, or empty for all rows.
    pub(super) configuration_condition: Option<String>,
    /// A configuration table whose rows may come as soon as its extension is there.
    #[serde(default)]
    pub(super) rows_early: bool,
    /// For a configuration table, the tables that its foreign keys refer to: the keys are there before any rows.
    refers_to: Option<Vec<Oid>>,
    /// Those of them whose rows come first; set by [`order_configurations`].
    #[serde(skip)]
    pub(super) rows_after: Vec<Oid>,
}

/// Another table, by name.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
}

/// One live column.
#[derive(Debug, Deserialize)]
pub(super) struct Column {
    /// The table's oid.
    pub(super) relation: Oid,
    pub(super) number: i32,
    pub(super) name: String,
    /// As `format_type` writes it.
    #[serde(rename = "type")]
    pub(super) type_name: String,
    /// Schema and name, where it is not the type's own.
    collation: Option<(String, String)>,
    /// `attislocal`: declared here, not only in a parent.
    local: bool,
    /// `attgenerated`: empty, `s` stored, `v` virtual.
    generated: String,
    /// Set before 18, where a NOT NULL is no constraint.
    not_null: bool,
    /// `attstorage` where it is not the type's, or not the parent's: `p`, `e`, `m` or `x`.
    pub(super) storage: Option<char>,
    /// `attcompression` where it is not the default, or not the parent's: `p` pglz, `l` lz4, empty for the default.
    pub(super) compression: Option<String>,
    pub(super) statistics: Option<i32>,
    #[serde(deserialize_with = "list_or_null")]
    pub(super) options: Vec<String>,
    #[serde(deserialize_with = "list_or_null")]
    pub(super) server_options: Vec<(String, Option<String>)>,
    /// Its default or generation expression.
    #[serde(skip)]
    pub(super) default: Option<ColumnDefault>,
    /// Its NOT NULL, from 18 on.
    #[serde(skip)]
    pub(super) not_null_constraint: Option<NotNull>,
    /// What it gets from the parents of plain inheritance.
    #[serde(skip)]
    inherited: Option<Inherited>,
}

/// A default or a generation expression.
#[derive(Debug, Deserialize)]
pub(super) struct ColumnDefault {
    pub(super) oid: Oid,
    pub(super) relation: Oid,
    pub(super) number: i32,
    pub(super) expression: String,
    /// It counts by a sequence that the table itself owns. It is a statement of its own then, as in `pg_dump`, so that
    /// `pg_restore -t` can make the table without the sequence.
    pub(super) apart: bool,
    /// Children that cannot be made while their parents' defaults differ: it is a statement of its own then, and comes after
    /// them; set by `inheritance.rs`.
    #[serde(skip)]
    pub(super) after: Vec<Oid>,
}

/// A NOT NULL that is a constraint, or something else with a name like one's.
#[derive(Debug, Deserialize)]
pub(super) struct NotNull {
    pub(super) oid: Oid,
    pub(super) relation: Oid,
    pub(super) name: String,
    pub(super) namespace: Oid,
    /// The column's; nothing where it is no NOT NULL of a column.
    pub(super) number: Option<i32>,
    pub(super) validated: bool,
    pub(super) local: bool,
    pub(super) inherits: bool,
    /// Whether the server would choose the same name.
    #[serde(skip)]
    pub(super) name_is_default: bool,
}

/// What the parents of plain inheritance have for one column.
#[derive(Debug, Deserialize)]
pub(super) struct Inherited {
    pub(super) relation: Oid,
    pub(super) number: i32,
    /// One of them has a NOT NULL that it hands down; known before 18 only.
    pub(super) not_null: bool,
    /// Some have a NOT NULL, and none of those is validated.
    pub(super) not_null_unvalidated: bool,
    /// One has a default, which a child without one must undo.
    pub(super) has_default: bool,
    /// One generates it by the same expression, and none by another.
    pub(super) generates: bool,
    pub(super) storage: Option<char>,
    pub(super) compression: Option<String>,
}

/// One validated CHECK constraint.
#[derive(Debug, Deserialize)]
pub(super) struct Check {
    pub(super) oid: Oid,
    pub(super) relation: Oid,
    pub(super) name: String,
    /// As `pg_get_constraintdef` writes it: `CHECK (...)`.
    pub(super) definition: String,
    pub(super) local: bool,
}

/// Has the rows of configuration tables, and in a dump of rows alone those of all tables, come after those that they refer to,
/// except where that leads in a circle.
pub(super) fn order_configurations(tables: &mut [TableRow]) {
    let found = tables.iter().filter_map(|row| Some((row.oid, row.refers_to.clone()?)));
    let references: HashMap<Oid, Vec<Oid>> = found.collect();
    let leads_back = |from: Oid, to: Oid| {
        let (mut waiting, mut seen) = (vec![from], HashSet::new());
        while let Some(oid) = waiting.pop() {
            if oid == to {
                return true;
            }
            if seen.insert(oid) {
                waiting.extend(references.get(&oid).into_iter().flatten());
            }
        }
        false
    };
    let known: HashSet<Oid> = tables.iter().filter(|row| row.refers_to.is_some()).map(|row| row.oid).collect();
    for row in tables {
        let wanted = row.refers_to.iter().flatten().copied();
        row.rows_after = wanted.filter(|other| known.contains(other) && !leads_back(*other, row.oid)).collect();
    }
}

impl TableRow {
    /// Whether rows of other tables may have to come behind these.
    pub(super) fn gives_order(&self) -> bool {
        self.configuration_condition.is_some() || self.refers_to.is_some()
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.kind == 'f'
    }

    /// `pg_dump`'s word for it, which is also the grammar's.
    pub(super) fn desc(&self) -> &'static str {
        if self.is_foreign() { "FOREIGN TABLE" } else { "TABLE" }
    }

    pub(super) fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Whether the column is written out: a partition's always, an inherited one comes with the parent.
    pub(super) fn declares(&self, column: &Column) -> bool {
        column.local || self.is_partition
    }

    /// Whether the check is written out: ATTACH PARTITION expects it to be there, INHERITS brings it along.
    pub(super) fn writes(&self, check: &Check) -> bool {
        check.local || self.is_partition
    }

    /// Whether the table says NOT NULL about the column.
    pub(super) fn says_not_null(&self, column: &Column) -> bool {
        column.is_not_null() && (column.is_not_null_itself() || self.is_partition || self.inherits_later)
    }

    /// Whether its CREATE TABLE says INHERITS.
    pub(super) fn inherits_at_once(&self) -> bool {
        !self.is_partition && !self.parents.is_empty() && !self.inherits_later
    }

    /// Whether everything that a parent could hand down is declared here as well, so that INHERIT adds nothing.
    pub(super) fn declares_everything(&self) -> bool {
        // Before 18 a NOT NULL is of nobody in particular.
        let says_itself = |column: &Column| column.not_null_constraint.is_none() || column.is_not_null_itself();
        self.columns.iter().all(|column| column.local && says_itself(column))
            && self.checks.iter().all(|check| check.local)
    }

    /// The table, its row type and that one's array type.
    pub(super) fn relation_and_types(&self) -> impl Iterator<Item = Address> {
        let types = [self.row_type, self.array_type].into_iter().filter(|oid| *oid != Oid(0));
        std::iter::once(relation(self.oid)).chain(types.map(|oid| Address::new(class::TYPE, oid)))
    }

    pub(super) fn default_addresses(&self) -> impl Iterator<Item = Address> {
        let here = self.columns.iter().filter_map(|column| column.default.as_ref()).filter(|default| !default.apart);
        here.map(|default| Address::new(class::DEFAULT, default.oid))
    }

    /// The validated checks and NOT NULLs, inherited ones included.
    pub(super) fn constraint_addresses(&self) -> impl Iterator<Item = Address> {
        let checks = self.checks.iter().map(|check| check.oid);
        checks.chain(self.not_nulls().map(|(oid, _)| oid)).map(|oid| Address::new(class::CONSTRAINT, oid))
    }

    /// The column of this number. The columns must stand in the order of their numbers still.
    pub(super) fn column_mut(&mut self, number: i32) -> Option<&mut Column> {
        let place = self.columns.binary_search_by_key(&number, |column| column.number).ok()?;
        self.columns.get_mut(place)
    }

    /// Whether the server would give a NOT NULL of this column this name, were it free (`ChooseConstraintName`,
    /// `src/backend/catalog/pg_constraint.c`). One that a child has as well is named by the parent.
    pub(super) fn would_name_not_null(&self, number: i32, name: &str) -> bool {
        let named_after = || name.strip_prefix(&self.name)?.strip_prefix('_')?.strip_suffix("_not_null");
        (self.is_partition || self.parents.is_empty())
            && self.columns.iter().any(|column| column.number == number && Some(column.name.as_str()) == named_after())
    }

    /// The validated NOT NULLs that are constraints with a name, which they are from 18 on.
    pub(super) fn not_nulls(&self) -> impl Iterator<Item = (Oid, &str)> {
        let found = self.columns.iter().filter_map(|column| column.not_null_constraint.as_ref());
        found.map(|constraint| (constraint.oid, constraint.name.as_str()))
    }
}

impl Column {
    /// Takes what its parents have for it.
    pub(super) fn inherit(&mut self, inherited: Inherited) {
        self.storage = self.storage.or(inherited.storage);
        self.compression = self.compression.take().or_else(|| inherited.compression.clone());
        self.inherited = Some(inherited);
    }

    pub(super) fn is_generated(&self) -> bool {
        !self.generated.is_empty()
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.generated == "v"
    }

    /// The default or generation expression.
    pub(super) fn expression(&self) -> Option<&str> {
        self.default.as_ref().map(|default| default.expression.as_str())
    }

    /// A default that is no generation expression.
    pub(super) fn plain_default(&self) -> Option<&str> {
        self.expression().filter(|_| !self.is_generated())
    }

    /// Whether its default is a statement of its own.
    pub(super) fn has_default_apart(&self) -> bool {
        self.default.as_ref().is_some_and(|default| default.apart)
    }

    /// Whether a parent of plain inheritance has a default for it.
    pub(super) fn parent_has_default(&self) -> bool {
        self.inherited.as_ref().is_some_and(|parents| parents.has_default)
    }

    /// Whether its generation expression comes with a parent; servers before 16 refuse to hear it again.
    pub(super) fn is_generated_by_parent(&self) -> bool {
        self.is_generated() && self.inherited.as_ref().is_some_and(|parents| parents.generates)
    }

    /// The collation, qualified and quoted, where it is not the type's own.
    pub(super) fn collation(&self) -> Option<String> {
        self.collation.as_ref().map(|(schema, name)| qualified(schema, name))
    }

    fn is_not_null(&self) -> bool {
        self.not_null || self.not_null_constraint.is_some()
    }

    /// Whether its NOT NULL is not only a parent's.
    fn is_not_null_itself(&self) -> bool {
        let parents = self.inherited.as_ref();
        match &self.not_null_constraint {
            Some(constraint) => constraint.local || parents.is_some_and(|parents| parents.not_null_unvalidated),
            None => self.not_null && !parents.is_some_and(|parents| parents.not_null),
        }
    }

    /// Whether children get its NOT NULL.
    pub(super) fn not_null_inherits(&self) -> bool {
        self.not_null_constraint.as_ref().is_none_or(|constraint| constraint.inherits)
    }

    /// The name of its NOT NULL, where the server would not choose the same.
    pub(super) fn not_null_name(&self) -> Option<&str> {
        let named = self.not_null_constraint.as_ref().filter(|constraint| !constraint.name_is_default);
        named.map(|constraint| constraint.name.as_str())
    }
}
