//! Privileges: the difference between each object's access list and the one that a fresh object has.
//!
//! The fresh one is what `pg_init_privs` recorded (initdb, or an extension's script) and else `acldefault()`. Schema
//! `public` is different: its owner and list changed in PostgreSQL 15, its `pg_init_privs` row goes when it is dropped,
//! and a restore may change its owner first; so it always counts as `{owner=UC, =U}`, as in `pg_dump` (`getNamespaces`).
//! But where somebody took CREATE from PUBLIC on a server before 15, that is said, which `pg_dump` does not: the copy on
//! such a server would let everybody create again.

use super::{Facets, Place, Subjects};
use crate::model::privilege::{AccessList, Grant, Wording};
use crate::model::{Address, Item, Oid, Question, Target, class, ident};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// Every access list that differs from its baseline, outside of temporary schemas and `information_schema`, whose lists initdb
/// changes without a record of it.
///
/// `every` is what 17 and newer know, whatever the server: all that an older one knows is not all of a table's privileges,
/// and says so word by word, as `pg_dump` does, so that nobody gains MAINTAIN by a move to a newer server.
///
/// A multirange has the privileges of its range: from 17 on GRANT refuses to say otherwise, and what older servers noted
/// there `pg_dump` leaves out too. Things of schema `pg_catalog` and built-in languages have no kind that describes them, so their rows bring names of
/// their own. A role that no longer exists can do nothing: its entries are left out on both sides.
pub const QUESTION: Question = Question(
    "WITH granted AS (
SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS class, c.oid AS object, 0 AS sub, c.relacl AS acl,
c.relowner AS owner, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END AS letter, c.relnamespace AS schema, NULL::name AS col
FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 't')
AND (c.relacl IS NOT NULL OR c.oid IN (SELECT objoid FROM pg_catalog.pg_init_privs))
UNION ALL
SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, a.attnum, a.attacl, c.relowner, 'c', c.relnamespace, a.attname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 't') AND NOT a.attisdropped
AND (a.attacl IS NOT NULL OR a.attrelid IN (SELECT objoid FROM pg_catalog.pg_init_privs))
UNION ALL
SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0, p.proacl, p.proowner, 'f', p.pronamespace, NULL
FROM pg_catalog.pg_proc p WHERE (p.proacl IS NOT NULL OR p.oid IN (SELECT objoid FROM pg_catalog.pg_init_privs))
UNION ALL
SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0, t.typacl, t.typowner, 'T', t.typnamespace, NULL
FROM pg_catalog.pg_type t WHERE t.typtype <> 'm'
AND (t.typacl IS NOT NULL OR t.oid IN (SELECT objoid FROM pg_catalog.pg_init_privs))
UNION ALL
SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0, n.nspacl, n.nspowner, 'n', n.oid, NULL
FROM pg_catalog.pg_namespace n
UNION ALL
SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, l.oid, 0, l.lanacl, l.lanowner, 'l', NULL, NULL
FROM pg_catalog.pg_language l
UNION ALL
SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid, 0, w.fdwacl, w.fdwowner, 'F', NULL, NULL
FROM pg_catalog.pg_foreign_data_wrapper w
UNION ALL
SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, s.oid, 0, s.srvacl, s.srvowner, 'S', NULL, NULL
FROM pg_catalog.pg_foreign_server s
UNION ALL
SELECT 'pg_catalog.pg_largeobject'::pg_catalog.regclass, m.oid, 0, m.lomacl, m.lomowner, 'L', NULL, NULL
FROM pg_catalog.pg_largeobject_metadata m
UNION ALL
SELECT 'pg_catalog.pg_database'::pg_catalog.regclass, b.oid, 0, b.datacl, b.datdba, 'd', NULL, NULL
FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()
), placed AS (
SELECT g.*, n.nspname, COALESCE(g.acl, pg_catalog.acldefault(g.letter::\"char\", g.owner)) AS now,
CASE WHEN g.letter = 'n' AND n.nspname = 'public'
THEN pg_catalog.acldefault('n', g.owner) || pg_catalog.makeaclitem(0, g.owner, 'USAGE', false)
-- <15: || CASE WHEN EXISTS (SELECT FROM pg_catalog.aclexplode(g.acl) x WHERE x.grantee = 0 AND x.privilege_type = 'CREATE') THEN '{}' ELSE ARRAY[pg_catalog.makeaclitem(0, g.owner, 'CREATE', false)] END
ELSE COALESCE(i.initprivs, pg_catalog.acldefault(g.letter::\"char\", g.owner)) END AS fresh
FROM granted g
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = g.class AND i.objoid = g.object AND i.objsubid = g.sub
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = g.schema
WHERE (g.acl IS NOT NULL OR i.initprivs IS NOT NULL)
AND (n.nspname IS NULL OR (n.nspname !~ '^pg_(toast_)?temp_' AND n.nspname <> 'information_schema'))
)
SELECT p.class, p.object, p.sub, pg_catalog.pg_get_userbyid(p.owner) AS owner, p.col AS column,
CASE WHEN p.letter IN ('r', 's', 'c', 'f', 'T') AND p.nspname <> 'pg_catalog' THEN NULL
WHEN p.letter IN ('r', 'c') THEN (SELECT pg_catalog.json_build_object('word', 'TABLE', 'name', c.relname)
FROM pg_catalog.pg_class c WHERE c.oid = p.object)
WHEN p.letter = 's' THEN (SELECT pg_catalog.json_build_object('word', 'SEQUENCE', 'name', c.relname)
FROM pg_catalog.pg_class c WHERE c.oid = p.object)
WHEN p.letter = 'f' THEN (SELECT pg_catalog.json_build_object('word', CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
'name', f.proname, 'arguments', pg_catalog.pg_get_function_identity_arguments(f.oid))
FROM pg_catalog.pg_proc f WHERE f.oid = p.object)
WHEN p.letter = 'T' THEN (SELECT pg_catalog.json_build_object('word', 'TYPE', 'name', t.typname)
FROM pg_catalog.pg_type t WHERE t.oid = p.object)
WHEN p.letter = 'n' AND p.nspname = 'pg_catalog' THEN pg_catalog.json_build_object('word', 'SCHEMA')
WHEN p.letter = 'l' AND p.object < 16384 THEN (SELECT pg_catalog.json_build_object('word', 'LANGUAGE', 'name', l.lanname)
FROM pg_catalog.pg_language l WHERE l.oid = p.object) END AS system,
(SELECT pg_catalog.json_agg(e.privilege_type) FROM (
SELECT x.privilege_type
FROM pg_catalog.aclexplode(CASE p.letter WHEN 'c' THEN NULL ELSE pg_catalog.acldefault(p.letter::\"char\", p.owner) END) x
WHERE x.grantee = p.owner
-- <17: UNION ALL SELECT 'MAINTAIN' WHERE p.letter = 'r'
) e) AS every,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', r.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(p.now) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS current,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('grantee', e.rolname, 'grantor', r.rolname,
'privilege', x.privilege_type, 'grantable', x.is_grantable) ORDER BY x.ordinality)
FROM pg_catalog.aclexplode(p.fresh) WITH ORDINALITY x
LEFT JOIN pg_catalog.pg_roles e ON e.oid = x.grantee LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantor
WHERE x.grantee = 0 OR e.oid IS NOT NULL) AS baseline
FROM placed p
WHERE p.now::pg_catalog.text IS DISTINCT FROM p.fresh::pg_catalog.text
ORDER BY p.class, p.object, p.sub",
);

/// What a column can have; `acldefault()` of a column is empty, so it cannot tell.
const COLUMN_PRIVILEGES: [&str; 4] = ["INSERT", "SELECT", "UPDATE", "REFERENCES"];

/// The name of something that PostgreSQL brings along, in schema `pg_catalog` or in none.
#[derive(Debug, Clone, Deserialize)]
struct SystemName {
    word: String,
    name: Option<String>,
    arguments: Option<String>,
}

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    class: Oid,
    object: Oid,
    sub: i32,
    owner: String,
    column: Option<String>,
    system: Option<SystemName>,
    every: Option<Vec<String>>,
    current: Option<Vec<Grant>>,
    baseline: Option<Vec<Grant>>,
}

impl Row {
    /// What it is about.
    pub fn address(&self) -> Address {
        Address { class: self.class, object: self.object, sub: self.sub }
    }

    /// Whether it is about something of PostgreSQL's own, which [`system_item`] names.
    pub fn is_of_system(&self) -> bool {
        self.system.is_some()
    }

    /// Where whoever restores becomes the owner, the owner's own privileges are granted like anybody's.
    fn statements(&self, on: &str, sets_owner: bool) -> String {
        let baseline = self.baseline.iter().flatten();
        let kept = baseline.filter(|grant| sets_owner || grant.grantee.as_deref() != Some(&self.owner));
        let baseline: Vec<Grant> = kept.cloned().collect();
        let column_privileges;
        let every = if self.sub == 0 {
            self.every.as_deref().unwrap_or_default()
        } else {
            column_privileges = COLUMN_PRIVILEGES.map(str::to_owned);
            &column_privileges
        };
        AccessList {
            owner: &self.owner,
            every,
            current: self.current.as_deref().unwrap_or_default(),
            baseline: &baseline,
        }
        .statements(Wording { prefix: "", on, column: self.column.as_deref() })
    }
}

/// Stands for "the privileges of this relation as a whole are set": the entries of its columns need it, because a REVOKE on
/// the relation takes the columns' privileges along. The class is `pg_init_privs`, which has no rows in `pg_depend`.
pub fn whole_relation_privileges(relation: Oid) -> Address {
    Address::new(Oid(3394), relation)
}

/// Stands for "the privileges of this schema are set": who grants in another role's name must see the schema as that role.
fn schema_privileges(schema: Oid) -> Address {
    Address { sub: -1, ..Address::new(Oid(3394), schema) }
}

/// One `ACL` entry for each row that has a subject, a relation's columns after it.
pub fn items(rows: &[Row], subjects: &Subjects<'_>) -> Facets {
    let whole: HashSet<Oid> =
        rows.iter().filter(|row| row.class == class::RELATION && row.sub == 0).map(|row| row.object).collect();
    let with_columns: HashSet<Oid> = rows.iter().filter(|row| row.sub != 0).map(|row| row.object).collect();
    let schema = |row: &Row| Some((subjects.find(row.address())?.subject.name, row.object));
    let schemas: HashMap<&str, Oid> = rows.iter().filter(|row| row.class == class::SCHEMA).filter_map(schema).collect();
    let mut facets = Facets::default();
    for row in rows {
        let place = subjects.find(row.address());
        let Some((place, grant)) = place.and_then(|place| Some((place, place.subject.target.grant.as_ref()?))) else {
            facets.homeless.push(row.address());
            continue;
        };
        // Columns are always a table's for GRANT, a sequence's too.
        let create = match place.subject.target.columns.as_ref().filter(|_| row.sub != 0) {
            Some(columns) => row.statements(&format!("TABLE {}", columns.qualified), true),
            None => row.statements(&grant.on, !grant.owner.is_empty()),
        };
        if create.is_empty() {
            continue;
        }
        let mut item = place.item("ACL", tag(&place), create);
        item.owner = Some(row.owner.clone());
        if row.class == class::SCHEMA {
            item.provides.push(schema_privileges(row.object));
        } else if item.create.contains("SET SESSION AUTHORIZATION ")
            && let Some(schema) = place.subject.schema.and_then(|schema| schemas.get(schema))
        {
            item.needs.push(schema_privileges(*schema));
        }
        if row.sub != 0 && whole.contains(&row.object) {
            item.needs.push(whole_relation_privileges(row.object));
        } else if row.class == class::RELATION && with_columns.contains(&row.object) {
            item.provides.push(whole_relation_privileges(row.object));
        }
        facets.items.push(item);
    }
    facets
}

/// The `ACL` entries of things that no kind describes, for PostgreSQL brings them along: functions of `pg_catalog`,
/// built-in languages. They hang on nothing, so they are entries of their own, before the data, where `pg_dump` has what it
/// says of such things; `None` for all other rows.
pub fn system_item(row: &Row) -> Option<Item> {
    let SystemName { word, name, arguments } = row.system.as_ref()?;
    let bare = match (name, arguments) {
        (Some(name), Some(arguments)) => format!("{}({arguments})", ident(name)),
        (Some(name), None) => ident(name),
        (None, _) => "pg_catalog".to_owned(),
    };
    let in_schema = name.is_some() && word != "LANGUAGE";
    let on = if in_schema { format!("{word} pg_catalog.{bare}") } else { format!("{word} {bare}") };
    let tag = match &row.column {
        Some(column) => format!("COLUMN {bare}.{}", ident(column)),
        None => format!("{word} {bare}"),
    };
    let create = row.statements(&on, true);
    // A REVOKE on the whole relation takes the privileges on its columns along.
    let whole = (row.class == class::RELATION).then(|| whole_relation_privileges(row.object));
    let (of_whole, of_column) = if row.sub == 0 { (whole, None) } else { (None, whole) };
    (!create.is_empty()).then(|| Item {
        owner: Some(row.owner.clone()),
        create,
        provides: of_whole.into_iter().collect(),
        needs: of_column.into_iter().collect(),
        ..Item::new("ACL", Address::default(), in_schema.then_some("pg_catalog"), tag)
    })
}

/// The tag of an `ACL` entry: GRANT knows fewer words than COMMENT, and the tag has GRANT's.
fn tag(place: &Place<'_>) -> String {
    place.column_tag().unwrap_or_else(|| grant_tag(place.subject.target))
}

fn grant_tag(target: &Target) -> String {
    const COMMENT_WORDS_TO_GRANT_WORDS: [(&str, &str); 7] = [
        ("VIEW ", "TABLE "),
        ("MATERIALIZED VIEW ", "TABLE "),
        ("FOREIGN TABLE ", "TABLE "),
        ("AGGREGATE ", "FUNCTION "),
        ("DOMAIN ", "TYPE "),
        ("PROCEDURAL LANGUAGE ", "LANGUAGE "),
        ("SERVER ", "FOREIGN SERVER "),
    ];
    for (comment, grant) in COMMENT_WORDS_TO_GRANT_WORDS {
        if let Some(name) = target.tag.strip_prefix(comment) {
            return format!("{grant}{name}");
        }
    }
    target.tag.clone()
}

#[cfg(test)]
mod tests {
    use super::{Grant, Row, SystemName, items, system_item, whole_relation_privileges};
    use crate::facets::{Subjects, fixture};
    use crate::model::{Oid, Section, class};

    fn select_for(grantee: &str) -> Grant {
        Grant {
            grantee: Some(grantee.to_owned()),
            grantor: Some("ann".to_owned()),
            privilege: "SELECT".to_owned(),
            grantable: false,
        }
    }

    fn row(sub: i32, column: Option<&str>, grantee: &str) -> Row {
        Row {
            class: class::RELATION,
            object: Oid(20_000),
            sub,
            owner: "ann".to_owned(),
            column: column.map(str::to_owned),
            system: None,
            every: Some(vec!["SELECT".to_owned(), "INSERT".to_owned()]),
            current: Some(vec![select_for(grantee)]),
            baseline: None,
        }
    }

    #[test]
    fn a_columns_privileges_come_after_those_of_its_table() {
        let mut objects = [fixture::table()];
        objects[0].targets[0].tag = "VIEW t".to_owned();
        let facets = items(&[row(0, None, "bob"), row(1, Some("id"), "eve")], &Subjects::of(&objects));
        let [table, column] = facets.items.as_slice() else { panic!("two items: {facets:?}") };
        assert_eq!((table.tag.as_str(), table.section), ("TABLE t", Section::None));
        assert_eq!(table.create, "GRANT SELECT ON TABLE \"S\".t TO bob;\n");
        assert_eq!(table.provides, [whole_relation_privileges(Oid(20_000))]);
        assert_eq!(column.tag, "COLUMN t.id");
        assert_eq!(column.create, "GRANT SELECT(id) ON TABLE \"S\".t TO eve;\n");
        assert!(column.needs.contains(&table.provides[0]));
    }

    #[test]
    fn a_subject_without_words_for_grant_sends_its_row_back() {
        let mut objects = [fixture::table()];
        objects[0].targets[0].grant = None;
        assert_eq!(items(&[row(0, None, "bob")], &Subjects::of(&objects)).homeless.len(), 1);
    }

    #[test]
    fn a_built_in_functions_privileges_name_it_themselves() {
        let mut row = row(0, None, "bob");
        row.class = class::FUNCTION;
        row.system = Some(SystemName {
            word: "FUNCTION".to_owned(),
            name: Some("pg_ls_dir".to_owned()),
            arguments: Some("text".to_owned()),
        });
        let item = system_item(&row).expect("an item");
        assert_eq!(item.tag, "FUNCTION pg_ls_dir(text)");
        assert_eq!(item.create, "GRANT SELECT ON FUNCTION pg_catalog.pg_ls_dir(text) TO bob;\n");
        assert!(item.needs.is_empty() && item.provides.is_empty());
    }

    #[test]
    fn the_privileges_of_a_catalogs_columns_come_after_those_of_the_catalog() {
        let of_catalog = |sub, column| {
            let system = SystemName { word: "TABLE".to_owned(), name: Some("pg_proc".to_owned()), arguments: None };
            system_item(&Row { system: Some(system), ..row(sub, column, "bob") }).expect("an item")
        };
        let (whole, column) = (of_catalog(0, None), of_catalog(1, Some("proname")));
        assert_eq!(whole.provides, [whole_relation_privileges(Oid(20_000))]);
        assert_eq!((column.needs, column.provides), (whole.provides, Vec::new()));
        assert_eq!(column.create, "GRANT SELECT(proname) ON TABLE pg_catalog.pg_proc TO bob;\n");
    }
}
