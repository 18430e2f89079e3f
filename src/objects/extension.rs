//! Extensions. Their members are not dumped: the extension's script makes them again.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "extensions", questions: &[QUESTION], objects };

/// Oids below 16384 (`FirstNormalObjectId`, `access/transam.h`) are initdb's: plpgsql is in every database already.
const QUESTION: Question = Question(
    "SELECT e.oid, e.extname AS name, n.nspname AS schema
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.oid >= 16384
ORDER BY e.extname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    schema: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::EXTENSION, row.oid);
        let name = ident(&row.name);
        // No version: a restore takes the one that the target has. No owner: extensions have no ALTER ... OWNER TO.
        let whole = Item {
            create: format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {};\n", ident(&row.schema)),
            drop: format!("DROP EXTENSION {name};\n"),
            ..Item::new("EXTENSION", address, None, &row.name)
        };
        let target = words::target(address, "EXTENSION", None, &name);
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
