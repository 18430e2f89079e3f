//! Transforms between a type and a procedural language. They have no schema and no owner.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "transforms", questions: &[QUESTION], objects };

/// Oids below 16384 are initdb's.
const QUESTION: Question = Question(
    "SELECT t.oid, format_type(t.trftype, NULL) AS type, l.lanname AS language,
  CASE WHEN t.trffromsql <> 0 THEN t.trffromsql::regprocedure::text END AS from_sql,
  CASE WHEN t.trftosql <> 0 THEN t.trftosql::regprocedure::text END AS to_sql
FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang
WHERE t.oid >= 16384
ORDER BY 2, 3",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    #[serde(rename = "type")]
    type_name: String,
    language: String,
    from_sql: Option<String>,
    to_sql: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TRANSFORM, row.oid);
        let words = format!("FOR {} LANGUAGE {}", row.type_name, ident(&row.language));
        let functions: Vec<String> = [("FROM", row.from_sql), ("TO", row.to_sql)]
            .into_iter()
            .filter_map(|(word, function)| function.map(|function| format!("{word} SQL WITH FUNCTION {function}")))
            .collect();
        let whole = Item {
            create: format!("CREATE TRANSFORM {words} {};\n", words::settings(&functions)),
            drop: format!("DROP TRANSFORM {words};\n"),
            ..Item::new("TRANSFORM", address, None, format!("TRANSFORM {words}"))
        };
        let target = words::target(address, "TRANSFORM", None, &words);
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
