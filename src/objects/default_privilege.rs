//! Default privileges: what objects will have that a role makes later. `pg_default_acl`.
//!
//! A global entry starts from what the server would give anyway (`acldefault()`), one for a schema from nothing, because
//! it only adds.

use super::{Kind, each};
use crate::error::Result;
use crate::model::privilege::{AccessList, Grant, Wording};
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, class, ident};
use serde::Deserialize;

/// The kind.
pub const KIND: Kind = Kind {
    name: "default privileges",
    questions: &[Question(
        "SELECT d.oid, r.rolname AS role, n.nspname AS schema,
CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS objects,
(SELECT pg_catalog.json_agg(e.privilege_type) FROM (
SELECT x.privilege_type FROM pg_catalog.aclexplode(f.acl) x WHERE x.grantee = d.defaclrole
-- <17: UNION ALL SELECT 'MAINTAIN' WHERE d.defaclobjtype = 'r'
) e) AS every,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(d.defaclacl) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS current,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(CASE d.defaclnamespace WHEN 0 THEN f.acl END) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS baseline
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.acldefault(
CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END::\"char\", d.defaclrole) AS acl) f
ORDER BY r.rolname, n.nspname NULLS FIRST, d.defaclobjtype",
    )],
    objects,
};

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    role: String,
    schema: Option<String>,
    objects: String,
    every: Option<Vec<String>>,
    current: Option<Vec<Grant>>,
    baseline: Option<Vec<Grant>>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let in_schema = row.schema.as_deref().map(|schema| format!("IN SCHEMA {} ", ident(schema)));
        let prefix =
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} {}", ident(&row.role), in_schema.unwrap_or_default());
        let create = AccessList {
            owner: &row.role,
            every: row.every.as_deref().unwrap_or_default(),
            current: row.current.as_deref().unwrap_or_default(),
            baseline: row.baseline.as_deref().unwrap_or_default(),
        }
        .statements(Wording { prefix: &prefix, on: &row.objects, column: None });
        if !create.is_empty() {
            let address = Address::new(class::DEFAULT_ACL, row.oid);
            let tag = format!("DEFAULT PRIVILEGES FOR {}", row.objects);
            let whole = Item {
                owner: Some(row.role),
                section: Section::PostData,
                create,
                ..Item::new("DEFAULT ACL", address, row.schema.as_deref(), tag)
            };
            objects.push(Object::simple(whole, Belongs { schema: row.schema, ..Belongs::default() }));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn a_schemas_default_privileges_name_role_schema_and_sort_of_object() {
        let row = r#"{"oid":"20001","role":"Ann","schema":"s","objects":"TABLES","every":["SELECT","INSERT"],"baseline":null,
            "current":[{"grantee":"bob","grantor":"Ann","privilege":"SELECT","grantable":false}]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        assert_eq!(objects[0].whole.tag, "DEFAULT PRIVILEGES FOR TABLES");
        assert_eq!(
            objects[0].whole.create,
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"Ann\" IN SCHEMA s GRANT SELECT ON TABLES TO bob;\n"
        );
    }
}
