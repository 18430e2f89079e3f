//! Puts what hangs on tables into them: columns, with their defaults and NOT NULLs, and checks. Each comes as one answer for
//! all tables.

use super::row::{Check, Column, ColumnDefault, Inherited, NotNull, TableRow};
use crate::error::Result;
use crate::model::{Oid, Rows};
use crate::objects::read;
use std::collections::{HashMap, HashSet};

/// The answers in the order of the kind's questions. What belongs to a table that is not there is left out.
pub(super) fn put(tables: &mut [TableRow], answers: &[Rows]) -> Result<()> {
    let [columns, inherited, defaults, not_nulls, checks] = [0, 1, 2, 3, 4].map(|place| &answers[place..=place]);
    let places: HashMap<Oid, usize> = tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
    for column in read::<Column>(columns)? {
        if let Some(&place) = places.get(&column.relation) {
            tables[place].columns.push(column);
        }
    }
    for check in read::<Check>(checks)? {
        if let Some(&place) = places.get(&check.relation) {
            tables[place].checks.push(check);
        }
    }
    for table in tables.iter_mut() {
        table.columns.sort_unstable_by_key(|column| column.number);
        table.columns.shrink_to_fit();
        table.checks.shrink_to_fit();
        table.checks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    }
    for default in read::<ColumnDefault>(defaults)? {
        if let Some(column) = column(tables, &places, default.relation, default.number) {
            column.default = Some(default);
        }
    }
    for inherited in read::<Inherited>(inherited)? {
        if let Some(column) = column(tables, &places, inherited.relation, inherited.number) {
            column.inherit(inherited);
        }
    }
    put_not_nulls(tables, &places, read(not_nulls)?);
    Ok(())
}

/// The column of this number, which the columns' order still follows.
fn column<'t>(
    tables: &'t mut [TableRow],
    places: &HashMap<Oid, usize>,
    relation: Oid,
    number: i32,
) -> Option<&'t mut Column> {
    tables[*places.get(&relation)?].column_mut(number)
}

/// Those that are not validated come after the rows, as constraints; but their names are taken, too.
fn put_not_nulls(tables: &mut [TableRow], places: &HashMap<Oid, usize>, not_nulls: Vec<NotNull>) {
    let partitions: HashSet<Oid> = tables.iter().filter(|table| table.is_partition).map(|table| table.oid).collect();
    // What a child has from its parent alone is made with the parent's, under a name that is free then.
    let is_made_alone = |found: &NotNull| found.local || partitions.contains(&found.relation);
    let mut names: HashMap<(Oid, &str), usize> = HashMap::with_capacity(not_nulls.len());
    for found in not_nulls.iter().filter(|found| is_made_alone(found)) {
        *names.entry((found.namespace, &found.name)).or_default() += 1;
    }
    let has_name_alone = |found: &NotNull| {
        let bearers = names.get(&(found.namespace, found.name.as_str())).copied().unwrap_or(0);
        bearers == usize::from(is_made_alone(found))
    };
    let alone: Vec<bool> = not_nulls.iter().map(has_name_alone).collect();
    for (mut found, alone) in not_nulls.into_iter().zip(alone).filter(|(found, _)| found.validated) {
        let Some((&place, number)) = places.get(&found.relation).zip(found.number) else { continue };
        found.name_is_default = alone && tables[place].would_name_not_null(number, &found.name);
        if let Some(column) = tables[place].column_mut(number) {
            column.not_null_constraint = Some(found);
        }
    }
}
