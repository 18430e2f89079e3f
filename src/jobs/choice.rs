//! What a job dumps.

use super::parse::alike;
use super::tables::SelectionTable;
use crate::catalog::{Pattern, Selection, Without};
use crate::error::{Error, Kind, Result};
use crate::model::Section;
use std::collections::BTreeSet;

const SECTIONS: [(&str, Section); 3] =
    [("pre-data", Section::PreData), ("data", Section::Data), ("post-data", Section::PostData)];

/// Looks up and checks what the table says.
pub(super) fn selection(table: Option<&SelectionTable>) -> Result<Selection> {
    let Some(table) = table else { return Ok(Selection::default()) };
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>>>();
    let sections: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    let section = |text: &String| {
        let found = SECTIONS.iter().find(|(name, _)| name == text).map(|(_, section)| *section);
        found.ok_or_else(|| unknown("section", text, &sections))
    };
    let words: Vec<&str> = Without::ALL.iter().map(|without| without.word()).collect();
    let without = |text: &String| {
        let found = Without::ALL.into_iter().find(|without| without.word() == text);
        found.ok_or_else(|| unknown("word in without", text, &words))
    };
    let mut selection = Selection {
        statistics: table.statistics,
        statistics_only: table.statistics_only,
        schemas: patterns(&table.schemas)?,
        exclude_schemas: patterns(&table.exclude_schemas)?,
        tables: patterns(&table.tables)?,
        tables_and_children: patterns(&table.tables_and_children)?,
        exclude_tables: patterns(&table.exclude_tables)?,
        exclude_tables_and_children: patterns(&table.exclude_tables_and_children)?,
        exclude_table_data: patterns(&table.exclude_table_data)?,
        exclude_table_data_and_children: patterns(&table.exclude_table_data_and_children)?,
        foreign_data: patterns(&table.foreign_data)?,
        exclude_databases: Vec::new(),
        extensions: patterns(&table.extensions)?,
        exclude_extensions: patterns(&table.exclude_extensions)?,
        strict_names: table.strict_names,
        schema_only: table.schema_only,
        data_only: table.data_only,
        no_schema: table.no_schema,
        no_data: table.no_data,
        sections: table.sections.iter().map(section).collect::<Result<_>>()?,
        large_objects: table.large_objects,
        without: table.without.iter().map(without).collect::<Result<BTreeSet<_>>>()?,
    };
    for file in &table.filters {
        if file == "-" {
            return Err(Error::new(Kind::Usage, "a job reads no filter from standard input").hint("name a file"));
        }
        selection.add_filter(file)?;
    }
    if !selection.exclude_databases.is_empty() {
        return Err(Error::new(Kind::Usage, "a job dumps one database, and its filter leaves out databases"));
    }
    Ok(selection)
}

fn unknown(what: &str, text: &str, known: &[&str]) -> Error {
    let error = Error::new(Kind::Usage, format!("there is no {what} {text:?}"));
    match alike(text, known) {
        Some(meant) => error.hint(format!("did you mean {meant:?}?")),
        None => error.hint(format!("there are {}", known.join(", "))),
    }
}
