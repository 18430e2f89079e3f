//! A table's rows: how they are read out and how they are read back.

use super::row::TableRow;
use super::{belongs, not_a_row, relation};
use crate::model::{Address, Item, Object, Payload, Section, TableData, class, ident_list, one_line, qualified};

/// The rows of an ordinary or foreign table; `None` for partitioned tables, for members of extensions, unless the extension
/// declared them as configuration, and where no rows are wanted at all.
pub(super) fn object(row: &TableRow) -> Option<Object> {
    let comes_with_extension = row.extension.is_some() && row.configuration_condition.is_none();
    if row.kind == 'p' || comes_with_extension || !row.with_rows {
        return None;
    }
    let table = row.qualified();
    let columns = column_list(row);
    let (destination, create) = match &row.load_through {
        None => (table.clone(), String::new()),
        Some(root) => {
            let root = qualified(&root.schema, &root.name);
            // Stock pg_restore looks for these words and then does not truncate the partition. A name may hold a line
            // break, which would end the comment.
            let comment = one_line(&format!("-- load via partition root {root}"));
            (root, comment)
        }
    };
    let copy_out = match row.configuration_condition.as_deref() {
        Some(condition) if !condition.is_empty() => {
            let names = ident_list(stored_columns(row));
            format!("COPY (SELECT {names} FROM ONLY {table} {condition}) TO STDOUT;")
        }
        // COPY reads no foreign table by its name.
        _ if row.is_foreign() => {
            let names = ident_list(stored_columns(row));
            format!("COPY (SELECT {names} FROM {table}) TO STDOUT;")
        }
        _ => format!("COPY {table} {columns} TO STDOUT;"),
    };
    let is_plain = row.configuration_condition.as_deref().unwrap_or_default().is_empty();
    let names = ident_list(stored_columns(row));
    // The rows of an extension's table need the extension, for the table itself is no Item.
    let holder = row.extension.map_or(relation(row.oid), |extension| Address::new(class::EXTENSION, extension));
    let root = row.load_through.as_ref().map(|root| relation(root.oid));
    let item = Item {
        owner: row.owner.clone(),
        section: Section::Data,
        early: row.rows_early,
        create,
        copy: Some(format!("COPY {destination} {columns} FROM stdin;\n")),
        // So that rows of others can need them.
        provides: if row.gives_order() { vec![not_a_row(row.oid)] } else { Vec::new() },
        needs: std::iter::once(holder).chain(root).chain(row.rows_after.iter().map(|oid| not_a_row(*oid))).collect(),
        payload: Payload::Table(TableData {
            relation: row.oid,
            copy_out,
            pages: if is_plain && !names.is_empty() { row.pages } else { 0 },
            select: format!("SELECT {names} FROM ONLY {table}"),
            foreign: row.is_foreign(),
            estimated_bytes: row.estimated_bytes,
            estimated_rows: row.estimated_rows,
            unlogged: row.unlogged,
        }),
        ..Item::new("TABLE DATA", not_a_row(row.oid), Some(&row.schema), &row.name)
    };
    Some(Object::simple(item, belongs(row)))
}

/// `(a, b)` in physical order, or nothing for a table without columns, whose rows are empty lines.
fn column_list(row: &TableRow) -> String {
    let names = ident_list(stored_columns(row));
    if names.is_empty() { names } else { format!("({names})") }
}

fn stored_columns(row: &TableRow) -> impl Iterator<Item = &str> {
    row.columns.iter().filter(|column| !column.is_generated()).map(|column| column.name.as_str())
}
