//! Extended statistics.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "extended statistics", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT s.oid, n.nspname AS schema, s.stxname AS name, o.rolname AS owner,
    pg_catalog.pg_get_statisticsobjdef(s.oid) AS definition,
    CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END AS target, -- <13: NULL AS target,
    c.oid AS table_oid, tn.nspname AS table_schema
FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = s.stxowner
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, s.stxname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: Option<String>,
    definition: String,
    target: Option<i32>,
    table_oid: Oid,
    table_schema: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(statistics(&row));
        Ok(())
    })
}

fn statistics(row: &Row) -> Object {
    let address = Address::new(class::STATISTICS, row.oid);
    let name = qualified(&row.schema, &row.name);
    let mut create = format!("{};\n", row.definition);
    if let Some(target) = row.target {
        create += &format!("ALTER STATISTICS {name} SET STATISTICS {target};\n");
    }
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: format!("DROP STATISTICS {name};\n"),
        needs: vec![Address::new(class::RELATION, row.table_oid)],
        ..Item::new("STATISTICS", address, Some(&row.schema), &row.name)
    };
    let belongs = Belongs { schema: Some(row.table_schema.clone()), relation: Some(row.table_oid), owned_by: None };
    Object::simple(item, belongs).with_target(Target {
        address,
        on: format!("STATISTICS {name}"),
        tag: format!("STATISTICS {}", ident(&row.name)),
        grant: None,
        columns: None,
    })
}
