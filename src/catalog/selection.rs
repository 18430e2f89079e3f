//! What to dump, as it was asked for. [`Chosen`](super::chosen::Chosen) resolves it against what exists.

use super::pattern::Pattern;
use crate::error::{Error, Kind, Result};
use crate::model::Section;
use std::collections::BTreeSet;

/// What was asked for. The words are `pg_dump`'s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these schemas (`-n`).
    pub schemas: Vec<Pattern>,
    /// All but these schemas (`-N`).
    pub exclude_schemas: Vec<Pattern>,
    /// Only these tables, views, materialized views, sequences and foreign tables (`-t`), whatever `-n` and `-N` say.
    pub tables: Vec<Pattern>,
    /// The same, with what inherits from them and with their partitions.
    pub tables_and_children: Vec<Pattern>,
    /// All but these (`-T`).
    pub exclude_tables: Vec<Pattern>,
    /// All but these, what inherits from them, and their partitions.
    pub exclude_tables_and_children: Vec<Pattern>,
    /// The definition of these, not their rows.
    pub exclude_table_data: Vec<Pattern>,
    /// The definition of these, of what inherits from them and of their partitions, not their rows.
    pub exclude_table_data_and_children: Vec<Pattern>,
    /// The rows of foreign tables of these servers, too.
    pub foreign_data: Vec<Pattern>,
    /// Not these databases, of those that `--all` means; a filter file may say so.
    pub exclude_databases: Vec<Pattern>,
    /// Only these extensions (`-e`).
    pub extensions: Vec<Pattern>,
    /// All but these extensions.
    pub exclude_extensions: Vec<Pattern>,
    /// Each pattern of what to dump must fit something; otherwise it is enough that one of a sort does.
    pub strict_names: bool,
    /// Definitions only (`-s`).
    pub schema_only: bool,
    /// Rows, large objects and sequence values only (`-a`).
    pub data_only: bool,
    /// No definitions.
    pub no_schema: bool,
    /// No rows, large objects and sequence values.
    pub no_data: bool,
    /// What the planner knows of relations, too.
    pub statistics: bool,
    /// That and nothing else.
    pub statistics_only: bool,
    /// Only what belongs to these sections; empty means all.
    pub sections: Vec<Section>,
    /// Whether large objects come along: `None` is `pg_dump`'s rule, that they do unless schemas, tables or extensions are
    /// named.
    pub large_objects: Option<bool>,
    /// What is left out whatever its name.
    pub without: BTreeSet<Without>,
}

/// A property, or a sort of objects, that can be left out: `pg_dump`'s `--no-...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Without {
    /// Comments.
    Comments,
    /// Policies, and that row security is on.
    Policies,
    /// Privileges and default privileges.
    Privileges,
    /// Publications and what they publish.
    Publications,
    /// Security labels.
    SecurityLabels,
    /// Subscriptions.
    Subscriptions,
    /// Owners.
    Owners,
    /// In which tablespace something is.
    Tablespaces,
    /// Which access method a table has.
    TableAccessMethod,
    /// How columns are compressed.
    ToastCompression,
    /// Rows of unlogged tables, values of unlogged sequences.
    UnloggedTableData,
}

impl Without {
    /// All of them.
    pub const ALL: [Without; 11] = [
        Without::Comments,
        Without::Policies,
        Without::Privileges,
        Without::Publications,
        Without::SecurityLabels,
        Without::Subscriptions,
        Without::Owners,
        Without::Tablespaces,
        Without::TableAccessMethod,
        Without::ToastCompression,
        Without::UnloggedTableData,
    ];

    /// The word behind `--no-`; lines of questions have it too ([`Question`](crate::model::Question)).
    pub fn word(self) -> &'static str {
        match self {
            Without::Comments => "comments",
            Without::Policies => "policies",
            Without::Privileges => "privileges",
            Without::Publications => "publications",
            Without::SecurityLabels => "security-labels",
            Without::Subscriptions => "subscriptions",
            Without::Owners => "owner",
            Without::Tablespaces => "tablespaces",
            Without::TableAccessMethod => "table-access-method",
            Without::ToastCompression => "toast-compression",
            Without::UnloggedTableData => "unlogged-table-data",
        }
    }
}

impl Selection {
    /// Neither schemas nor tables nor extensions are named.
    pub fn everything(&self) -> bool {
        self.schemas.is_empty() && !self.by_table() && self.extensions.is_empty()
    }

    /// Tables are named.
    pub fn by_table(&self) -> bool {
        !self.tables.is_empty() || !self.tables_and_children.is_empty()
    }

    /// Whether definitions are wanted.
    pub fn definitions(&self) -> bool {
        !self.data_only && !self.no_schema && !self.statistics_only
    }

    /// Whether rows are wanted.
    pub fn rows(&self) -> bool {
        !self.schema_only && !self.no_data && !self.statistics_only
    }

    /// Whether what the planner knows is wanted.
    pub fn wants_statistics(&self) -> bool {
        self.statistics || self.statistics_only
    }

    /// The words of what is left out.
    pub fn words_without(&self) -> Vec<&'static str> {
        let sizes = (!self.rows()).then_some("rows");
        let definitions = (!self.definitions()).then_some("definitions");
        self.without.iter().map(|without| without.word()).chain(sizes).chain(definitions).collect()
    }

    /// Refuses what contradicts itself or reaches into another database. `current` is the database's name.
    pub fn check(&self, current: &str) -> Result<()> {
        for (one, other, message) in [
            (self.schema_only, self.data_only, "schema only and data only exclude each other"),
            (self.schema_only, self.no_schema, "schema only and no schema exclude each other"),
            (self.data_only, self.no_data, "data only and no data exclude each other"),
            (self.schema_only, self.wants_statistics(), "schema only and statistics exclude each other"),
            (self.data_only, self.wants_statistics(), "data only and statistics exclude each other"),
            (self.schema_only, !self.foreign_data.is_empty(), "schema only and foreign data exclude each other"),
        ] {
            if one && other {
                return Err(Error::new(Kind::Usage, message));
            }
        }
        for pattern in self.schemas.iter().chain(&self.exclude_schemas) {
            pattern.check(true, current)?;
        }
        let of_tables = [
            &self.tables,
            &self.tables_and_children,
            &self.exclude_tables,
            &self.exclude_tables_and_children,
            &self.exclude_table_data,
            &self.exclude_table_data_and_children,
        ];
        for pattern in of_tables.into_iter().flatten() {
            pattern.check(false, current)?;
        }
        if let Some(pattern) = self.exclude_databases.first() {
            let message = "a filter leaves out databases, which goes with all databases only";
            return Err(Error::new(Kind::Usage, message).on(format!("pattern {pattern}")));
        }
        for pattern in self.extensions.iter().chain(&self.exclude_extensions).chain(&self.foreign_data) {
            pattern.check_plain()?;
        }
        Ok(())
    }
}
