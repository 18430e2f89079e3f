//! Tablespaces: location, owner, options, privileges, comments and labels. `pg_tablespace`.

use super::parameter::privileges;
use super::{Label, Part, Statement, remarks};
use crate::model::privilege::{AccessList, Grant};
use crate::model::{Question, ident, literal};
use serde::Deserialize;

/// Every tablespace but the two that initdb made. A location that is not absolute is inside the data directory (a
/// developer's option), and such a tablespace is made with an empty location.
pub const QUESTION: Question = Question(
    "SELECT t.spcname AS name, pg_catalog.pg_get_userbyid(t.spcowner) AS owner,
CASE WHEN pg_catalog.pg_tablespace_location(t.oid) ~ '^(/|[A-Za-z]:)' THEN pg_catalog.pg_tablespace_location(t.oid) ELSE '' END
AS location, t.spcoptions AS options,
(SELECT pg_catalog.json_agg(x.privilege_type) FROM pg_catalog.aclexplode(t.fresh) x WHERE x.grantee = t.spcowner) AS every,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(COALESCE(t.spcacl, t.fresh)) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS current,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', g.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(t.fresh) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS baseline,
pg_catalog.shobj_description(t.oid, 'pg_tablespace') AS comment,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider)
FROM pg_catalog.pg_shseclabel l
WHERE l.classoid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass AND l.objoid = t.oid) AS labels
FROM (SELECT s.*, pg_catalog.acldefault('t', s.spcowner) AS fresh FROM pg_catalog.pg_tablespace s
WHERE s.spcname !~ '^pg_') t
ORDER BY t.oid",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    name: String,
    owner: String,
    location: String,
    /// Each `name=value`.
    options: Option<Vec<String>>,
    every: Option<Vec<String>>,
    current: Option<Vec<Grant>>,
    baseline: Option<Vec<Grant>>,
    comment: Option<String>,
    labels: Option<Vec<Label>>,
}

/// For each tablespace the statement that makes it, what gives one of that name the same owner and options, its
/// privileges and remarks.
pub fn statements(rows: &[Row]) -> Vec<Statement> {
    let mut statements = Vec::new();
    for row in rows {
        let on = format!("TABLESPACE {}", ident(&row.name));
        let (owner, location) = (ident(&row.owner), literal(&row.location));
        let mut add = |text: String| statements.push(Statement::new(Part::Tablespaces, text));
        add(format!("CREATE {on} OWNER {owner} LOCATION {location};"));
        add(format!("ALTER {on} OWNER TO {owner};"));
        let options = row.options.iter().flatten().filter_map(|option| option.split_once('='));
        let options: Vec<String> =
            options.map(|(name, value)| format!("{} = {}", ident(name), literal(value))).collect();
        if !options.is_empty() {
            add(format!("ALTER {on} SET ({});", options.join(", ")));
        }
        let list = AccessList {
            owner: &row.owner,
            every: row.every.as_deref().unwrap_or_default(),
            current: row.current.as_deref().unwrap_or_default(),
            baseline: row.baseline.as_deref().unwrap_or_default(),
        };
        statements.extend(privileges(&list, &on));
        statements.extend(remarks(&on, row.comment.as_deref(), row.labels.as_deref().unwrap_or_default()));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::{Row, statements};
    use crate::globals::texts;

    #[test]
    fn a_tablespace_is_made_or_altered_and_then_described() {
        let row = r#"{"name":"Fast disk","owner":"ann","location":"/it's","options":["seq_page_cost=0.5"],
            "every":["CREATE"],
            "current":[{"grantee":"ann","grantor":"ann","privilege":"CREATE","grantable":false},
                       {"grantee":"bob","grantor":"ann","privilege":"CREATE","grantable":false}],
            "baseline":[{"grantee":"ann","grantor":"ann","privilege":"CREATE","grantable":false}],
            "comment":"ssd","labels":null}"#;
        let row: Row = serde_json::from_str(row).expect("a row of the question's shape");
        assert_eq!(
            texts(&statements(&[row])),
            [
                "CREATE TABLESPACE \"Fast disk\" OWNER ann LOCATION '/it''s';",
                "ALTER TABLESPACE \"Fast disk\" OWNER TO ann;",
                "ALTER TABLESPACE \"Fast disk\" SET (seq_page_cost = '0.5');",
                "GRANT ALL ON TABLESPACE \"Fast disk\" TO bob;",
                "COMMENT ON TABLESPACE \"Fast disk\" IS 'ssd';",
            ]
        );
    }
}
