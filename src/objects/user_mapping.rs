//! User mappings of foreign servers. Their options often hold passwords, which then are in the archive, as in
//! `pg_dump`'s.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "user mappings", questions: &[QUESTION], objects };

/// The view shows options to those who may use the mapping; the table behind it, to superusers only.
const QUESTION: Question = Question(
    "SELECT m.umid AS oid, m.usename AS user, m.umuser = 0 AS is_public, m.srvname AS server,
  pg_get_userbyid(s.srvowner) AS owner, coalesce(m.umoptions, '{}') AS options
FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid
ORDER BY m.srvname, m.usename",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    user: String,
    is_public: bool,
    server: String,
    /// Of the server: who restores as each owner has to make it as that one.
    owner: String,
    options: Vec<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::USER_MAPPING, row.oid);
        let user = if row.is_public { "PUBLIC".to_owned() } else { ident(&row.user) };
        let words = format!("{user} SERVER {}", ident(&row.server));
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: format!("CREATE USER MAPPING FOR {words}{};\n", words::options_clause(&row.options)),
            drop: format!("DROP USER MAPPING FOR {words};\n"),
            ..Item::new("USER MAPPING", address, None, format!("USER MAPPING {} SERVER {}", row.user, row.server))
        };
        // Nothing can be said about a user mapping: no comment, no privilege, no label.
        objects.push(Object::simple(whole, Belongs::default()));
        Ok(())
    })
}
