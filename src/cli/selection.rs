//! What to dump, as it is typed: the arguments of `pg_dump` that choose, under the same names.

use super::filter;
use crate::catalog::{Pattern, Selection, Without};
use crate::error::Result;
use crate::model::Section;
use clap::{Args, ValueEnum};

/// What to dump.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to dump")]
pub struct SelectionArgs {
    /// Dump only schemas that match the pattern; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "PATTERN")]
    pub schemas: Vec<String>,
    /// Do not dump schemas that match the pattern; may be repeated
    #[arg(short = 'N', long = "exclude-schema", value_name = "PATTERN")]
    pub exclude_schemas: Vec<String>,
    /// Dump only tables (views, sequences, ...) that match the pattern; may be repeated
    #[arg(short = 't', long = "table", value_name = "PATTERN")]
    pub tables: Vec<String>,
    /// The same, with what inherits from them and with their partitions; may be repeated
    #[arg(long = "table-and-children", value_name = "PATTERN")]
    pub tables_and_children: Vec<String>,
    /// Do not dump tables that match the pattern; may be repeated
    #[arg(short = 'T', long = "exclude-table", value_name = "PATTERN")]
    pub exclude_tables: Vec<String>,
    /// The same, with what inherits from them and with their partitions; may be repeated
    #[arg(long = "exclude-table-and-children", value_name = "PATTERN")]
    pub exclude_tables_and_children: Vec<String>,
    /// Dump the definition but not the rows of tables that match the pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude_table_data: Vec<String>,
    /// The same, with what inherits from them and with their partitions; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude_table_data_and_children: Vec<String>,
    /// Dump only extensions that match the pattern; may be repeated
    #[arg(short = 'e', long = "extension", value_name = "PATTERN")]
    pub extensions: Vec<String>,
    /// Do not dump extensions that match the pattern; may be repeated
    #[arg(long = "exclude-extension", value_name = "PATTERN")]
    pub exclude_extensions: Vec<String>,
    /// Read what to include and exclude from a file in pg_dump's format, - is standard input; may be repeated
    #[arg(long = "filter", value_name = "FILE")]
    pub filters: Vec<String>,
    /// Every pattern of what to dump must match something
    #[arg(long)]
    pub strict_names: bool,
    /// Dump definitions only, no rows
    #[arg(short, long, conflicts_with_all = ["data_only", "no_schema"])]
    pub schema_only: bool,
    /// Dump rows only, no definitions
    #[arg(short = 'a', long, conflicts_with = "no_data")]
    pub data_only: bool,
    /// Dump no definitions
    #[arg(long)]
    pub no_schema: bool,
    /// Dump no rows
    #[arg(long)]
    pub no_data: bool,
    /// Dump what the planner knows of tables and indexes, too (servers from 18 on take it back)
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "statistics_only", "no_statistics"])]
    pub statistics: bool,
    /// Dump only what the planner knows
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "no_statistics"])]
    pub statistics_only: bool,
    /// Do not dump what the planner knows, which is the default
    #[arg(long)]
    pub no_statistics: bool,
    /// Dump only this section; may be repeated
    #[arg(long = "section", value_name = "SECTION", value_enum)]
    pub sections: Vec<SectionName>,
    /// Dump large objects even when schemas, tables or extensions are chosen
    #[arg(short = 'b', long)]
    pub large_objects: bool,
    /// Do not dump large objects
    #[arg(short = 'B', long)]
    pub no_large_objects: bool,
    /// Leave out who owns what
    #[arg(short = 'O', long)]
    pub no_owner: bool,
    /// Leave out privileges
    #[arg(short = 'x', long, alias = "no-acl")]
    pub no_privileges: bool,
    /// Leave out comments
    #[arg(long)]
    pub no_comments: bool,
    /// Leave out row security policies
    #[arg(long)]
    pub no_policies: bool,
    /// Leave out publications
    #[arg(long)]
    pub no_publications: bool,
    /// Leave out security labels
    #[arg(long)]
    pub no_security_labels: bool,
    /// Leave out subscriptions
    #[arg(long)]
    pub no_subscriptions: bool,
    /// Leave out tablespaces
    #[arg(long)]
    pub no_tablespaces: bool,
    /// Leave out the access methods of tables
    #[arg(long)]
    pub no_table_access_method: bool,
    /// Leave out how columns are compressed
    #[arg(long)]
    pub no_toast_compression: bool,
    /// Leave out the rows of unlogged tables
    #[arg(long)]
    pub no_unlogged_table_data: bool,
}

/// A section, by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SectionName {
    /// Definitions that rows need.
    PreData,
    /// Rows, large objects, values of sequences.
    Data,
    /// Indexes, constraints, triggers and what else comes after rows.
    PostData,
}

impl From<SectionName> for Section {
    fn from(name: SectionName) -> Self {
        match name {
            SectionName::PreData => Section::PreData,
            SectionName::Data => Section::Data,
            SectionName::PostData => Section::PostData,
        }
    }
}

pub(super) fn patterns(texts: &[String]) -> Result<Vec<Pattern>> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

impl SelectionArgs {
    /// Resolves the arguments, filter files among them.
    pub(super) fn selection(&self) -> Result<Selection> {
        let mut selection = Selection {
            schemas: patterns(&self.schemas)?,
            exclude_schemas: patterns(&self.exclude_schemas)?,
            tables: patterns(&self.tables)?,
            tables_and_children: patterns(&self.tables_and_children)?,
            exclude_tables: patterns(&self.exclude_tables)?,
            exclude_tables_and_children: patterns(&self.exclude_tables_and_children)?,
            exclude_table_data: patterns(&self.exclude_table_data)?,
            exclude_table_data_and_children: patterns(&self.exclude_table_data_and_children)?,
            extensions: patterns(&self.extensions)?,
            exclude_extensions: patterns(&self.exclude_extensions)?,
            strict_names: self.strict_names,
            schema_only: self.schema_only,
            data_only: self.data_only,
            no_schema: self.no_schema,
            no_data: self.no_data,
            statistics: self.statistics,
            statistics_only: self.statistics_only,
            sections: self.sections.iter().map(|&name| name.into()).collect(),
            // As in pg_dump, the wish for them is the stronger one.
            large_objects: (self.large_objects || self.no_large_objects).then_some(self.large_objects),
            without: self.without(),
        };
        for file in &self.filters {
            for rule in filter::read(file)? {
                let list = match (rule.include, rule.sort.as_str()) {
                    (true, "schema") => &mut selection.schemas,
                    (false, "schema") => &mut selection.exclude_schemas,
                    (true, "table") => &mut selection.tables,
                    (true, "table_and_children") => &mut selection.tables_and_children,
                    (false, "table") => &mut selection.exclude_tables,
                    (false, "table_and_children") => &mut selection.exclude_tables_and_children,
                    (false, "table_data") => &mut selection.exclude_table_data,
                    (false, "table_data_and_children") => &mut selection.exclude_table_data_and_children,
                    (true, "extension") => &mut selection.extensions,
                    (false, "extension") => &mut selection.exclude_extensions,
                    _ => return Err(rule.refused(file)),
                };
                list.push(Pattern::parse(&rule.pattern)?);
            }
        }
        Ok(selection)
    }

    fn without(&self) -> std::collections::BTreeSet<Without> {
        let asked = [
            (self.no_comments, Without::Comments),
            (self.no_policies, Without::Policies),
            (self.no_privileges, Without::Privileges),
            (self.no_publications, Without::Publications),
            (self.no_security_labels, Without::SecurityLabels),
            (self.no_subscriptions, Without::Subscriptions),
            (self.no_owner, Without::Owners),
            (self.no_tablespaces, Without::Tablespaces),
            (self.no_table_access_method, Without::TableAccessMethod),
            (self.no_toast_compression, Without::ToastCompression),
            (self.no_unlogged_table_data, Without::UnloggedTableData),
        ];
        asked.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect()
    }
}
