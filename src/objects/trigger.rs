//! Triggers on tables and views.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "triggers", questions: &[QUESTION], objects };

/// A partition's copy of its parent's trigger is made with that; only an enabled state of its own is the partition's
/// to say (`getTriggers`, `pg_dump.c`). A foreign key's triggers are the
/// foreign key's. Before 13 the copy is known by its dependency on the original.
const QUESTION: Question = Question(
    "SELECT t.oid, t.tgname AS name, pg_catalog.pg_get_triggerdef(t.oid) AS definition, t.tgenabled AS enabled,
    original.tgenabled AS original_enabled,
    (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype = 't') AS constraint_oid,
    c.oid AS table_oid, n.nspname AS schema, c.relname AS table_name, c.relkind AS table_kind, o.rolname AS owner
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_trigger original ON original.oid = t.tgparentid -- <13: LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = t.oid AND d.refclassid = d.classid AND d.deptype IN ('P', 'I') LEFT JOIN pg_catalog.pg_trigger original ON original.oid = d.refobjid
WHERE (NOT t.tgisinternal OR original.oid IS NOT NULL AND t.tgenabled <> original.tgenabled AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype = 'f'))
    AND (original.oid IS NULL OR t.tgenabled <> original.tgenabled)
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname, t.tgname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    definition: String,
    /// `tgenabled`: `O` as usual, `D` disabled, `R` on replicas, `A` always.
    enabled: char,
    original_enabled: Option<char>,
    /// The row of `pg_constraint` that a constraint trigger has beside its own.
    constraint_oid: Option<Oid>,
    table_oid: Oid,
    schema: String,
    table_name: String,
    table_kind: char,
    owner: Option<String>,
}

/// `ENABLE ALWAYS TRIGGER` and its like, for triggers and rules alike.
pub(super) fn enabling(state: char) -> &'static str {
    match state {
        'D' => "DISABLE",
        'A' => "ENABLE ALWAYS",
        'R' => "ENABLE REPLICA",
        _ => "ENABLE",
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(trigger(&row));
        Ok(())
    })
}

fn trigger(row: &Row) -> Object {
    let address = Address::new(class::TRIGGER, row.oid);
    let table = Address::new(class::RELATION, row.table_oid);
    let table_name = qualified(&row.schema, &row.table_name);
    let name = ident(&row.name);
    let is_copy = row.original_enabled.is_some();
    let word = if row.table_kind == 'f' { "FOREIGN TABLE" } else { "TABLE" };
    let mut create = if is_copy { String::new() } else { format!("{};\n", row.definition) };
    if is_copy || row.enabled != 'O' {
        create += &format!("ALTER {word} {table_name} {} TRIGGER {name};\n", enabling(row.enabled));
    }
    let mut item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: if is_copy { String::new() } else { format!("DROP TRIGGER {name} ON {table_name};\n") },
        needs: vec![table],
        ..Item::new("TRIGGER", address, Some(&row.schema), format!("{} {}", row.table_name, row.name))
    };
    let belongs = Belongs { schema: Some(row.schema.clone()), relation: Some(row.table_oid), owned_by: None };
    let target = |address, word| Target {
        address,
        on: format!("{word} {name} ON {table_name}"),
        tag: format!("{word} {name} ON {}", ident(&row.table_name)),
        grant: None,
        columns: None,
    };
    let constraint = row.constraint_oid.map(|oid| Address::new(class::CONSTRAINT, oid));
    item.provides.extend(constraint);
    let mut object = Object::simple(item, belongs).with_target(target(address, "TRIGGER"));
    object.targets.extend(constraint.map(|address| target(address, "CONSTRAINT")));
    object
}
