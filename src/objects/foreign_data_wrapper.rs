//! Foreign-data wrappers.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Grantable, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "foreign-data wrappers", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT w.oid, w.fdwname AS name, pg_get_userbyid(w.fdwowner) AS owner,
  CASE WHEN w.fdwhandler <> 0 THEN w.fdwhandler::regproc::text END AS handler,
  CASE WHEN w.fdwvalidator <> 0 THEN w.fdwvalidator::regproc::text END AS validator,
  CASE WHEN w.fdwconnection <> 0 THEN w.fdwconnection::regproc::text END AS connection, -- <19: NULL AS connection,
  coalesce(w.fdwoptions, '{}') AS options
FROM pg_foreign_data_wrapper w
ORDER BY w.fdwname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: String,
    handler: Option<String>,
    validator: Option<String>,
    /// What makes a connection string of a server, for subscriptions; from 19 on.
    connection: Option<String>,
    options: Vec<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::FOREIGN_DATA_WRAPPER, row.oid);
        let name = ident(&row.name);
        let handler = row.handler.map(|function| format!(" HANDLER {function}")).unwrap_or_default();
        let validator = row.validator.map(|function| format!(" VALIDATOR {function}")).unwrap_or_default();
        let connection = row.connection.map(|function| format!(" CONNECTION {function}")).unwrap_or_default();
        let options = words::options_clause(&row.options);
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: format!("CREATE FOREIGN DATA WRAPPER {name}{handler}{validator}{connection}{options};\n"),
            drop: format!("DROP FOREIGN DATA WRAPPER {name};\n"),
            ..Item::new("FOREIGN DATA WRAPPER", address, None, &row.name)
        };
        let mut target = words::target(address, "FOREIGN DATA WRAPPER", None, &name);
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner });
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
