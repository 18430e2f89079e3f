//! Privileges on configuration parameters, from 15 on. `pg_parameter_acl`.

use super::{Part, Statement};
use crate::model::privilege::{AccessList, Grant, Wording};
use crate::model::{Question, ident};
use serde::Deserialize;

/// Every parameter that somebody may set beyond what anybody may. Their owner is the role that initdb made.
pub const QUESTION: Question = Question(
    "SELECT p.parname AS name, pg_catalog.pg_get_userbyid(10) AS owner,
(SELECT pg_catalog.json_agg(x.privilege_type) FROM pg_catalog.aclexplode(p.fresh) x WHERE x.grantee = 10) AS every,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(p.paracl) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS current,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(p.fresh) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS baseline
FROM (SELECT a.parname, a.paracl, pg_catalog.acldefault('p', 10) AS fresh FROM pg_catalog.pg_parameter_acl a) p -- <15: FROM (SELECT NULL::text AS parname, NULL::aclitem[] AS paracl, NULL::aclitem[] AS fresh WHERE false) p
ORDER BY p.parname",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    name: String,
    owner: String,
    every: Option<Vec<String>>,
    current: Option<Vec<Grant>>,
    baseline: Option<Vec<Grant>>,
}

/// GRANT and REVOKE.
pub fn statements(rows: &[Row]) -> Vec<Statement> {
    rows.iter()
        .filter_map(|row| {
            let list = AccessList {
                owner: &row.owner,
                every: row.every.as_deref().unwrap_or_default(),
                current: row.current.as_deref().unwrap_or_default(),
                baseline: row.baseline.as_deref().unwrap_or_default(),
            };
            privileges(&list, &format!("PARAMETER {}", ident(&row.name)))
        })
        .collect()
}

/// What an access list says, all in one: a grant in another role's name is framed by changes of the session's role.
pub(super) fn privileges(list: &AccessList<'_>, on: &str) -> Option<Statement> {
    let text = list.statements(Wording { prefix: "", on, column: None });
    (!text.is_empty()).then(|| Statement::new(Part::Privileges, text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::{Row, statements};
    use crate::globals::texts;

    #[test]
    fn who_may_set_a_parameter_is_granted_that() {
        let row = r#"{"name":"work_mem","owner":"postgres","every":["SET","ALTER SYSTEM"],
            "current":[{"grantee":"postgres","grantor":"postgres","privilege":"SET","grantable":false},
                       {"grantee":"postgres","grantor":"postgres","privilege":"ALTER SYSTEM","grantable":false},
                       {"grantee":"ann","grantor":"postgres","privilege":"SET","grantable":true},
                       {"grantee":null,"grantor":"ann","privilege":"SET","grantable":false}],
            "baseline":[{"grantee":"postgres","grantor":"postgres","privilege":"SET","grantable":false},
                        {"grantee":"postgres","grantor":"postgres","privilege":"ALTER SYSTEM","grantable":false}]}"#;
        let row: Row = serde_json::from_str(row).expect("a row of the question's shape");
        assert_eq!(
            texts(&statements(&[row])),
            ["GRANT SET ON PARAMETER work_mem TO ann WITH GRANT OPTION;\n\
              SET SESSION AUTHORIZATION ann;\n\
              GRANT SET ON PARAMETER work_mem TO PUBLIC;\n\
              RESET SESSION AUTHORIZATION;"]
        );
    }
}
