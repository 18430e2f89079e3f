//! Functions and procedures, window functions included.
//!
//! The server writes the definition (`pg_get_functiondef`): with an empty `search_path` it qualifies every name, and it
//! knows SQL-standard bodies, transforms, support functions and settings that are lists.

use super::words::Place;
use super::{Kind, each, words};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "functions", questions: &[QUESTION], objects };

/// Functions that depend internally on something are its parts: the constructors of a range type.
///
/// `body_uses` is what only an SQL-standard body can use. Functions count as such unless a parameter has a default, which
/// may call one.
///
/// Servers before 18 make a function depend on every transform of its argument and result types that is there when the
/// function is made, named or not (`ProcedureCreate` in `catalog/pg_proc.c`). So the copy of a function that is older than a
/// transform would depend on it, unlike the function; what the definition does not name it does not need.
const QUESTION: Question = Question(
    "SELECT p.oid, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner, p.prokind AS kind,
  pg_get_functiondef(p.oid) AS definition,
  pg_get_function_identity_arguments(p.oid) AS identity_arguments,
  (SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.place)
    FROM unnest(p.proargtypes) WITH ORDINALITY AS a(type, place)) AS argument_types,
  pg_get_function_sqlbody(p.oid) AS sql_body, -- <14: NULL AS sql_body,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'n'
      AND p.prosqlbody IS NOT NULL -- <14: AND false
      AND (d.refclassid IN ('pg_class'::regclass, 'pg_constraint'::regclass)
        OR d.refclassid = 'pg_proc'::regclass AND p.pronargdefaults = 0 AND d.refobjid <> p.prosupport::oid)), '[]')
    AS body_uses,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d JOIN pg_transform t ON t.oid = d.refobjid
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_transform'::regclass
      AND t.trftype <> ALL (coalesce(p.protrftypes, '{}'))), '[]') AS transforms_unnamed
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
    body_uses: Vec<Place>,
    transforms_unnamed: Vec<Place>,
}

impl Row {
    fn word(&self) -> &'static str {
        if self.kind == 'p' { "PROCEDURE" } else { "FUNCTION" }
    }

    /// A body that calls the function itself, which CREATE OR REPLACE lets it do, needs the first version of it.
    fn calling_itself(&self, mut whole: Item) -> Item {
        if words::addresses(&self.body_uses).contains(&whole.address) {
            whole.needs.push(whole.address);
        }
        whole
    }

    /// A first version whose body is empty text, which a restore does not check, then the true one: so a body may use a
    /// table whose default calls the function.
    fn opened(&self, whole: &Item, definition: &str) -> Vec<Item> {
        let header = self.sql_body.as_ref().and_then(|body| definition.trim_end().strip_suffix(body.trim_end()));
        let Some(header) = header.filter(|_| !self.body_uses.is_empty()) else { return Vec::new() };
        let uses = words::addresses(&self.body_uses);
        let head = Item {
            create: format!("{}AS '';\n", header.replacen("CREATE OR REPLACE ", "CREATE ", 1)),
            ignores: [uses.as_slice(), &whole.ignores].concat(),
            ..whole.clone()
        };
        // Dropping the body leaves the first version, so that what it uses can be dropped before the function is. It has
        // no owner of its own: stock would look for the signature in its drop.
        let body = Item {
            create: format!("{definition};\n"),
            drop: format!("{header}AS '';\n"),
            owner: None,
            needs: uses,
            ..whole.clone()
        };
        vec![head, body]
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::FUNCTION, row.oid);
        let word = row.word();
        let tag = format!("{}({})", row.name, row.argument_types.as_deref().unwrap_or_default());
        let (Some(definition), Some(arguments)) = (&row.definition, &row.identity_arguments) else {
            // As for every field that is always there: whoever reads takes a new snapshot.
            return Err(Error::new(ErrorKind::Internal, "it was dropped while the dump was reading the schema")
                .on(format!("function {}.{tag}", row.schema)));
        };
        let definition = definition.trim_end();
        let signature = format!("{}({arguments})", ident(&row.name));
        let qualified_signature = format!("{}({arguments})", qualified(&row.schema, &row.name));
        let mut create = definition.replacen("CREATE OR REPLACE ", "CREATE ", 1);
        create.push_str(";\n");
        let whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop: format!("DROP {word} {qualified_signature};\n"),
            ignores: words::addresses(&row.transforms_unnamed),
            ..Item::new(word, address, Some(&row.schema), &tag)
        };
        let opened = row.opened(&whole, definition);
        let whole = row.calling_itself(whole);
        let mut target = words::target(address, word, Some(&row.schema), &signature);
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner.clone() });
        let object = Object { opened: opened.into(), ..Object::simple(whole, words::in_schema(&row.schema)) };
        objects.push(object.with_target(target));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    const DEFINITION: &str = "CREATE OR REPLACE FUNCTION s.f(a integer)\n RETURNS integer\n LANGUAGE sql\nRETURN a\n";

    fn row(definition: Option<&str>, body_uses: &serde_json::Value) -> String {
        serde_json::json!({
            "oid": "16500", "schema": "s", "name": "f", "owner": "o", "kind": "f", "definition": definition,
            "identity_arguments": definition.map(|_| "a integer"), "argument_types": "integer", "sql_body": "RETURN a",
            "body_uses": body_uses, "transforms_unnamed": [],
        })
        .to_string()
    }

    #[test]
    fn a_function_never_replaces_one_that_is_there() {
        let objects =
            objects(&answers(&[row(Some(DEFINITION), &serde_json::json!([]))])).expect("the row has the right shape");
        let [object] = objects.as_slice() else { panic!("one row gives one object") };
        assert!(object.whole.create.starts_with("CREATE FUNCTION s.f(a integer)\n"));
        assert!(object.whole.create.ends_with("RETURN a;\n"));
        assert_eq!(
            (object.whole.tag.as_str(), object.targets[0].tag.as_str()),
            ("f(integer)", "FUNCTION f(a integer)")
        );
        assert!(!object.opened.is_possible(), "a body that uses nothing cannot be in a loop");
    }

    #[test]
    fn an_opened_function_starts_without_what_its_body_uses() {
        let uses = serde_json::json!([{"class": "1259", "object": "16600"}]);
        let objects = objects(&answers(&[row(Some(DEFINITION), &uses)])).expect("the row has the right shape");
        let opened = objects[0].opened.items();
        let [head, body] = opened.as_slice() else { panic!("it opens into a head and a body") };
        assert_eq!(head.create, "CREATE FUNCTION s.f(a integer)\n RETURNS integer\n LANGUAGE sql\nAS '';\n");
        assert!(body.create.starts_with("CREATE OR REPLACE FUNCTION"));
        assert_eq!(body.drop, "CREATE OR REPLACE FUNCTION s.f(a integer)\n RETURNS integer\n LANGUAGE sql\nAS '';\n");
        assert_eq!((&head.ignores, &head.provides), (&body.needs, &body.provides));
    }

    #[test]
    fn a_function_that_vanished_is_an_error_that_names_it() {
        let error = objects(&answers(&[row(None, &serde_json::json!([]))])).expect_err("there is no definition");
        assert_eq!(error.object(), Some("function s.f(integer)"));
    }
}
