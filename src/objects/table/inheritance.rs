//! The order of columns under plain inheritance.
//!
//! `CREATE TABLE ... INHERITS` puts the parents' columns first, so a child whose columns stood otherwise (one that was made
//! to inherit later, or whose parent was given a column later) gets another order in the copy. Where everything is declared
//! in the child as well, it is made alone and inherits afterwards, and the order stays; stock `pg_dump` loses it there.
//! Otherwise the columns are listed in the order that they will have, so that a dump of the copy says the same.

use super::row::{Column, TableRow};
use crate::model::Oid;
use std::collections::HashMap;

/// Settles the order of the columns of every table that inherits, parents before children.
pub(super) fn arrange(tables: &mut [TableRow]) {
    let places: HashMap<Oid, usize> = tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
    let mut settled: Vec<bool> = tables.iter().map(|table| table.is_partition || table.parents.is_empty()).collect();
    for start in 0..tables.len() {
        // A stack of its own, for the tree of tables can be deeper than the thread's.
        let mut stack = vec![start];
        while let Some(&place) = stack.last() {
            let parents: Vec<usize> =
                tables[place].parents.iter().filter_map(|parent| places.get(&parent.oid).copied()).collect();
            let waiting = parents.iter().copied().filter(|&parent| !settled[parent] && !stack.contains(&parent));
            let waiting: Vec<usize> = if settled[place] { Vec::new() } else { waiting.collect() };
            if !waiting.is_empty() {
                stack.extend(waiting);
                continue;
            }
            if !settled[place] {
                let inherited: Vec<String> = parents
                    .iter()
                    .flat_map(|&parent| tables[parent].columns.iter().map(|column| column.name.clone()))
                    .collect();
                settle(&mut tables[place], &inherited);
                settled[place] = true;
            }
            stack.pop();
        }
    }
    defer_conflicting_defaults(tables, &places);
}

/// A child that inherits a column from several parents, without declaring it, cannot be made while they have different
/// defaults: those that were set later are set later again. `pg_dump` does so with what is not declared.
fn defer_conflicting_defaults(tables: &mut [TableRow], places: &HashMap<Oid, usize>) {
    let mut deferred: Vec<(usize, usize, Oid)> = Vec::new();
    for child in tables.iter().filter(|table| table.inherits_at_once() && table.parents.len() > 1) {
        for column in child.columns.iter().filter(|column| !child.declares(column)) {
            let parents = child.parents.iter().filter_map(|parent| places.get(&parent.oid));
            let same = |place: usize| {
                let found = tables[place].columns.iter().position(|other| other.name == column.name)?;
                tables[place].columns[found].plain_default().map(|default| (place, found, default))
            };
            let defaults: Vec<(usize, usize, &str)> = parents.filter_map(|place| same(*place)).collect();
            if defaults.iter().any(|(.., default)| Some(default) != defaults.first().map(|(.., first)| first)) {
                deferred.extend(defaults.iter().map(|(table, column, _)| (*table, *column, child.oid)));
            }
        }
    }
    for (table, column, child) in deferred {
        if let Some(default) = &mut tables[table].columns[column].default {
            default.apart = true;
            default.after.push(child);
        }
    }
}

/// `inherited` are the parents' columns in their order; the first mention of a name counts.
fn settle(table: &mut TableRow, inherited: &[String]) {
    let mut rank: HashMap<&str, usize> = HashMap::new();
    for (place, name) in inherited.iter().enumerate() {
        rank.entry(name).or_insert(place);
    }
    let place = |column: &Column| rank.get(column.name.as_str()).copied().unwrap_or(usize::MAX);
    if table.columns.is_sorted_by_key(place) {
        return;
    }
    if table.declares_everything() {
        table.inherits_later = true;
    } else {
        table.columns.sort_by_key(place);
    }
}
