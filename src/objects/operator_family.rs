//! Operator families, with the members that belong to no operator class of theirs.

use super::words::{OperatorMember, Place};
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "operator families", questions: &[QUESTION], objects };

/// A member's row depends on the family if it is loose, on the class otherwise (`storeOperators` and `storeProcedures`,
/// `commands/opclasscmds.c`); a normal dependency is something else, on the family that sorts what the operator gives.
/// Operators with their types come from `regoperator`, functions from `regprocedure`.
const QUESTION: Question = Question(
    "SELECT f.oid, n.nspname AS schema, f.opfname AS name, pg_get_userbyid(f.opfowner) AS owner, m.amname AS method,
  coalesce((SELECT json_agg(json_build_object('strategy', o.amopstrategy, 'operator', o.amopopr::regoperator,
      'order_by', CASE WHEN s.oid IS NOT NULL THEN json_build_object('schema', sn.nspname, 'name', s.opfname) END)
      ORDER BY o.amopstrategy, o.amoplefttype::regtype::text, o.amoprighttype::regtype::text)
    FROM pg_depend d JOIN pg_amop o ON o.oid = d.objid LEFT JOIN pg_opfamily s ON s.oid = o.amopsortfamily
      LEFT JOIN pg_namespace sn ON sn.oid = s.opfnamespace
    WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = 'pg_opfamily'::regclass AND d.refobjid = f.oid
      AND d.deptype <> 'n'), '[]') AS operators,
  coalesce((SELECT json_agg(format('FUNCTION %s (%s, %s) %s', p.amprocnum, p.amproclefttype::regtype,
      p.amprocrighttype::regtype, p.amproc::regprocedure)
      ORDER BY p.amprocnum, p.amproclefttype::regtype::text, p.amprocrighttype::regtype::text)
    FROM pg_depend d JOIN pg_amproc p ON p.oid = d.objid
    WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = 'pg_opfamily'::regclass AND d.refobjid = f.oid
      AND d.deptype <> 'n'), '[]') AS functions,
  coalesce((SELECT json_agg(json_build_object('class', d.classid, 'object', d.objid))
    FROM pg_depend d
    WHERE d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass) AND d.refclassid = 'pg_opfamily'::regclass
      AND d.refobjid = f.oid AND d.deptype <> 'n'), '[]') AS members
FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am m ON m.oid = f.opfmethod
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, f.opfname, m.amname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    method: String,
    operators: Vec<OperatorMember>,
    functions: Vec<String>,
    members: Vec<Place>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::OPERATOR_FAMILY, row.oid);
        let using = format!("USING {}", ident(&row.method));
        let name = format!("{} {using}", qualified(&row.schema, &row.name));
        let mut create = format!("CREATE OPERATOR FAMILY {name};\n");
        let members: Vec<String> = row.operators.iter().map(OperatorMember::sql).chain(row.functions).collect();
        if !members.is_empty() {
            let add = format!("ALTER OPERATOR FAMILY {name} ADD\n    {};\n", members.join(",\n    "));
            create.push_str(&add);
        }
        let mut whole = Item {
            owner: Some(row.owner),
            create,
            drop: format!("DROP OPERATOR FAMILY {name};\n"),
            ..Item::new("OPERATOR FAMILY", address, Some(&row.schema), &row.name)
        };
        whole.provides.extend(words::addresses(&row.members));
        let words = format!("{} {using}", ident(&row.name));
        let target = words::target(address, "OPERATOR FAMILY", Some(&row.schema), &words);
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
