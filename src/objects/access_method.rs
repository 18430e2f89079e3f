//! Access methods, of indexes and of tables. They have no schema and no owner.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "access methods", questions: &[QUESTION], objects };

/// Oids below 16384 are initdb's.
const QUESTION: Question = Question(
    "SELECT a.oid, a.amname AS name, a.amtype AS kind, a.amhandler::text AS handler
FROM pg_am a
WHERE a.oid >= 16384
ORDER BY a.amname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    /// `pg_am.amtype`: `i` or `t`.
    kind: char,
    handler: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::ACCESS_METHOD, row.oid);
        let name = ident(&row.name);
        let kind = if row.kind == 't' { "TABLE" } else { "INDEX" };
        let whole = Item {
            create: format!("CREATE ACCESS METHOD {name} TYPE {kind} HANDLER {};\n", row.handler),
            drop: format!("DROP ACCESS METHOD {name};\n"),
            ..Item::new("ACCESS METHOD", address, None, &row.name)
        };
        let target = words::target(address, "ACCESS METHOD", None, &name);
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
