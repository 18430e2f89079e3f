//! Row security policies.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "policies", questions: &[QUESTION], objects };

/// Role 0 is PUBLIC, and then the only one.
///
/// What the script of an extension made on its own table comes with the extension. A policy is no member of it, so the script's
/// are known by their transaction and their place in it: between the first and the last member that was made there. Any other on
/// such a table may be somebody's, and comes along.
const QUESTION: Question = Question(
    "WITH members AS MATERIALIZED (
    SELECT e.objid AS relation, e.refobjid AS extension FROM pg_catalog.pg_depend e
    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objsubid = 0 AND e.deptype = 'e'
        AND e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
), scripts AS MATERIALIZED (
    SELECT e.refobjid AS extension, e.xmin::text AS transaction, pg_catalog.min(e.objid) AS first, pg_catalog.max(e.objid) AS last
    FROM pg_catalog.pg_depend e
    WHERE e.deptype = 'e' AND e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    GROUP BY e.refobjid, e.xmin::text
)
SELECT p.oid, p.polname AS name, p.polcmd AS command, p.polpermissive AS permissive,
    (SELECT coalesce(pg_catalog.json_agg(r.rolname ORDER BY r.rolname), '[]')
        FROM pg_catalog.pg_roles r WHERE r.oid = ANY (p.polroles)) AS roles,
    pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using,
    pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS with_check,
    c.oid AS table_oid, n.nspname AS schema, c.relname AS table_name, o.rolname AS owner,
    members.extension, c.relrowsecurity AS row_security
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN members ON members.relation = p.polrelid
WHERE NOT EXISTS (SELECT FROM scripts s WHERE s.extension = members.extension AND s.transaction = p.xmin::text
        AND p.oid BETWEEN s.first AND s.last)
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname, p.polname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    /// `polcmd`: `r` SELECT, `a` INSERT, `w` UPDATE, `d` DELETE, `*` all.
    command: char,
    permissive: bool,
    /// Empty for PUBLIC.
    roles: Vec<String>,
    using: Option<String>,
    with_check: Option<String>,
    table_oid: Oid,
    schema: String,
    table_name: String,
    owner: Option<String>,
    /// The extension that the table is a member of.
    extension: Option<Oid>,
    /// Whether the table minds its policies.
    row_security: bool,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(policy(&row));
        Ok(())
    })
}

fn policy(row: &Row) -> Object {
    let address = Address::new(class::POLICY, row.oid);
    let table_name = qualified(&row.schema, &row.table_name);
    let name = ident(&row.name);
    let mut create = format!("CREATE POLICY {name} ON {table_name}");
    if !row.permissive {
        create += " AS RESTRICTIVE";
    }
    create += match row.command {
        'r' => " FOR SELECT",
        'a' => " FOR INSERT",
        'w' => " FOR UPDATE",
        'd' => " FOR DELETE",
        _ => "",
    };
    if !row.roles.is_empty() {
        let roles: Vec<String> = row.roles.iter().map(|role| ident(role)).collect();
        create += &format!(" TO {}", roles.join(", "));
    }
    if let Some(using) = &row.using {
        create += &format!(" USING ({using})");
    }
    if let Some(check) = &row.with_check {
        create += &format!(" WITH CHECK ({check})");
    }
    create += ";\n";
    if row.extension.is_some() {
        // The extension's script may make one of this name, and it need not turn them on.
        let on = if row.row_security { "ENABLE" } else { "DISABLE" };
        create = format!(
            "DROP POLICY IF EXISTS {name} ON {table_name};\n{create}ALTER TABLE {table_name} {on} ROW LEVEL SECURITY;\n"
        );
    }
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: format!("DROP POLICY {name} ON {table_name};\n"),
        needs: vec![Address::new(class::RELATION, row.table_oid)],
        ..Item::new("POLICY", address, Some(&row.schema), format!("{} {}", row.table_name, row.name))
    };
    let belongs = Belongs { schema: Some(row.schema.clone()), relation: Some(row.table_oid), owned_by: None };
    Object::simple(item, belongs).with_target(Target {
        address,
        on: format!("POLICY {name} ON {table_name}"),
        tag: format!("POLICY {name} ON {}", ident(&row.table_name)),
        grant: None,
        columns: None,
    })
}
