//! Procedural languages that were made by hand; those of extensions come with their extension.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Grantable, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "procedural languages", questions: &[QUESTION], objects };

/// Oids below 16384 are initdb's.
const QUESTION: Question = Question(
    "SELECT l.oid, l.lanname AS name, pg_get_userbyid(l.lanowner) AS owner, l.lanpltrusted AS trusted,
  l.lanplcallfoid::regproc::text AS handler,
  CASE WHEN l.laninline <> 0 THEN l.laninline::regproc::text END AS inline,
  CASE WHEN l.lanvalidator <> 0 THEN l.lanvalidator::regproc::text END AS validator
FROM pg_language l
WHERE l.lanispl AND l.oid >= 16384
ORDER BY l.lanname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: String,
    trusted: bool,
    handler: String,
    inline: Option<String>,
    validator: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::LANGUAGE, row.oid);
        let name = ident(&row.name);
        let trusted = if row.trusted { "TRUSTED " } else { "" };
        let inline = row.inline.map(|function| format!(" INLINE {function}")).unwrap_or_default();
        let validator = row.validator.map(|function| format!(" VALIDATOR {function}")).unwrap_or_default();
        let handler = row.handler;
        let create = format!("CREATE {trusted}PROCEDURAL LANGUAGE {name} HANDLER {handler}{inline}{validator};\n");
        let whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop: format!("DROP PROCEDURAL LANGUAGE {name};\n"),
            ..Item::new("PROCEDURAL LANGUAGE", address, None, &row.name)
        };
        let mut target = words::target(address, "LANGUAGE", None, &name);
        // An untrusted language is its owner's alone: the server refuses GRANT on it.
        target.grant = row.trusted.then(|| Grantable { on: target.on.clone(), owner: row.owner });
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
