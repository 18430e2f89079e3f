//! Operator classes, with the operators and functions that are theirs; the family's loose members are the family's.

use super::words::{Named, OperatorMember, Place};
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "operator classes", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.opcname AS name, pg_get_userbyid(c.opcowner) AS owner, m.amname AS method,
  c.opcdefault AS is_default, format_type(c.opcintype, NULL) AS input_type,
  CASE WHEN c.opckeytype <> 0 THEN format_type(c.opckeytype, NULL) END AS storage_type,
  json_build_object('schema', fn.nspname, 'name', f.opfname) AS family,
  coalesce((SELECT json_agg(json_build_object('strategy', o.amopstrategy, 'operator', o.amopopr::regoperator,
      'order_by', CASE WHEN s.oid IS NOT NULL THEN json_build_object('schema', sn.nspname, 'name', s.opfname) END)
      ORDER BY o.amopstrategy, o.amoplefttype::regtype::text, o.amoprighttype::regtype::text)
    FROM pg_depend d JOIN pg_amop o ON o.oid = d.objid LEFT JOIN pg_opfamily s ON s.oid = o.amopsortfamily
      LEFT JOIN pg_namespace sn ON sn.oid = s.opfnamespace
    WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = 'pg_opclass'::regclass AND d.refobjid = c.oid), '[]')
    AS operators,
  coalesce((SELECT json_agg(format('FUNCTION %s (%s, %s) %s', p.amprocnum, p.amproclefttype::regtype,
      p.amprocrighttype::regtype, p.amproc::regprocedure)
      ORDER BY p.amprocnum, p.amproclefttype::regtype::text, p.amprocrighttype::regtype::text)
    FROM pg_depend d JOIN pg_amproc p ON p.oid = d.objid
    WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = 'pg_opclass'::regclass AND d.refobjid = c.oid), '[]')
    AS functions,
  coalesce((SELECT json_agg(json_build_object('class', d.classid, 'object', d.objid))
    FROM pg_depend d
    WHERE d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass) AND d.refclassid = 'pg_opclass'::regclass
      AND d.refobjid = c.oid), '[]') AS members
FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace JOIN pg_am m ON m.oid = c.opcmethod
  JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.opcname, m.amname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    method: String,
    is_default: bool,
    input_type: String,
    storage_type: Option<String>,
    family: Named,
    operators: Vec<OperatorMember>,
    functions: Vec<String>,
    members: Vec<Place>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::OPERATOR_CLASS, row.oid);
        let method = ident(&row.method);
        let name = qualified(&row.schema, &row.name);
        let mut members: Vec<String> = row.storage_type.iter().map(|storage| format!("STORAGE {storage}")).collect();
        members.extend(row.operators.iter().map(OperatorMember::sql));
        members.extend(row.functions);
        if members.is_empty() {
            // The grammar wants one member at least; to store what comes in is what happens anyway.
            members.push(format!("STORAGE {}", row.input_type));
        }
        let default = if row.is_default { " DEFAULT" } else { "" };
        let mut whole = Item {
            owner: Some(row.owner),
            create: format!(
                "CREATE OPERATOR CLASS {name}{default} FOR TYPE {} USING {method} FAMILY {} AS\n    {};\n",
                row.input_type,
                row.family.sql(),
                members.join(",\n    ")
            ),
            drop: format!("DROP OPERATOR CLASS {name} USING {method};\n"),
            ..Item::new("OPERATOR CLASS", address, Some(&row.schema), &row.name)
        };
        whole.provides.extend(words::addresses(&row.members));
        let words = format!("{} USING {method}", ident(&row.name));
        let target = words::target(address, "OPERATOR CLASS", Some(&row.schema), &words);
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
