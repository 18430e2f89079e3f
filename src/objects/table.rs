//! Tables: ordinary, partitioned and foreign ones, their partitions' attachment, row security, and their rows.
//!
//! A partition is made as a table of its own with all its columns and attached afterwards, as `pg_dump` does it
//! (`dumpTableAttach`, `src/bin/pg_dump/pg_dump.c`), so that its column order, storage and privileges stay its own.
//! Identity columns are made by their sequences (`sequence.rs`); indexes, keys and constraints that are not yet
//! validated belong to the kinds that come after the data.

mod data;
mod definition;
mod inheritance;
mod parts;
mod question;
mod row;
#[cfg(test)]
mod tests;

use super::{Kind, read, words};
use crate::error::Result;
use crate::model::{
    Address, Belongs, Columns, Grantable, Item, Object, Oid, Opening, Rows, Section, Target, class, ident, qualified,
};
use row::{Check, Column, TableRow};
use std::sync::Arc;

pub(super) use question::COLUMNS;

pub(super) const KIND: Kind = Kind {
    name: "tables",
    questions: &[
        question::TABLES,
        question::COLUMNS,
        question::INHERITED,
        question::DEFAULTS,
        question::NOT_NULLS,
        question::CHECKS,
    ],
    objects,
};

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    let (rows, parts) = rows.split_at(1);
    let mut tables: Vec<TableRow> = read(rows)?;
    parts::put(&mut tables, parts)?;
    inheritance::arrange(&mut tables);
    row::order_configurations(&mut tables);
    let mut objects = Vec::with_capacity(2 * tables.len());
    for row in tables {
        objects.extend(objects_of(&Arc::new(row)));
    }
    Ok(objects)
}

fn objects_of(row: &Arc<TableRow>) -> Vec<Object> {
    let mut objects = vec![table(row)];
    // What hangs on a member of an extension comes with the extension, save for the rows of a configuration table.
    if row.extension.is_none() {
        let apart = row.columns.iter().filter(|column| column.has_default_apart());
        objects.extend(apart.filter_map(|column| Some(Object::simple(default_part(row, column)?, belongs(row)))));
        objects.extend(attachment(row));
        objects.extend(row_security(row));
    }
    objects.extend(data::object(row));
    objects
}

fn table(row: &Arc<TableRow>) -> Object {
    let whole = Item {
        create: definition::whole(row),
        provides: row.relation_and_types().chain(row.default_addresses()).chain(row.constraint_addresses()).collect(),
        ..bare_table(row)
    };
    Object { opened: opening(row), targets: targets(row), ..Object::simple(whole, belongs(row)) }
}

/// The table's Item without its statement and what that provides.
fn bare_table(row: &TableRow) -> Item {
    let foreign = row.is_foreign();
    Item {
        owner: row.owner.clone(),
        drop: format!("DROP {} {};\n", row.desc(), row.qualified()),
        relkind: Some(row.kind),
        tablespace: (!foreign).then(|| row.tablespace.clone()),
        // A partitioned table says its access method in its definition: readers of archive 1.15 would not apply it.
        access_method: (row.kind == 'r').then(|| row.access_method.clone()).flatten(),
        // A partition stands alone until it is attached.
        ignores: if row.is_partition { row.parents.iter().map(|p| relation(p.oid)).collect() } else { Vec::new() },
        ..Item::new(row.desc(), relation(row.oid), Some(&row.schema), &row.name)
    }
}

/// A table opens if it has a default or a check.
fn opening(row: &Arc<TableRow>) -> Opening {
    let has_parts = removable_defaults(row).next().is_some() || row.checks.iter().any(|check| row.writes(check));
    if !has_parts {
        return Opening::default();
    }
    let row = Arc::clone(row);
    Opening::into_items(move || opened(&row))
}

/// A generation expression cannot be added later, and what stands apart has its Item already.
fn removable_defaults(row: &TableRow) -> impl Iterator<Item = &Column> {
    row.columns.iter().filter(|column| !column.has_default_apart() && column.plain_default().is_some())
}

/// The table without what can be added later, then each default and each check.
fn opened(row: &TableRow) -> Vec<Item> {
    let defaults = removable_defaults(row).filter_map(|column| default_part(row, column));
    let checks = row.checks.iter().filter(|check| row.writes(check)).map(|check| check_part(row, check));
    let parts: Vec<Item> = defaults.chain(checks).collect();
    let elsewhere: Vec<Address> = parts.iter().flat_map(|part| part.provides.iter().copied()).collect();
    let head = Item {
        create: definition::head(row),
        provides: row
            .relation_and_types()
            .chain(row.default_addresses())
            .chain(row.constraint_addresses())
            .filter(|address| !elsewhere.contains(address))
            .collect(),
        ..bare_table(row)
    };
    std::iter::once(head).chain(parts).collect()
}

fn default_part(row: &TableRow, column: &Column) -> Option<Item> {
    let default = column.default.as_ref()?;
    let create = definition::set_default(row, column)?;
    Some(Item {
        owner: row.owner.clone(),
        create,
        drop: format!("ALTER {} {} ALTER COLUMN {} DROP DEFAULT;\n", row.desc(), row.qualified(), ident(&column.name)),
        needs: std::iter::once(row.oid).chain(default.after.iter().copied()).map(relation).collect(),
        ..Item::new(
            "DEFAULT",
            Address::new(class::DEFAULT, default.oid),
            Some(&row.schema),
            format!("{} {}", row.name, column.name),
        )
    })
}

fn check_part(row: &TableRow, check: &Check) -> Item {
    let (desc, table, name) = (row.desc(), row.qualified(), ident(&check.name));
    Item {
        create: format!("ALTER {desc} {table}\n    ADD CONSTRAINT {name} {};\n", check.definition),
        drop: format!("ALTER {desc} {table} DROP CONSTRAINT {name};\n"),
        needs: vec![relation(row.oid)],
        ..Item::new(
            "CHECK CONSTRAINT",
            Address::new(class::CONSTRAINT, check.oid),
            Some(&row.schema),
            format!("{} {}", row.name, check.name),
        )
    }
}

fn attachment(row: &TableRow) -> Option<Object> {
    let (parent, bound) = (row.parents.first()?, row.partition_bound.as_deref()?);
    // ATTACH refuses a partition that lacks a check of its parent, so those of the partition come first.
    let needs = [relation(row.oid), relation(parent.oid)].into_iter().chain(row.constraint_addresses()).collect();
    let item = Item {
        owner: row.owner.clone(),
        create: format!(
            "ALTER TABLE ONLY {} ATTACH PARTITION {} {bound};\n",
            qualified(&parent.schema, &parent.name),
            row.qualified()
        ),
        needs,
        ..Item::new("TABLE ATTACH", Address::default(), Some(&row.schema), &row.name)
    };
    Some(Object::simple(item, belongs(row)))
}

fn row_security(row: &TableRow) -> Option<Object> {
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;\n", row.qualified()),
        needs: vec![relation(row.oid)],
        provides: Vec::new(),
        ..Item::new("ROW SECURITY", not_a_row(row.oid), Some(&row.schema), &row.name)
    };
    row.row_security.then(|| Object::simple(item, belongs(row)))
}

fn targets(row: &TableRow) -> Vec<Target> {
    let (desc, table) = (row.desc(), row.qualified());
    let whole = Target {
        address: relation(row.oid),
        on: format!("{desc} {table}"),
        tag: format!("{desc} {}", ident(&row.name)),
        grant: row.owner.clone().map(|owner| Grantable { on: format!("TABLE {table}"), owner }),
        columns: Some(Columns {
            relation: row.oid,
            qualified: table.clone(),
            names: row.columns.iter().map(|column| (column.number, column.name.clone())).collect(),
        }),
    };
    let checks = row.checks.iter().map(|check| (check.oid, check.name.as_str()));
    let constraints = checks.chain(row.not_nulls()).map(|(oid, name)| Target {
        address: Address::new(class::CONSTRAINT, oid),
        on: format!("CONSTRAINT {} ON {table}", ident(name)),
        tag: format!("CONSTRAINT {} ON {}", ident(name), ident(&row.name)),
        grant: None,
        columns: None,
    });
    let row_type = words::row_type_target(row.row_type, &row.schema, &row.name, row.owner.as_deref());
    std::iter::once(whole).chain(row_type).chain(constraints).collect()
}

fn belongs(row: &TableRow) -> Belongs {
    Belongs { schema: Some(row.schema.clone()), relation: Some(row.oid), owned_by: None }
}

fn relation(oid: Oid) -> Address {
    Address::new(class::RELATION, oid)
}

/// For what is about a relation but is no catalog row of its own: no edge of `pg_depend` reaches it.
fn not_a_row(oid: Oid) -> Address {
    Address::new(Oid(0), oid)
}
