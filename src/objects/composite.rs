//! Composite types that stand alone (`pg_class.relkind` `c`); the row types of tables come with their tables.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Columns, Grantable, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "composite types", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, c.oid AS relation, n.nspname AS schema, t.typname AS name,
  pg_get_userbyid(t.typowner) AS owner,
  coalesce((SELECT json_agg(json_build_object('number', a.attnum, 'name', a.attname,
      'type', format_type(a.atttypid, a.atttypmod),
      'collation', (SELECT json_build_object('schema', ln.nspname, 'name', l.collname)
        FROM pg_collation l JOIN pg_namespace ln ON ln.oid = l.collnamespace
        WHERE l.oid = a.attcollation AND a.attcollation <> k.typcollation)) ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type k ON k.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'c' AND c.relkind = 'c' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.typname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    array_type: Oid,
    relation: Oid,
    schema: String,
    name: String,
    owner: String,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    number: i32,
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    collation: Option<Named>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let columns: Vec<String> = row
            .columns
            .iter()
            .map(|column| {
                let collate = column.collation.as_ref().map(|c| format!(" COLLATE {}", c.sql())).unwrap_or_default();
                format!("{} {}{collate}", ident(&column.name), column.type_name)
            })
            .collect();
        let create = if columns.is_empty() {
            format!("CREATE TYPE {name} AS ();\n")
        } else {
            format!("CREATE TYPE {name} AS {};\n", words::settings(&columns))
        };
        let mut provides = words::addresses_in(class::TYPE, [row.oid, row.array_type]);
        provides.push(Address::new(class::RELATION, row.relation));
        let whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop: format!("DROP TYPE {name};\n"),
            provides,
            ..Item::new("TYPE", address, Some(&row.schema), &row.name)
        };
        let mut target = words::target(address, "TYPE", Some(&row.schema), &ident(&row.name));
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner });
        target.columns = Some(Columns {
            relation: row.relation,
            qualified: name,
            names: row.columns.into_iter().map(|column| (column.number, column.name)).collect(),
        });
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
