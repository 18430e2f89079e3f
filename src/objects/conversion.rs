//! Conversions between encodings.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "conversions", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.conname AS name, pg_get_userbyid(c.conowner) AS owner,
  c.condefault AS is_default,
  pg_encoding_to_char(c.conforencoding) AS source, pg_encoding_to_char(c.contoencoding) AS target,
  c.conproc::text AS function
FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.conname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    is_default: bool,
    source: String,
    target: String,
    function: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::CONVERSION, row.oid);
        let name = qualified(&row.schema, &row.name);
        let default = if row.is_default { "DEFAULT " } else { "" };
        let (source, target) = (literal(&row.source), literal(&row.target));
        let whole = Item {
            owner: Some(row.owner),
            create: format!("CREATE {default}CONVERSION {name} FOR {source} TO {target} FROM {};\n", row.function),
            drop: format!("DROP CONVERSION {name};\n"),
            ..Item::new("CONVERSION", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "CONVERSION", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
