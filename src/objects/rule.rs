//! Rewrite rules, save for the queries of views.

use super::trigger::enabling;
use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "rules", questions: &[QUESTION], objects };

/// A view's query is its ON SELECT rule; any other rule may have any name, `_RETURN` too.
const QUESTION: Question = Question(
    "SELECT r.oid, r.rulename AS name, pg_catalog.pg_get_ruledef(r.oid) AS definition, r.ev_enabled AS enabled,
    c.oid AS table_oid, n.nspname AS schema, c.relname AS table_name, o.rolname AS owner
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
WHERE NOT (r.ev_type = '1' AND c.relkind IN ('v', 'm')) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname, r.rulename",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    definition: String,
    /// `ev_enabled`, as a trigger's.
    enabled: char,
    table_oid: Oid,
    schema: String,
    table_name: String,
    owner: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(rule(&row));
        Ok(())
    })
}

/// Only a renaming gives a rule the name that views keep for their queries; CREATE RULE refuses it.
fn statements(row: &Row, table: &str) -> String {
    const REFUSED: &str = "CREATE RULE \"_RETURN\" AS";
    match row.definition.strip_prefix(REFUSED) {
        Some(rest) => format!(
            "CREATE RULE \"_RETURN, renamed\" AS{rest}\nALTER RULE \"_RETURN, renamed\" ON {table} RENAME TO \"_RETURN\";\n"
        ),
        None => format!("{}\n", row.definition),
    }
}

fn rule(row: &Row) -> Object {
    let address = Address::new(class::RULE, row.oid);
    let table_name = qualified(&row.schema, &row.table_name);
    let name = ident(&row.name);
    let mut create = statements(row, &table_name);
    if row.enabled != 'O' {
        create += &format!("ALTER TABLE {table_name} {} RULE {name};\n", enabling(row.enabled));
    }
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: format!("DROP RULE {name} ON {table_name};\n"),
        needs: vec![Address::new(class::RELATION, row.table_oid)],
        ..Item::new("RULE", address, Some(&row.schema), format!("{} {}", row.table_name, row.name))
    };
    let belongs = Belongs { schema: Some(row.schema.clone()), relation: Some(row.table_oid), owned_by: None };
    Object::simple(item, belongs).with_target(Target {
        address,
        on: format!("RULE {name} ON {table_name}"),
        tag: format!("RULE {name} ON {}", ident(&row.table_name)),
        grant: None,
        columns: None,
    })
}
