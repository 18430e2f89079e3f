//! CREATE TABLE and the ALTER TABLEs that say what it cannot: defaults of inherited columns, storage, options, identity
//! for replication.

use super::row::{Column, TableRow};
use crate::model::{ident, literal, qualified};
use crate::objects::words::{option_setting, own_settings};

/// Everything in one statement, or in one CREATE followed by its ALTERs.
pub(super) fn whole(row: &TableRow) -> String {
    let mut statements = vec![create(row, true)];
    for column in row.columns.iter().filter(|column| !row.declares(column) && !column.has_default_apart()) {
        statements.extend(set_default(row, column));
    }
    statements.extend(alterations(row));
    statements.concat()
}

/// The same without defaults and checks.
pub(super) fn head(row: &TableRow) -> String {
    create(row, false) + &alterations(row).concat()
}

/// `ALTER TABLE ONLY ... SET DEFAULT` for a column that has one; a generation expression is none.
pub(super) fn set_default(row: &TableRow, column: &Column) -> Option<String> {
    let default = column.plain_default()?;
    Some(alter_column(row, column, &format!("SET DEFAULT {default}")))
}

fn create(row: &TableRow, complete: bool) -> String {
    // Up to 17 a partitioned table could be called unlogged, to no effect; 18 refuses it.
    let unlogged = if row.unlogged && row.kind != 'p' { "UNLOGGED " } else { "" };
    let mut parts = vec![format!("CREATE {unlogged}{} {}", row.desc(), row.qualified())];
    if let Some(of_type) = &row.of_type {
        parts.push(format!(" OF {of_type}"));
    }
    let elements = elements(row, complete);
    if !elements.is_empty() {
        parts.push(format!(" (\n    {}\n)", elements.join(",\n    ")));
    } else if row.of_type.is_none() {
        parts.push(" (\n)".to_owned());
    }
    if row.inherits_at_once() {
        let parents: Vec<String> = row.parents.iter().map(|p| qualified(&p.schema, &p.name)).collect();
        parts.push(format!("\nINHERITS ({})", parents.join(", ")));
    }
    if let Some(key) = &row.partition_key {
        parts.push(format!("\nPARTITION BY {key}"));
    }
    if let Some(server) = &row.server {
        parts.push(format!("\nSERVER {}", ident(server)));
        if !row.server_options.is_empty() {
            parts.push(format!("\nOPTIONS (\n    {}\n)", server_options(&row.server_options, ",\n    ")));
        }
    }
    let options = row.options.iter().map(|option| option_setting("", option));
    let options: Vec<String> =
        options.chain(row.toast_options.iter().map(|option| option_setting("toast.", option))).collect();
    if !options.is_empty() {
        parts.push(format!("\nWITH ({})", options.join(", ")));
    }
    parts.push(";\n".to_owned());
    parts.concat()
}

/// What stands between the parentheses: columns, NOT NULLs of inherited columns, checks.
fn elements(row: &TableRow, complete: bool) -> Vec<String> {
    let mut elements = Vec::new();
    for column in &row.columns {
        if row.declares(column) {
            elements.extend(column_element(row, column, complete));
        } else if needs_not_null_element(row, column) {
            let name = column.not_null_name().map_or(String::new(), |name| format!("CONSTRAINT {} ", ident(name)));
            elements.push(format!("{name}NOT NULL {}{}", ident(&column.name), no_inherit(column)));
        }
    }
    if complete {
        let checks = row.checks.iter().filter(|check| row.writes(check));
        elements.extend(checks.map(|check| format!("CONSTRAINT {} {}", ident(&check.name), check.definition)));
    }
    elements
}

/// `None` where the table's OF type says it all.
fn column_element(row: &TableRow, column: &Column, complete: bool) -> Option<String> {
    let type_and_collation = if row.of_type.is_some() {
        "WITH OPTIONS".to_owned()
    } else {
        let collation = column.collation().map_or(String::new(), |collation| format!(" COLLATE {collation}"));
        format!("{}{collation}", column.type_name)
    };
    let default = default_clause(row, column, complete);
    let not_null = row.says_not_null(column).then(|| {
        let name = column.not_null_name().map_or(String::new(), |name| format!(" CONSTRAINT {}", ident(name)));
        format!("{name} NOT NULL{}", no_inherit(column))
    });
    if row.of_type.is_some() && default.is_none() && not_null.is_none() {
        return None;
    }
    Some(format!(
        "{} {type_and_collation}{}{}",
        ident(&column.name),
        default.unwrap_or_default(),
        not_null.unwrap_or_default()
    ))
}

fn default_clause(row: &TableRow, column: &Column, complete: bool) -> Option<String> {
    match column.expression() {
        Some(_) if column.is_generated_by_parent() && !row.inherits_later => None,
        Some(expression) if column.is_generated() => {
            let stored = if column.is_virtual() { "" } else { " STORED" };
            Some(format!(" GENERATED ALWAYS AS ({expression}){stored}"))
        }
        Some(expression) => (complete && !column.has_default_apart()).then(|| format!(" DEFAULT {expression}")),
        None => (column.parent_has_default() && !row.is_partition).then(|| " DEFAULT NULL".to_owned()),
    }
}

fn no_inherit(column: &Column) -> &'static str {
    if column.not_null_inherits() { "" } else { " NO INHERIT" }
}

/// An inherited column whose NOT NULL only 18's table constraint can express; a plain one is an ALTER, which every
/// server understands.
fn needs_not_null_element(row: &TableRow, column: &Column) -> bool {
    row.says_not_null(column) && (column.not_null_name().is_some() || !column.not_null_inherits())
}

fn alterations(row: &TableRow) -> Vec<String> {
    let mut statements = Vec::new();
    for column in &row.columns {
        if !row.declares(column) {
            if row.says_not_null(column) && !needs_not_null_element(row, column) {
                statements.push(alter_column(row, column, "SET NOT NULL"));
            }
            if column.parent_has_default() && column.default.is_none() {
                statements.push(alter_column(row, column, "SET DEFAULT NULL"));
            }
            // Since 17 a child can be given an expression of its own afterwards; pg_dump forgets that one.
            if let Some(expression) = column.expression()
                && column.is_generated()
                && !column.is_generated_by_parent()
            {
                statements.push(alter_column(row, column, &format!("SET EXPRESSION AS ({expression})")));
            }
        }
        statements.extend(column_settings(row, column));
    }
    let table = format!("ALTER {} ONLY {}", row.desc(), row.qualified());
    if row.inherits_later {
        let parents = row.parents.iter().map(|parent| qualified(&parent.schema, &parent.name));
        statements.extend(parents.map(|parent| format!("{table} INHERIT {parent};\n")));
    }
    if let Some(method) = row.access_method.as_deref().filter(|_| row.kind == 'p') {
        statements.push(format!("{table} SET ACCESS METHOD {};\n", ident(method)));
    }
    match row.replica_identity {
        'f' => statements.push(format!("{table} REPLICA IDENTITY FULL;\n")),
        'n' if !row.is_foreign() => statements.push(format!("{table} REPLICA IDENTITY NOTHING;\n")),
        // An index says so itself, once it is there.
        _ => {}
    }
    if row.force_row_security {
        statements.push(format!("{table} FORCE ROW LEVEL SECURITY;\n"));
    }
    statements
}

fn column_settings(row: &TableRow, column: &Column) -> Vec<String> {
    let mut statements = Vec::new();
    if let Some(target) = column.statistics {
        statements.push(alter_column(row, column, &format!("SET STATISTICS {target}")));
    }
    let storage = match column.storage {
        Some('p') => Some("PLAIN"),
        Some('e') => Some("EXTERNAL"),
        Some('m') => Some("MAIN"),
        Some('x') => Some("EXTENDED"),
        _ => None,
    };
    if let Some(storage) = storage {
        statements.push(alter_column(row, column, &format!("SET STORAGE {storage}")));
    }
    let compression = match column.compression.as_deref() {
        Some("p") => Some("pglz"),
        Some("l") => Some("lz4"),
        Some("") => Some("default"),
        _ => None,
    };
    if let Some(compression) = compression {
        statements.push(alter_column(row, column, &format!("SET COMPRESSION {compression}")));
    }
    if let Some(settings) = own_settings(&column.options) {
        statements.push(alter_column(row, column, &settings));
    }
    if !column.server_options.is_empty() {
        statements.push(alter_column(
            row,
            column,
            &format!("OPTIONS ({})", server_options(&column.server_options, ", ")),
        ));
    }
    statements
}

fn alter_column(row: &TableRow, column: &Column, action: &str) -> String {
    format!("ALTER {} ONLY {} ALTER COLUMN {} {action};\n", row.desc(), row.qualified(), ident(&column.name))
}

fn server_options(options: &[(String, Option<String>)], separator: &str) -> String {
    let options = options
        .iter()
        .map(|(name, value)| format!("{} {}", ident(name), literal(value.as_deref().unwrap_or_default())));
    options.collect::<Vec<_>>().join(separator)
}
