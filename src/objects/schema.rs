//! Schemas.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Grantable, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "schemas", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT n.oid, n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner
FROM pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: String,
}

/// Every database is born with this schema, so no statement makes or removes it.
const BUILT_IN: &str = "public";

/// The owner that servers from 15 on give to `public`; targets older than 14 do not have this role.
const BUILT_IN_OWNER: &str = "pg_database_owner";

/// What a dump of chosen schemas says of `public`, when that is one of them. `pg_dump` says CREATE SCHEMA there, which fails in
/// every database that has not lost it; where it is missing, nothing else would make it.
pub fn make_if_missing(item: &mut Item) {
    if item.desc == "SCHEMA" && item.tag == BUILT_IN {
        item.create = format!("CREATE SCHEMA IF NOT EXISTS {BUILT_IN};\n");
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::SCHEMA, row.oid);
        let name = ident(&row.name);
        let (create, drop) = if row.name == BUILT_IN {
            ("-- every database has schema public already\n".to_owned(), "-- schema public stays\n".to_owned())
        } else {
            (format!("CREATE SCHEMA {name};\n"), format!("DROP SCHEMA {name};\n"))
        };
        let owner = Some(row.owner.clone()).filter(|owner| row.name != BUILT_IN || owner != BUILT_IN_OWNER);
        let whole = Item { owner, create, drop, ..Item::new("SCHEMA", address, None, &row.name) };
        let mut target = words::target(address, "SCHEMA", None, &name);
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner });
        let belongs = Belongs { schema: Some(row.name), ..Belongs::default() };
        objects.push(Object::simple(whole, belongs).with_target(target));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn public_is_not_created_and_keeps_an_owner_only_if_someone_changed_it() {
        let rows = [
            r#"{"oid":"2200","name":"public","owner":"pg_database_owner"}"#.to_owned(),
            r#"{"oid":"2200","name":"public","owner":"alice"}"#.to_owned(),
        ];
        let objects = objects(&answers(&rows)).expect("the rows have the right shape");
        assert!(objects.iter().all(|object| object.whole.create.starts_with("--")));
        assert_eq!(objects[0].whole.owner, None);
        assert_eq!(objects[1].whole.owner.as_deref(), Some("alice"));
    }
}
