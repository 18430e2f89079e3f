//! CREATE TABLE and the ALTER TABLEs that say what it cannot: defaults of inherited columns, storage, options, identity
//! for replication.

use super::row::{Column, Row};
use crate::model::{ident, literal, qualified};

/// Everything in one statement, or in one CREATE followed by its ALTERs.
pub(super) fn whole(row: &Row) -> String {
    let mut sql = create(row, true);
    for column in row.columns.iter().filter(|column| !row.declares(column)) {
        sql.extend(set_default(row, column));
    }
    sql + &alterations(row)
}

/// The same without defaults and checks.
pub(super) fn head(row: &Row) -> String {
    create(row, false) + &alterations(row)
}

/// `ALTER TABLE ONLY ... SET DEFAULT` for a column that has one; a generation expression is none.
pub(super) fn set_default(row: &Row, column: &Column) -> Option<String> {
    let default = column.default.as_deref().filter(|_| !column.is_generated())?;
    Some(alter_column(row, column, &format!("SET DEFAULT {default}")))
}

fn create(row: &Row, complete: bool) -> String {
    // Up to 17 a partitioned table could be called unlogged, to no effect; 18 refuses it.
    let unlogged = if row.unlogged && row.kind != 'p' { "UNLOGGED " } else { "" };
    let mut sql = format!("CREATE {unlogged}{} {}", row.desc(), row.qualified());
    if let Some(of_type) = &row.of_type {
        sql += &format!(" OF {of_type}");
    }
    let elements = elements(row, complete);
    if !elements.is_empty() {
        sql += &format!(" (\n    {}\n)", elements.join(",\n    "));
    } else if row.of_type.is_none() {
        sql += " (\n)";
    }
    if !row.is_partition && !row.parents.is_empty() {
        let parents: Vec<String> = row.parents.iter().map(|p| qualified(&p.schema, &p.name)).collect();
        sql += &format!("\nINHERITS ({})", parents.join(", "));
    }
    if let Some(key) = &row.partition_key {
        sql += &format!("\nPARTITION BY {key}");
    }
    if let Some(server) = &row.server {
        sql += &format!("\nSERVER {}", ident(server));
        if !row.server_options.is_empty() {
            sql += &format!("\nOPTIONS (\n    {}\n)", server_options(&row.server_options, ",\n    "));
        }
    }
    let options = row.options.iter().map(|option| option_setting("", option));
    let options: Vec<String> =
        options.chain(row.toast_options.iter().map(|option| option_setting("toast.", option))).collect();
    if !options.is_empty() {
        sql += &format!("\nWITH ({})", options.join(", "));
    }
    sql + ";\n"
}

/// What stands between the parentheses: columns, NOT NULLs of inherited columns, checks.
fn elements(row: &Row, complete: bool) -> Vec<String> {
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
fn column_element(row: &Row, column: &Column, complete: bool) -> Option<String> {
    let mut text = ident(&column.name);
    let mut says_more = false;
    if row.of_type.is_some() {
        text += " WITH OPTIONS";
    } else {
        text += &format!(" {}", column.type_name);
        if let Some(collation) = column.collation() {
            text += &format!(" COLLATE {collation}");
        }
        says_more = true;
    }
    if let Some(clause) = default_clause(row, column, complete) {
        text += &clause;
        says_more = true;
    }
    if row.says_not_null(column) {
        if let Some(name) = column.not_null_name() {
            text += &format!(" CONSTRAINT {}", ident(name));
        }
        text += " NOT NULL";
        text += no_inherit(column);
        says_more = true;
    }
    says_more.then_some(text)
}

fn default_clause(row: &Row, column: &Column, complete: bool) -> Option<String> {
    match column.default.as_deref() {
        Some(_) if column.is_generated_by_parent() => None,
        Some(expression) if column.is_generated() => {
            let stored = if column.is_virtual() { "" } else { " STORED" };
            Some(format!(" GENERATED ALWAYS AS ({expression}){stored}"))
        }
        Some(expression) => complete.then(|| format!(" DEFAULT {expression}")),
        None => (column.parent_has_default && !row.is_partition).then(|| " DEFAULT NULL".to_owned()),
    }
}

fn no_inherit(column: &Column) -> &'static str {
    if column.not_null_inherits { "" } else { " NO INHERIT" }
}

/// An inherited column whose NOT NULL only 18's table constraint can express; a plain one is an ALTER, which every
/// server understands.
fn needs_not_null_element(row: &Row, column: &Column) -> bool {
    row.says_not_null(column) && (column.not_null_name().is_some() || !column.not_null_inherits)
}

fn alterations(row: &Row) -> String {
    let mut sql = String::new();
    for column in &row.columns {
        if !row.declares(column) {
            if row.says_not_null(column) && !needs_not_null_element(row, column) {
                sql += &alter_column(row, column, "SET NOT NULL");
            }
            if column.parent_has_default && column.default.is_none() {
                sql += &alter_column(row, column, "SET DEFAULT NULL");
            }
            // Since 17 a child can be given an expression of its own afterwards; pg_dump forgets that one.
            if let Some(expression) = column.default.as_deref()
                && column.is_generated()
                && !column.is_generated_by_parent()
            {
                sql += &alter_column(row, column, &format!("SET EXPRESSION AS ({expression})"));
            }
        }
        sql += &column_settings(row, column);
    }
    let table = format!("ALTER {} ONLY {}", row.desc(), row.qualified());
    if let Some(method) = row.access_method.as_deref().filter(|_| row.kind == 'p') {
        sql += &format!("{table} SET ACCESS METHOD {};\n", ident(method));
    }
    match row.replica_identity {
        'f' => sql += &format!("{table} REPLICA IDENTITY FULL;\n"),
        'n' if !row.is_foreign() => sql += &format!("{table} REPLICA IDENTITY NOTHING;\n"),
        // An index says so itself, once it is there.
        _ => {}
    }
    if row.force_row_security {
        sql += &format!("{table} FORCE ROW LEVEL SECURITY;\n");
    }
    sql
}

fn column_settings(row: &Row, column: &Column) -> String {
    let mut sql = String::new();
    if let Some(target) = column.statistics {
        sql += &alter_column(row, column, &format!("SET STATISTICS {target}"));
    }
    let storage = match column.storage {
        Some('p') => Some("PLAIN"),
        Some('e') => Some("EXTERNAL"),
        Some('m') => Some("MAIN"),
        Some('x') => Some("EXTENDED"),
        _ => None,
    };
    if let Some(storage) = storage {
        sql += &alter_column(row, column, &format!("SET STORAGE {storage}"));
    }
    let compression = match column.compression.as_deref() {
        Some("p") => Some("pglz"),
        Some("l") => Some("lz4"),
        Some("") => Some("default"),
        _ => None,
    };
    if let Some(compression) = compression {
        sql += &alter_column(row, column, &format!("SET COMPRESSION {compression}"));
    }
    if !column.options.is_empty() {
        let options: Vec<String> = column.options.iter().map(|option| option_setting("", option)).collect();
        sql += &alter_column(row, column, &format!("SET ({})", options.join(", ")));
    }
    if !column.server_options.is_empty() {
        sql += &alter_column(row, column, &format!("OPTIONS ({})", server_options(&column.server_options, ", ")));
    }
    sql
}

fn alter_column(row: &Row, column: &Column, action: &str) -> String {
    format!("ALTER {} ONLY {} ALTER COLUMN {} {action};\n", row.desc(), row.qualified(), ident(&column.name))
}

/// `name=value` of `reloptions` as a setting. The value is quoted unless it is a plain word, for it may hold anything.
fn option_setting(namespace: &str, option: &str) -> String {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let value = if ident(value) == value { value.to_owned() } else { literal(value) };
    format!("{namespace}{}={value}", ident(name))
}

fn server_options(options: &[(String, Option<String>)], separator: &str) -> String {
    let options = options
        .iter()
        .map(|(name, value)| format!("{} {}", ident(name), literal(value.as_deref().unwrap_or_default())));
    options.collect::<Vec<_>>().join(separator)
}
