//! What to dump, as it is typed: the arguments of `pg_dump` that choose, under the same names.

use super::left_out::LeftOutArgs;
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
    /// Dump the rows of foreign tables of servers that match the pattern, too; may be repeated
    #[arg(long = "include-foreign-data", value_name = "PATTERN")]
    pub foreign_data: Vec<String>,
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
    /// Dump only this section; may be repeated
    #[arg(long = "section", value_name = "SECTION", value_enum)]
    pub sections: Vec<SectionName>,
    /// What is left out.
    #[command(flatten)]
    pub left_out: LeftOutArgs,
    /// Dump large objects even when schemas, tables or extensions are chosen
    #[arg(short = 'b', long)]
    pub large_objects: bool,
    /// Do not dump large objects
    #[arg(short = 'B', long)]
    pub no_large_objects: bool,
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
            foreign_data: patterns(&self.foreign_data)?,
            exclude_databases: Vec::new(),
            extensions: patterns(&self.extensions)?,
            exclude_extensions: patterns(&self.exclude_extensions)?,
            strict_names: self.strict_names,
            schema_only: self.left_out.schema_only,
            data_only: self.left_out.data_only,
            no_schema: self.left_out.no_schema,
            no_data: self.left_out.no_data,
            statistics: self.left_out.statistics,
            statistics_only: self.left_out.statistics_only,
            sections: self.sections.iter().map(|&name| name.into()).collect(),
            // As in pg_dump, the wish for them is the stronger one.
            large_objects: (self.large_objects || self.no_large_objects).then_some(self.large_objects),
            without: self.without(),
        };
        for file in &self.filters {
            selection.add_filter(file)?;
        }
        Ok(selection)
    }

    fn without(&self) -> std::collections::BTreeSet<Without> {
        let asked = [
            (self.left_out.no_comments, Without::Comments),
            (self.left_out.no_policies, Without::Policies),
            (self.left_out.no_privileges, Without::Privileges),
            (self.left_out.no_publications, Without::Publications),
            (self.left_out.no_security_labels, Without::SecurityLabels),
            (self.left_out.no_subscriptions, Without::Subscriptions),
            (self.left_out.no_owner, Without::Owners),
            (self.left_out.no_tablespaces, Without::Tablespaces),
            (self.left_out.no_table_access_method, Without::TableAccessMethod),
            (self.no_toast_compression, Without::ToastCompression),
            (self.no_unlogged_table_data, Without::UnloggedTableData),
        ];
        asked.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect()
    }
}
