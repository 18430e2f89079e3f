//! Enum types.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "enum types", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, n.nspname AS schema, t.typname AS name,
  pg_get_userbyid(t.typowner) AS owner,
  coalesce((SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
    FROM pg_enum e WHERE e.enumtypid = t.oid), '[]') AS labels
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.typname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    array_type: Oid,
    schema: String,
    name: String,
    owner: String,
    labels: Vec<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let labels: Vec<String> = row.labels.iter().map(|label| literal(label)).collect();
        let create = if labels.is_empty() {
            format!("CREATE TYPE {name} AS ENUM ();\n")
        } else {
            format!("CREATE TYPE {name} AS ENUM {};\n", words::settings(&labels))
        };
        let whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop: format!("DROP TYPE {name};\n"),
            provides: words::addresses_in(class::TYPE, [row.oid, row.array_type]),
            ..Item::new("TYPE", address, Some(&row.schema), &row.name)
        };
        let mut target = words::target(address, "TYPE", Some(&row.schema), &ident(&row.name));
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner });
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn labels_keep_their_order_and_are_quoted() {
        let row = r#"{"oid":"9","array_type":"8","schema":"s","name":"Mood","owner":"o","labels":["z","it's","a\\b"]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("the row has the right shape");
        assert_eq!(
            objects[0].whole.create,
            "CREATE TYPE s.\"Mood\" AS ENUM (\n    'z',\n    'it''s',\n    E'a\\\\b'\n);\n"
        );
        assert_eq!(objects[0].whole.provides.len(), 2);
    }
}
