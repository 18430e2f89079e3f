//! Operators. A commutator or negator need not exist yet: the server makes a shell of it, which its own CREATE fills
//! in.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "operators", questions: &[QUESTION], objects };

/// Without a function it is a shell that nobody filled in, and nothing to dump.
const QUESTION: Question = Question(
    "SELECT o.oid, n.nspname AS schema, o.oprname AS name, pg_get_userbyid(o.oprowner) AS owner,
  o.oprcode::text AS function,
  CASE WHEN o.oprleft <> 0 THEN format_type(o.oprleft, NULL) END AS left_type,
  CASE WHEN o.oprright <> 0 THEN format_type(o.oprright, NULL) END AS right_type,
  (SELECT json_build_object('schema', s.nspname, 'name', c.oprname)
    FROM pg_operator c JOIN pg_namespace s ON s.oid = c.oprnamespace WHERE c.oid = o.oprcom) AS commutator,
  (SELECT json_build_object('schema', s.nspname, 'name', c.oprname)
    FROM pg_operator c JOIN pg_namespace s ON s.oid = c.oprnamespace WHERE c.oid = o.oprnegate) AS negator,
  coalesce((SELECT json_agg(DISTINCT c.oprnamespace::int8)
    FROM pg_operator c WHERE c.oid IN (o.oprcom, o.oprnegate)), '[]')
    AS partner_schemas,
  o.oprcanmerge AS merges, o.oprcanhash AS hashes,
  nullif(o.oprrest::oid, 0)::regproc::text AS restriction, nullif(o.oprjoin::oid, 0)::regproc::text AS join_estimator
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oprcode <> 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, o.oprname, o.oprleft, o.oprright",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    function: String,
    left_type: Option<String>,
    right_type: Option<String>,
    commutator: Option<Named>,
    negator: Option<Named>,
    /// Where a shell of the commutator or the negator may have to be made; `pg_depend` knows nothing of these.
    partner_schemas: Vec<Oid>,
    merges: bool,
    hashes: bool,
    restriction: Option<String>,
    join_estimator: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::OPERATOR, row.oid);
        let name = format!("{}.{}", ident(&row.schema), row.name);
        let operands = format!(
            "({}, {})",
            row.left_type.as_deref().unwrap_or("NONE"),
            row.right_type.as_deref().unwrap_or("NONE")
        );
        let valued = [
            ("FUNCTION", Some(row.function)),
            ("LEFTARG", row.left_type),
            ("RIGHTARG", row.right_type),
            ("COMMUTATOR", row.commutator.as_ref().map(Named::operator)),
            ("NEGATOR", row.negator.as_ref().map(Named::operator)),
            ("RESTRICT", row.restriction),
            ("JOIN", row.join_estimator),
        ];
        let mut settings: Vec<String> =
            valued.into_iter().filter_map(|(word, value)| value.map(|value| format!("{word} = {value}"))).collect();
        for (word, is_set) in [("HASHES", row.hashes), ("MERGES", row.merges)] {
            if is_set {
                settings.push(word.to_owned());
            }
        }
        let whole = Item {
            owner: Some(row.owner),
            create: format!("CREATE OPERATOR {name} {};\n", words::settings(&settings)),
            drop: format!("DROP OPERATOR {name} {operands};\n"),
            needs: words::addresses_in(class::SCHEMA, row.partner_schemas),
            ..Item::new("OPERATOR", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "OPERATOR", Some(&row.schema), &format!("{} {operands}", row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
