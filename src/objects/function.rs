//! Functions and procedures, window functions included.
//!
//! The server writes the definition (`pg_get_functiondef`): with an empty `search_path` it qualifies every name, and it
//! knows SQL-standard bodies, transforms, support functions and settings that are lists.

use super::words::Place;
use super::{Kind, each, words};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{Address, Grantable, Item, Object, Oid, Question, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "functions", question: QUESTION, objects };

/// Functions that depend internally on something are its parts: the constructors of a range type.
///
/// `body_uses` is what only an SQL-standard body can use. Functions count as such unless a parameter has a default, which
/// may call one.
const QUESTION: Question = Question(
    "SELECT p.oid, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner, p.prokind AS kind,
  pg_get_functiondef(p.oid) AS definition,
  pg_get_function_identity_arguments(p.oid) AS identity_arguments,
  (SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.place)
    FROM unnest(p.proargtypes) WITH ORDINALITY AS a(type, place)) AS argument_types,
  pg_get_function_sqlbody(p.oid) AS sql_body, -- <14: NULL AS sql_body,
  coalesce((SELECT json_agg(e.extname ORDER BY e.extname)
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass
      AND d.deptype = 'x'), '[]') AS depends_on_extensions,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'n'
      AND p.prosqlbody IS NOT NULL -- <14: AND false
      AND (d.refclassid IN ('pg_class'::regclass, 'pg_constraint'::regclass)
        OR d.refclassid = 'pg_proc'::regclass AND p.pronargdefaults = 0 AND d.refobjid <> p.prosupport::oid)), '[]') AS body_uses
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind <> 'a' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
ORDER BY n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    /// `pg_proc.prokind`: `f`, `p` or `w`.
    kind: char,
    /// None if the function was dropped after the snapshot was taken.
    definition: Option<String>,
    identity_arguments: Option<String>,
    argument_types: Option<String>,
    sql_body: Option<String>,
    depends_on_extensions: Vec<String>,
    body_uses: Vec<Place>,
}

impl Row {
    fn word(&self) -> &'static str {
        if self.kind == 'p' { "PROCEDURE" } else { "FUNCTION" }
    }

    /// A first version whose body is empty text, which a restore does not check, then the true one: so a body may use a
    /// table whose default calls the function.
    fn opened(&self, whole: &Item, definition: &str) -> Vec<Item> {
        let header = self.sql_body.as_ref().and_then(|body| definition.trim_end().strip_suffix(body.trim_end()));
        let Some(header) = header.filter(|_| !self.body_uses.is_empty()) else { return Vec::new() };
        let uses = words::addresses(&self.body_uses);
        let head = Item {
            create: format!("{}AS '';\n", header.replacen("CREATE OR REPLACE ", "CREATE ", 1)),
            ignores: uses.clone(),
            ..whole.clone()
        };
        let body = Item { create: format!("{definition};\n"), drop: String::new(), needs: uses, ..whole.clone() };
        vec![head, body]
    }
}

fn objects(rows: &[String]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::FUNCTION, row.oid);
        let word = row.word();
        let tag = format!("{}({})", row.name, row.argument_types.as_deref().unwrap_or_default());
        let (Some(definition), Some(arguments)) = (&row.definition, &row.identity_arguments) else {
            return Err(Error::new(ErrorKind::Database, "it was dropped while the dump was reading the schema")
                .on(format!("function {}.{tag}", row.schema))
                .hint("dump again, when nothing changes the schema"));
        };
        let definition = definition.trim_end();
        let signature = format!("{}({arguments})", ident(&row.name));
        let qualified_signature = format!("{}({arguments})", qualified(&row.schema, &row.name));
        let mut create = definition.replacen("CREATE OR REPLACE ", "CREATE ", 1);
        create.push_str(";\n");
        let mut whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop: format!("DROP {word} {qualified_signature};\n"),
            ..Item::new(word, address, Some(&row.schema), &tag)
        };
        let mut opened = row.opened(&whole, definition);
        let depends: String = row
            .depends_on_extensions
            .iter()
            .map(|extension| format!("ALTER {word} {qualified_signature} DEPENDS ON EXTENSION {};\n", ident(extension)))
            .collect();
        whole.create.push_str(&depends);
        if let Some(last) = opened.last_mut() {
            last.create.push_str(&depends);
        }
        let mut target = words::target(address, word, Some(&row.schema), &signature);
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner.clone() });
        let object = Object { opened, ..Object::simple(whole, words::in_schema(&row.schema)) };
        objects.push(object.with_target(target));
        Ok(())
    })
}
